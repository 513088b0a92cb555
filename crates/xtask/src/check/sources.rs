//! Rules about source text: the clock, and error templates.

use super::rust::{self, Located, Token, matching};
use super::{Finding, House, Report};
use anyhow::Result;

/// Crates that ship nothing to users: their messages are not translated.
const NOT_SHIPPED: &[&str] = &["xtask", "testkit", "sim", "e2e"];

/// `crates/NAME/src/…` → NAME.
fn crate_of(file: &str) -> Option<&str> {
    file.strip_prefix("crates/")?.split('/').next()
}

/// Sources of crates, not their tests, benches and examples.
fn sources(house: &House) -> impl Iterator<Item = (&str, &str)> {
    house.files.iter().filter_map(|file| {
        let name = crate_of(file)?;
        (file.ends_with(".rs") && file[7 + name.len()..].starts_with("/src/")).then_some((name, file.as_str()))
    })
}

/// Functions that read the wall clock.
const CLOCKS: &[(&str, &str)] = &[("SystemTime", "now"), ("Timestamp", "now"), ("Zoned", "now"), ("Utc", "now"), ("Local", "now")];

pub fn check_clock(house: &House) -> Result<Report> {
    let mut report = Report::default();
    for (name, file) in sources(house).filter(|(name, _)| *name != "base") {
        for (line, call) in clock_reads(&rust::shipped(&house.text(file)?)) {
            report.findings.push(Finding::new(
                format!("{file}:{line}"),
                format!("{name} reads the clock with {call}: use the base::Clock it is given"),
            ));
        }
    }
    Ok(report)
}

fn clock_reads(tokens: &[Located]) -> Vec<(usize, String)> {
    use Token::{Mark, Word};
    let mut reads = Vec::new();
    for window in tokens.windows(4) {
        match [&window[0].token, &window[1].token, &window[2].token, &window[3].token] {
            [Word(kind), Mark(':'), Mark(':'), Word(function)] if CLOCKS.contains(&(kind, function)) => {
                reads.push((window[0].line, format!("{kind}::{function}")));
            }
            [Word(epoch), Mark('.'), Word(elapsed), _] if epoch == "UNIX_EPOCH" && elapsed == "elapsed" => {
                reads.push((window[0].line, "UNIX_EPOCH.elapsed".to_string()));
            }
            _ => {}
        }
    }
    reads
}

/// An error template in the sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub file: String,
    pub line: usize,
    pub text: String,
    /// Number of arguments, where it can be seen.
    pub arguments: Option<usize>,
}

/// Every template that can reach a user.
pub fn templates(house: &House) -> Result<Vec<Template>> {
    let mut all = Vec::new();
    for (_, file) in sources(house).filter(|(name, _)| !NOT_SHIPPED.contains(name)) {
        all.extend(templates_in(file, &rust::shipped(&house.text(file)?)));
    }
    Ok(all)
}

/// `said!("…", args…)`, `err!(Class, "…", args…)`, `bail!(Class, "…", args…)` and `Error::new(class, "…", arguments)`.
fn templates_in(file: &str, tokens: &[Located]) -> Vec<Template> {
    let word = |at: usize| match tokens.get(at).map(|t| &t.token) {
        Some(Token::Word(word)) => word.as_str(),
        _ => "",
    };
    let mark = |at: usize| match tokens.get(at).map(|t| &t.token) {
        Some(Token::Mark(mark)) => *mark,
        _ => '\0',
    };
    let mut all = Vec::new();
    for at in 0..tokens.len() {
        // Where the brackets open, whether the arguments can be counted, and whether a class comes first.
        let (open, counted, class) = match word(at) {
            "err" | "bail" if mark(at + 1) == '!' => (at + 2, true, true),
            "said" if mark(at + 1) == '!' => (at + 2, true, false),
            "Error" if mark(at + 1) == ':' && mark(at + 2) == ':' && word(at + 3) == "new" => (at + 4, false, true),
            _ => continue,
        };
        if !matches!(mark(open), '(' | '{' | '[') {
            continue;
        }
        let Some(close) = matching(tokens, open) else { continue };
        let commas = top_commas(tokens, open, close);
        let first = match (class, commas.first()) {
            (false, _) => open,
            (true, Some(&comma)) => comma,
            (true, None) => continue,
        };
        let Some(Located { token: Token::Text(text), line }) = tokens.get(first + 1) else { continue };
        // A trailing comma is not an argument.
        let arguments = commas.len() - usize::from(class) - usize::from(commas.last() == Some(&(close - 1)));
        all.push(Template { file: file.to_string(), line: *line, text: text.clone(), arguments: counted.then_some(arguments) });
    }
    all
}

/// Commas between `open` and `close` that are in no inner brackets.
fn top_commas(tokens: &[Located], open: usize, close: usize) -> Vec<usize> {
    let mut commas = Vec::new();
    let mut at = open + 1;
    while at < close {
        match tokens[at].token {
            Token::Mark('(' | '[' | '{') => at = matching(tokens, at).unwrap_or(close),
            Token::Mark(',') => commas.push(at),
            _ => {}
        }
        at += 1;
    }
    commas
}

/// Number of `{}` in a template.
pub fn places(template: &str) -> usize {
    template.matches("{}").count()
}

/// Places of a translation: `{}` in order, or `{0}`, `{1}` where the language has another order. Each argument once counts as all.
pub fn translated_places(translation: &str) -> usize {
    let numbered: std::collections::BTreeSet<usize> =
        translation.split('{').skip(1).filter_map(|rest| rest.split_once('}')?.0.parse().ok()).collect();
    let all = numbered.iter().copied().eq(0..numbered.len());
    places(translation) + if all { numbered.len() } else { usize::MAX / 2 }
}

pub fn check_places(house: &House) -> Result<Report> {
    let mut report = Report::default();
    for template in templates(house)? {
        let place = format!("{}:{}", template.file, template.line);
        if let Some(arguments) = template.arguments.filter(|n| *n != places(&template.text)) {
            report
                .findings
                .push(Finding::new(&place, format!("{:?} has {} places and {arguments} arguments", template.text, places(&template.text))));
        }
        // `{name}` and `{:?}` are not filled in: a template is data, not a format string.
        if let Some(odd) = odd_place(&template.text) {
            report.findings.push(Finding::new(&place, format!("{:?}: {odd} is not a place; only {{}} is", template.text)));
        }
    }
    Ok(report)
}

/// The first `{…}` with something that looks like a format argument in it.
fn odd_place(template: &str) -> Option<&str> {
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let length = rest[start..].find('}')?;
        let inner = &rest[start + 1..start + length];
        let like_format = inner.starts_with(':')
            || (!inner.is_empty() && inner.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == ':' || c == '?'));
        if like_format {
            return Some(&rest[start..=start + length]);
        }
        rest = &rest[start + length + 1..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_templates_and_counts_arguments() {
        let source = r#"
            fn a() -> Result<()> {
                base::bail!(NotFound, "no {} in {}", f(a, b), [1, 2][0],);
                err!(
                    Conflict,
                    "two \
                     lines"
                );
                Error::new(Class::Internal, "raw {}", vec![x]);
                Error::new(class, template, args);
                err!(TooLarge, "at most {}", 128);
                anyhow::bail!("not {} ours", x);
                // err!(NotFound, "a comment")
            }
            #[cfg(test)]
            mod tests { fn x() { err!(NotFound, "a test") } }
        "#;
        let found: Vec<_> = templates_in("f", &rust::shipped(source)).into_iter().map(|t| (t.line, t.text, t.arguments)).collect();
        assert_eq!(
            found,
            [
                (3, "no {} in {}".into(), Some(2)),
                (6, "two lines".into(), Some(0)),
                (9, "raw {}".into(), None),
                (11, "at most {}".into(), Some(1))
            ]
        );
    }

    #[test]
    fn odd_places() {
        assert_eq!(odd_place("a {name} b"), Some("{name}"));
        assert_eq!(odd_place("a {:?}"), Some("{:?}"));
        assert_eq!(odd_place("{} of {}; write {\"a\":1}"), None);
    }

    #[test]
    fn finds_clock_reads() {
        let tokens =
            rust::shipped("fn a() { std::time::SystemTime::now(); clock.now(); Instant::now()\nUNIX_EPOCH.elapsed() } // SystemTime::now");
        assert_eq!(clock_reads(&tokens), [(1, "SystemTime::now".to_string()), (2, "UNIX_EPOCH.elapsed".to_string())]);
    }
}
