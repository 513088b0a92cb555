//! The network of a hypervisor host, as its agent sees it.
//!
//! The agent (crate `host`) calls [`Network`]; nothing else does. Every method is idempotent, because the agent repeats them after a crash.
//! The network must never touch a device it did not make: [`Network::taps`] names its own, and only those are ever removed.

mod config;
mod converge;
mod dhcp_server;
mod down;
mod files;
mod flows;
mod metadata;
mod nat;
mod network;
mod ovs;
mod plan;
mod run;
mod shape;
mod shelf;
mod sim;
mod sysctl;
mod view;

use api_agent::{GuestNic, GuestSpec, NetworkSpec};
use base::Result;
pub use config::{Config, SwitchChoice};
pub use futures_util::future::BoxFuture;
pub use network::{OvsNetwork, down};
pub use shelf::Shelf;
pub use sim::SimNetwork;

/// The port of one NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Name of the tap device, at most 15 bytes: the document's, or another where that one could clash on this machine.
    pub ifname: String,
    /// Whether frames may carry the offload header. Off for a switch whose datapath runs in userspace: it does not finish the checksums a
    /// guest left to the device.
    pub vnet_hdr: bool,
}

/// What the agent needs of the host's network.
pub trait Network: Send + Sync {
    /// Makes bridges, address translation, DHCP answers and metadata content those of the document: whole, not a difference. What an
    /// earlier document named and this one does not is taken down, except ports (see [`Network::unplug`]).
    fn apply<'a>(&'a self, networks: &'a [NetworkSpec], guests: &'a [GuestSpec]) -> BoxFuture<'a, Result<()>>;

    /// Makes the tap of a NIC and plugs it into its network; if it is already there, makes its settings those given.
    fn plug<'a>(&'a self, nic: &'a GuestNic, network: &'a NetworkSpec, guest: &'a GuestSpec) -> BoxFuture<'a, Result<Tap>>;

    /// Removes the tap and the port of a NIC, by the name the document has for it; one that is not there is success.
    fn unplug<'a>(&'a self, ifname: &'a str) -> BoxFuture<'a, Result<()>>;

    /// All taps this network made, also in an earlier life of the process, by the names the document had for them.
    fn taps(&self) -> BoxFuture<'_, Result<Vec<String>>>;
}
