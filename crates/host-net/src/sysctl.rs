//! Kernel settings of network devices.

use base::{Error, Result};
use std::fs;
use std::io::ErrorKind;

/// Sets a value under `/proc/sys/net`, if it is not that already: where the tree is read-only the operator may have set it.
fn set(path: &str, value: &str) -> Result<()> {
    let file = format!("/proc/sys/net/{path}");
    let now = match fs::read_to_string(&file) {
        Ok(now) => now,
        // A kernel without this protocol needs no setting of it.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::internal(e).with_context(file)),
    };
    if now.trim() == value {
        return Ok(());
    }
    fs::write(&file, value).map_err(|e| Error::internal(e).with_context(format!("set {file} to {value}")))
}

/// Lets this machine pass packets on between its devices. Left on afterwards: others may have come to rely on it.
pub(crate) fn forward() -> Result<()> {
    set("ipv4/ip_forward", "1")
}

/// The kernel should take nothing from this device: its frames are the switch's.
pub(crate) fn isolate(device: &str) -> Result<()> {
    set(&format!("ipv6/conf/{device}/disable_ipv6"), "1")?;
    // 8: answer no ARP request whatever address it asks for.
    set(&format!("ipv4/conf/{device}/arp_ignore"), "8")
}

/// A device that holds an address of the host on a network of guests.
pub(crate) fn guard(device: &str) -> Result<()> {
    set(&format!("ipv6/conf/{device}/disable_ipv6"), "1")?;
    // 1: answer ARP only for addresses of this device, 2: ask with an address of this device.
    set(&format!("ipv4/conf/{device}/arp_ignore"), "1")?;
    set(&format!("ipv4/conf/{device}/arp_announce"), "2")?;
    set(&format!("ipv4/conf/{device}/send_redirects"), "0")?;
    set(&format!("ipv4/conf/{device}/accept_redirects"), "0")
}

/// All service ports hold one address, so the reverse path of a packet may point at another of them. 2 is the loosest that wins over a
/// strict setting for all devices, which is the larger of the two.
pub(crate) fn loose(device: &str) -> Result<()> {
    set(&format!("ipv4/conf/{device}/rp_filter"), "2")
}
