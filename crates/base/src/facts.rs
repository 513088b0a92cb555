//! Field facts: the static table a resource is made of.
//!
//! A trait of a resource is the presence of its column: a resource with `status` has the status action, one with `is_public` can be shared. There is
//! no second list to keep in step.

use crate::{BadValue, Kind, Value};
use std::collections::HashMap;

/// What may be done with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// Accepted in a create body.
    pub const CREATE: Flags = Flags(1);
    /// Must be in a create body.
    pub const REQUIRED: Flags = Flags(2);
    /// Accepted in an update body.
    pub const UPDATE: Flags = Flags(4);
    /// Answered for a single object only.
    pub const SHOW: Flags = Flags(8);
    /// Stored, never answered, never filterable.
    pub const HIDDEN: Flags = Flags(16);
    /// Needs domain scope or wider.
    pub const DOMAIN: Flags = Flags(32);
    /// Needs system scope.
    pub const ADMIN: Flags = Flags(64);
    /// Free text search looks into it.
    pub const SEARCH: Flags = Flags(128);
    /// A query parameter of list under its own name.
    pub const FILTER: Flags = Flags(256);

    pub const fn empty() -> Flags {
        Flags(0)
    }
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One column and what may be done with it.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The word on the wire and in the table.
    pub name: &'static str,
    pub kind: Kind,
    /// Whether the column can be NULL (an absent tri-state, time or reference).
    pub nullable: bool,
    /// One sentence with the unit: OpenAPI description, CLI help, console hint.
    pub doc: &'static str,
    pub flags: Flags,
    /// The singular keyword of the resource whose id this holds.
    pub refers: Option<&'static str>,
    pub aliases: &'static [&'static str],
    pub default: Option<&'static str>,
}

/// A piece of a struct's table.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Column(Field),
    Flatten(&'static [Part]),
}

/// A struct with columns; derived.
pub trait Columns: Sized {
    const PARTS: &'static [Part];
    const COUNT: usize;
    fn get(&self, i: usize) -> Value;
    fn set(&mut self, i: usize, value: Value) -> Result<(), BadValue>;
}

/// Whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The platform's: everybody may look, administrators change.
    System,
    /// A domain's, possibly shared with others.
    Domain,
    /// A project's.
    Project,
    /// One user's.
    User,
}

/// A resource: a struct with columns, and the facts about it; derived.
pub trait Resource: Columns + Default + Send + Sync + 'static {
    fn facts() -> &'static Facts;

    fn from_row(row: &Row) -> Self {
        let mut out = Self::default();
        for (i, value) in row.values.iter().enumerate() {
            // Values were read by this very table's kinds; a mismatch is a programming error the derive's tests would show.
            out.set(i, value.clone()).unwrap_or_else(|e| unreachable!("column {}: {e}", Self::facts().fields[i].name));
        }
        out
    }

    fn to_row(&self) -> Row {
        Row { facts: Self::facts(), values: (0..Self::COUNT).map(|i| self.get(i)).collect() }
    }
}

/// Everything the engine knows of a resource before any code of it runs.
#[derive(Debug)]
pub struct Facts {
    /// Singular keyword: `server`.
    pub name: &'static str,
    /// Plural keyword and URL segment: `servers`.
    pub plural: &'static str,
    /// Service type: `identity`, `compute`, `image`.
    pub service: &'static str,
    pub table: &'static str,
    pub level: Level,
    pub doc: &'static str,
    pub fields: Vec<Field>,
    by_name: HashMap<&'static str, usize>,
}

impl Facts {
    pub fn new(
        name: &'static str,
        plural: &'static str,
        service: &'static str,
        table: &'static str,
        level: Level,
        doc: &'static str,
        parts: &'static [Part],
    ) -> Facts {
        let mut fields = Vec::new();
        flatten(parts, &mut fields);
        let mut by_name = HashMap::new();
        for (i, field) in fields.iter().enumerate() {
            assert!(by_name.insert(field.name, i).is_none(), "{name} has two columns named {}", field.name);
        }
        Facts { name, plural, service, table, level, doc, fields, by_name }
    }

    /// Position of a column.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|i| &self.fields[i])
    }

    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }
}

fn flatten(parts: &'static [Part], into: &mut Vec<Field>) {
    for part in parts {
        match part {
            Part::Column(field) => into.push(*field),
            Part::Flatten(inner) => flatten(inner, into),
        }
    }
}

/// A row in the order of its facts.
#[derive(Clone, Debug)]
pub struct Row {
    pub facts: &'static Facts,
    pub values: Vec<Value>,
}

impl Row {
    /// A row of a type's defaults.
    pub fn new<R: Resource>() -> Row {
        R::default().to_row()
    }

    /// The value of a column; NULL when the table has none of that name.
    pub fn get(&self, name: &str) -> &Value {
        const NULL: &Value = &Value::Null;
        self.facts.position(name).map_or(NULL, |i| &self.values[i])
    }

    pub fn text(&self, name: &str) -> &str {
        self.get(name).as_str()
    }

    pub fn int(&self, name: &str) -> i64 {
        self.get(name).as_int().unwrap_or(0)
    }

    pub fn flag(&self, name: &str) -> bool {
        self.get(name).as_bool().unwrap_or(false)
    }

    pub fn id(&self) -> &str {
        self.text("id")
    }

    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// Sets a column that is known to exist.
    ///
    /// # Panics
    /// When the table has no such column: a misspelling in our own code.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let i = self.facts.position(name).unwrap_or_else(|| panic!("{} has no column {name}", self.facts.name));
        self.values[i] = value.into();
    }
}

impl From<String> for Value {
    fn from(s: String) -> Value {
        Value::Text(s)
    }
}
impl From<i64> for Value {
    fn from(n: i64) -> Value {
        Value::Int(n)
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Value {
        Value::Bool(b)
    }
}
impl From<f64> for Value {
    fn from(f: f64) -> Value {
        Value::Float(f)
    }
}
impl From<crate::Timestamp> for Value {
    fn from(t: crate::Timestamp) -> Value {
        Value::Time(t)
    }
}
impl From<crate::Json> for Value {
    fn from(j: crate::Json) -> Value {
        Value::Json(j)
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Value {
        v.map_or(Value::Null, Into::into)
    }
}
