//! Files that are either the old ones or the new ones, whatever happens while they are written.

use base::{Result, err};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces a file. After it returns, the new content survives a power cut.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("not a file name"))?.to_string_lossy();
    let temp = path.with_file_name(format!(".{name}.new"));
    // Made anew, so that the mode is this one and not that of what an earlier life left.
    remove(&temp)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temp)?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&temp, path));
    if written.is_err() {
        let _ = remove(&temp);
    }
    written?;
    sync_dir(path)
}

/// Makes the names in a file's directory survive a power cut.
pub fn sync_dir(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a file; one that is not there is success.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Reads a file, `None` when it is not there.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The last bytes of a file, at most so many.
pub fn tail(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(bytes)))?;
    let mut last = Vec::new();
    file.take(bytes).read_to_end(&mut last)?;
    Ok(last)
}

/// Refuses an id that is not a plain file name: ids come from the network and become paths.
pub fn safe_name(id: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if id.is_empty() || id.len() > 64 || id.starts_with('.') || !id.bytes().all(plain) {
        return Err(err!(InputParameter, "{} cannot be an id: letters, digits, - and _ only", id.escape_default()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaces_whole_with_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(dir.path().join(".a.new"), "half").unwrap();
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(read(&dir.path().join("b")).unwrap(), None);
    }

    #[test]
    fn names() {
        for good in ["a", "8a7e0f4c-1111-4222-8333-444455556666", "img_1.2"] {
            assert!(safe_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", ".hidden", "a b", "ü", "a,b", &"x".repeat(65)] {
            assert!(safe_name(bad).is_err(), "{bad}");
        }
    }
}
