//! Recorded exchanges of existing clients, replayed against our services.
//!
//! A test takes the client's requests of a [`Recording`] in their order, puts its own identifiers and tokens in the place of the recorded ones
//! ([`Names`]), sends them, and compares the answers by shape ([`shape_diff`]): the same status, the same keys, the same JSON types; values differ.

use base::Json;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// One command of a client, with all that went over the wire while it ran.
#[derive(Clone, Debug, Deserialize)]
pub struct Recording {
    pub command: String,
    pub exchanges: Vec<Exchange>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Exchange {
    /// Which service was asked, by the name of the recording.
    pub service: String,
    pub request: Request,
    pub response: Response,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    pub method: String,
    /// With its query.
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Json,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Response {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Json,
}

impl Recording {
    /// Reads one.
    ///
    /// # Panics
    /// When it is none: a recording is part of a test.
    pub fn parse(text: &str) -> Recording {
        serde_json::from_str(text).unwrap_or_else(|e| panic!("not a recording: {e}"))
    }

    /// The exchanges with services whose name begins so.
    pub fn with(&self, service: &str) -> impl Iterator<Item = &Exchange> {
        self.exchanges.iter().filter(move |e| e.service.starts_with(service))
    }
}

/// Our values for recorded ones: identifiers, tokens, passwords.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    pub fn put(&mut self, recorded: &str, ours: &str) {
        if !recorded.is_empty() {
            self.0.insert(recorded.to_string(), ours.to_string());
        }
    }

    /// A text with every recorded value replaced, the longest first.
    pub fn apply(&self, text: &str) -> String {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|(recorded, _)| std::cmp::Reverse(recorded.len()));
        all.into_iter().fold(text.to_string(), |text, (recorded, ours)| text.replace(recorded, ours))
    }

    /// The same in all texts of a document.
    pub fn apply_json(&self, json: &Json) -> Json {
        match json {
            Json::String(text) => Json::String(self.apply(text)),
            Json::Array(items) => items.iter().map(|i| self.apply_json(i)).collect(),
            Json::Object(map) => map.iter().map(|(k, v)| (k.clone(), self.apply_json(v))).collect(),
            other => other.clone(),
        }
    }

    /// Learns from two answers to the same question: wherever both have a key of this name with a text, ours stands for the recorded one. Lists
    /// are taken in their order.
    pub fn learn(&mut self, key: &str, recorded: &Json, ours: &Json) {
        match (recorded, ours) {
            (Json::Object(a), Json::Object(b)) => {
                for (k, v) in a {
                    match (v, b.get(k)) {
                        (Json::String(v), Some(Json::String(w))) if k == key => self.put(v, w),
                        (v, Some(w)) => self.learn(key, v, w),
                        (_, None) => {}
                    }
                }
            }
            (Json::Array(a), Json::Array(b)) => a.iter().zip(b).for_each(|(v, w)| self.learn(key, v, w)),
            _ => {}
        }
    }
}

/// How an answer's shape falls short of a recorded one, one sentence each; empty when it does not. More keys than recorded are no fault. In a list
/// of objects the keys that every recorded element has are demanded of every element of ours; those only some have may be missing. A recorded
/// null says nothing, and a recorded list that was cut says so with a text like `... 14 more`.
pub fn shape_diff(expected: &Json, actual: &Json) -> Vec<String> {
    let mut out = Vec::new();
    compare("", expected, actual, &mut out);
    out
}

fn compare(at: &str, expected: &Json, actual: &Json, out: &mut Vec<String>) {
    let place = if at.is_empty() { "the answer" } else { at };
    match (expected, actual) {
        (Json::Null, _) => {}
        (Json::Object(want), Json::Object(have)) => {
            for (key, value) in want {
                match have.get(key) {
                    Some(ours) => compare(&format!("{at}.{key}"), value, ours, out),
                    None if value.is_null() => {}
                    None => out.push(format!("{place} has no {key}")),
                }
            }
        }
        (Json::Array(want), Json::Array(have)) => {
            let want: Vec<&Json> = want.iter().filter(|e| !is_cut(e)).collect();
            if !want.is_empty() && have.is_empty() {
                out.push(format!("{place} is an empty list"));
            }
            let Some(first) = want.first() else { return };
            let common = common_shape(&want);
            for (i, ours) in have.iter().enumerate() {
                compare(&format!("{at}[{i}]"), common.as_ref().unwrap_or(first), ours, out);
            }
        }
        (want, have) if kind(want) == kind(have) => {}
        (want, have) => out.push(format!("{place} is {}, recorded as {}", kind(have), kind(want))),
    }
}

/// What all objects of a list have: the keys of each, with the value of the first; types are compared by that.
fn common_shape(items: &[&Json]) -> Option<Json> {
    let maps: Vec<_> = items.iter().filter_map(|i| i.as_object()).collect();
    if maps.is_empty() || maps.len() != items.len() {
        return None;
    }
    let keys: BTreeSet<&String> = maps[0].keys().filter(|k| maps.iter().all(|m| m.contains_key(*k))).collect();
    Some(Json::Object(keys.into_iter().map(|k| (k.clone(), merged(&maps.iter().filter_map(|m| m.get(k)).collect::<Vec<_>>()))).collect()))
}

/// The common shape of values under one key.
fn merged(values: &[&Json]) -> Json {
    common_shape(values).unwrap_or_else(|| values[0].clone())
}

fn is_cut(item: &Json) -> bool {
    item.as_str().is_some_and(|s| s.starts_with("... ") && s.ends_with(" more"))
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shapes() {
        let check = |expected: Json, actual: Json, want: &[&str]| assert_eq!(shape_diff(&expected, &actual), want, "{expected} {actual}");
        check(json!({"a": 1, "b": "x"}), json!({"a": 2.5, "b": "y", "c": null}), &[]);
        check(json!({"a": 1, "b": {"c": "x"}}), json!({"b": {}}), &["the answer has no a", ".b has no c"]);
        check(json!({"a": 1}), json!({"a": "1"}), &[".a is a text, recorded as a number"]);
        check(json!({"a": null, "b": null}), json!({"a": [1]}), &[]);
        check(
            json!([{"a": 1, "b": 1}, {"a": 1}, "... 3 more"]),
            json!([{"a": 1}, {"a": true}, {}]),
            &["[1].a is a boolean, recorded as a number", "[2] has no a"],
        );
        check(json!({"l": [1]}), json!({"l": []}), &[".l is an empty list"]);
        check(json!({"l": []}), json!({"l": [1]}), &[]);
        check(json!({"l": [{"n": {"x": 1, "y": 1}}, {"n": {"x": 1}}]}), json!({"l": [{"n": {"x": 1}}]}), &[]);
        check(json!([1]), json!({}), &["the answer is an object, recorded as a list"]);
    }

    #[test]
    fn names_are_learnt_and_put_in_place() {
        let mut names = Names::default();
        names.learn(
            "id",
            &json!({"l": [{"id": "r1", "name": "a"}, {"id": "r10"}]}),
            &json!({"l": [{"id": "o1", "name": "b"}, {"id": "o2"}]}),
        );
        assert_eq!(names.apply("/x/r10?y=r1"), "/x/o2?y=o1");
        assert_eq!(names.apply_json(&json!({"k": ["r1", 5]})), json!({"k": ["o1", 5]}));
    }

    #[test]
    fn a_recording_is_read() {
        let text = r#"{"command":"c","note":"n","exchanges":[{"service":"keystone-public","at":1,"request":{"method":"GET","path":"/v3/x","headers":{"a":"b"},"body":null},
            "response":{"status":200,"headers":{},"body":{"x":[]}}},{"service":"region","request":{"method":"GET","path":"/"},"response":{"status":404}}]}"#;
        let recording = Recording::parse(text);
        assert_eq!(recording.with("keystone").count(), 1);
        assert_eq!(recording.exchanges[1].response.status, 404);
    }
}
