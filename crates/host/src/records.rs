//! What survives the agent's process: the desired document, a memory per guest, the jobs done, the credential.
//!
//! ```text
//! <data>/desired.json  jobs.json  credential(0600)  enrolling(0600)
//! <data>/guests/<id>/state.json     beside the sockets, logs and seeds the hypervisor keeps there
//! ```

use crate::files::{read, remove, replace, safe_name};
use crate::guest::Memory;
use api_agent::{Desired, JobResult};
use base::{Error, Result, err};
use host_net::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Everything read at a start.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub desired: Desired,
    /// By guest id; also of guests whose file cannot be read, with nothing remembered.
    pub guests: BTreeMap<String, Memory>,
    pub jobs: BTreeMap<String, JobRecord>,
    pub credential: Option<Credential>,
    /// The credential to be of an enrolment that may not have been answered; of no host yet.
    pub enrolling: Option<Credential>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    pub credential: String,
    pub host_id: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential of host {}", self.host_id)
    }
}

/// A job is noted before it is begun, so that it is never done twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum JobRecord {
    Begun,
    Done { result: JobResult },
}

/// Keeps what another life of the agent must know. A write that returned survives a power cut.
pub trait Records: Send + Sync {
    fn load(&self) -> BoxFuture<'_, Result<Kept>>;
    /// Of a guest that may never have been here.
    fn load_guest<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Memory>>;
    /// All guests something is kept of.
    fn guest_ids(&self) -> BoxFuture<'_, Result<Vec<String>>>;
    fn save_desired<'a>(&'a self, desired: &'a Desired) -> BoxFuture<'a, Result<()>>;
    fn save_guest<'a>(&'a self, id: &'a str, memory: &'a Memory) -> BoxFuture<'a, Result<()>>;
    /// Removes everything of a guest.
    fn forget_guest<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;
    fn save_jobs<'a>(&'a self, jobs: &'a BTreeMap<String, JobRecord>) -> BoxFuture<'a, Result<()>>;
    fn save_credential<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<()>>;
    fn save_enrolling<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<()>>;
}

/// The real [`Records`]: files in the agent's data directory.
#[derive(Clone, Debug)]
pub struct FileRecords {
    data: PathBuf,
}

impl FileRecords {
    pub fn new(data: PathBuf) -> FileRecords {
        FileRecords { data }
    }

    fn load_now(&self) -> io::Result<Kept> {
        std::fs::create_dir_all(self.data.join("guests"))?;
        let mut guests = BTreeMap::new();
        for id in self.ids_now()? {
            let memory = json(&guest_dir(&self.data, &id).join("state.json"))?.unwrap_or_default();
            guests.insert(id, memory);
        }
        Ok(Kept {
            desired: json(&self.data.join("desired.json"))?.unwrap_or_default(),
            guests,
            jobs: json(&self.data.join("jobs.json"))?.unwrap_or_default(),
            credential: json(&self.data.join("credential"))?,
            enrolling: json(&self.data.join("enrolling"))?,
        })
    }

    fn ids_now(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(self.data.join("guests"))? {
            let id = entry?.file_name().to_string_lossy().into_owned();
            if safe_name(&id).is_ok() {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    fn write(&self, path: PathBuf, what: &impl Serialize) -> BoxFuture<'_, Result<()>> {
        let content = serde_json::to_vec(what).map_err(Error::internal);
        Box::pin(async move {
            let content = content?;
            let done = tokio::task::spawn_blocking(move || {
                if let Some(dir) = path.parent() {
                    std::fs::create_dir_all(dir)?;
                }
                replace(&path, &content, 0o600)
            });
            done.await.map_err(Error::internal)?.map_err(|e| refused(&self.data, &e))
        })
    }
}

/// The directory of a guest.
pub(crate) fn guest_dir(data: &Path, id: &str) -> PathBuf {
    data.join("guests").join(id)
}

/// Reads a file, `None` when it is not there or makes no sense: then it is put aside, for starting without it is better than not starting.
fn json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let Some(content) = read(path)? else { return Ok(None) };
    match serde_json::from_slice(&content) {
        Ok(value) => Ok(Some(value)),
        Err(e) => {
            tracing::error!(file = %path.display(), error = %e, "cannot be read and is put aside");
            std::fs::rename(path, path.with_extension("unreadable"))?;
            Ok(None)
        }
    }
}

fn refused(data: &Path, e: &io::Error) -> Error {
    if e.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) {
        return err!(OutOfResource, "the file system of {} is full; free some space", data.display());
    }
    err!(Internal, "the agent's data directory {} cannot be used: {}", data.display(), e)
}

impl Records for FileRecords {
    fn load(&self) -> BoxFuture<'_, Result<Kept>> {
        let this = self.clone();
        Box::pin(async move {
            let data = this.data.clone();
            let loaded = tokio::task::spawn_blocking(move || this.load_now()).await.map_err(Error::internal)?;
            loaded.map_err(|e| refused(&data, &e))
        })
    }

    fn load_guest<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Memory>> {
        Box::pin(async move {
            safe_name(id)?;
            let loaded = json(&guest_dir(&self.data, id).join("state.json")).map_err(|e| refused(&self.data, &e))?;
            Ok(loaded.unwrap_or_default())
        })
    }

    fn guest_ids(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { self.ids_now().map_err(|e| refused(&self.data, &e)) })
    }

    fn save_desired<'a>(&'a self, desired: &'a Desired) -> BoxFuture<'a, Result<()>> {
        self.write(self.data.join("desired.json"), desired)
    }

    fn save_guest<'a>(&'a self, id: &'a str, memory: &'a Memory) -> BoxFuture<'a, Result<()>> {
        self.write(guest_dir(&self.data, id).join("state.json"), memory)
    }

    fn forget_guest<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        let dir = guest_dir(&self.data, id);
        Box::pin(async move {
            safe_name(id)?;
            let gone = tokio::task::spawn_blocking(move || {
                // First what makes it a guest that runs or ran: half a removal must not look like one.
                remove(&dir.join("state.json"))?;
                match std::fs::remove_dir_all(&dir) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                }
            });
            gone.await.map_err(Error::internal)?.map_err(|e| refused(&self.data, &e))
        })
    }

    fn save_jobs<'a>(&'a self, jobs: &'a BTreeMap<String, JobRecord>) -> BoxFuture<'a, Result<()>> {
        self.write(self.data.join("jobs.json"), jobs)
    }

    fn save_credential<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<()>> {
        self.write(self.data.join("credential"), credential)
    }

    fn save_enrolling<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<()>> {
        self.write(self.data.join("enrolling"), credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Phase;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn kept_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let records = FileRecords::new(dir.path().join("data"));
        assert!(records.load().await.unwrap().credential.is_none());
        let memory =
            Memory { phase: Phase::Ended { run: Default::default(), generation: 3, reason: "r".into() }, reached: 3, ..Default::default() };
        records.save_guest("g1", &memory).await.unwrap();
        records.save_desired(&Desired { version: 7, ..Default::default() }).await.unwrap();
        records.save_credential(&Credential { credential: "secret".into(), host_id: "h".into() }).await.unwrap();
        let done = JobRecord::Done { result: JobResult { id: "j".into(), ..Default::default() } };
        records.save_jobs(&BTreeMap::from([("j".to_string(), done.clone()), ("k".to_string(), JobRecord::Begun)])).await.unwrap();

        let kept = records.load().await.unwrap();
        assert_eq!((kept.desired.version, kept.guests["g1"].clone(), kept.jobs["j"].clone()), (7, memory, done));
        let credential = dir.path().join("data/credential");
        assert_eq!(std::fs::metadata(&credential).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{:?}", kept.credential).contains("secret"));

        // Half a file is put aside, not a reason to stop; its guest is still known to be here.
        std::fs::write(guest_dir(&dir.path().join("data"), "g1").join("state.json"), b"{\"phase\":").unwrap();
        assert_eq!(records.load().await.unwrap().guests["g1"], Memory::default());
        records.forget_guest("g1").await.unwrap();
        records.forget_guest("g1").await.unwrap();
        assert!(records.load().await.unwrap().guests.is_empty());
        assert!(records.forget_guest("..").await.is_err());
    }
}
