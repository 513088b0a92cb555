//! Open vSwitch: its daemons, its database, its flows.
//!
//! Everything goes through the project's own tools with machine-readable output; a native OVSDB conversation can take their place behind
//! the same functions. Nothing here knows guests.

mod daemons;
mod db;
mod ofctl;

pub(crate) use daemons::{Daemons, Datapath, Running, ended};
pub(crate) use db::{BridgeRow, Change, Database, Marks, PortRow, State};
pub(crate) use ofctl::{apply, delete_all, delete_meter, holds};
