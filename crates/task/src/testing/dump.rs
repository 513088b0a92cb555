//! Tables as sorted lines that can be compared between two worlds.

use base::{Facts, Result, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use store::{Cond, Db, Read};

/// Contents of some tables; times are only there or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump(BTreeMap<String, usize>);

/// Reads the rows of the tables that count, but for the volatile columns, each named as `column` or `table.column`.
pub async fn dump(db: &Db, tables: &[&'static Facts], rows: impl Fn(&Facts) -> Cond, volatile: &[&str]) -> Result<Dump> {
    let mut out = Dump::default();
    for facts in tables {
        let skipped = |column: &str| {
            volatile.iter().any(|v| *v == column || v.strip_suffix(column).and_then(|t| t.strip_suffix('.')) == Some(facts.table))
        };
        for row in (&mut &*db).find(facts, rows(facts)).await? {
            let mut line = String::new();
            for (field, value) in facts.fields.iter().zip(&row.values).filter(|(f, _)| !skipped(f.name)) {
                let text = match value {
                    Value::Text(s) => s.clone(),
                    Value::Json(j) => j.to_string(),
                    Value::Time(_) => "<time>".to_string(),
                    other => format!("{other:?}"),
                };
                let _ = write!(line, " {}={text}", field.name);
            }
            out.add(facts.table, vec![line]);
        }
    }
    Ok(out)
}

impl Dump {
    /// Adds lines of another source.
    pub fn add(&mut self, source: &str, lines: Vec<String>) {
        for line in lines {
            *self.0.entry(format!("{source}: {}", line.trim())).or_default() += 1;
        }
    }

    /// With all identifiers alike: for two worlds, which choose their own.
    #[must_use]
    pub fn blurred(&self) -> Dump {
        let mut out = Dump::default();
        for (line, n) in &self.0 {
            *out.0.entry(blur(line)).or_default() += n;
        }
        out
    }

    /// The lines in which another one differs, with `-` for those that are missing there and `+` for those that are too many.
    pub fn difference(&self, other: &Dump) -> Option<String> {
        let mut out = String::new();
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        for key in keys {
            let (mine, theirs) = (self.0.get(key).copied().unwrap_or(0), other.0.get(key).copied().unwrap_or(0));
            for _ in theirs..mine {
                let _ = writeln!(out, "- {key}");
            }
            for _ in mine..theirs {
                let _ = writeln!(out, "+ {key}");
            }
        }
        (!out.is_empty()).then_some(out)
    }
}

/// Puts `<id>` for what looks like a random identifier, wherever it stands.
fn blur(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).unwrap_or(rest.len());
        let word = &rest[..end];
        let digits = word.chars().filter(char::is_ascii_hexdigit).count();
        out.push_str(if digits == 32 && [32, 36].contains(&word.len()) { "<id>" } else { word });
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_with_and_without_identifiers() {
        let dump = |lines: &[&str]| {
            let mut out = Dump::default();
            out.add("x", lines.iter().map(ToString::to_string).collect());
            out
        };
        let a = dump(&["a 0b7f4c1e-6c1e-4b6e-9f6e-0123456789ab", "cafe 12", "cafe 12"]);
        let b = dump(&["a 0123456789abcdef0123456789abcdef", "cafe 12"]);
        assert_eq!(a.difference(&a), None);
        assert_eq!(
            a.difference(&b).unwrap(),
            "+ x: a 0123456789abcdef0123456789abcdef\n- x: a 0b7f4c1e-6c1e-4b6e-9f6e-0123456789ab\n- x: cafe 12\n"
        );
        assert_eq!(a.blurred().difference(&b.blurred()).unwrap(), "- x: cafe 12\n");
        assert_eq!(blur("disk-0123456789abcdef0123456789abcdef/ü"), "disk-0123456789abcdef0123456789abcdef/ü");
    }
}
