//! Floors: who may depend on whom. The table is `layers.toml` beside this file.

use super::manifests::{Crate, Kind};
use super::{Finding, House, Report};
use anyhow::{Context, Result, bail};
use std::collections::HashMap;

struct Floors {
    /// Crate → number of its floor, 0 lowest.
    floor: HashMap<String, usize>,
    names: Vec<String>,
    arrows: Vec<(String, String)>,
    /// Usable by the tests of every crate.
    for_tests: Vec<String>,
}

pub fn check(house: &House) -> Result<Report> {
    let floors = parse(include_str!("layers.toml"))?;
    Ok(Report { findings: judge(&floors, &house.crates), notes: vec![] })
}

fn parse(text: &str) -> Result<Floors> {
    let table: toml::Table = text.parse().context("layers.toml")?;
    let strings = |value: Option<&toml::Value>| -> Vec<String> {
        value
            .and_then(toml::Value::as_array)
            .map(|list| list.iter().filter_map(|s| s.as_str().map(str::to_string)).collect())
            .unwrap_or_default()
    };
    let mut floors = Floors {
        floor: HashMap::new(),
        names: vec![],
        arrows: vec![],
        for_tests: strings(table.get("tests").and_then(|tests| tests.get("crates"))),
    };
    for (number, floor) in table.get("floor").and_then(toml::Value::as_array).context("layers.toml has no floors")?.iter().enumerate() {
        floors.names.push(floor.get("name").and_then(toml::Value::as_str).context("a floor without a name")?.to_string());
        for name in strings(floor.get("crates")) {
            if floors.floor.insert(name.clone(), number).is_some() {
                bail!("layers.toml: {name} is on two floors");
            }
        }
        for arrow in strings(floor.get("arrows")) {
            let (from, to) = arrow.split_once(" -> ").with_context(|| format!("layers.toml: arrow {arrow:?} is not `from -> to`"))?;
            floors.arrows.push((from.to_string(), to.to_string()));
        }
    }
    for (from, to) in &floors.arrows {
        if !floors.floor.contains_key(from) || !floors.floor.contains_key(to) || from == to {
            bail!("layers.toml: arrow {from} -> {to} names an unknown crate");
        }
    }
    Ok(floors)
}

fn judge(floors: &Floors, crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for each in crates {
        let Some(&own) = floors.floor.get(&each.name) else {
            findings.push(Finding::new(
                &each.manifest,
                format!("{} has no floor; give it one in crates/xtask/src/check/layers.toml", each.name),
            ));
            continue;
        };
        for dependency in each.dependencies.iter().filter(|d| d.path) {
            // An unknown crate is reported once, as itself.
            let Some(&other) = floors.floor.get(&dependency.name) else { continue };
            let arrow = floors.arrows.iter().any(|(from, to)| *from == each.name && *to == dependency.name);
            let test = dependency.kind == Kind::Dev && floors.for_tests.contains(&dependency.name);
            if other < own || arrow || test {
                continue;
            }
            let why = if other == own {
                format!("both are on the floor `{}`, and layers.toml has no arrow {} -> {}", floors.names[own], each.name, dependency.name)
            } else {
                format!("`{}` is above `{}`", floors.names[other], floors.names[own])
            };
            findings.push(Finding::new(&each.manifest, format!("{} must not use {}: {why}", each.name, dependency.name)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::manifests::Dependency;
    use super::*;

    const TABLE: &str = r#"
        [[floor]]
        name = "low"
        crates = ["a", "b"]
        arrows = ["a -> b"]
        [[floor]]
        name = "high"
        crates = ["c", "kit"]
        [tests]
        crates = ["kit"]
    "#;

    fn uses(name: &str, others: &[(&str, Kind)]) -> Crate {
        let dependencies = others.iter().map(|(name, kind)| Dependency { name: name.to_string(), kind: *kind, path: true }).collect();
        Crate { name: name.into(), manifest: format!("crates/{name}/Cargo.toml"), dependencies }
    }

    #[test]
    fn downwards_and_along_arrows_only() {
        let floors = parse(TABLE).expect("a table");
        let found = |each: Crate| judge(&floors, &[each]).into_iter().map(|f| f.text).collect::<Vec<_>>().join("; ");
        assert_eq!(found(uses("c", &[("a", Kind::Normal), ("b", Kind::Build)])), "");
        assert_eq!(found(uses("a", &[("b", Kind::Normal), ("kit", Kind::Dev)])), "");
        assert!(found(uses("b", &[("a", Kind::Normal)])).contains("no arrow b -> a"));
        assert!(found(uses("a", &[("kit", Kind::Normal)])).contains("`high` is above `low`"));
        assert!(found(uses("a", &[("c", Kind::Dev)])).contains("must not use c"));
        assert!(found(uses("new", &[])).contains("has no floor"));
    }

    #[test]
    fn the_table_itself() {
        let floors = parse(include_str!("layers.toml")).expect("our table");
        assert_eq!(floors.names, ["ground", "protocols", "platform", "contracts", "services", "doors"]);
        assert!(parse(&TABLE.replace("a -> b", "a -> nobody")).is_err());
        assert!(parse(&TABLE.replace(r#"["c", "kit"]"#, r#"["c", "a"]"#)).is_err());
    }
}
