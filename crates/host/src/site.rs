//! What every actor of one agent shares.

use crate::board::Board;
use crate::disk::Disks;
use crate::guest::{HostNow, Mailbox};
use crate::hypervisor::Hypervisor;
use crate::records::Records;
use base::Clock;
use host_net::Network;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) struct Site {
    pub hypervisor: Arc<dyn Hypervisor>,
    pub disks: Arc<dyn Disks>,
    pub network: Arc<dyn Network>,
    pub records: Arc<dyn Records>,
    pub clock: Clock,
    pub board: Board,
    pub boot: Boot,
    pub mailboxes: Mutex<HashMap<String, Mailbox>>,
}

/// The present boot of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    pub id: String,
    /// Microseconds since 1970.
    pub at: i64,
}

impl Site {
    pub fn host_now(&self) -> HostNow {
        HostNow { boot_id: self.boot.id.clone(), booted: self.boot.at, now: self.clock.now() }
    }

    pub fn boot_id(&self) -> String {
        self.boot.id.clone()
    }

    pub fn mailbox(&self, guest: &str) -> Option<Mailbox> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner).get(guest).cloned()
    }
}

/// What is logged in it bears the id of the request it is done for; without one nothing is added.
pub(crate) fn by_request(id: &str) -> tracing::Span {
    if id.is_empty() { tracing::Span::none() } else { tracing::info_span!("work", request_id = id) }
}
