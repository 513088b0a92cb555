//! Disks in directories of the host.
//!
//! ```text
//! <storage>/disks/<id>.qcow2 | <id>.raw      a disk; .<name>.tmp while it is made
//! <storage>/imagecache/<image id>            an image, verified; .<image id>.part while it comes
//! ```

use super::images::{Fetch, ImageCache};
use super::qemu_img::QemuImg;
use super::{Attachment, DiskFacts, Disks, Progress};
use crate::files::{remove, safe_name, sync_dir};
use api_agent::{DiskSpec, ImageSpec};
use base::{Result, err};
use host_net::BoxFuture;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// The real [`Disks`].
pub struct LocalDisks {
    storages: Vec<PathBuf>,
    tool: QemuImg,
    images: ImageCache,
}

impl LocalDisks {
    /// Over these storages and no other directory.
    pub fn new(storages: Vec<PathBuf>, qemu_img: PathBuf, fetch: Arc<dyn Fetch>) -> LocalDisks {
        LocalDisks { storages, tool: QemuImg { program: qemu_img }, images: ImageCache::new(fetch) }
    }

    /// The storage of a disk, if it is one of ours: a document must not reach into other directories.
    fn storage(&self, disk: &DiskSpec) -> Result<&Path> {
        let wanted = Path::new(&disk.storage_path);
        self.storages
            .iter()
            .find(|s| s.as_path() == wanted)
            .map(PathBuf::as_path)
            .ok_or_else(|| err!(InputParameter, "directory {} is not a storage of this host", disk.storage_path))
    }

    /// Where a disk is or would be, and its format: an overlay is always qcow2.
    fn place(&self, disk: &DiskSpec) -> Result<(PathBuf, &'static str)> {
        safe_name(&disk.id)?;
        let format = match disk.format.as_str() {
            "raw" if disk.image_id.is_empty() => "raw",
            "qcow2" | "raw" | "" => "qcow2",
            other => return Err(err!(InputParameter, "disk format {} is not supported on local storage; use qcow2 or raw", other)),
        };
        Ok((self.storage(disk)?.join("disks").join(format!("{}.{format}", disk.id)), format))
    }

    async fn make(&self, disk: &DiskSpec, image: Option<&ImageSpec>) -> Result<()> {
        let (path, format) = self.place(disk)?;
        let dir = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        tokio::fs::create_dir_all(&dir).await.map_err(|e| refused(&dir, &e))?;
        let wanted = u64::try_from(disk.size_mb).unwrap_or(0).saturating_mul(MIB);
        let temp = dir.join(format!(".{}.tmp", disk.id));
        remove(&temp).map_err(|e| refused(&temp, &e))?;
        let made = match image {
            None => self.tool.create(&temp, format, None, wanted).await,
            Some(image) => {
                let below = ImageCache::path(self.storage(disk)?, image)?;
                let below_format = image_format(image)?;
                let least = self.tool.info(&below, below_format).await?.virtual_size;
                // Smaller than its image a disk would lose the end of a file system.
                self.tool.create(&temp, format, Some((&below, below_format)), wanted.max(least)).await
            }
        };
        if let Err(e) = made {
            let _ = remove(&temp);
            return Err(full(&dir).unwrap_or(e));
        }
        let (from, to) = (temp.clone(), path.clone());
        let kept = blocking(move || {
            std::fs::File::open(&from)?.sync_all()?;
            std::fs::rename(&from, &to)?;
            sync_dir(&to)
        });
        kept.await.map_err(|e| refused(&path, &e))
    }

    fn tidy_now(&self) -> io::Result<()> {
        for storage in &self.storages {
            for name in file_names(&storage.join("disks"))? {
                if name.starts_with('.') && name.ends_with(".tmp") {
                    remove(&storage.join("disks").join(&name))?;
                    tracing::info!(file = %name, "half-made disk removed");
                }
            }
        }
        Ok(())
    }

    fn list_now(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for storage in &self.storages {
            let names = file_names(&storage.join("disks"))?;
            let id =
                |n: String| n.strip_suffix(".qcow2").or_else(|| n.strip_suffix(".raw")).filter(|n| !n.starts_with('.')).map(str::to_string);
            ids.extend(names.into_iter().filter_map(id));
        }
        Ok(ids)
    }
}

impl Disks for LocalDisks {
    fn tidy(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { self.tidy_now().map_err(|e| err!(Internal, "storage cannot be read: {}", e)) })
    }

    fn look<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<Option<DiskFacts>>> {
        Box::pin(async move {
            let (path, format) = self.place(disk)?;
            match tokio::fs::metadata(&path).await {
                Ok(_) => Ok(Some(DiskFacts { bytes: self.tool.info(&path, format).await?.virtual_size })),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(refused(&path, &e)),
            }
        })
    }

    fn has_image<'a>(&'a self, image: &'a ImageSpec, disk: &'a DiskSpec) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { Ok(ImageCache::path(self.storage(disk)?, image)?.exists()) })
    }

    fn fetch_image<'a>(&'a self, image: &'a ImageSpec, disk: &'a DiskSpec, progress: Progress<'a>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.images.fetch(self.storage(disk)?, image, progress).await })
    }

    fn create<'a>(&'a self, disk: &'a DiskSpec, image: Option<&'a ImageSpec>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.make(disk, image))
    }

    fn grow<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (path, format) = self.place(disk)?;
            let bytes = u64::try_from(disk.size_mb).unwrap_or(0).saturating_mul(MIB);
            self.tool.resize(&path, format, bytes).await.map_err(|e| full(&path).unwrap_or(e))
        })
    }

    fn delete<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (path, _) = self.place(disk)?;
            let gone = path.clone();
            let half_made = path.with_file_name(format!(".{}.tmp", disk.id));
            blocking(move || {
                remove(&gone)?;
                remove(&half_made)?;
                match sync_dir(&gone) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                }
            })
            .await
            .map_err(|e| refused(&path, &e))
        })
    }

    fn attachment<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<Attachment>> {
        Box::pin(async move {
            let (path, format) = self.place(disk)?;
            let info = self.tool.info(&path, format).await?;
            let backing = match info.backing_filename {
                None => None,
                Some(below) => {
                    let cache = self.storage(disk)?.join("imagecache");
                    if below.parent() != Some(&cache) {
                        return Err(
                            err!(Internal, "disk {} points at a file outside the image cache", disk.id).with_context(below.display())
                        );
                    }
                    let format = info.backing_filename_format.unwrap_or_else(|| "raw".into());
                    Some((below, format))
                }
            };
            let direct = bypasses_cache(&path);
            Ok(Attachment { path, format: format.to_string(), backing, direct })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async { self.list_now().map_err(|e| err!(Internal, "storage cannot be read: {}", e)) })
    }
}

/// Formats guests may run on; others have to be converted by the image service first.
pub(super) fn image_format(image: &ImageSpec) -> Result<&'static str> {
    match image.format.as_str() {
        "qcow2" | "" => Ok("qcow2"),
        "raw" | "iso" => Ok("raw"),
        "vmdk" => Ok("vmdk"),
        "vhd" => Ok("vpc"),
        "vhdx" => Ok("vhdx"),
        "vdi" => Ok("vdi"),
        other => Err(err!(InputParameter, "image format {} is not supported; convert it to qcow2", other)),
    }
}

/// A full file system is the likeliest reason of any refusal, and the one the user can act on.
pub(super) fn full(at: &Path) -> Option<base::Error> {
    let dir = at.ancestors().find(|p| p.exists())?;
    let stat = rustix::fs::statvfs(dir).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize) / MIB;
    (free < 1).then(|| err!(OutOfResource, "the storage at {} is full; free some space or move disks away", dir.display()))
}

pub(super) fn refused(path: &Path, e: &io::Error) -> base::Error {
    if e.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) {
        return err!(
            OutOfResource,
            "the storage at {} is full; free some space or move disks away",
            path.parent().unwrap_or(path).display()
        );
    }
    err!(Internal, "file {} cannot be used: {}", path.display(), e)
}

fn bypasses_cache(path: &Path) -> bool {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

fn file_names(dir: &Path) -> io::Result<Vec<String>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
