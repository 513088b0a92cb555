//! Images as the region needs them: a narrow view of the image service.

use base::{Ctx, Result};
use resource::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    pub id: String,
    pub name: String,
    pub status: String,
    /// `qcow2`, `raw`, `iso`, …
    pub disk_format: String,
    /// Bytes of the file.
    pub size: u64,
    /// MD5, hex.
    pub checksum: String,
    /// MiB a disk made of it must have.
    pub min_disk: i64,
    /// MiB of memory a server made of it must have.
    pub min_ram: i64,
    pub os_arch: String,
    /// `os_type`, `os_distribution`, `uefi_support`, …
    pub properties: BTreeMap<String, String>,
}

/// The image service, in process or far away.
pub trait Images: Send + Sync {
    /// An image by id or name, if the caller may use it.
    fn find<'a>(&'a self, ctx: &'a Ctx, which: &'a str) -> BoxFuture<'a, Result<Image>>;

    /// The bytes of an image, or of the range a `Range` header names, as an HTTP answer.
    fn fetch<'a>(&'a self, id: &'a str, range: Option<&'a str>) -> BoxFuture<'a, Result<http::Response>>;
}
