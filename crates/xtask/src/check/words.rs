//! What must not be in a tracked file: paths of the machine it was written on, package mirrors of that machine, traces of how it was
//! written. The machine's own paths and hosts are asked for, so none of them stands here either.

use super::{Finding, House, Report};
use anyhow::Result;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A path that says nothing about who works where.
const COMMON: &[&str] = &[
    "/",
    "/root",
    "/home",
    "/usr",
    "/usr/src",
    "/srv",
    "/opt",
    "/tmp",
    "/var",
    "/var/tmp",
    "/mnt",
    "/data",
    "/src",
    "/app",
    "/build",
    "/workspace",
];

/// Hosts everybody names.
const PUBLIC: &[&str] = &["github.com", "localhost", "127.0.0.1"];

pub fn check(house: &House) -> Result<Report> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut forbidden: Vec<String> = machine_paths(&house.root, home.as_deref());
    forbidden.push(concat!("/tmp/", "wolke").to_string());
    let hosts = machine_hosts(home.as_deref());
    let mut report = Report::default();
    for file in &house.files {
        // Binary files are not text.
        let Ok(text) = fs::read_to_string(house.root.join(file)) else { continue };
        let lock = file.ends_with("Cargo.lock");
        for (number, line) in text.lines().enumerate() {
            let found = forbidden_in(line, &forbidden)
                .or_else(|| if lock { None } else { forbidden_in(line, hosts.iter()).or_else(|| trace_in(line)) });
            if let Some(what) = found {
                report.findings.push(Finding::new(format!("{file}:{}", number + 1), format!("must not say {what:?}")));
            }
        }
    }
    Ok(report)
}

/// The checkout and the directory around it, unless that is a place everyone has.
fn machine_paths(root: &Path, home: Option<&Path>) -> Vec<String> {
    root.ancestors()
        .take(2)
        .chain(home)
        .map(|path| path.display().to_string())
        .filter(|path| !COMMON.contains(&path.as_str()))
        .map(|path| format!("{path}/"))
        .collect()
}

/// Hosts this machine gets packages from.
fn machine_hosts(home: Option<&Path>) -> BTreeSet<String> {
    let mut files: Vec<PathBuf> = vec!["/etc/apt/sources.list".into(), "/etc/pip.conf".into(), "/etc/npmrc".into()];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path()));
    if let Some(home) = home {
        files.extend([".cargo/config.toml", ".cargo/config", ".config/pip/pip.conf"].map(|name| home.join(name)));
    }
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .flat_map(|text| hosts(&text))
        .filter(|host| !PUBLIC.contains(&host.as_str()))
        .collect()
}

/// The hosts of the URLs in a text.
fn hosts(text: &str) -> Vec<String> {
    text.split("://")
        .skip(1)
        .filter_map(|rest| {
            let authority = rest.split(|c: char| c.is_whitespace() || "/\"'>,".contains(c)).next()?;
            let host = authority.rsplit('@').next()?.split(':').next()?;
            host.contains('.').then(|| host.to_string())
        })
        .collect()
}

/// The first forbidden text that begins where a word or path may begin.
fn forbidden_in<'a>(line: &str, forbidden: impl IntoIterator<Item = &'a String>) -> Option<String> {
    forbidden
        .into_iter()
        .find(|text| {
            line.match_indices(text.as_str()).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-/".contains(c)))
        })
        .cloned()
}

/// Product names of writing aids, and numbers of some tracker.
fn trace_in(line: &str) -> Option<String> {
    const NAMES: &[&str] =
        &[concat!("anth", "ropic"), concat!("clau", "de"), concat!("chat", "gpt"), concat!("cop", "ilot"), concat!("sub", "agent")];
    let lower = line.to_ascii_lowercase();
    if let Some(name) = NAMES.iter().find(|name| words(&lower).any(|word| word == **name)) {
        return Some(name.to_string());
    }
    // A tracker word before the number, or a project name and three digits without a space.
    for (at, _) in lower.match_indices('#') {
        let digits = lower[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let after = lower.as_bytes().get(at + 1 + digits);
        if digits == 0 || after.is_some_and(|byte| byte.is_ascii_alphanumeric()) {
            continue;
        }
        let before = lower[..at].trim_end();
        let word: String = before.chars().rev().take_while(char::is_ascii_alphanumeric).collect::<Vec<_>>().into_iter().rev().collect();
        let close = before.len() == at && digits >= 3 && word.starts_with(|c: char| c.is_ascii_alphabetic());
        if ["issue", "issues", "pr", "pull", "ticket", "bug"].contains(&word.as_str()) || close {
            return Some(lower[at - (at - before.len()) - word.len()..at + 1 + digits].to_string());
        }
    }
    None
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_machine() {
        let paths = machine_paths(Path::new("/lab/cloud"), Some(Path::new("/home/ada")));
        assert_eq!(paths, ["/lab/cloud/", "/lab/", "/home/ada/"]);
        assert_eq!(machine_paths(Path::new("/srv/cloud"), Some(Path::new("/root"))), ["/srv/cloud/"]);
        assert_eq!(forbidden_in("see /lab/notes", &paths).as_deref(), Some("/lab/"));
        assert_eq!(forbidden_in("see docs/lab/notes and /laboratory/x", &paths), None);
    }

    #[test]
    fn hosts_of_urls() {
        let text =
            "URIs: http://mirror.example/debian\nindex = \"sparse+https://user@crates.example:8443/index/\"\nx = http://localhost/\n";
        assert_eq!(hosts(text), ["mirror.example", "crates.example"]);
    }

    #[test]
    fn traces() {
        assert_eq!(trace_in(&format!("see {} #{}", "issue", 12)).as_deref(), Some(concat!("issue ", "#12")));
        assert_eq!(trace_in(&format!("upstream cp#{}", 16000)).as_deref(), Some(concat!("cp", "#16000")));
        for fine in ["colour #123456", "a = #1", "r#\"x\"#", "#[test]", "&#123;", "color: #fff", "C# 12", "## 1"] {
            assert_eq!(trace_in(fine), None, "{fine}");
        }
    }
}
