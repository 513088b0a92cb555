//! Taps: links whose other end is a program's file descriptor.
//!
//! The kernel makes them only through an ioctl on `/dev/net/tun`, which has no memory-safe form here; `ip tuntap` (package iproute2) does
//! it. A tap made so stays when no program holds it, as a guest's port must.

use crate::{Error, Netlink, Result};
use std::io;
use tokio::process::Command;

/// Longest name of a link.
const NAME_MAX: usize = 15;

impl Netlink {
    /// Makes a tap of this name; one that is there is kept, another kind of link under this name is an error.
    pub async fn ensure_tap(&self, name: &str) -> Result<()> {
        let what = || format!("create tap {name}");
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'/') || name.starts_with('-') {
            return Err(Error::new(what(), io::Error::other("a link name has 1 to 15 printable bytes without `/`")));
        }
        let taken = || Error::new(what(), io::Error::other("another kind of link has this name"));
        match self.link(name).await? {
            Some(link) if link.kind == "tun" => return Ok(()),
            Some(_) => return Err(taken()),
            None => {}
        }
        let run = Command::new("ip").args(["tuntap", "add", "dev", name, "mode", "tap"]).output().await;
        let run = run.map_err(|e| Error::new(format!("{}: run `ip` of package iproute2", what()), e))?;
        match self.link(name).await? {
            Some(link) if link.kind == "tun" => Ok(()),
            Some(_) => Err(taken()),
            None => Err(Error::new(what(), io::Error::other(String::from_utf8_lossy(&run.stderr).trim().to_string()))),
        }
    }
}
