//! Who is behind which port: what the DHCP and metadata answers are made from.
//!
//! Swapped whole by `apply`; the answering tasks only read, so they go on when everything above them is down.

use crate::flows::{Ports, alias_port};
use crate::plan::{Bridge, Document, Nic};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// One NIC and the document it is in.
#[derive(Clone)]
pub(crate) struct Subject {
    pub nic: Arc<Nic>,
    pub document: Arc<Document>,
}

/// NICs of a bridge by OpenFlow port.
#[derive(Default)]
pub(crate) struct View(BTreeMap<u16, Subject>);

impl View {
    pub fn new(bridge: &Bridge, ports: &Ports, document: &Arc<Document>) -> View {
        let subject = |nic: &Nic| Subject { nic: Arc::new(nic.clone()), document: document.clone() };
        View(bridge.nics.values().filter_map(|nic| Some((*ports.get(&nic.tap)?, subject(nic)))).collect())
    }

    /// The NIC behind an alias. The flows let nothing else arrive under it.
    pub fn by_alias(&self, ip: Ipv4Addr) -> Option<&Subject> {
        self.0.get(&alias_port(ip)?)
    }

    #[cfg(test)]
    pub fn of(subjects: impl IntoIterator<Item = (u16, Subject)>) -> View {
        View(subjects.into_iter().collect())
    }
}
