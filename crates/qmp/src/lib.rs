//! QEMU's machine protocol (QMP) and the guest agent's dialect of it, over unix sockets.
//!
//! The host agent speaks [`Qmp`] to the hypervisor process of each guest and [`GuestAgent`] to the agent inside the guest. Both peers are
//! treated as hostile: the guest agent is the guest's own program, and a QEMU may have been taken over by its guest. So every message has a
//! size bound, every command a time bound, and nothing that arrives can panic this crate or make it wait for ever.
//!
//! A link is made once and dies once. The crate never reconnects: its owner sees [`Error::Closed`], looks whether the process lives, and
//! connects anew.
//!
//! Sources: QEMU's `docs/interop/qmp-spec.rst` and the QAPI schemas of QEMU and of qemu-ga. QEMU 7.2 and later.

mod agent;
mod command;
mod event;
mod frame;
mod link;
mod message;

pub use agent::{GuestAgent, GuestInfo, GuestInterface, GuestIpAddress};
pub use command::*;
pub use event::{BlockIoError, Event, Shutdown, TimedEvent};
pub use frame::Frames;
pub use link::{Events, Qmp};
pub use message::{Greeting, Message, QemuVersion};

use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The peer went away, or the link was given up after one of the errors below.
    #[error("the link is closed")]
    Closed,
    #[error("no answer to {command} within {after:?}")]
    Timeout { command: String, after: Duration },
    /// A message longer than [`Limits::message`]; the link is given up, for its rest cannot be found.
    #[error("a message of more than {0} bytes")]
    TooLarge(usize),
    /// Not what the protocol allows here; the link is given up.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The peer's own refusal. `class` is `GenericError`, `CommandNotFound`, `DeviceNotActive`, `DeviceNotFound` or `KVMMissingCap`.
    #[error("{command}: {desc} ({class})")]
    Refused { command: String, class: String, desc: String },
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Bounds of one link.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one incoming message.
    pub message: usize,
    /// For an answer, and for the greeting.
    pub answer: Duration,
    /// Events kept for an owner who does not read them; further ones are counted and dropped, see [`Events::lost`].
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { message: 4 << 20, answer: Duration::from_secs(20), events: 256 }
    }
}
