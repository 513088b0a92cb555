//! What was written, before anybody knows what it means: values with their place.

use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Line of the file, from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
    Override,
}

#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub place: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Text whose type the file decided.
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// Text from the environment or an override: its type is whatever is wanted.
    Raw(String),
    List(Vec<Tree>),
    Table(BTreeMap<String, Tree>),
}

/// Reads a TOML text. The error is the line and what is wrong there.
pub(crate) fn parse(text: &str) -> Result<Tree, (usize, String)> {
    let line = |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    let table = DeTable::parse(text).map_err(|e| (e.span().map_or(1, |s| line(s.start)), e.message().to_string()))?;
    convert_table(table.get_ref(), &line).map(|value| Tree { place: Place::Line(1), value })
}

type Fault = (usize, String);

fn convert_table(table: &DeTable<'_>, line: &dyn Fn(usize) -> usize) -> Result<Value, Fault> {
    let mut out = BTreeMap::new();
    for (key, value) in table {
        // The key's line: a table's own span may begin anywhere.
        let at = key.span().start;
        out.insert(key.get_ref().to_string(), Tree { place: Place::Line(line(at)), value: convert(value.get_ref(), at, line)? });
    }
    Ok(Value::Table(out))
}

fn convert(value: &DeValue<'_>, at: usize, line: &dyn Fn(usize) -> usize) -> Result<Value, Fault> {
    let fault = |what: &str| (line(at), what.to_string());
    Ok(match value {
        DeValue::String(s) => Value::Text(s.to_string()),
        DeValue::Integer(i) => Value::Int(i64::from_str_radix(i.as_str(), i.radix()).map_err(|_| fault("the number is too large"))?),
        DeValue::Float(f) => Value::Float(f.as_str().parse().map_err(|_| fault("the number cannot be read"))?),
        DeValue::Boolean(b) => Value::Bool(*b),
        DeValue::Datetime(d) => Value::Text(d.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| {
                let at = item.span().start;
                Ok(Tree { place: Place::Line(line(at)), value: convert(item.get_ref(), at, line)? })
            });
            Value::List(items.collect::<Result<_, Fault>>()?)
        }
        DeValue::Table(t) => convert_table(t, line)?,
    })
}

impl Tree {
    pub(crate) fn empty(place: Place) -> Tree {
        Tree { place, value: Value::Table(BTreeMap::new()) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Tree> {
        match &self.value {
            Value::Table(map) => map.get(key),
            _ => None,
        }
    }

    /// Puts a raw text at a dotted key, making tables on the way.
    pub(crate) fn put(&mut self, dotted: &str, text: &str) {
        let mut at = self;
        for part in dotted.split('.') {
            if !matches!(at.value, Value::Table(_)) {
                *at = Tree::empty(Place::Override);
            }
            let Value::Table(map) = &mut at.value else { return };
            at = map.entry(part.to_string()).or_insert_with(|| Tree::empty(Place::Override));
        }
        at.value = Value::Raw(text.to_string());
    }
}
