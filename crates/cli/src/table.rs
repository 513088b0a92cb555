//! Tables of text: aligned by what a terminal shows, never with what would move its cursor.

use serde_json::Value as Json;
use unicode_width::UnicodeWidthStr;

/// Columns between columns.
const GAP: usize = 2;
/// No column is cut below this.
const LEAST: usize = 8;

/// Rows under a head. With a width, the widest columns are cut until a line fits.
pub fn rows(head: &[String], rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.width()).collect();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            widths[i] = widths[i].max(cell.width());
        }
    }
    if let Some(width) = width {
        while widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1) > width {
            let Some((widest, _)) = widths.iter().enumerate().filter(|(_, w)| **w > LEAST).max_by_key(|(_, w)| **w) else { break };
            widths[widest] -= 1;
        }
    }
    let mut out = String::new();
    let heads: Vec<String> = head.iter().map(|h| h.to_uppercase()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let cell = cut(cell, *width);
            line.push_str(&cell);
            line.extend(std::iter::repeat_n(' ', width - cell.width().min(*width) + GAP));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Names and values, one pair a line.
pub fn pairs(pairs: &[(String, String)]) -> String {
    let width = pairs.iter().map(|(k, _)| k.width()).max().unwrap_or(0);
    pairs.iter().map(|(k, v)| format!("{k}{}{v}\n", " ".repeat(width - k.width() + GAP))).collect()
}

fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_string();
    }
    let mut out = String::new();
    for c in text.chars() {
        if out.width() + UnicodeWidthStr::width(c.encode_utf8(&mut [0; 4]) as &str) + 1 > width {
            break;
        }
        out.push(c);
    }
    out + "…"
}

/// A value in a cell. What a name somebody chose could do to a terminal is taken out.
pub fn cell(value: &Json) -> String {
    let text = match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn strings(row: &[&str]) -> Vec<String> {
        row.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn columns_align_by_what_is_seen() {
        let text = rows(&strings(&["name", "status"]), &[strings(&["北京", "ready"]), strings(&["web", "running"])], None);
        assert_eq!(text, "NAME  STATUS\n北京  ready\nweb   running\n");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest() {
        let text = rows(&strings(&["id", "notes"]), &[strings(&["1", "a very long explanation of nothing"])], Some(20));
        assert!(text.lines().all(|l| l.width() <= 20) && text.contains('…'), "{text}");
    }

    #[test]
    fn values_cannot_move_the_cursor() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\nc")), "a [2Jb c");
        assert_eq!(
            (cell(&json!(["x", 1])), cell(&json!({"a": 1})), cell(&json!(null)), cell(&json!(true))),
            ("x,1".into(), "{\"a\":1}".into(), String::new(), "true".into())
        );
    }

    #[test]
    fn pairs_align() {
        assert_eq!(pairs(&[("id".into(), "1".into()), ("name".into(), "w".into())]), "id    1\nname  w\n");
    }
}
