//! Making the machine what the document says, from whatever state it is in.
//!
//! Order matters. A guest's frames reach the kernel the moment its tap is up, so guards and filter come first. Answers are ready before the
//! flows that lead to them. Every step looks before it acts and acts only on differences; dying between any two is healed by the next run.

use crate::config::Config;
use crate::flows::{Layout, Ports, SERVICE, SERVICE_PREFIX};
use crate::nat::Rules;
use crate::network::{Answering, Inner, State, chain};
use crate::ovs::{self, Change, Database, Datapath, PortRow, Running};
use crate::plan::{Bridge, Plan, mac_text};
use crate::view::View;
use crate::{dhcp_server, metadata, shape, sysctl};
use arc_swap::ArcSwap;
use base::{Error, Result, err};
use ipnet::Ipv4Net;
use netlink::{IpNet, Link};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long another platform may take to restart the switch we share before we start our own.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys of `external_ids`.
pub(crate) const OWNER: &str = "wolke-owner";
const KIND: &str = "wolke-kind";
/// Index of the device behind a tap's port: a device made anew under the old name is another device.
const DEVICE: &str = "wolke-device";

/// Where the flows a bridge holds are known from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// The bridge is asked.
    Closely,
    /// From the last time, if the same switch still runs: one port more must not cost more the more there are.
    Remembered,
}

pub(crate) struct Done {
    /// What of the document could not be carried out; the rest was.
    pub problems: Vec<Error>,
    /// Taps the switch carries.
    pub plugged: BTreeSet<String>,
    pub datapath: Datapath,
}

impl Inner {
    /// `look` says how closely flows are looked at.
    pub(crate) async fn converge(&self, state: &mut State, look: Look) -> Result<Done> {
        if state.down {
            return Err(err!(InvalidStatus, "the network of this host was taken down"));
        }
        let switch = self.switch(state).await?;
        let db = Database::of(&switch);
        let mut plan = Plan::new(&self.config, &state.document);
        let mut found = db.state().await?;
        self.check_bridges(&mut plan, &found)?;

        let taps = self.taps_with_devices().await?;
        let wanted = self.wanted_ports(&plan, &taps, &found);
        let (drops, adds, abandoned) = self.changes(&plan, &wanted, &found, switch.datapath);
        for bridge in &abandoned {
            if found.bridges.contains_key(bridge) {
                ovs::delete_all(&switch.rundir, bridge, self.config.owner()).await?;
            }
            state.layouts.remove(bridge);
        }
        // Apart, or the switch would keep a device open that was made anew under its old name.
        db.change(&drops).await?;
        db.change(&adds).await?;
        if !drops.is_empty() || !adds.is_empty() {
            found = db.state().await?;
        }

        let links: BTreeMap<String, Link> = self.links().await?;
        self.shape(&plan, &links).await?;
        let own_taps: BTreeSet<String> = taps.keys().cloned().collect();
        for tap in &own_taps {
            sysctl::isolate(tap)?;
        }
        self.filter.ensure(&Rules::new(&plan, &own_taps)).await?;
        self.raise_taps(&plan, &taps).await?;
        shape::ensure(&plan, &own_taps).await?;

        let mut plugged = BTreeSet::new();
        state.answering.retain(|bridge, _| plan.bridges.contains_key(bridge));
        for bridge in plan.bridges.values() {
            let on_bridge = |(name, row): (&String, &PortRow)| (row.bridge == bridge.name).then_some((name.clone(), row.number?));
            let ports: Ports = found.ports.iter().filter_map(on_bridge).collect();
            if let Some(row) = found.ports.get(&bridge.service.port).filter(|row| row.number.is_none()) {
                return Err(
                    err!(ServiceAbnormal, "the switch of this host cannot open port {}", bridge.service.port).with_context(&row.error)
                );
            }
            self.answer(state, bridge, &ports, &links)?;
            if look == Look::Closely {
                self.check_flows(state, &switch, &bridge.name).await?;
            }
            self.lay_flows(state, &switch, bridge, &ports, &own_taps).await?;
            plugged.extend(bridge.nics.keys().filter(|tap| ports.contains_key(*tap)).cloned());
        }
        Ok(Done { problems: plan.problems, plugged, datapath: switch.datapath })
    }

    /// The switch to use. When it is another one than before, nothing is known of its flows.
    async fn switch(&self, state: &mut State) -> Result<Running> {
        if let Some(old) = &state.switch
            && !old.own
            && self.daemons.running().is_none()
            && self.daemons.foreign().is_none()
        {
            let since = *state.lost.get_or_insert_with(Instant::now);
            if since.elapsed() < PATIENCE {
                return Err(err!(ServiceAbnormal, "Open vSwitch of this host is down; waiting for whoever runs it"));
            }
        }
        state.lost = None;
        let switch = self.daemons.ensure().await?;
        if state.switch.as_ref() != Some(&switch) {
            tracing::info!(db = %switch.db.display(), datapath = switch.datapath.name(), own = switch.own, "using Open vSwitch");
            state.layouts.clear();
            state.switch = Some(switch.clone());
        }
        Ok(switch)
    }

    /// Our own bridge must be ours, others must be there.
    fn check_bridges(&self, plan: &mut Plan, found: &ovs::State) -> Result<()> {
        if let Some(row) = found.bridges.get(&self.config.bridge)
            && row.marks.get(OWNER) != Some(&self.config.owner_text())
        {
            return Err(err!(
                Conflict,
                "bridge {} of this host belongs to something else; name another integration bridge or remove it",
                self.config.bridge
            ));
        }
        let missing: Vec<String> =
            plan.bridges.values().filter(|b| !b.own && !found.bridges.contains_key(&b.name)).map(|b| b.name.clone()).collect();
        for name in missing {
            let nets: Vec<String> = plan.bridges.remove(&name).iter().flat_map(|b| b.nics.values().map(|n| n.guest.id.clone())).collect();
            let problem = err!(
                InvalidStatus,
                "bridge {} does not exist on this host; create it in Open vSwitch or change the wire of the host",
                name
            );
            plan.problems.push(problem.with_context(format!("guests {nets:?}")));
        }
        Ok(())
    }

    async fn links(&self) -> Result<BTreeMap<String, Link>> {
        let links = self.kernel.links().await.map_err(|e| Error::internal(chain(&e)))?;
        Ok(links.into_iter().map(|l| (l.name.clone(), l)).collect())
    }

    /// Our taps that are there. One whose device is gone (a reboot takes them) is forgotten.
    async fn taps_with_devices(&self) -> Result<BTreeMap<String, Link>> {
        let mut links = self.links().await?;
        let mut taps = BTreeMap::new();
        for (name, _) in self.files.taps()? {
            match links.remove(&name) {
                Some(link) => {
                    taps.insert(name, link);
                }
                None => self.files.forget_tap(&name)?,
            }
        }
        Ok(taps)
    }

    /// Our ports as they should be.
    fn wanted_ports(&self, plan: &Plan, taps: &BTreeMap<String, Link>, found: &ovs::State) -> BTreeMap<String, PortRow> {
        let mut wanted = BTreeMap::new();
        for bridge in plan.bridges.values() {
            let service = PortRow {
                // A VLAN nobody can have: this port takes part in no switching, only in flows that name it.
                tag: Some(4095),
                ..self.internal(&bridge.name, "service", bridge.service.mac)
            };
            wanted.insert(bridge.service.port.clone(), service);
            for gateway in bridge.gateways.values() {
                let port =
                    PortRow { tag: gateway.vlan, mtu_request: Some(gateway.mtu), ..self.internal(&bridge.name, "gateway", gateway.mac) };
                wanted.insert(gateway.port.clone(), port);
            }
            for (tap, nic) in &bridge.nics {
                if let Some(link) = taps.get(tap) {
                    wanted.insert(tap.clone(), self.tap_port(&bridge.name, nic.vlan, link));
                }
            }
        }
        // Taps the document does not know (any more) stay where they are: their guests may still run, cut off.
        for (tap, link) in taps {
            if !wanted.contains_key(tap)
                && let Some(row) = found.ports.get(tap)
            {
                wanted.insert(tap.clone(), self.tap_port(&row.bridge, row.tag, link));
            }
        }
        wanted
    }

    fn internal(&self, bridge: &str, kind: &str, mac: netlink::Mac) -> PortRow {
        let marks = [(OWNER.to_string(), self.config.owner_text()), (KIND.to_string(), kind.to_string())].into();
        PortRow { bridge: bridge.into(), marks, kind: "internal".into(), mac: mac_text(mac), ..PortRow::default() }
    }

    fn tap_port(&self, bridge: &str, tag: Option<u16>, link: &Link) -> PortRow {
        let text = |k: &str, v: String| (k.to_string(), v);
        let marks = [text(OWNER, self.config.owner_text()), text(KIND, "tap".into()), text(DEVICE, link.index.to_string())].into();
        PortRow { bridge: bridge.into(), tag, marks, ..PortRow::default() }
    }

    /// What to drop, what to make, and bridges of others we have nothing on any more.
    fn changes(
        &self,
        plan: &Plan,
        wanted: &BTreeMap<String, PortRow>,
        found: &ovs::State,
        datapath: Datapath,
    ) -> (Vec<Change>, Vec<Change>, BTreeSet<String>) {
        let owner = self.config.owner_text();
        let (mut drops, mut adds, mut abandoned) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (name, row) in found.ports.iter().filter(|(_, row)| row.marks.get(OWNER) == Some(&owner)) {
            let keep = wanted.get(name).is_some_and(|w| w.bridge == row.bridge && w.marks.get(DEVICE) == row.marks.get(DEVICE));
            if !keep {
                drops.push(Change::DropPort { name: name.clone() });
            }
            if !plan.bridges.contains_key(&row.bridge) {
                abandoned.insert(row.bridge.clone());
            }
        }
        let marks = [(OWNER.to_string(), owner)].into();
        let bridge_is = |row: &&ovs::BridgeRow| row.datapath == datapath.name() && row.fail_mode == "secure";
        if found.bridges.get(&self.config.bridge).filter(bridge_is).is_none() {
            adds.push(Change::Bridge { name: self.config.bridge.clone(), datapath: datapath.name(), marks });
        }
        for (name, port) in wanted {
            if !found.ports.get(name).is_some_and(|row| row.is(port)) {
                adds.push(Change::Port { name: name.clone(), port: port.clone() });
            }
        }
        (drops, adds, abandoned)
    }

    /// Addresses and guards of the host's own ports.
    async fn shape(&self, plan: &Plan, links: &BTreeMap<String, Link>) -> Result<()> {
        for bridge in plan.bridges.values() {
            if bridge.own
                && let Some(link) = links.get(&bridge.name)
            {
                self.mark(link).await?;
                sysctl::isolate(&bridge.name)?;
            }
            sysctl::guard(&bridge.service.port)?;
            sysctl::loose(&bridge.service.port)?;
            self.address(links, &bridge.service.port, SERVICE, SERVICE_PREFIX).await?;
            for gateway in bridge.gateways.values() {
                sysctl::guard(&gateway.port)?;
                self.address(links, &gateway.port, gateway.address, gateway.subnet.prefix_len()).await?;
            }
        }
        if plan.gateways().next().is_some() {
            sysctl::forward()?;
        }
        Ok(())
    }

    /// Gives one of our ports this address and no other, and raises it.
    async fn address(&self, links: &BTreeMap<String, Link>, port: &str, ip: std::net::Ipv4Addr, prefix: u8) -> Result<()> {
        let failed = |e: netlink::Error| Error::internal(chain(&e)).with_context(port);
        let link = links.get(port).ok_or_else(|| err!(ServiceAbnormal, "the switch of this host did not make port {}", port))?;
        self.mark(link).await?;
        let address = IpNet::from(Ipv4Net::new(ip, prefix).map_err(Error::internal)?);
        let has = self.kernel.addresses(link.index).await.map_err(failed)?;
        for other in has.iter().filter(|a| **a != address) {
            self.kernel.remove_address(link.index, *other).await.map_err(failed)?;
        }
        if !has.contains(&address) {
            self.kernel.ensure_address(link.index, address).await.map_err(failed)?;
        }
        if !link.up {
            self.kernel.set_up(link.index, true).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Writes our name on a device, for `down` after the switch lost its memory.
    async fn mark(&self, link: &Link) -> Result<()> {
        let alias = self.alias();
        if link.alias == alias {
            return Ok(());
        }
        self.kernel.set_alias(link.index, &alias).await.map_err(|e| Error::internal(chain(&e)))
    }

    /// What our devices carry in their alias.
    pub(crate) fn alias(&self) -> String {
        format!("wolke {}", self.config.owner_text())
    }

    async fn raise_taps(&self, plan: &Plan, taps: &BTreeMap<String, Link>) -> Result<()> {
        for (_, nic) in plan.nics() {
            let Some(link) = taps.get(&nic.tap) else { continue };
            let failed = |e: netlink::Error| Error::internal(chain(&e)).with_context(&nic.tap);
            self.mark(link).await?;
            if link.mtu != u32::from(nic.mtu) {
                self.kernel.set_mtu(link.index, u32::from(nic.mtu)).await.map_err(failed)?;
            }
            if !link.up {
                self.kernel.set_up(link.index, true).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Sockets on the service port, and what they answer from.
    fn answer(&self, state: &mut State, bridge: &Bridge, ports: &Ports, links: &BTreeMap<String, Link>) -> Result<()> {
        let view = Arc::new(View::new(bridge, ports, &state.document));
        let port = &bridge.service.port;
        let device = links.get(port).map_or(0, |l| l.index);
        let alive = |a: &&mut Answering| a.device == device && a.tasks.iter().all(|t| !t.is_finished());
        if let Some(answering) = state.answering.get_mut(&bridge.name).filter(alive) {
            answering.view.store(view);
            return Ok(());
        }
        // The old sockets must be gone before the new ones can have their addresses.
        state.answering.remove(&bridge.name);
        let view = Arc::new(ArcSwap::new(view));
        let (udp, tcp) = (dhcp_server::bind(port)?, metadata::bind(port)?);
        let tasks = [tokio::spawn(dhcp_server::run(udp, view.clone())), tokio::spawn(metadata::run(tcp, view.clone()))];
        state.answering.insert(bridge.name.clone(), Answering { device, view, tasks });
        Ok(())
    }

    /// Forgets what a bridge does not hold any more.
    async fn check_flows(&self, state: &mut State, switch: &Running, bridge: &str) -> Result<()> {
        if let Some(known) = state.layouts.get(bridge)
            && !ovs::holds(&switch.rundir, bridge, self.config.owner(), known).await?
        {
            state.layouts.remove(bridge);
        }
        Ok(())
    }

    async fn lay_flows(
        &self,
        state: &mut State,
        switch: &Running,
        bridge: &Bridge,
        ports: &Ports,
        own_taps: &BTreeSet<String>,
    ) -> Result<()> {
        let owner = self.config.owner();
        let wanted = Layout::new(bridge, ports, own_taps);
        if let Some(known) = state.layouts.get(&bridge.name) {
            if let Err(e) = ovs::apply(&switch.rundir, &bridge.name, owner, Some(known), &wanted).await {
                // Half of it may be there, meters for instance.
                state.layouts.remove(&bridge.name);
                return Err(e);
            }
            state.layouts.insert(bridge.name.clone(), wanted);
            return Ok(());
        }
        if !ovs::holds(&switch.rundir, &bridge.name, owner, &wanted).await? {
            ovs::apply(&switch.rundir, &bridge.name, owner, None, &wanted).await?;
        }
        state.layouts.insert(bridge.name.clone(), wanted);
        Ok(())
    }
}

/// Ports a network with these settings may have in a switch, by their mark.
pub(crate) fn is_ours(config: &Config, marks: &ovs::Marks) -> bool {
    marks.get(OWNER) == Some(&config.owner_text())
}
