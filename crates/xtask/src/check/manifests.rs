//! Manifests: versions of external crates stand in the root only, and some external crates may be seen by few of ours.

use super::{Finding, House, Report};
use anyhow::{Context, Result};
use serde_json::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Build,
    Dev,
}

/// A dependency as a manifest names it.
#[derive(Clone, Debug)]
pub struct Dependency {
    pub name: String,
    pub kind: Kind,
    /// One of our own, by path.
    pub path: bool,
}

/// A crate of the workspace.
#[derive(Clone, Debug)]
pub struct Crate {
    pub name: String,
    /// Relative to the root of the repository.
    pub manifest: String,
    pub dependencies: Vec<Dependency>,
}

/// The workspace's crates in what `cargo metadata` printed.
pub fn crates(metadata: &Value) -> Result<Vec<Crate>> {
    let root = metadata["workspace_root"].as_str().context("cargo metadata gives no root")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut crates = Vec::new();
    for package in list(&metadata["packages"]) {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_string();
        let dependencies = list(&package["dependencies"])
            .iter()
            .map(|dependency| Dependency {
                name: dependency["name"].as_str().unwrap_or_default().to_string(),
                kind: match dependency["kind"].as_str() {
                    Some("dev") => Kind::Dev,
                    Some("build") => Kind::Build,
                    _ => Kind::Normal,
                },
                path: dependency["path"].is_string(),
            })
            .collect();
        let manifest = text("manifest_path");
        crates.push(Crate {
            name: text("name"),
            manifest: manifest.strip_prefix(root).unwrap_or(&manifest).trim_start_matches('/').to_string(),
            dependencies,
        });
    }
    Ok(crates)
}

/// Where an external crate may be named.
struct Owner {
    crates: &'static [&'static str],
    owners: &'static [&'static str],
    /// Whether tests of others may use it.
    tests: bool,
    why: &'static str,
}

const OWNERS: &[Owner] = &[
    Owner { crates: &["sqlx", "rusqlite", "tokio-postgres"], owners: &["store"], tests: false, why: "only `store` sees SQL drivers" },
    Owner {
        crates: &["axum", "hyper", "hyper-util", "tower", "tower-http", "reqwest", "http-body-util", "tokio-rustls", "rustls"],
        owners: &["http"],
        tests: false,
        why: "only `http` sees HTTP and TLS libraries",
    },
    Owner { crates: &["syn", "quote", "proc-macro2"], owners: &["derive"], tests: false, why: "one derive macro, in `derive`" },
    Owner {
        crates: &["anyhow"],
        owners: &["cli", "wolke", "xtask", "testkit", "sim", "e2e", "benches"],
        tests: true,
        why: "libraries give errors of `base`; anyhow is for binaries and tests",
    },
];

pub fn check_owners(house: &House) -> Result<Report> {
    Ok(Report { findings: judge_owners(&house.crates), notes: vec![] })
}

fn judge_owners(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for each in crates {
        for dependency in each.dependencies.iter().filter(|d| !d.path) {
            for owner in OWNERS.iter().filter(|o| o.crates.contains(&dependency.name.as_str())) {
                let may = owner.owners.contains(&each.name.as_str()) || (owner.tests && dependency.kind == Kind::Dev);
                if !may {
                    findings.push(Finding::new(&each.manifest, format!("must not name {}: {}", dependency.name, owner.why)));
                }
            }
        }
    }
    findings
}

pub fn check_versions(house: &House) -> Result<Report> {
    let mut report = Report::default();
    for each in &house.crates {
        report.findings.extend(judge_versions(&each.manifest, &house.text(&each.manifest)?)?);
    }
    Ok(report)
}

fn judge_versions(manifest: &str, text: &str) -> Result<Vec<Finding>> {
    let table: toml::Table = text.parse().with_context(|| manifest.to_string())?;
    let mut findings = Vec::new();
    let mut tables = vec![&table];
    let targets = table.get("target").and_then(toml::Value::as_table);
    tables.extend(targets.into_iter().flat_map(|all| all.values()).filter_map(toml::Value::as_table));
    for table in tables {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in table.get(section).and_then(toml::Value::as_table).into_iter().flatten() {
                let inherited = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                let ours = value.get("path").is_some() && value.get("version").is_none();
                if !inherited && !ours {
                    findings.push(Finding::new(
                        manifest,
                        format!("{section}.{name}: put the version into [workspace.dependencies] of the root and write {{ workspace = true }} here"),
                    ));
                }
            }
        }
    }
    for field in ["version", "edition", "license"] {
        if table.get("package").and_then(|package| package.get(field)).is_some_and(|value| value.get("workspace").is_none()) {
            findings.push(Finding::new(manifest, format!("package.{field}: write {field}.workspace = true")));
        }
    }
    if table.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool) != Some(true) {
        findings.push(Finding::new(manifest, "add [lints] workspace = true"));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_inherited() {
        let good = "[package]\nname='x'\nversion.workspace=true\n[lints]\nworkspace=true\n[dependencies]\nserde={workspace=true}\nbase={path='../base'}\n";
        assert_eq!(judge_versions("m", good).expect("toml"), []);
        let bad = "[package]\nversion='1'\n[dependencies]\na='1'\nb={version='2',path='../b'}\n[target.'cfg(unix)'.dev-dependencies]\nc={git='x'}\n";
        let found = judge_versions("m", bad).expect("toml");
        let text = found.iter().map(|f| f.text.as_str()).collect::<Vec<_>>().join("\n");
        assert_eq!(found.len(), 5, "{text}");
        assert!(
            text.contains("dependencies.a")
                && text.contains("dev-dependencies.c")
                && text.contains("package.version")
                && text.contains("[lints]")
        );
    }

    #[test]
    fn some_crates_are_seen_by_few() {
        let metadata = serde_json::json!({"workspace_root": "/r", "packages": [
            {"name": "store", "manifest_path": "/r/crates/store/Cargo.toml", "dependencies": [{"name": "sqlx", "kind": null}]},
            {"name": "region", "manifest_path": "/r/crates/region/Cargo.toml", "dependencies": [
                {"name": "sqlx", "kind": "dev"}, {"name": "anyhow", "kind": "dev"}, {"name": "axum", "kind": null}, {"name": "store", "path": "/r/crates/store"}]},
        ]});
        let found = judge_owners(&crates(&metadata).expect("metadata"));
        let texts: Vec<_> = found.iter().map(|f| (f.place.as_str(), f.text.split(':').next().unwrap_or_default())).collect();
        assert_eq!(texts, [("crates/region/Cargo.toml", "must not name sqlx"), ("crates/region/Cargo.toml", "must not name axum")]);
    }
}
