//! What an operator may set.

use diskimage::Format;
use serde::{Deserialize, Deserializer, de::Error};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Options {
    /// What the installation may have.
    #[serde(skip)]
    pub allowance: Option<std::sync::Arc<dyn resource::Allowance>>,
    /// Directory of the image files, this service's alone; empty: `images` in the data directory.
    pub dir: PathBuf,
    /// Formats that every disk image is also offered in.
    #[serde(deserialize_with = "formats")]
    pub target_formats: Vec<Format>,
    /// Largest image taken, bytes.
    pub max_image: u64,
    /// Left free on the file system of the images, bytes.
    pub reserve: u64,
    /// Uploads and downloads at once; more wait.
    pub streams: usize,
    /// Uploads and downloads that may wait; beyond it 429.
    pub waiting: usize,
    /// How long each of them waits; then 429.
    #[serde(deserialize_with = "config::period")]
    pub patience: Duration,
    /// How often rows and files are compared.
    #[serde(deserialize_with = "config::period")]
    pub verify: Duration,
    /// How often the recycle bin is looked through.
    #[serde(deserialize_with = "config::period")]
    pub purge: Duration,
    /// How long an image stays in the recycle bin.
    #[serde(deserialize_with = "config::period")]
    pub keep_deleted: Duration,
    /// Whether deleted images go to the recycle bin first.
    pub recycle: bool,
    /// Most images removed from the recycle bin in one go.
    pub purge_batch: u64,
    /// Whether image counts are held against quotas.
    pub check_quota: bool,
    /// Images a project may have where no quota is set; a domain has ten times as many. -1: any number.
    pub default_quota: i64,
    /// Hosts (`name` or `name:port`) that images may be fetched from on request. Empty: none.
    pub copy_from_hosts: Vec<String>,
    /// The program that makes copies in other formats.
    pub qemu_img: PathBuf,
}

fn formats<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Format>, D::Error> {
    let known = |name: &String| {
        let found = Format::ALL.into_iter().find(|f| f.name() == name);
        found.ok_or_else(|| D::Error::custom(format!("{name} is no image format; known are {}", Format::ALL.map(Format::name).join(", "))))
    };
    Vec::<String>::deserialize(d)?.iter().map(known).collect()
}

impl Default for Options {
    fn default() -> Options {
        Options::new(PathBuf::new())
    }
}

impl Options {
    /// The defaults for a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            allowance: None,
            dir: dir.into(),
            target_formats: vec![Format::Qcow2],
            max_image: 16 << 40,
            reserve: 512 << 20,
            streams: 64,
            waiting: 1024,
            patience: Duration::from_secs(30),
            verify: Duration::from_secs(15 * 60),
            purge: Duration::from_secs(3600),
            keep_deleted: Duration::from_secs(3 * 86_400),
            recycle: true,
            purge_batch: 50,
            check_quota: false,
            default_quota: 10,
            copy_from_hosts: Vec::new(),
            qemu_img: "qemu-img".into(),
        }
    }
}
