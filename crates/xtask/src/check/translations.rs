//! `i18n/zh.json`: one flat object from English template to Chinese template, with the same number of places.

use super::sources::{places, templates, translated_places};
use super::{Finding, House, Report};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

const CATALOGUE: &str = "i18n/zh.json";

pub fn check(house: &House) -> Result<Report> {
    let catalogue: BTreeMap<String, String> = serde_json::from_str(&house.text(CATALOGUE)?).with_context(|| CATALOGUE.to_string())?;
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    for template in templates(house)? {
        used.entry(template.text).or_insert_with(|| format!("{}:{}", template.file, template.line));
    }
    let mut report = Report { findings: judge(&catalogue, &used), notes: vec![] };
    let known: BTreeSet<&str> = used.keys().map(String::as_str).collect();
    let stale = catalogue.keys().filter(|text| !known.contains(text.as_str())).count();
    report.notes.push(format!("{} templates; {stale} translations of texts that are not error templates", used.len()));
    Ok(report)
}

fn judge(catalogue: &BTreeMap<String, String>, used: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (text, place) in used {
        match catalogue.get(text) {
            None => {
                findings.push(Finding::new(place, format!("no translation in {CATALOGUE}: {}", serde_json::Value::from(text.as_str()))))
            }
            Some(zh) if zh.trim().is_empty() => findings.push(Finding::new(CATALOGUE, format!("empty translation of {text:?}"))),
            Some(_) => {}
        }
    }
    for (text, zh) in catalogue.iter().filter(|(text, zh)| places(text) != translated_places(zh)) {
        findings.push(Finding::new(CATALOGUE, format!("{text:?} has {} places, its translation {}", places(text), translated_places(zh))));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_empty_and_uneven() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<BTreeMap<_, _>>();
        let catalogue = map(&[("a {}", "甲 {}"), ("b {}", "乙"), ("c", " ")]);
        let used = map(&[("a {}", "f:1"), ("b {}", "f:2"), ("c", "f:3"), ("d", "f:4")]);
        let texts: Vec<_> = judge(&catalogue, &used).into_iter().map(|f| f.text).collect();
        assert_eq!(
            texts,
            ["empty translation of \"c\"", "no translation in i18n/zh.json: \"d\"", "\"b {}\" has 1 places, its translation 0"]
        );
    }
}
