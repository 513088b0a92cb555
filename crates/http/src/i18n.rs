//! Messages in the user's language. A message is an English template; its translation is found by the template itself (spec 01 §8.1).
//!
//! The catalogue is `i18n/zh.json` at the root of the repository: one flat object, template → Chinese template with as many `{}`.

use base::{Error, Lang, Said};
use std::{collections::HashMap, sync::LazyLock};

static ZH: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../i18n/zh.json")).expect("the catalogue is part of the build and a test reads it")
});

/// The template in a language; `None` when there is no translation, and English stands.
pub fn translate(lang: Lang, template: &str) -> Option<&'static str> {
    match lang {
        Lang::En => None,
        Lang::Zh => ZH.get(template).map(String::as_str),
    }
}

/// The message of an error in a language.
pub fn message(error: &Error, lang: Lang) -> String {
    error.message(lang, translate)
}

/// A sentence in a language.
pub fn say(said: &Said, lang: Lang) -> String {
    said.say(lang, &translate)
}

/// The language of a request: query `lang`, header `X-Yunion-Lang`, cookie `lang`, then `Accept-Language`; otherwise English.
pub(crate) fn pick(query: Option<&str>, headers: &hyper::HeaderMap) -> Lang {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    query
        .filter(|q| !q.is_empty())
        .or_else(|| header("x-yunion-lang"))
        .or_else(|| cookie(headers, "lang"))
        .or_else(|| header("accept-language"))
        .map_or(Lang::En, |text| Lang::parse(text.trim()))
}

/// A cookie by name (RFC 6265 §5.4).
pub(crate) fn cookie<'a>(headers: &'a hyper::HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all("cookie")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(k, _)| *k == name)
        .map(|(_, v)| v.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_translation_has_the_places_of_its_template() {
        assert!(!ZH.is_empty());
        for (en, zh) in ZH.iter() {
            let places = en.matches("{}").count();
            // Where the language has another order the places are numbered; each argument is then there once.
            let numbered = (0..places).all(|n| zh.matches(&format!("{{{n}}}")).count() == 1);
            assert!(zh.matches("{}").count() == places || numbered, "{en:?} → {zh:?}");
        }
    }

    #[test]
    fn language_by_precedence() {
        let check = |query: Option<&str>, pairs: &[(&'static str, &str)], want: Lang| {
            let mut headers = hyper::HeaderMap::new();
            for (k, v) in pairs {
                headers.insert(*k, v.parse().unwrap());
            }
            assert_eq!(pick(query, &headers), want, "{query:?} {pairs:?}");
        };
        check(None, &[], Lang::En);
        check(Some("zh-CN"), &[("x-yunion-lang", "en")], Lang::Zh);
        check(None, &[("x-yunion-lang", "zh-CN"), ("cookie", "lang=en")], Lang::Zh);
        check(None, &[("cookie", "a=b; lang=\"zh\""), ("accept-language", "en")], Lang::Zh);
        check(None, &[("accept-language", "zh-CN,zh;q=0.9,en;q=0.8")], Lang::Zh);
        check(None, &[("accept-language", "de")], Lang::En);
    }
}
