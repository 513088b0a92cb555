//! What the agent asks of the machine it runs on. The real one is [`crate::probe::Host`], the simulated one in [`crate::sim`].

use crate::site::Boot;
use api_agent::{HostFacts, HostStats};
use base::Result;
use host_net::BoxFuture;

pub trait MachineRoom: Send + Sync {
    /// What the machine is; what its hypervisor can do is filled in from [`crate::hypervisor::Abilities`].
    fn facts(&self) -> BoxFuture<'_, Result<HostFacts>>;

    /// How busy it is; percentages are of the time since the last call.
    fn stats(&self) -> BoxFuture<'_, HostStats>;

    fn boot(&self) -> Boot;
}
