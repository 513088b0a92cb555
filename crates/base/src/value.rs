//! Column values: what a table cell holds and how the wire writes and reads it.

use crate::Timestamp;
use std::fmt;

pub type Json = serde_json::Value;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int,
    Float,
    Bool,
    /// Microseconds since the epoch, UTC.
    Time,
    /// A JSON document, stored as text.
    Json,
}

impl Kind {
    /// The word used in messages and documents.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Text => "string",
            Kind::Int => "integer",
            Kind::Float => "number",
            Kind::Bool => "boolean",
            Kind::Time => "time",
            Kind::Json => "object",
        }
    }
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Value {
    #[default]
    Null,
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Time(Timestamp),
    Json(Json),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text of a text cell, `""` for anything else.
    pub fn as_str(&self) -> &str {
        match self {
            Value::Text(s) => s,
            _ => "",
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            Value::Bool(b) => Some(i64::from(*b)),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            Value::Int(n) => Some(*n != 0),
            _ => None,
        }
    }

    /// Whether the wire leaves the key out: strings, documents and times that are empty; numbers and booleans are always present
    /// (spec 01 §2.2).
    pub fn omitted(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Text(s) => s.is_empty(),
            Value::Json(Json::Null) => true,
            Value::Json(Json::Array(a)) => a.is_empty(),
            Value::Json(Json::Object(o)) => o.is_empty(),
            _ => false,
        }
    }

    pub fn to_json(&self) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Text(s) => Json::String(s.clone()),
            Value::Int(n) => Json::from(*n),
            Value::Float(f) => Json::from(*f),
            Value::Bool(b) => Json::Bool(*b),
            Value::Time(t) => Json::String(t.to_string()),
            Value::Json(j) => j.clone(),
        }
    }

    /// Reads a wire value the way existing clients expect it: `"5"` is an integer, `"true"`, `"yes"`, `"on"`, `"1"` are true (spec 01 §2.2).
    pub fn from_json(kind: Kind, json: &Json) -> Result<Value, BadValue> {
        let bad = || BadValue { want: kind.name(), got: brief(json) };
        Ok(match (kind, json) {
            (_, Json::Null) => Value::Null,
            (Kind::Json, any) => Value::Json(any.clone()),
            (Kind::Text, Json::String(s)) => Value::Text(s.clone()),
            (Kind::Text, Json::Number(n)) => Value::Text(n.to_string()),
            (Kind::Text, Json::Bool(b)) => Value::Text(b.to_string()),
            (_, Json::String(s)) => return Value::parse(kind, s),
            (Kind::Int, Json::Number(n)) => Value::Int(match n.as_i64() {
                Some(i) => i,
                None => n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).ok_or_else(bad)? as i64,
            }),
            (Kind::Float, Json::Number(n)) => Value::Float(n.as_f64().ok_or_else(bad)?),
            (Kind::Bool, Json::Bool(b)) => Value::Bool(*b),
            (Kind::Bool, Json::Number(n)) => Value::Bool(n.as_i64().ok_or_else(bad)? != 0),
            (Kind::Int, Json::Bool(b)) => Value::Int(i64::from(*b)),
            _ => return Err(bad()),
        })
    }

    /// Reads a value from a query string or a default.
    pub fn parse(kind: Kind, text: &str) -> Result<Value, BadValue> {
        let bad = || BadValue { want: kind.name(), got: text.chars().take(40).collect() };
        Ok(match kind {
            Kind::Text => Value::Text(text.to_string()),
            Kind::Int => Value::Int(text.trim().parse().map_err(|_| bad())?),
            Kind::Float => Value::Float(text.trim().parse().ok().filter(|f: &f64| f.is_finite()).ok_or_else(bad)?),
            Kind::Bool => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Value::Bool(true),
                "false" | "0" | "no" | "off" => Value::Bool(false),
                _ => return Err(bad()),
            },
            Kind::Time => Value::Time(Timestamp::parse(text).ok_or_else(bad)?),
            Kind::Json => Value::Json(serde_json::from_str(text).map_err(|_| bad())?),
        })
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::Text(s.to_string())
    }
}
impl From<&String> for Value {
    fn from(s: &String) -> Value {
        Value::Text(s.clone())
    }
}

/// A value of the wrong type: what was wanted and what was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    pub want: &'static str,
    pub got: String,
}

impl BadValue {
    pub fn no_such_column() -> BadValue {
        BadValue { want: "a column of the table", got: "a position beyond it".to_string() }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {}", self.want, self.got)
    }
}
impl std::error::Error for BadValue {}

fn brief(json: &Json) -> String {
    match json {
        Json::Object(_) => "an object".to_string(),
        Json::Array(_) => "an array".to_string(),
        other => other.to_string().chars().take(40).collect(),
    }
}

/// A Rust type that can be a column.
pub trait Cell: Sized {
    const KIND: Kind;
    const NULLABLE: bool = false;
    fn to_value(&self) -> Value;
    fn from_value(value: Value) -> Result<Self, BadValue>;
}

macro_rules! cell {
    ($ty:ty, $kind:ident, $variant:ident, $empty:expr) => {
        impl Cell for $ty {
            const KIND: Kind = Kind::$kind;
            fn to_value(&self) -> Value {
                Value::$variant(self.clone().into())
            }
            fn from_value(value: Value) -> Result<Self, BadValue> {
                match value {
                    Value::$variant(v) => Ok(v.into()),
                    Value::Null => Ok($empty),
                    other => Err(BadValue { want: Kind::$kind.name(), got: format!("{other:?}") }),
                }
            }
        }
    };
}
cell!(String, Text, Text, String::new());
cell!(f64, Float, Float, 0.0);
cell!(Timestamp, Time, Time, Timestamp::ZERO);
cell!(Json, Json, Json, Json::Null);

impl Cell for i64 {
    const KIND: Kind = Kind::Int;
    fn to_value(&self) -> Value {
        Value::Int(*self)
    }
    fn from_value(value: Value) -> Result<Self, BadValue> {
        match value {
            Value::Null => Ok(0),
            other => other.as_int().ok_or_else(|| BadValue { want: "integer", got: format!("{other:?}") }),
        }
    }
}

impl Cell for bool {
    const KIND: Kind = Kind::Bool;
    fn to_value(&self) -> Value {
        Value::Bool(*self)
    }
    fn from_value(value: Value) -> Result<Self, BadValue> {
        match value {
            Value::Null => Ok(false),
            other => other.as_bool().ok_or_else(|| BadValue { want: "boolean", got: format!("{other:?}") }),
        }
    }
}

impl<T: Cell> Cell for Option<T> {
    const KIND: Kind = T::KIND;
    const NULLABLE: bool = true;
    fn to_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Cell::to_value)
    }
    fn from_value(value: Value) -> Result<Self, BadValue> {
        if value.is_null() { Ok(None) } else { T::from_value(value).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lenient_wire_values() {
        let check = |kind, json: Json, want: Result<Value, ()>| assert_eq!(Value::from_json(kind, &json).map_err(|_| ()), want, "{json}");
        check(Kind::Int, json!("5"), Ok(Value::Int(5)));
        check(Kind::Int, json!(5.0), Ok(Value::Int(5)));
        check(Kind::Int, json!(5.5), Err(()));
        check(Kind::Int, json!([]), Err(()));
        check(Kind::Bool, json!("on"), Ok(Value::Bool(true)));
        check(Kind::Bool, json!("maybe"), Err(()));
        check(Kind::Bool, json!(0), Ok(Value::Bool(false)));
        check(Kind::Text, json!(7), Ok(Value::Text("7".into())));
        check(Kind::Text, json!({}), Err(()));
        check(Kind::Time, json!("2026-02-03"), Ok(Value::Time(Timestamp::parse("2026-02-03T00:00:00Z").unwrap())));
        check(Kind::Float, json!("NaN"), Err(()));
    }
}
