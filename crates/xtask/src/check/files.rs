//! Length of files. 800 lines is the ceiling; a longer one has its reason in `docs/long-files.md`.

use super::{Finding, House, Report};
use anyhow::Result;
use std::collections::BTreeMap;

const CEILING: usize = 800;
const REASONS: &str = "docs/long-files.md";
const KINDS: &[&str] = &[".rs", ".sh", ".ts", ".tsx", ".js", ".py", ".css"];

pub fn check_length(house: &House) -> Result<Report> {
    let reasons = if house.files.iter().any(|file| file == REASONS) { reasons(&house.text(REASONS)?) } else { BTreeMap::new() };
    let mut lengths = Vec::new();
    for file in house.files.iter().filter(|file| KINDS.iter().any(|end| file.ends_with(end))) {
        lengths.push((file.as_str(), house.text(file)?.lines().count()));
    }
    let mut report = Report { findings: judge(&lengths, &reasons), notes: vec![] };
    let total: usize = lengths.iter().map(|(_, lines)| lines).sum();
    if let Some((file, lines)) = lengths.iter().max_by_key(|(_, lines)| *lines) {
        report.notes.push(format!("{} files, {total} lines; the longest is {file} with {lines}", lengths.len()));
    }
    Ok(report)
}

/// Rows of the table: `| path | reason |`.
fn reasons(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(|cell| cell.trim().trim_matches('`'));
            Some((cells.next()?.to_string(), cells.next()?.to_string()))
        })
        .filter(|(path, _)| path.contains('/'))
        .collect()
}

fn judge(lengths: &[(&str, usize)], reasons: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, lines) in lengths.iter().filter(|(_, lines)| *lines > CEILING) {
        if reasons.get(*file).is_none_or(|reason| reason.is_empty()) {
            findings.push(Finding::new(*file, format!("{lines} lines: split it, or give the reason in {REASONS}")));
        }
    }
    for file in reasons.keys().filter(|file| !lengths.iter().any(|(name, lines)| name == file && *lines > CEILING)) {
        findings.push(Finding::new(REASONS, format!("{file} is not over {CEILING} lines (any more): drop its row")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_need_a_reason_and_reasons_a_long_file() {
        let reasons = reasons(
            "# Long files\n\n| file | reason |\n|---|---|\n| `crates/a/src/table.rs` | one table |\n| `crates/b/src/x.rs` | was long |\n| `crates/c/x.rs` | |\n",
        );
        let lengths = [("crates/a/src/table.rs", 900), ("crates/b/src/x.rs", 300), ("crates/c/x.rs", 801), ("crates/d/x.rs", 800)];
        let places: Vec<_> = judge(&lengths, &reasons).into_iter().map(|f| f.place).collect();
        assert_eq!(places, ["crates/c/x.rs", "docs/long-files.md"]);
    }
}
