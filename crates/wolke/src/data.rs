//! The data directory of an all-in-one platform: who may use it, and the secrets in it.

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::{
    fs,
    io::Write,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

/// A directory held by this process.
pub struct Data {
    pub dir: PathBuf,
    _lock: OwnedFd,
}

impl Data {
    /// Makes the directory, readable by its owner only, and holds it until the process ends.
    pub fn open(dir: &Path) -> Result<Data> {
        fs::create_dir_all(dir)
            .with_context(|| format!("the data directory {} cannot be made; choose another with --data", dir.display()))?;
        let dir = dir.canonicalize()?;
        rustix::fs::chmod(&dir, Mode::from_raw_mode(0o700)).with_context(|| format!("the data directory {} is not ours", dir.display()))?;
        let lock = rustix::fs::open(dir.join("lock"), OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another wolke uses {}; stop it, or choose another directory with --data", dir.display());
        }
        // Whoever comes later can tell who holds it.
        rustix::fs::ftruncate(&lock, 0)?;
        rustix::io::write(&lock, std::process::id().to_string().as_bytes())?;
        Ok(Data { dir, _lock: lock })
    }

    /// The process that holds a directory, if one does.
    pub fn holder(dir: &Path) -> Option<u32> {
        let lock = rustix::fs::open(dir.join("lock"), OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return None;
        }
        fs::read_to_string(dir.join("lock")).ok()?.trim().parse().ok()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A secret of 64 hex digits, made at first use.
    pub fn secret(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => bail!("{} is empty; bring it back from a backup", path.display()),
            Ok(text) => return Ok(text.trim().to_string()),
            // Only one that was never made is made: with another, nothing that the first one sealed can be opened again.
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("{} cannot be read; what it sealed cannot be opened without it", path.display()));
            }
            Err(_) => {}
        }
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).context("the kernel gives no random bytes")?;
        let text = hex::encode(bytes);
        self.write_private(name, &text)?;
        Ok(text)
    }

    /// Writes a file only its owner can read, whole or not at all.
    pub fn write_private(&self, name: &str, text: &str) -> Result<()> {
        let (path, temporary) = (self.path(name), self.path(&format!("{name}.new")));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(temporary, path)?;
        // The name must be as durable as what is sealed with the secret behind it.
        fs::File::open(&self.dir)?.sync_all()?;
        Ok(())
    }
}

/// Where data lies when nothing is said: the system's place for root, the user's own otherwise.
pub fn default_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return "/var/lib/wolke".into();
    }
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    home.join(".local/share/wolke")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = Data::open(dir.path()).expect("ours");
        let first = data.secret("s").expect("made");
        assert_eq!(data.secret("s").expect("there"), first);
        // What cannot be read is not made anew: bytes that are no text, and nothing at all.
        for damaged in [&b"\xff\xfe"[..], b""] {
            fs::write(data.path("s"), damaged).expect("written");
            assert!(data.secret("s").is_err());
            assert_eq!(fs::read(data.path("s")).expect("there"), damaged);
        }
    }

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = Data::open(dir.path()).expect("ours");
        assert_eq!(Data::holder(dir.path()), Some(std::process::id()));
        let second = Data::open(dir.path()).err().expect("held").to_string();
        assert!(second.contains("another wolke uses") && second.contains("--data"), "{second}");
        drop(data);
        assert_eq!(Data::holder(dir.path()), None);
        Data::open(dir.path()).expect("free again");
    }
}
