//! The tasks of servers and disks. One file per kind; steps that several share are in `steps`.

mod create;
mod delete;
mod disk;
mod power;
pub(crate) mod steps;

pub(crate) use create::ServerCreate;
/// What a request asked for, as the tasks take it.
pub(crate) mod plan {
    pub(crate) use super::create::{DiskPlan, NicPlan};
}
pub(crate) use delete::ServerDelete;
pub(crate) use disk::{DiskCreate, DiskDelete};
pub(crate) use power::{ServerRestart, ServerStart, ServerStop};
