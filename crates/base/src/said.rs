//! Sentences that are put into words when somebody reads them, in the reader's language: an explanation has arguments that are sentences themselves,
//! which a filled-in template cannot be turned back into.
//!
//! Templates are keys of the catalogue like those of errors; `cargo xtask check` wants a translation of each [`crate::said!`].

use crate::{Lang, error::fill};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A template with one `{}` for each part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    template: String,
    #[serde(default)]
    parts: Vec<Part>,
}

/// What goes into a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Part {
    /// A name or a number, the same in every language.
    Text(String),
    Said(Said),
    /// Sentences one after the other, with what stands between them.
    Many {
        many: Vec<Said>,
        between: String,
    },
}

impl Said {
    /// Prefer [`crate::said!`].
    pub fn new(template: &str, parts: Vec<Part>) -> Said {
        Said { template: template.to_string(), parts }
    }

    /// In a language; `translate` maps an English template to that language's.
    pub fn say(&self, lang: Lang, translate: &impl Fn(Lang, &str) -> Option<&'static str>) -> String {
        let parts: Vec<String> = self.parts.iter().map(|p| p.say(lang, translate)).collect();
        fill(translate(lang, &self.template).unwrap_or(&self.template), &parts)
    }
}

impl Part {
    /// Sentences one after the other.
    pub fn many(between: &str, many: impl IntoIterator<Item = Said>) -> Part {
        Part::Many { many: many.into_iter().collect(), between: between.to_string() }
    }

    fn say(&self, lang: Lang, translate: &impl Fn(Lang, &str) -> Option<&'static str>) -> String {
        match self {
            Part::Text(text) => text.clone(),
            Part::Said(said) => said.say(lang, translate),
            Part::Many { many, between } => many.iter().map(|s| s.say(lang, translate)).collect::<Vec<_>>().join(between),
        }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.say(Lang::En, &|_, _| None))
    }
}

impl From<Said> for Part {
    fn from(said: Said) -> Part {
        Part::Said(said)
    }
}
impl From<String> for Part {
    fn from(text: String) -> Part {
        Part::Text(text)
    }
}
impl From<&str> for Part {
    fn from(text: &str) -> Part {
        Part::Text(text.to_string())
    }
}
impl From<&String> for Part {
    fn from(text: &String) -> Part {
        Part::Text(text.clone())
    }
}
impl From<i64> for Part {
    fn from(number: i64) -> Part {
        Part::Text(number.to_string())
    }
}
impl From<usize> for Part {
    fn from(number: usize) -> Part {
        Part::Text(number.to_string())
    }
}

/// Makes a [`Said`]: `said!("{} hosts, {}", 3, said!("all of them offline"))`.
#[macro_export]
macro_rules! said {
    ($template:literal $(, $part:expr)* $(,)?) => {
        $crate::Said::new($template, vec![$($crate::SaidPart::from($part)),*])
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zh(_: Lang, template: &str) -> Option<&'static str> {
        match template {
            "{} hosts: {}" => Some("{} 台宿主机：{}"),
            "{} is off" => Some("{} 已关闭"),
            _ => None,
        }
    }

    #[test]
    fn sentences_in_sentences() {
        let said =
            crate::said!("{} hosts: {}", 2usize, Part::many("; ", [crate::said!("{} is off", "a"), crate::said!("{} is lost", "b")]));
        assert_eq!(said.to_string(), "2 hosts: a is off; b is lost");
        assert_eq!(said.say(Lang::Zh, &zh), "2 台宿主机：a 已关闭; b is lost");
        let kept = serde_json::to_value(&said).expect("JSON");
        assert_eq!(serde_json::from_value::<Said>(kept).expect("it was written so"), said);
    }

    #[test]
    fn an_error_keeps_what_it_was_told() {
        let why = crate::said!("{} is off", "a");
        let error = crate::err!(InsufficientResource, "no room: {}", why).because(why.clone());
        assert_eq!(error.to_string(), "no room: a is off");
        assert_eq!(error.message(Lang::Zh, zh), "no room: a 已关闭");
        assert_eq!(error.reason(), Some(&why));
    }
}
