//! DHCPv4 (RFC 2131, 2132, 3396, 3442, 6842): messages as bytes and as values, and the answer to a request.
//!
//! Called by whoever serves addresses: the network of a hypervisor host, the bare-metal service. The answer is a pure function of the
//! request and of the one binding its hardware address has; there is no lease memory, so a restarted server answers the same.
//! This crate opens no socket and never panics on bytes from the wire.

mod answer;
mod message;
mod options;

pub use answer::{Binding, Destination, Reply, Route, answer};
pub use message::{Kind, Mac, Malformed, Message, Op};
pub use options::{Options, code};

/// Port a server listens on.
pub const SERVER_PORT: u16 = 67;
/// Port a client listens on.
pub const CLIENT_PORT: u16 = 68;
/// Lease of a binding that names none: three years, so that guests keep their addresses while no server answers.
pub const DEFAULT_LEASE_SECS: u32 = 100_663_296;
