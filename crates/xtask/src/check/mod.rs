//! The checks of the house: what ARCHITECTURE.md says about crates, dependencies and files, proved on every run.
//!
//! Each check is a function from what is in the repository to a list of findings; none changes anything.

mod files;
mod layers;
mod manifests;
mod packages;
mod rust;
mod sources;
mod translations;
mod words;

use crate::{repo, run};
use anyhow::Result;
use std::path::PathBuf;
use std::time::Instant;

/// Something that is not as it must be: where, and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub place: String,
    pub text: String,
}

impl Finding {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding { place: place.into(), text: text.into() }
    }
}

/// What a check says: findings fail it, notes do not.
#[derive(Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub notes: Vec<String>,
}

/// What the checks look at.
pub struct House {
    pub root: PathBuf,
    /// Tracked and not ignored files, relative to the root.
    pub files: Vec<String>,
    pub crates: Vec<manifests::Crate>,
}

impl House {
    pub fn open() -> Result<House> {
        Ok(House { root: repo::root(), files: repo::files()?, crates: manifests::crates(&repo::metadata()?)? })
    }

    pub fn text(&self, file: &str) -> Result<String> {
        use anyhow::Context;
        std::fs::read_to_string(self.root.join(file)).with_context(|| format!("cannot read {file}"))
    }
}

type Check = fn(&House) -> Result<Report>;

/// Name, what it proves, how.
const CHECKS: &[(&str, &str, Check)] = &[
    ("layers", "a crate depends on lower floors only", layers::check),
    ("crates", "external crates only where they may be seen", manifests::check_owners),
    ("versions", "versions only in the root manifest", manifests::check_versions),
    ("packages", "package ceilings of the binaries", packages::check),
    ("duplicates", "one version of each package, or a written reason", packages::check_duplicates),
    ("clock", "only `base` reads the clock", sources::check_clock),
    ("errors", "every place of an error template has its argument", sources::check_places),
    ("translations", "every error template has a Chinese translation", translations::check),
    ("length", "no file over 800 lines without a written reason", files::check_length),
    ("words", "nothing of a workplace in tracked files", words::check),
    ("format", "cargo fmt", format),
];

/// Runs the checks and gives (passed, failed). `only` picks by name; empty is all. Lints cost a build, so they are asked for.
pub fn check(only: &[String], lints: bool) -> Result<(usize, usize)> {
    if let Some(unknown) = only.iter().find(|name| !CHECKS.iter().any(|(known, ..)| known == name)) {
        let known: Vec<_> = CHECKS.iter().map(|(name, ..)| *name).collect();
        anyhow::bail!("no check {unknown}; there are: {}", known.join(", "));
    }
    let house = House::open()?;
    let (mut passed, mut failed) = (0, 0);
    let lint: &[(&str, &str, Check)] = if lints { &[("lints", "cargo clippy", clippy)] } else { &[] };
    for (name, what, body) in CHECKS.iter().filter(|(name, ..)| only.is_empty() || only.iter().any(|n| n == name)).chain(lint) {
        let started = Instant::now();
        let report =
            body(&house).unwrap_or_else(|error| Report { findings: vec![Finding::new("check", format!("{error:#}"))], notes: vec![] });
        let ok = report.findings.is_empty();
        *(if ok { &mut passed } else { &mut failed }) += 1;
        eprintln!("check {name:<13} {:<6} {what} ({})", if ok { "ok" } else { "FAILED" }, run::seconds(started.elapsed()));
        for Finding { place, text } in &report.findings {
            eprintln!("    {place}: {text}");
        }
        for note in &report.notes {
            eprintln!("    note: {note}");
        }
    }
    Ok((passed, failed))
}

fn format(_: &House) -> Result<Report> {
    let mut report = Report::default();
    let out = repo::cargo().args(["fmt", "--all", "--check", "--", "-l"]).output()?;
    if !out.status.success() {
        let files = String::from_utf8_lossy(&out.stdout).into_owned();
        for file in files.lines() {
            report.findings.push(Finding::new(relative(file), "run: cargo fmt"));
        }
        if report.findings.is_empty() {
            report.findings.push(Finding::new("cargo fmt", String::from_utf8_lossy(&out.stderr).trim().to_string()));
        }
    }
    Ok(report)
}

fn clippy(_: &House) -> Result<Report> {
    let mut report = Report::default();
    let mut command = repo::cargo();
    if !run::shown(command.args(["clippy", "-q", "--workspace", "--all-targets", "--", "-D", "warnings"]))? {
        report.findings.push(Finding::new("cargo clippy", "see above"));
    }
    Ok(report)
}

fn relative(file: &str) -> String {
    std::path::Path::new(file).strip_prefix(repo::root()).map_or_else(|_| file.to_string(), |path| path.display().to_string())
}
