//! What this network remembers on disk: the document it serves and the taps it made.
//!
//! A tap is written down before it is made and forgotten after it is gone, so that a crash leaves no device nobody owns. The document is
//! kept so that guests get answers from the first moment of a restarted agent.

use crate::plan::Document;
use api_agent::{GuestSpec, NetworkSpec};
use base::{Error, Result, err};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Ends the name of a file being written. Longer than the end of any device name.
const ASIDE: &str = ".being-written~";

pub(crate) struct Files {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    networks: Vec<NetworkSpec>,
    guests: Vec<GuestSpec>,
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |e| Error::internal(e).with_context(path.display())
}

impl Files {
    /// The directory holds passwords of guests: only root may look in.
    pub fn open(dir: &Path) -> Result<Files> {
        let taps = dir.join("taps");
        DirBuilder::new().recursive(true).mode(0o700).create(&taps).map_err(failed(&taps))?;
        Ok(Files { dir: dir.canonicalize().map_err(failed(dir))? })
    }

    /// The directory, by its one absolute path without links.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Only one process at a time may work on a directory. Held until dropped, also by a crash.
    pub fn lock(&self) -> Result<File> {
        let path = self.dir.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(e) => Err(err!(Conflict, "another host agent uses {}; stop it first", self.dir.display()).with_context(e)),
        }
    }

    pub fn ovs(&self) -> PathBuf {
        self.dir.join("ovs")
    }

    pub fn load_document(&self) -> Document {
        let path = self.dir.join("document.json");
        let stored = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Stored>(&bytes).map_err(|e| e.to_string()),
            Err(e) if e.kind() == ErrorKind::NotFound => return Document::default(),
            Err(e) => Err(e.to_string()),
        };
        match stored {
            Ok(stored) => Document::new(&stored.networks, &stored.guests),
            Err(e) => {
                // The next apply brings it again.
                tracing::warn!(path = %path.display(), error = e, "the stored document cannot be read");
                Document::default()
            }
        }
    }

    pub fn store_document(&self, document: &Document) -> Result<()> {
        let stored = Stored {
            networks: document.networks.values().map(|n| n.as_ref().clone()).collect(),
            guests: document.guests.values().map(|g| g.as_ref().clone()).collect(),
        };
        let bytes = serde_json::to_vec(&stored).map_err(Error::internal)?;
        self.replace(&self.dir.join("document.json"), &bytes)
    }

    /// Taps this network made or was about to make: the document's name by the device's.
    pub fn taps(&self) -> Result<BTreeMap<String, String>> {
        let dir = self.dir.join("taps");
        let mut taps = BTreeMap::new();
        for entry in fs::read_dir(&dir).map_err(failed(&dir))? {
            let entry = entry.map_err(failed(&dir))?;
            if let Some(device) = entry.file_name().to_str().filter(|n| crate::config::device_name(n).is_ok() && !n.ends_with(ASIDE)) {
                taps.insert(device.to_string(), fs::read_to_string(entry.path()).map_err(failed(&entry.path()))?);
            }
        }
        Ok(taps)
    }

    pub fn remember_tap(&self, device: &str, ifname: &str) -> Result<()> {
        self.replace(&self.dir.join("taps").join(device), ifname.as_bytes())
    }

    pub fn forget_tap(&self, name: &str) -> Result<()> {
        let path = self.dir.join("taps").join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(&path)(e)),
            _ => Ok(()),
        }
    }

    /// Removes everything, but what lies under `except`.
    pub fn remove_all(&self, except: Option<&Path>) -> Result<()> {
        let Some(except) = except else {
            return fs::remove_dir_all(&self.dir).map_err(failed(&self.dir));
        };
        for entry in fs::read_dir(&self.dir).map_err(failed(&self.dir))? {
            let path = entry.map_err(failed(&self.dir))?.path();
            if path == except {
                continue;
            }
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.map_err(failed(&path))?;
        }
        Ok(())
    }

    /// Writes a file in one step: a reader, or a crash, finds the old one or the new one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(ASIDE);
        let aside = PathBuf::from(aside);
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&aside, path)
        };
        write().map_err(failed(path))
    }
}
