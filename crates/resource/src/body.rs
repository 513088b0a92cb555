//! Request bodies: envelopes, and the readings hooks need of them.

use base::{Error, Facts, Json, Kind, Result, Value, err};

pub type Map = serde_json::Map<String, Json>;

/// The object inside `{"server": {..}}`; demanded on create (spec 01 §2.1).
pub(crate) fn unwrap_create(facts: &Facts, body: Json) -> Result<(Map, Map)> {
    let Json::Object(mut outer) = body else {
        return Err(err!(InputParameter, "the body must be an object with the key {}", facts.name));
    };
    match outer.remove(facts.name) {
        Some(Json::Object(inner)) => Ok((outer, inner)),
        Some(_) => Err(err!(InputParameter, "{}: expected {}, got {}", facts.name, "an object", "something else")),
        None => Err(err!(InputParameter, "the body must be an object with the key {}", facts.name)),
    }
}

/// The object of an update or action: wrapped in the singular or plural keyword, or bare, or absent.
pub(crate) fn unwrap_loose(facts: &Facts, body: Option<Json>) -> Result<Map> {
    match body {
        None | Some(Json::Null) => Ok(Map::new()),
        Some(Json::Object(mut outer)) => {
            for key in [facts.name, facts.plural] {
                if outer.get(key).is_some_and(Json::is_object)
                    && let Some(Json::Object(inner)) = outer.remove(key)
                {
                    return Ok(inner);
                }
            }
            Ok(outer)
        }
        Some(_) => Err(err!(InputParameter, "the body must be an object")),
    }
}

/// A text under the first of the names that is present and not empty.
pub fn text(map: &Map, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match map.get(*name) {
        Some(Json::String(s)) if !s.is_empty() => Some(s.clone()),
        Some(Json::Number(n)) => Some(n.to_string()),
        _ => None,
    })
}

/// A demanded text.
pub fn required(map: &Map, name: &str) -> Result<String> {
    text(map, &[name]).ok_or_else(|| err!(MissingParameter, "{} is missing", name))
}

/// An integer; a text of digits counts.
pub fn int(map: &Map, name: &str) -> Result<Option<i64>> {
    match map.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(json) => Value::from_json(Kind::Int, json).map(|v| v.as_int()).map_err(|bad| Error::bad_value(name, &bad)),
    }
}

/// A boolean; the lenient words count.
pub fn flag(map: &Map, name: &str) -> Result<Option<bool>> {
    match map.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(json) => Value::from_json(Kind::Bool, json).map(|v| v.as_bool()).map_err(|bad| Error::bad_value(name, &bad)),
    }
}

/// A list of texts; a scalar is a list of one, a missing key an empty list.
pub fn text_list(map: &Map, name: &str) -> Vec<String> {
    match map.get(name) {
        Some(Json::Array(items)) => items.iter().filter_map(|i| i.as_str().map(str::to_string)).collect(),
        Some(Json::String(s)) if !s.is_empty() => s.split(',').map(|t| t.trim().to_string()).filter(|t| !t.is_empty()).collect(),
        _ => Vec::new(),
    }
}
