//! What is known about the machine before anything is done to it. Reads files only: asking the package tools would take longer than the
//! second it may.

use super::sources::{self, Source};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug)]
pub struct Machine {
    /// `ID` of os-release: `debian`, `ubuntu`, …
    pub distribution: String,
    /// `bookworm`, `trixie`; empty where a distribution has none.
    pub codename: String,
    /// Name to show: `Debian GNU/Linux 12 (bookworm)`.
    pub pretty: String,
    /// Installed packages and their versions.
    pub installed: BTreeMap<String, String>,
    /// Active package sources.
    pub sources: Vec<Source>,
    pub root: bool,
}

impl Machine {
    pub fn here() -> Machine {
        Machine::under(Path::new("/"))
    }

    /// The same, of a machine whose file system is under a directory; `root` is always about this process.
    pub fn under(prefix: &Path) -> Machine {
        let release = fs::read_to_string(prefix.join("etc/os-release")).unwrap_or_default();
        let field = |name: &str| {
            release
                .lines()
                .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.trim_matches(['"', '\'']).to_string())
                .next()
                .unwrap_or_default()
        };
        Machine {
            distribution: field("ID"),
            codename: field("VERSION_CODENAME"),
            pretty: field("PRETTY_NAME"),
            installed: installed(&fs::read_to_string(prefix.join("var/lib/dpkg/status")).unwrap_or_default()),
            sources: source_files(prefix)
                .iter()
                .flat_map(|path| sources::parse(path, &fs::read_to_string(path).unwrap_or_default()))
                .collect(),
            root: rustix::process::geteuid().is_root(),
        }
    }

    pub fn is_debian(&self) -> bool {
        self.distribution == "debian" && !self.codename.is_empty()
    }
}

/// Names and versions of what a dpkg status file says is installed and configured, under their own names and those they stand in for: a Node.js
/// from its makers, for one, is npm as well, and Debian's cannot be put beside it.
fn installed(status: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for stanza in status.split("\n\n") {
        let (mut name, mut version, mut provides, mut ok) = ("", "", "", false);
        for line in stanza.lines() {
            if let Some(value) = line.strip_prefix("Package: ") {
                name = value;
            } else if let Some(value) = line.strip_prefix("Version: ") {
                version = value;
            } else if let Some(value) = line.strip_prefix("Provides: ") {
                provides = value;
            } else if let Some(value) = line.strip_prefix("Status: ") {
                ok = value.ends_with(" ok installed");
            }
        }
        if ok && !name.is_empty() {
            for other in provides.split(',').filter_map(|p| p.split_whitespace().next()) {
                all.entry(other.to_string()).or_insert_with(|| version.to_string());
            }
            all.insert(name.to_string(), version.to_string());
        }
    }
    all
}

/// The files apt reads its sources from, in its order.
fn source_files(prefix: &Path) -> Vec<PathBuf> {
    let mut files = vec![prefix.join("etc/apt/sources.list")];
    let mut parts: Vec<PathBuf> = fs::read_dir(prefix.join("etc/apt/sources.list.d"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    parts.retain(|path| path.extension().is_some_and(|end| end == "list" || end == "sources"));
    parts.sort();
    files.extend(parts);
    files.retain(|path| path.is_file());
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_machine() {
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        };
        put("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_CODENAME=bookworm\n");
        put(
            "var/lib/dpkg/status",
            "Package: git\nStatus: install ok installed\nVersion: 1:2.39\nProvides: git-core (= 1:2.39), git-old\nDescription: x\n Package: not this\n\n\
             Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok unpacked\nVersion: 1\n",
        );
        put("etc/apt/sources.list", "deb http://mirror.example/debian bookworm main\n");
        put("etc/apt/sources.list.d/off.sources.disabled", "Types: deb\nURIs: http://x.example\nSuites: y\n");
        let machine = Machine::under(dir.path());
        assert!(machine.is_debian());
        assert_eq!(
            machine.installed.into_iter().collect::<Vec<_>>(),
            ["git", "git-core", "git-old"].map(|name| (name.to_string(), "1:2.39".to_string()))
        );
        assert_eq!(machine.sources.len(), 1);
    }
}
