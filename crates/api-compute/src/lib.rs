//! Contracts of the region: resource structs and the grammar of disk and network configurations. No database, no server.

mod absent;
mod config;
mod disk;
mod host;
mod infra;
mod keypair;
mod network;
mod quota;
mod server;
mod sku;
mod storage;

pub use absent::{asked, refuse_disk, wishes};
pub use config::{DiskConfig, NIC_DRIVERS, NetConfig, parse_size_mb};
pub use disk::Disk;
pub use host::{DOCUMENT_ALONE, Host, HostStorage, NetInterface};
pub use infra::{CloudRegion, Vpc, Wire, Zone};
pub use keypair::Keypair;
pub use network::{Network, ReservedIp};
pub use quota::Quota;
pub use server::{GuestDisk, GuestNetwork, Server, status};
pub use sku::ServerSku;
pub use storage::{Storage, StorageCache};
