//! A simulated network, for simulated hosts and for tests of the agent.

use crate::{BoxFuture, Network, Shelf, Tap};
use api_agent::{GuestNic, GuestSpec, NetworkSpec};
use base::{Result, err};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

/// Remembers what it was told. Clones of an `Arc` of it survive an agent, as the real network survives the agent's process.
#[derive(Debug, Default)]
pub struct SimNetwork {
    /// Network of each tap.
    taps: Shelf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    networks: Vec<NetworkSpec>,
    guests: Vec<String>,
    broken: Option<String>,
}

impl SimNetwork {
    /// One whose taps outlive the process.
    pub fn at(dir: PathBuf) -> Result<SimNetwork> {
        Ok(SimNetwork { taps: Shelf::at(dir)?, state: Mutex::default() })
    }

    /// From now on every call fails with this message; `None` repairs it.
    pub fn break_with(&self, message: Option<&str>) {
        self.lock().broken = message.map(str::to_string);
    }

    /// Network of each plugged tap.
    pub fn ports(&self) -> BTreeMap<String, String> {
        self.taps.all()
    }

    /// Ids of the networks and guests last applied.
    pub fn applied(&self) -> (Vec<String>, Vec<String>) {
        let state = self.lock();
        (state.networks.iter().map(|n| n.id.clone()).collect(), state.guests.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while holding it leaves plain data, which is as good as before.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn check(&self) -> Result<()> {
        match &self.broken {
            Some(message) => Err(err!(ServiceAbnormal, "network of the host: {}", message)),
            None => Ok(()),
        }
    }
}

impl Network for SimNetwork {
    fn apply<'a>(&'a self, networks: &'a [NetworkSpec], guests: &'a [GuestSpec]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut state = self.lock();
            state.check()?;
            state.networks = networks.to_vec();
            state.guests = guests.iter().map(|g| g.id.clone()).collect();
            Ok(())
        })
    }

    fn plug<'a>(&'a self, nic: &'a GuestNic, network: &'a NetworkSpec, _guest: &'a GuestSpec) -> BoxFuture<'a, Result<Tap>> {
        Box::pin(async move {
            self.lock().check()?;
            if nic.ifname.is_empty() || nic.ifname.len() > 15 {
                return Err(err!(InputParameter, "interface name {} must have 1 to 15 bytes", nic.ifname));
            }
            self.taps.put(&nic.ifname, &network.id)?;
            Ok(Tap { ifname: nic.ifname.clone(), vnet_hdr: true })
        })
    }

    fn unplug<'a>(&'a self, ifname: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.lock().check()?;
            self.taps.take(ifname)
        })
    }

    fn taps(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(async move {
            self.lock().check()?;
            Ok(self.taps.all().into_keys().collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plugging_twice_is_once() {
        let net = SimNetwork::default();
        let nic = GuestNic { ifname: "t1".into(), ..Default::default() };
        let (network, guest) = (NetworkSpec { id: "n".into(), ..Default::default() }, GuestSpec::default());
        assert_eq!(net.plug(&nic, &network, &guest).await.unwrap(), net.plug(&nic, &network, &guest).await.unwrap());
        assert_eq!(net.taps().await.unwrap(), ["t1"]);
        net.unplug("t1").await.unwrap();
        net.unplug("t1").await.unwrap();
        assert!(net.taps().await.unwrap().is_empty());
        let long = GuestNic { ifname: "sixteen-bytes-xx".into(), ..Default::default() };
        assert!(net.plug(&long, &network, &guest).await.is_err());
    }
}
