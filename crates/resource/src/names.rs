//! Names: what may be one, uniqueness, and patterns (spec 01 §6.4).

use crate::{Kind, Map, Naming, body};
use base::{Level, Result, Row, err};
use std::collections::HashSet;
use store::{Cond, Match, Read, Tx};

const MAX: usize = 128;

/// Refuses what cannot be a name.
pub fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(err!(MissingParameter, "name is missing; give one of 1 to 128 characters"));
    }
    if name.chars().count() > MAX {
        return Err(err!(InputParameter, "name: at most {} characters, got {}", MAX, name.chars().count()));
    }
    if let Some(bad) = name.chars().find(|c| matches!(c, '/' | '\\' | ';') || c.is_control()) {
        return Err(err!(InputParameter, "name: the character {} is not allowed; leave it out", bad.escape_default()));
    }
    Ok(())
}

/// What the client asked a new row to be called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Exactly this; when several are made, a pattern too.
    Exact(String),
    /// A pattern, made unique.
    Pattern(String),
}

pub(crate) fn wish(kind: &Kind, map: &Map) -> Result<Option<Wish>> {
    if !kind.facts.has("name") {
        return Ok(None);
    }
    let (name, pattern) = (body::text(map, &["name"]), body::text(map, &["generate_name"]));
    let wish = match (name, pattern) {
        (_, Some(p)) => Wish::Pattern(p),
        (Some(n), None) => Wish::Exact(n),
        (None, None) if kind.naming == Naming::Free => return Ok(None),
        (None, None) => return Err(err!(MissingParameter, "name or generate_name is missing; give one of them")),
    };
    let (Wish::Exact(text) | Wish::Pattern(text)) = &wish;
    check_name(text)?;
    Ok(Some(wish))
}

/// The rows among which the row's name must be unique.
pub(crate) fn siblings(kind: &Kind, row: &Row) -> Cond {
    let mut cond = crate::engine::alive(kind.facts);
    if kind.facts.has("pending_deleted") {
        cond = cond.and(Cond::eq("pending_deleted", false));
    }
    match kind.naming {
        Naming::Global | Naming::Free => cond,
        Naming::Parent => match &kind.parent {
            Some(parent) => cond.and(Cond::eq(parent.column, row.text(parent.column))),
            None => cond,
        },
        Naming::Owner => match kind.facts.level {
            Level::System => cond,
            Level::Domain => cond.and(Cond::eq("domain_id", row.text("domain_id"))),
            Level::Project => cond.and(Cond::eq("tenant_id", row.text("tenant_id"))),
            Level::User => cond.and(Cond::eq("owner_id", row.text("owner_id"))),
        },
    }
}

/// Refuses a name that a sibling has.
pub(crate) async fn demand_free(tx: &mut Tx, kind: &Kind, row: &Row) -> Result<()> {
    if kind.naming == Naming::Free || !kind.facts.has("name") {
        return Ok(());
    }
    let taken = siblings(kind, row).and(Cond::eq("name", row.name())).and(Cond::ne("id", row.id()));
    if tx.count(kind.facts.table, taken).await? > 0 {
        return Err(err!(DuplicateName, "{} named {} exists already; choose another name", kind.facts.name, row.name()));
    }
    Ok(())
}

/// Names for `count` new rows; patterns take the first free ones.
pub(crate) async fn choose(tx: &mut Tx, kind: &Kind, row: &Row, wish: &Wish, count: usize) -> Result<Vec<String>> {
    match wish {
        Wish::Exact(name) if count == 1 => Ok(vec![name.clone()]),
        Wish::Exact(pattern) | Wish::Pattern(pattern) => {
            let prefix: String = pattern.chars().take_while(|c| !matches!(c, '#' | '?')).collect();
            let mut cond = siblings(kind, row);
            if !prefix.is_empty() {
                cond = cond.and(Cond::Text("name".into(), Match::Starts, prefix));
            }
            let select = store::Select::from(kind.facts.table).column("name", base::Kind::Text).filter(cond);
            let taken: HashSet<String> = tx.rows(&select).await?.into_iter().map(|r| r[0].as_str().to_string()).collect();
            Ok(expand(pattern, &taken, count))
        }
    }
}

/// `web-###` → `web-001`; `web##9#` starts at 9; `?` is a random letter or digit; no place appends `-<n>` when the bare name is taken.
fn expand(pattern: &str, taken: &HashSet<String>, count: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::with_capacity(count);
    let (start, end) = match pattern.find('#') {
        Some(start) => {
            let tail = &pattern[start..];
            let end = tail.char_indices().take_while(|(_, c)| *c == '#' || c.is_ascii_digit()).filter(|(_, c)| *c == '#').last();
            (start, start + end.map_or(0, |(i, _)| i + 1))
        }
        None => (pattern.len(), pattern.len()),
    };
    let place = &pattern[start..end];
    let first: u64 = place.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(1);
    let width = place.len();
    let bare = place.is_empty();
    let mut n = first;
    while out.len() < count {
        let name = if bare && !pattern.contains('?') {
            if n == first && count == 1 && !taken.contains(pattern) { pattern.to_string() } else { format!("{pattern}-{n}") }
        } else {
            let number = if bare { String::new() } else { format!("{n:0width$}") };
            randomise(&format!("{}{number}{}", &pattern[..start], &pattern[end..]))
        };
        n += 1;
        if !taken.contains(&name) && !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

fn randomise(name: &str) -> String {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    name.chars()
        .map(|c| {
            if c != '?' {
                return c;
            }
            let mut byte = [0u8; 1];
            // Without randomness from the kernel nothing on this machine is safe; a name of one letter is the least of it.
            let _ = getrandom::fill(&mut byte);
            LETTERS[byte[0] as usize % LETTERS.len()] as char
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, taken: &[&str], count, want: &[&str]| {
            let taken = taken.iter().map(|s| s.to_string()).collect();
            assert_eq!(expand(pattern, &taken, count), want, "{pattern}");
        };
        check("web-###", &[], 2, &["web-001", "web-002"]);
        check("web-###", &["web-001"], 1, &["web-002"]);
        check("web##9#", &[], 1, &["web0009"]);
        check("web-#-x", &[], 2, &["web-1-x", "web-2-x"]);
        check("web", &[], 1, &["web"]);
        check("web", &["web"], 1, &["web-1"]);
        check("web", &[], 2, &["web-1", "web-2"]);
        assert!(expand("a??", &HashSet::new(), 1)[0].starts_with('a'));
        assert!(!expand("a??", &HashSet::new(), 1)[0].contains('?'));
    }

    #[test]
    fn forbidden_characters() {
        for bad in ["", " ", "a/b", "a\\b", "a;b", "a\nb", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["web-1", "数据库", "a b", "x.y_z"] {
            assert!(check_name(good).is_ok(), "{good:?}");
        }
    }
}
