//! Disks of guests: what the agent needs of storage, and the keeper that makes the document's disks true.
//!
//! The real one is [`LocalDisks`], the simulated one in [`crate::sim`]. Every method may be repeated after a crash, and a crash inside one
//! leaves either the old state or the new one, never a half-made file under a final name.

mod decide;
mod images;
mod keeper;
mod local;
mod qemu_img;

pub use images::{Fetch, Fetched};
pub(crate) use keeper::Keeper;
pub use local::LocalDisks;

use api_agent::{DiskSpec, ImageSpec};
use base::Result;
use host_net::BoxFuture;
use std::path::PathBuf;

/// Told how many bytes of how many have come.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// What the agent needs of storage.
pub trait Disks: Send + Sync {
    /// Removes what an earlier life left half-made. Called once, before anything else.
    fn tidy(&self) -> BoxFuture<'_, Result<()>>;

    /// The disk as it is, `None` when it is not there.
    fn look<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<Option<DiskFacts>>>;

    /// Whether the image is in the storage's cache, whole and verified.
    fn has_image<'a>(&'a self, image: &'a ImageSpec, disk: &'a DiskSpec) -> BoxFuture<'a, Result<bool>>;

    /// Brings an image into the cache. Any number of calls for one image make one download, which goes on where an earlier one broke off.
    /// A retryable error may be tried again, another not.
    fn fetch_image<'a>(&'a self, image: &'a ImageSpec, disk: &'a DiskSpec, progress: Progress<'a>) -> BoxFuture<'a, Result<()>>;

    /// Makes the disk: empty, or over its cached image.
    fn create<'a>(&'a self, disk: &'a DiskSpec, image: Option<&'a ImageSpec>) -> BoxFuture<'a, Result<()>>;

    /// Makes a disk no process uses as large as wanted.
    fn grow<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<()>>;

    /// Removes the disk for good; one that is not there is success.
    fn delete<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<()>>;

    /// How a hypervisor opens it.
    fn attachment<'a>(&'a self, disk: &'a DiskSpec) -> BoxFuture<'a, Result<Attachment>>;

    /// Ids of all disks here.
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFacts {
    /// Bytes as the guest sees it.
    pub bytes: u64,
}

impl DiskFacts {
    /// MiB, rounded up.
    pub fn size_mb(&self) -> i64 {
        i64::try_from(self.bytes.div_ceil(1 << 20)).unwrap_or(i64::MAX)
    }
}

/// The files of a disk. What lies below is named here and not taken from a file's header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    pub path: PathBuf,
    /// `qcow2` or `raw`
    pub format: String,
    pub backing: Option<(PathBuf, String)>,
    /// Whether the filesystem can bypass the host's cache.
    pub direct: bool,
}
