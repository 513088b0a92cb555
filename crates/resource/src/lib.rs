//! The one engine behind every resource.
//!
//! A resource is a struct with facts (crate `base`), a hook file and a list of actions. This crate walks the facts and gives the rest:
//!
//! ```text
//! request ─▶ dispatch ─▶ access (the decision becomes part of the SQL) ─▶ facts (parse the body) ─▶ hook
//!         ─▶ one transaction: row, audit event, change feed, task ─▶ view (a whole page at once) ─▶ answer
//! ```
//!
//! Invariants: no resource is known here by name; a row the caller may not see is not found; a page of N rows costs a constant number of
//! queries; nothing is written outside the one transaction.

mod access;
mod allowance;
mod body;
mod counts;
mod create;
mod crowd;
mod delete;
mod dispatch;
mod engine;
mod event;
mod filter;
mod groups;
mod hooks;
mod joined;
mod kind;
mod list;
mod metadatas;
mod names;
mod object;
mod openapi;
mod owner;
mod params;
mod show;
mod standard;
mod tags;
mod update;
mod view;

pub use access::{Ask, Conditional, Gate, TagSet, breadth, demand, denied};
pub use allowance::{Allowance, Bound, within};
pub use body::{Map, flag, int, required, text, text_list};
pub use create::{changed, nth};
pub use dispatch::{Answer, Method};
pub use engine::{Engine, Op, Options};
pub use event::{Event, audit};
pub use filter::asked_for;
pub use hooks::{Deleted, Hooks, NoHooks, Removal};
pub use kind::{ActionFact, Actions, Builder, Extra, Input, Joint, Kind, Naming, Parent, Reply, Tying};
pub use names::check_name;
pub use object::Objects;
pub use openapi::{ByHand, add_by_hand};
pub use owner::{FixedOwners, Owner, Owners};
pub use params::Params;
pub use tags::{Tag, write as write_tags};
pub use view::Page;

use std::{future::Future, pin::Pin};
use store::Migrations;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The tables every service database has: events, tags, and counts of what a licence bounds.
pub const MIGRATIONS: Migrations = Migrations {
    owner: "resource",
    sqlite: &[
        ("0001_init.sql", include_str!("../migrations/sqlite/0001_init.sql")),
        ("0002_allowances.sql", include_str!("../migrations/sqlite/0002_allowances.sql")),
    ],
    postgres: &[
        ("0001_init.sql", include_str!("../migrations/postgres/0001_init.sql")),
        ("0002_allowances.sql", include_str!("../migrations/postgres/0002_allowances.sql")),
    ],
};
