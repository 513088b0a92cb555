//! Ground of the house: values, field facts, errors, identifiers, time and the operation context.
//!
//! Invariant: this crate knows no resource, no database and no socket. Everything above speaks in its words.

extern crate self as base;

mod context;
mod error;
mod facts;
mod id;
pub mod meta;
mod said;
mod time;
mod value;

pub use context::{Bearer, Caller, Ctx, Lang, Role, Scope};
pub use derive::{Columns, Resource};
pub use error::{Class, Error, Result};
pub use facts::{Columns, Facts, Field, Flags, Level, Part, Resource, Row};
pub use id::{Id, hex_id, is_id, new_id};
pub use said::{Part as SaidPart, Said};
pub use time::{Clock, Timestamp};
pub use value::{BadValue, Cell, Json, Kind, Value};
