//! What the operator decides about this host's network, and the names that follow from it.

use base::{Result, err};
use std::path::PathBuf;

/// Settings of [`crate::OvsNetwork`]. Two platforms on one machine need different directories, bridges and prefixes.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory this network owns whole; it is made when missing and removed by `down`.
    pub data_dir: PathBuf,
    /// Integration bridge, at most 15 bytes. Networks that name no bridge of their own are plugged in here.
    pub bridge: String,
    /// Begins the names of this network's own ports, at most 5 bytes.
    pub port_prefix: String,
    /// Begins the names of taps, before the name the document gives; empty keeps that name.
    pub tap_prefix: String,
    pub switch: SwitchChoice,
}

/// Which Open vSwitch carries the ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SwitchChoice {
    /// One that already runs in this network namespace, else our own.
    #[default]
    Auto,
    /// Always our own.
    Private,
}

/// Longest name of a network device.
const NAME_MAX: usize = 15;

impl Config {
    pub fn new(data_dir: impl Into<PathBuf>) -> Config {
        Config {
            data_dir: data_dir.into(),
            bridge: "wolke0".into(),
            port_prefix: "wk".into(),
            tap_prefix: String::new(),
            switch: SwitchChoice::Auto,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        device_name(&self.bridge)?;
        if !self.data_dir.is_absolute() {
            return Err(err!(InputParameter, "directory {} of the host network must be absolute", self.data_dir.display()));
        }
        if self.port_prefix.is_empty() || self.port_prefix.len() > 5 || device_name(&self.port_prefix).is_err() {
            return Err(err!(InputParameter, "port prefix {} must be 1 to 5 letters, digits, `-` or `_`", self.port_prefix));
        }
        if !self.tap_prefix.is_empty() && (self.tap_prefix.len() > 5 || device_name(&self.tap_prefix).is_err()) {
            return Err(err!(InputParameter, "tap prefix {} must be at most 5 letters, digits, `-` or `_`", self.tap_prefix));
        }
        Ok(())
    }

    /// Tells this network's bridges, ports and flows from those of others on the machine. The directory is the identity: a new agent on
    /// the old directory finds its things again.
    pub(crate) fn owner(&self) -> u32 {
        hash32(&[self.data_dir.to_string_lossy().as_ref()])
    }

    pub(crate) fn owner_text(&self) -> String {
        format!("{:08x}", self.owner())
    }

    /// Port through which the host talks to guests on a bridge (DHCP, metadata).
    pub(crate) fn service_port(&self, bridge: &str) -> String {
        format!("{}s{:08x}", self.port_prefix, hash32(&[&self.owner_text(), "service", bridge]))
    }

    /// Port that holds the gateway address of a network.
    pub(crate) fn gateway_port(&self, network_id: &str) -> String {
        format!("{}g{:08x}", self.port_prefix, hash32(&[&self.owner_text(), "gateway", network_id]))
    }

    /// Locally administered hardware address of one of our ports.
    pub(crate) fn mac(&self, port: &str) -> netlink::Mac {
        let [a, b, c, d] = hash32(&[&self.owner_text(), "mac", port]).to_be_bytes();
        [0x0e, 0x57, a, b, c, d]
    }

    /// Name of the tap device for the name a NIC has in the document.
    pub(crate) fn tap_name(&self, ifname: &str) -> Result<String> {
        device_name(ifname)?;
        let name = format!("{}{ifname}", self.tap_prefix);
        if name.len() <= NAME_MAX {
            return Ok(name);
        }
        Ok(format!("{}{:08x}", self.tap_prefix, hash32(&[ifname])))
    }
}

/// A name the kernel, Open vSwitch and nft all take without quoting.
pub(crate) fn device_name(name: &str) -> Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if name.is_empty() || name.len() > NAME_MAX || !plain || name.starts_with(['-', '.']) {
        return Err(err!(
            InputParameter,
            "device name {} must be 1 to 15 letters, digits, `-`, `_` or `.`, not beginning with `-` or `.`",
            name
        ));
    }
    Ok(())
}

/// FNV-1a over the parts: stable across versions, because names on the machine depend on it.
pub(crate) fn hash32(parts: &[&str]) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_differ_and_stay() {
        let a = Config::new("/var/lib/a");
        let b = Config { port_prefix: "wkb".into(), tap_prefix: "bb".into(), ..Config::new("/var/lib/b") };
        assert!(a.check().is_ok() && b.check().is_ok());
        let names = [a.service_port("wolke0"), a.service_port("br0"), a.gateway_port("n1"), b.gateway_port("n1"), b.service_port("wolke0")];
        for (i, name) in names.iter().enumerate() {
            assert!(name.len() <= NAME_MAX && !names[..i].contains(name), "{names:?}");
        }
        // A change here would orphan the ports of installed hosts.
        assert_eq!(a.gateway_port("n1"), "wkgab7910a4");
        assert_eq!((a.tap_name("vnet0-12").unwrap(), b.tap_name("vnet0-12").unwrap()), ("vnet0-12".into(), "bbvnet0-12".into()));
        assert_eq!(b.tap_name("fifteen-byte-xx").unwrap().len(), 10);
        assert!(["", "a b", "-x", "ä", "sixteen-bytes-xx", "x;y"].iter().all(|n| a.tap_name(n).is_err()));
    }

    #[test]
    fn bad_settings_say_what_to_change() {
        for bad in [
            Config { bridge: "a-bridge-too-long".into(), ..Config::new("/a") },
            Config { port_prefix: "toolong".into(), ..Config::new("/a") },
            Config { port_prefix: String::new(), ..Config::new("/a") },
            Config { tap_prefix: "a/".into(), ..Config::new("/a") },
            Config::new("relative"),
        ] {
            assert!(bad.check().unwrap_err().to_string().contains("must be"), "{bad:?}");
        }
    }
}
