//! Simulated disks: names and sizes.

use super::Faults;
use crate::disk::{Attachment, DiskFacts, Disks, Progress};
use api_agent::{DiskSpec, ImageSpec};
use base::{Result, err};
use host_net::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The simulated [`Disks`].
pub struct SimDisks {
    faults: Arc<Faults>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    disks: BTreeMap<String, u64>,
    images: BTreeSet<String>,
}

impl SimDisks {
    pub(super) fn new(faults: Arc<Faults>) -> SimDisks {
        SimDisks { faults, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// MiB of each disk that exists.
    pub fn sizes(&self) -> BTreeMap<String, u64> {
        self.state().disks.iter().map(|(id, bytes)| (id.clone(), bytes >> 20)).collect()
    }

    fn set_size(&self, disk: &DiskSpec) {
        self.resize(&disk.id, u64::try_from(disk.size_mb).unwrap_or(0) << 20);
    }

    pub(super) fn resize(&self, id: &str, bytes: u64) {
        self.state().disks.insert(id.to_string(), bytes);
    }
}

impl Disks for SimDisks {
    fn tidy(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn look<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<Option<DiskFacts>>> {
        Box::pin(async move { Ok(self.state().disks.get(&disk.id).map(|bytes| DiskFacts { bytes: *bytes })) })
    }

    fn has_image<'a>(&'a self, image: &'a ImageSpec, _disk: &'a DiskSpec) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { Ok(self.state().images.contains(&image.id)) })
    }

    fn fetch_image<'a>(&'a self, image: &'a ImageSpec, _disk: &'a DiskSpec, progress: Progress<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("image.fetch").await?;
            progress(image.size, image.size);
            self.state().images.insert(image.id.clone());
            self.faults.point("image.fetch.done").await
        })
    }

    fn create<'a>(&'a self, disk: &'a DiskSpec, image: Option<&'a ImageSpec>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("disk.create").await?;
            if let Some(image) = image.filter(|i| !self.state().images.contains(&i.id)) {
                return Err(err!(Internal, "image {} is not cached", image.id));
            }
            self.set_size(disk);
            self.faults.point("disk.create.done").await
        })
    }

    fn grow<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("disk.grow").await?;
            self.set_size(disk);
            self.faults.point("disk.grow.done").await
        })
    }

    fn delete<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("disk.delete").await?;
            self.state().disks.remove(&disk.id);
            self.faults.point("disk.delete.done").await
        })
    }

    fn attachment<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<Attachment>> {
        Box::pin(async move {
            if !self.state().disks.contains_key(&disk.id) {
                return Err(err!(Internal, "disk {} is not there", disk.id));
            }
            let path = PathBuf::from(format!("/sim/{}.qcow2", disk.id));
            Ok(Attachment { path, format: "qcow2".into(), backing: None, direct: true })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { Ok(self.state().disks.keys().cloned().collect()) })
    }
}
