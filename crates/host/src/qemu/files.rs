//! Where the files of a guest's process are, all in the guest's own directory.

use crate::records::guest_dir;
use base::{Result, err};
use std::path::{Path, PathBuf};

/// A unix socket's path has at most 107 bytes (unix(7)).
const SOCKET_PATH: usize = 107;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFiles {
    pub dir: PathBuf,
}

impl GuestFiles {
    /// Errors when the directory is too deep for sockets or has characters QEMU's options cannot carry.
    pub fn new(data: &Path, id: &str) -> Result<GuestFiles> {
        let dir = guest_dir(data, id);
        let longest = dir.join("serial.sock");
        let usable = longest.to_str().is_some_and(|p| p.len() <= SOCKET_PATH && !p.contains([',', '\n']));
        if !usable {
            return Err(err!(
                InputParameter,
                "the data directory {} is too deep or has a comma in its name; use a shorter one",
                data.display()
            ));
        }
        Ok(GuestFiles { dir })
    }

    pub fn pid(&self) -> PathBuf {
        self.dir.join("pid")
    }
    pub fn control(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }
    pub fn serial(&self) -> PathBuf {
        self.dir.join("serial.sock")
    }
    pub fn serial_log(&self) -> PathBuf {
        self.dir.join("serial.log")
    }
    pub fn vnc(&self) -> PathBuf {
        self.dir.join("vnc.sock")
    }
    pub fn agent(&self) -> PathBuf {
        self.dir.join("qga.sock")
    }
    pub fn log(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }
    pub fn seed(&self) -> PathBuf {
        self.dir.join("seed.iso")
    }
    pub fn firmware_vars(&self) -> PathBuf {
        self.dir.join("firmware-vars.fd")
    }
}
