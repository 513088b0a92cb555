//! Identifiers.

use crate::{BadValue, Cell, Kind, Value};
use std::{fmt, hash, marker::PhantomData};

/// A new random identifier with dashes, as most services use.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A new random identifier of 32 hex digits, as identity uses.
pub fn hex_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Whether a text has the shape of [`new_id`] or [`hex_id`]. What has not may be an identifier all the same: built-ins have fixed words.
pub fn is_id(text: &str) -> bool {
    matches!(text.len(), 32 | 36) && uuid::Uuid::try_parse(text).is_ok()
}

/// An identifier of one kind of object: a server's cannot be passed where a disk's is wanted. The shape is never checked: built-ins have
/// fixed words such as `default` (spec 01 §4).
pub struct Id<K>(String, PhantomData<fn() -> K>);

impl<K> Id<K> {
    pub fn new(id: impl Into<String>) -> Id<K> {
        Id(id.into(), PhantomData)
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        Id::new(self.0.clone())
    }
}
impl<K> Default for Id<K> {
    fn default() -> Self {
        Id::new(String::new())
    }
}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> hash::Hash for Id<K> {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl<K> From<String> for Id<K> {
    fn from(id: String) -> Self {
        Id::new(id)
    }
}
impl<K> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}
impl<'de, K> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Id::new)
    }
}
impl<K> Cell for Id<K> {
    const KIND: Kind = Kind::Text;
    fn to_value(&self) -> Value {
        Value::Text(self.0.clone())
    }
    fn from_value(value: Value) -> Result<Self, BadValue> {
        String::from_value(value).map(Id::new)
    }
}
