//! Links, addresses, routes and taps of the current network namespace as typed calls.
//!
//! Called by whoever shapes a machine's network: the host agent, tests. Built on the kernel's route netlink; the crates below it change
//! their interface often, so none of their types leaves this one. Every `ensure_*` is idempotent and tolerates another process doing the
//! same. This crate decides nothing: it does not know which links are whose.

mod address;
mod link;
mod route;
mod tap;

pub use ipnet::IpNet;
pub use link::{Link, Mac};
pub use route::{MAIN_TABLE, Route};

use std::io;
use std::sync::Arc;
use tokio::task::AbortHandle;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was asked of the kernel and why it did not happen.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    what: String,
    #[source]
    source: io::Error,
}

impl Error {
    fn new(what: impl Into<String>, source: io::Error) -> Error {
        Error { what: what.into(), source }
    }

    /// What the kernel said.
    pub fn io(&self) -> &io::Error {
        &self.source
    }

    /// The thing named does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self.errno(), ENODEV | ENOENT | ESRCH | EADDRNOTAVAIL | ENXIO)
    }

    /// The thing to be made exists.
    pub fn is_present(&self) -> bool {
        self.errno() == EEXIST
    }

    fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const ENXIO: i32 = 6;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;
const EADDRNOTAVAIL: i32 = 99;

/// A conversation with the kernel about the network namespace it was opened in. Clones share it; the last one to go ends it.
#[derive(Clone)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    _driver: Arc<Driver>,
}

struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Netlink {
    /// Opens a netlink socket. Needs a running tokio runtime, which drives it.
    pub fn open() -> Result<Netlink> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|e| Error::new("open a netlink socket", e))?;
        let driver = tokio::spawn(connection).abort_handle();
        Ok(Netlink { handle, _driver: Arc::new(Driver(driver)) })
    }
}

/// Reads the errno out of the library's error; what has none becomes text.
fn failed(what: impl Into<String>, error: rtnetlink::Error) -> Error {
    let source = match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    };
    Error::new(what, source)
}
