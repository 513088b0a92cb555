//! Simulated disks: names and sizes.

use super::Faults;
use crate::disk::{Attachment, DiskFacts, Disks, Progress};
use api_agent::{DiskSpec, ImageSpec};
use base::{Result, err};
use host_net::{BoxFuture, Shelf};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The simulated [`Disks`].
pub struct SimDisks {
    faults: Arc<Faults>,
    /// Bytes of each.
    disks: Shelf,
    images: Shelf,
}

impl SimDisks {
    pub(super) fn new(faults: Arc<Faults>) -> SimDisks {
        SimDisks { faults, disks: Shelf::default(), images: Shelf::default() }
    }

    /// Disks that outlive the process.
    pub(super) fn at(faults: Arc<Faults>, dir: &Path) -> Result<SimDisks> {
        Ok(SimDisks { faults, disks: Shelf::at(dir.join("disks"))?, images: Shelf::at(dir.join("images"))? })
    }

    /// MiB of each disk that exists.
    pub fn sizes(&self) -> BTreeMap<String, u64> {
        self.disks.all().into_iter().map(|(id, bytes)| (id, bytes.parse().unwrap_or(0) >> 20)).collect()
    }

    fn set_size(&self, disk: &DiskSpec) -> Result<()> {
        self.resize(&disk.id, u64::try_from(disk.size_mb).unwrap_or(0) << 20)
    }

    pub(super) fn resize(&self, id: &str, bytes: u64) -> Result<()> {
        self.disks.put(id, &bytes.to_string())
    }
}

impl Disks for SimDisks {
    fn tidy(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn look<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<Option<DiskFacts>>> {
        Box::pin(async move { Ok(self.disks.get(&disk.id).map(|bytes| DiskFacts { bytes: bytes.parse().unwrap_or(0) })) })
    }

    fn has_image<'a>(&'a self, image: &'a ImageSpec, _disk: &'a DiskSpec) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { Ok(self.images.get(&image.id).is_some()) })
    }

    fn fetch_image<'a>(&'a self, image: &'a ImageSpec, _disk: &'a DiskSpec, progress: Progress<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("image.fetch").await?;
            progress(image.size, image.size);
            self.images.put(&image.id, "")?;
            self.faults.point("image.fetch.done").await
        })
    }

    fn create<'a>(&'a self, disk: &'a DiskSpec, image: Option<&'a ImageSpec>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("disk.create").await?;
            if let Some(image) = image.filter(|i| self.images.get(&i.id).is_none()) {
                return Err(err!(Internal, "image {} is not cached", image.id));
            }
            self.set_size(disk)?;
            self.faults.point("disk.create.done").await
        })
    }

    fn grow<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("disk.grow").await?;
            self.set_size(disk)?;
            self.faults.point("disk.grow.done").await
        })
    }

    fn delete<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.faults.point("disk.delete").await?;
            self.disks.take(&disk.id)?;
            self.faults.point("disk.delete.done").await
        })
    }

    fn attachment<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<Attachment>> {
        Box::pin(async move {
            if self.disks.get(&disk.id).is_none() {
                return Err(err!(Internal, "disk {} is not there", disk.id));
            }
            let path = PathBuf::from(format!("/sim/{}.qcow2", disk.id));
            Ok(Attachment { path, format: "qcow2".into(), backing: None, direct: true })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { Ok(self.disks.all().into_keys().collect()) })
    }
}
