//! Query strings of spec 01 §2.4: `a.b=x` nests, `a.0=x&a.1=y` and `a=x&a=y` are arrays, a bare key is a null that counts as present.
//!
//! Nothing a client sends can make this panic or grow beyond what was sent: pairs, depth and index size are bounded, and an index is an
//! order, never an allocation.

use crate::path::{decode, encode_into};
use base::{Json, Result, err};
use serde_json::Map;
use std::collections::BTreeMap;

/// Pairs one request may have; a bulk look-up by id is the longest legitimate one.
const MAX_PAIRS: usize = 10_000;
/// Dots in a key, plus one. The deepest legitimate key is `organizations.0.tags.0.key`.
const MAX_DEPTH: usize = 12;

/// A parsed query string (and form body).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    pairs: Vec<(String, Option<String>)>,
    json: Json,
}

impl Query {
    /// Reads a query string without its `?`. Errors: a broken escape, too many or too deep keys, a key that is a value and an object at once.
    pub fn parse(text: &str) -> Result<Query> {
        let mut query = Query { pairs: Vec::new(), json: Json::Object(Map::new()) };
        if !text.is_empty() {
            query.extend(text)?;
        }
        Ok(query)
    }

    /// Adds the pairs of another text: a form body counts as query parameters (spec 01 §1).
    pub fn extend(&mut self, text: &str) -> Result<()> {
        for part in text.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = match part.split_once('=') {
                Some((k, v)) => (k, Some(v)),
                None => (part, None),
            };
            let word = |t: &str| {
                decode(t, true).ok_or_else(|| err!(InputParameter, "query parameter {} is not valid percent-encoded UTF-8", brief(key)))
            };
            let pair = (word(key)?, value.map(word).transpose()?);
            if self.pairs.len() == MAX_PAIRS {
                return Err(err!(InputParameter, "the query has more than {} parameters", MAX_PAIRS));
            }
            self.pairs.push(pair);
        }
        self.json = nest(&self.pairs)?;
        Ok(())
    }

    /// The nested object; every leaf is a string, or null for a bare key.
    pub fn json(&self) -> &Json {
        &self.json
    }

    /// The first value of a key as written (`scope.project.id` is looked up with its dots). A bare key is `""`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_deref().unwrap_or(""))
    }

    /// All values of a key: `key=a&key=b` and `key.0=a&key.1=b` alike, in the order of their indices.
    pub fn all(&self, key: &str) -> Vec<&str> {
        let mut out: Vec<(usize, &str)> = Vec::new();
        for (k, v) in &self.pairs {
            let index = match k.strip_prefix(key) {
                Some("") => out.len(),
                Some(rest) => match rest.strip_prefix('.').and_then(index) {
                    Some(i) => i,
                    None => continue,
                },
                None => continue,
            };
            out.push((index, v.as_deref().unwrap_or("")));
        }
        out.sort_by_key(|(i, _)| *i);
        out.into_iter().map(|(_, v)| v).collect()
    }

    /// Whether a key is there at all, also bare, also as the head of `key.…`.
    pub fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(k, _)| k.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// Whether a switch is on: there, and not a word for no. `None` when absent.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.text(key).map(|v| !matches!(v.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "off"))
    }

    /// A number, `None` when absent.
    pub fn int(&self, key: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(key).filter(|t| !t.is_empty()) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| err!(InputParameter, "{}: expected {}, got {}", key, "integer", brief(text)))
    }

    /// The pairs as they came, decoded.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_deref()))
    }

    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// An array index: digits without a leading zero.
fn index(text: &str) -> Option<usize> {
    let plain = text == "0" || (!text.starts_with('0') && !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit()));
    if plain { text.parse().ok() } else { None }
}

#[derive(Default)]
struct Node<'a> {
    values: Vec<Option<&'a str>>,
    /// In the order of arrival.
    keys: Vec<&'a str>,
    children: BTreeMap<&'a str, Node<'a>>,
}

fn nest(pairs: &[(String, Option<String>)]) -> Result<Json> {
    let mut root = Node::default();
    for (key, value) in pairs {
        let mut node = &mut root;
        for (depth, part) in key.split('.').enumerate() {
            if depth == MAX_DEPTH {
                return Err(err!(InputParameter, "query parameter {} is nested deeper than {}", brief(key), MAX_DEPTH));
            }
            if !node.children.contains_key(part) {
                node.keys.push(part);
            }
            node = node.children.entry(part).or_default();
        }
        node.values.push(value.as_deref());
    }
    root.object()
}

impl Node<'_> {
    fn object(&self) -> Result<Json> {
        let mut map = Map::with_capacity(self.keys.len());
        for key in &self.keys {
            map.insert((*key).to_string(), self.children[key].json(key)?);
        }
        Ok(Json::Object(map))
    }

    fn json(&self, name: &str) -> Result<Json> {
        let leaf = |v: &Option<&str>| v.map_or(Json::Null, Json::from);
        if self.children.is_empty() {
            return Ok(match self.values.as_slice() {
                [one] => leaf(one),
                many => Json::Array(many.iter().map(leaf).collect()),
            });
        }
        // Key `0` decides for an array. Some clients sort keys as text, so `10` may come before `2`: the numbers give the order.
        let positions: Option<Vec<(usize, &Node<'_>)>> =
            if self.children.contains_key("0") { self.children.iter().map(|(k, n)| index(k).map(|i| (i, n))).collect() } else { None };
        match positions {
            Some(mut items) => {
                items.sort_by_key(|(i, _)| *i);
                let mut array: Vec<Json> = self.values.iter().map(leaf).collect();
                for (_, node) in items {
                    array.push(node.json(name)?);
                }
                Ok(Json::Array(array))
            }
            None if self.values.is_empty() => self.object(),
            None => Err(err!(InputParameter, "query parameter {} is both a value and an object", brief(name))),
        }
    }
}

/// Writes an object in the dotted form clients send; [`Query::parse`] reads it back.
pub fn encode_json(object: &Json) -> String {
    let mut out = String::new();
    if let Json::Object(map) = object {
        for (key, value) in map {
            write(key.clone(), value, &mut out);
        }
    }
    out
}

fn write(key: String, value: &Json, out: &mut String) {
    match value {
        Json::Object(map) => map.iter().for_each(|(k, v)| write(format!("{key}.{k}"), v, out)),
        Json::Array(items) => items.iter().enumerate().for_each(|(i, v)| write(format!("{key}.{i}"), v, out)),
        leaf => {
            if !out.is_empty() {
                out.push('&');
            }
            encode_into(&key, out);
            match leaf {
                Json::Null => {}
                Json::String(s) => {
                    out.push('=');
                    encode_into(s, out);
                }
                other => {
                    out.push('=');
                    encode_into(&other.to_string(), out);
                }
            }
        }
    }
}

fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn forms_of_clients() {
        let check = |text: &str, want: Json| assert_eq!(Query::parse(text).unwrap().json(), &want, "{text}");
        check("", json!({}));
        check("a=x", json!({"a": "x"}));
        check("a.b=x&a.c=y", json!({"a": {"b": "x", "c": "y"}}));
        check("a.0=x&a.1=y", json!({"a": ["x", "y"]}));
        check("a=x&a=y", json!({"a": ["x", "y"]}));
        check("effective&x=", json!({"effective": null, "x": ""}));
        check("tags.0.key=user%3Aenv&tags.0.value=prod+1", json!({"tags": [{"key": "user:env", "value": "prod 1"}]}));
        check("filter.0=a&filter.10=c&filter.2=b", json!({"filter": ["a", "b", "c"]}));
        check("a.1=x&a.2=y", json!({"a": {"1": "x", "2": "y"}}));
        check("a.0=x&a.b=y", json!({"a": {"0": "x", "b": "y"}}));
        check("a.0=x&a=y", json!({"a": ["y", "x"]}));
        check("a.999999999=x&a.0=y", json!({"a": ["y", "x"]}));
        check("a=x=y&&b=1", json!({"a": "x=y", "b": "1"}));
        check("z=1&a=2", json!({"z": "1", "a": "2"}));
        for bad in ["a=%", "a=%zz", "%ff=x", "a=x&a.b=y", "a.b.c.d.e.f.g.h.i.j.k.l.m=1"] {
            assert_eq!(Query::parse(bad).unwrap_err().class().http(), 400, "{bad}");
        }
        assert!(Query::parse(&"a=1&".repeat(MAX_PAIRS)).is_ok());
        assert!(Query::parse(&"a=1&".repeat(MAX_PAIRS + 1)).is_err());
    }

    #[test]
    fn looking_up() {
        let q = Query::parse("scope.project.id=p&id.10=c&id.2=b&name=x&name=y&effective&details=False&limit=20&bad=x&idx=9").unwrap();
        assert_eq!(q.text("scope.project.id"), Some("p"));
        assert_eq!(q.all("id"), ["b", "c"]);
        assert_eq!(q.all("name"), ["x", "y"]);
        assert_eq!((q.flag("effective"), q.flag("details"), q.flag("absent")), (Some(true), Some(false), None));
        assert!(q.has("scope") && q.has("effective") && !q.has("nam"));
        assert_eq!(q.int("limit").unwrap(), Some(20));
        assert!(q.int("bad").is_err() && q.int("absent").unwrap().is_none());
    }

    fn tree() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![Just(Json::Null), "\\PC{0,8}".prop_map(Json::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(Json::Array),
                // Keys that do not look like indices, as no dotted form can tell those from arrays.
                prop::collection::btree_map("[a-z_:]{1,4}", inner, 1..4).prop_map(|m| Json::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in "[a0-9.&=%+\\x00-\\x7f]{0,200}|\\PC{0,100}") {
            if let Ok(q) = Query::parse(&text) {
                let size = q.json().to_string().len();
                prop_assert!(size <= text.len() * 8 + 64, "{} grew to {}", text.len(), size);
            }
        }

        #[test]
        fn what_is_written_is_read_back(map in prop::collection::btree_map("[a-z_]{1,6}", tree(), 0..5)) {
            let object = Json::Object(map.into_iter().collect());
            let parsed = Query::parse(&encode_json(&object)).unwrap();
            prop_assert_eq!(parsed.json(), &object);
        }
    }
}
