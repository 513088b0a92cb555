//! What a simulated machine consists of: names with a short text each. In memory, or as files of a directory, so that it outlives the
//! process that simulates it as the real thing would. Whoever takes a file away from outside takes the thing away.

use base::{Result, err};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct Shelf {
    entries: Mutex<BTreeMap<String, String>>,
    dir: Option<PathBuf>,
}

impl Shelf {
    /// A directory, made when it is missing, with what an earlier process left in it.
    pub fn at(dir: PathBuf) -> Result<Shelf> {
        let entries = read(&dir).map_err(|e| refused(&dir, &e))?;
        Ok(Shelf { entries: Mutex::new(entries), dir: Some(dir) })
    }

    /// Puts something there, or in the place of what was there. A process that dies meanwhile leaves the one or the other.
    pub fn put(&self, name: &str, text: &str) -> Result<()> {
        let mut entries = self.entries();
        if let Some(dir) = &self.dir {
            write(dir, name, text).map_err(|e| refused(dir, &e))?;
        }
        entries.insert(name.to_string(), text.to_string());
        Ok(())
    }

    /// Takes something away; what is not there is gone already.
    pub fn take(&self, name: &str) -> Result<()> {
        let mut entries = self.entries();
        if let Some(dir) = &self.dir {
            match std::fs::remove_file(dir.join(plain(name).map_err(|e| refused(dir, &e))?)) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(refused(dir, &e)),
                _ => {}
            }
        }
        entries.remove(name);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.entries().get(name).cloned()
    }

    pub fn all(&self) -> BTreeMap<String, String> {
        self.entries().clone()
    }

    /// Names of things whose files somebody else took away; they are forgotten.
    pub fn missed(&self) -> Vec<String> {
        let Some(dir) = &self.dir else { return Vec::new() };
        let mut entries = self.entries();
        let missed: Vec<String> = entries.keys().filter(|name| !dir.join(name).exists()).cloned().collect();
        entries.retain(|name, _| !missed.contains(name));
        missed
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        // A panic while holding it leaves plain data, which is as good as before.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(dir: &Path) -> io::Result<BTreeMap<String, String>> {
    std::fs::create_dir_all(dir)?;
    let mut entries = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if plain(&name).is_ok() {
            entries.insert(name, std::fs::read_to_string(entry.path())?);
        } else {
            // Half-written by a process that died.
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(entries)
}

fn write(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let temporary = dir.join(format!(".{}", plain(name)?));
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, dir.join(name))
}

fn plain(name: &str) -> io::Result<&str> {
    let fits = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']);
    if fits { Ok(name) } else { Err(io::Error::other(format!("{name:?} is not a name"))) }
}

fn refused(dir: &Path, e: &io::Error) -> base::Error {
    err!(Internal, "the simulated host's directory {} cannot be used: {}", dir.display(), e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_down_is_there_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(dir.path().join("s")).unwrap();
        shelf.put("a", "1").unwrap();
        shelf.put("a", "2").unwrap();
        shelf.put("b", "3").unwrap();
        shelf.take("b").unwrap();
        shelf.take("b").unwrap();
        assert!(shelf.put("../c", "").is_err());
        std::fs::write(dir.path().join("s/.half"), "x").unwrap();
        let next = Shelf::at(dir.path().join("s")).unwrap();
        assert_eq!(next.all(), BTreeMap::from([("a".to_string(), "2".to_string())]));
        assert!(!dir.path().join("s/.half").exists());
        assert!(next.missed().is_empty());
        std::fs::remove_file(dir.path().join("s/a")).unwrap();
        assert_eq!(next.missed(), ["a"]);
        assert!(next.missed().is_empty() && next.get("a").is_none());
    }
}
