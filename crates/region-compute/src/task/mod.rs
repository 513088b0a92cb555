//! The tasks of servers and disks. One file per kind; steps that several share are in `steps`.
//!
//! They are started by the hooks of servers and disks, in the transaction of the request; nobody else starts them but tests.

mod create;
mod delete;
mod disk;
mod login;
mod parts;
mod power;
mod rebuild;
mod reset;
mod resize;
pub(crate) mod steps;

pub use create::ServerCreate;
/// What a request asked for, as the tasks take it.
pub mod plan {
    pub use super::create::{DiskPlan, NicPlan};
}
pub use delete::ServerDelete;
pub use disk::{DiskCreate, DiskDelete, DiskResize};
pub(crate) use login::{LOGIN_SET, take_login};
pub use login::{Login, ServerSetPassword};
pub use parts::MOST_DISKS;
pub use parts::{ServerAttachDisk, ServerAttachNetwork, ServerCreateDisk, ServerDetachDisk, ServerDetachNetwork};
pub use power::{ServerRestart, ServerStart, ServerStop};
pub use rebuild::{ServerRebuildRoot, Told};
pub(crate) use reset::Asked;
pub use reset::ServerReset;
pub(crate) use resize::resize;
pub use resize::{ServerChangeConfig, Size};
