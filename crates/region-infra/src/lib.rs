//! Region, first link of the chain: where things stand and what they stand on. Knows no server.

mod capacity;
mod host;
mod infra;
mod keypair;
mod place;
mod rsa;
mod sku;
mod storage;

pub use capacity::{Bounds, host_capacity, storage_limit};
pub use place::{brand, place};

use resource::Kind;
use std::sync::Arc;

/// The kinds of this link.
pub fn kinds(bounds: &Bounds, seal: &Arc<auth::Seal>) -> Vec<Kind> {
    vec![
        infra::cloudregion(),
        infra::zone(),
        infra::vpc(),
        infra::wire(),
        host::kind(bounds),
        host::hoststorage(),
        host::netinterface(),
        storage::kind(bounds),
        storage::cache(),
        sku::kind(),
        keypair::kind(seal),
    ]
}

pub(crate) fn shared<T>(value: T) -> Arc<T> {
    Arc::new(value)
}
