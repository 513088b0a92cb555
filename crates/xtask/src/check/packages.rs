//! Packages: how many a binary is made of, ours included, and of which there is more than one version. Ceilings and written reasons make
//! each new dependency a decision.

use super::{Finding, House, Report};
use crate::{repo, run};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Binary crate, most packages.
const CEILINGS: &[(&str, usize)] = &[("wolke", 350)];

pub fn check(house: &House) -> Result<Report> {
    let mut report = Report::default();
    for (name, ceiling) in CEILINGS {
        if !house.crates.iter().any(|each| each.name == *name) {
            report.notes.push(format!("there is no crate {name} yet"));
            continue;
        }
        let tree = run::read(repo::cargo().args(["tree", "-q", "-p", name, "-e", "normal,build", "--prefix", "none", "--no-dedupe"]))?;
        let count = count(&tree);
        report.notes.push(format!("{name}: {count} packages of {ceiling}"));
        if count > *ceiling {
            report
                .findings
                .push(Finding::new(*name, format!("{count} packages, {ceiling} allowed: drop one, or argue for a higher ceiling")));
        }
    }
    Ok(report)
}

/// Every package with more than one version has all but one of them under `bans.skip` of deny.toml.
pub fn check_duplicates(house: &House) -> Result<Report> {
    let tree = run::read(repo::cargo().args(["tree", "-q", "--workspace", "-e", "normal,build", "--prefix", "none", "--no-dedupe"]))?;
    let deny: toml::Table = house.text("deny.toml")?.parse().context("deny.toml")?;
    let skip = deny.get("bans").and_then(|bans| bans.get("skip")).and_then(toml::Value::as_array).context("deny.toml has no bans.skip")?;
    let skip: Vec<&str> = skip.iter().filter_map(|entry| entry.get("crate")?.as_str()).collect();
    Ok(Report { findings: judge_duplicates(&tree, &skip), notes: vec![] })
}

/// `skip`: `name@version`, where the version may be only its beginning (`0.10` covers 0.10.9).
fn judge_duplicates(tree: &str, skip: &[&str]) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next().and_then(|v| v.strip_prefix('v'))) {
            versions.entry(name).or_default().insert(version);
        }
    }
    let skipped = |name: &str, version: &str| {
        skip.iter()
            .filter_map(|entry| entry.split_once('@'))
            .any(|(n, v)| n == name && (v == version || version.starts_with(&format!("{v}."))))
    };
    let mut findings = Vec::new();
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let kept: Vec<&str> = versions.iter().filter(|version| !skipped(name, version)).copied().collect();
        if kept.len() > 1 {
            let text = format!("versions {} side by side: make them one, or give the reason under bans.skip of deny.toml", kept.join(", "));
            findings.push(Finding::new(*name, text));
        }
    }
    for entry in skip {
        let (name, version) = entry.split_once('@').unwrap_or((entry, ""));
        let used = versions
            .get(name)
            .is_some_and(|all| all.len() > 1 && all.iter().any(|v| *v == version || v.starts_with(&format!("{version}."))));
        if !used {
            findings.push(Finding::new("deny.toml", format!("bans.skip {entry}: there is only one version (any more): drop the entry")));
        }
    }
    findings
}

/// Different packages in `cargo tree --prefix none`: one a line, `name vX.Y.Z …`, repeated at will.
fn count(tree: &str) -> usize {
    tree.lines().filter_map(|line| Some((line.split(' ').next()?, line.split(' ').nth(1)?))).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::judge_duplicates;

    #[test]
    fn duplicates_need_a_reason_and_reasons_a_duplicate() {
        let tree = "sha2 v0.10.9\nsha2 v0.11.1\nsha2 v0.11.1 (*)\nhttp v1.5.0\nhttp v0.0.0 (/r/crates/http)\nsyn v2.0.1 (proc-macro)\nsyn v3.0.0 (proc-macro)\n";
        assert_eq!(judge_duplicates(tree, &["sha2@0.10", "syn@2", "http@0.0.0"]), []);
        let found: Vec<_> = judge_duplicates(tree, &["syn@2", "http@1", "http@0.1", "sha2@0.1"]).into_iter().map(|f| f.place).collect();
        assert_eq!(found, ["sha2", "deny.toml", "deny.toml"]);
    }

    #[test]
    fn packages_count_once_per_version() {
        let tree = "wolke v0.0.0 (/r/crates/wolke)\nserde v1.0.1\nserde v1.0.1 (*)\nsyn v2.0.1 (proc-macro)\nsyn v3.0.0 (proc-macro)\n\n";
        assert_eq!(super::count(tree), 4);
    }
}
