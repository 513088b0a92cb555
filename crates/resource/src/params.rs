//! Query parameters as one JSON object (spec 01 §2.4 says how they nest), with the readings lists need.

use base::{Json, Kind, Value};

#[derive(Clone, Debug, Default)]
pub struct Params(pub Json);

impl Params {
    /// The first value under a key, as text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.all(key).into_iter().next()
    }

    /// Every value under a key: a scalar counts as a list of one. Nulls and empty texts are left out.
    pub fn all(&self, key: &str) -> Vec<String> {
        fn one(json: &Json) -> Option<String> {
            match json {
                Json::String(s) if !s.is_empty() => Some(s.clone()),
                Json::Number(n) => Some(n.to_string()),
                Json::Bool(b) => Some(b.to_string()),
                _ => None,
            }
        }
        match self.0.get(key) {
            Some(Json::Array(items)) => items.iter().filter_map(one).collect(),
            Some(Json::Object(map)) => map.values().filter_map(one).collect(),
            Some(json) => one(json).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// True for `true`, `1`, `yes`, `on`; a bare key is false, as for existing services.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.text(key).and_then(|t| Value::parse(Kind::Bool, &t).ok()).and_then(|v| v.as_bool())
    }

    pub fn int(&self, key: &str) -> Option<i64> {
        self.text(key).and_then(|t| t.trim().parse().ok())
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }
}
