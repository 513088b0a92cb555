//! The program `qemu-img`: its JSON is read, its words are only passed on.

use base::{Result, err};
use serde::Deserialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Creating and growing write headers, not contents.
const WITHIN: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub(super) struct QemuImg {
    pub program: PathBuf,
}

/// `qemu-img info --output json`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Info {
    pub virtual_size: u64,
    pub format: String,
    pub backing_filename: Option<PathBuf>,
    pub backing_filename_format: Option<String>,
}

impl QemuImg {
    /// Reads a file as the format it must have; also while a guest writes to it.
    pub async fn info(&self, path: &Path, format: &str) -> Result<Info> {
        let out =
            self.run(["info".as_ref(), "-U".as_ref(), "-f".as_ref(), format.as_ref(), "--output=json".as_ref(), path.as_os_str()]).await?;
        serde_json::from_slice(&out).map_err(|e| err!(Internal, "disk file {} cannot be read", path.display()).with_context(e))
    }

    pub async fn create(&self, path: &Path, format: &str, backing: Option<(&Path, &str)>, bytes: u64) -> Result<()> {
        let size = bytes.to_string();
        let mut args: Vec<&OsStr> = vec!["create".as_ref(), "-q".as_ref(), "-f".as_ref(), format.as_ref()];
        if let Some((below, below_format)) = backing {
            args.extend::<[&OsStr; 4]>(["-b".as_ref(), below.as_os_str(), "-F".as_ref(), below_format.as_ref()]);
        }
        args.extend::<[&OsStr; 2]>([path.as_os_str(), size.as_ref()]);
        self.run(args).await.map(drop)
    }

    pub async fn resize(&self, path: &Path, format: &str, bytes: u64) -> Result<()> {
        let size = bytes.to_string();
        let args: [&OsStr; 6] = ["resize".as_ref(), "-q".as_ref(), "-f".as_ref(), format.as_ref(), path.as_os_str(), size.as_ref()];
        self.run(args).await.map(drop)
    }

    async fn run<'a>(&self, args: impl IntoIterator<Item = &'a OsStr>) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.program);
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        let what = format!("{command:?}");
        let out = tokio::time::timeout(WITHIN, command.output())
            .await
            .map_err(|_| err!(Timeout, "the program {} did not end in time", self.program.display()).with_context(&what))?
            .map_err(|e| err!(Internal, "the program {} cannot be run: {}", self.program.display(), e))?;
        if out.status.success() {
            return Ok(out.stdout);
        }
        let words = String::from_utf8_lossy(&out.stderr);
        let last = words.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("it gave no reason");
        Err(err!(Internal, "disk operation refused: {}", last).with_context(format!("{what}: {words}")))
    }
}
