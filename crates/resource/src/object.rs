//! JSON objects written as they are put together: for the parts of a page that are made anew for each row and read by nobody before they are sent.

use crate::view::{write_json, write_text};
use base::{Json, Value};

/// A JSON object, or a list of them.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    out: Vec<u8>,
    /// Whether the object being written has a key already.
    going: bool,
}

impl Objects {
    /// Begins an object; the one before it is complete.
    pub fn begin(&mut self) {
        if !self.out.is_empty() {
            self.out.extend_from_slice(b"},");
        }
        self.out.push(b'{');
        self.going = false;
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if self.going {
            self.out.push(b',');
        }
        self.going = true;
        write_text(&mut self.out, key);
        self.out.push(b':');
        &mut self.out
    }

    pub fn text(&mut self, key: &str, text: &str) {
        write_text(self.key(key), text);
    }

    /// A cell as a page shows it.
    pub fn cell(&mut self, key: &str, value: &Value) {
        crate::view::write_value(self.key(key), value);
    }

    pub fn json(&mut self, key: &str, json: impl Into<Json>) {
        write_json(self.key(key), &json.into());
    }

    /// All objects as a list.
    pub(crate) fn list(mut self) -> Vec<u8> {
        if !self.out.is_empty() {
            self.out.push(b'}');
        }
        self.out.insert(0, b'[');
        self.out.push(b']');
        self.out
    }

    /// The only object.
    pub(crate) fn object(mut self) -> Vec<u8> {
        if self.out.is_empty() {
            self.out.push(b'{');
        }
        self.out.push(b'}');
        self.out
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.out.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_json() {
        let mut all = Objects::default();
        assert_eq!(all.clone().list(), b"[]");
        assert_eq!(all.clone().object(), b"{}");
        all.begin();
        all.text("a\"b", "c\\d\n\u{1}");
        all.cell("n", &Value::Int(-3));
        all.begin();
        all.begin();
        all.json("list", vec![1, 2]);
        all.cell("none", &Value::Null);
        let read: Json = serde_json::from_slice(&all.list()).expect("JSON");
        assert_eq!(read, json!([{"a\"b": "c\\d\n\u{1}", "n": -3}, {}, {"list": [1, 2], "none": null}]));
    }
}
