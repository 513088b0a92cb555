//! Registration: what the machine is, its storages and where it is plugged in. Idempotent, at every start of an agent.

use super::{Agents, HostId};
use crate::intent;
use api_agent::{BridgeFacts, HostFacts, Registered, StorageFacts};
use api_compute::{Host, HostStorage, NetInterface, Storage, StorageCache, Wire, Zone};
use base::{Json, Resource, Result, Row, err, meta, new_id};
use region_infra::{host_capacity, storage_limit};
use std::collections::BTreeMap;
use store::{Change, ChangeOp, Cond, Read, Tx, work};

const REPORT_INTERVAL_SECS: u64 = 15;

impl Agents {
    pub async fn register(&self, host: &HostId, facts: HostFacts) -> Result<Registered> {
        let facts = &facts;
        let storages = self.db.tx(|tx| work(self.write(tx, host, facts))).await?;
        Ok(Registered { host_id: host.as_str().to_string(), storages, report_interval_secs: REPORT_INTERVAL_SECS })
    }

    async fn write(&self, tx: &mut Tx, host: &HostId, facts: &HostFacts) -> Result<BTreeMap<String, String>> {
        let row =
            tx.one(Host::facts(), host.as_str()).await?.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "host", host.as_str()))?;
        let zone = zone(tx, &facts.zone, row.text("zone_id")).await?;
        let now = tx.now();
        let bounds = &self.env.settings.bounds;
        let row = intent::change(tx, row, |r| {
            fill(r, facts, &zone);
            let (cpu, mem) = host_capacity(bounds, &Host::from_row(r));
            r.set("cpu_capacity", cpu);
            r.set("mem_capacity", mem);
            r.set("status", "running");
            r.set("host_status", "online");
            r.set("last_ping_at", now);
        })
        .await?;
        let mut ids = BTreeMap::new();
        for storage in &facts.storages {
            ids.insert(storage.path.clone(), self.storage(tx, &row, storage).await?);
        }
        bridges(tx, &row, &zone, &facts.bridges).await?;
        intent::emit_host(tx, host.as_str()).await?;
        Ok(ids)
    }

    /// A storage of this host at a path: found again, or made.
    async fn storage(&self, tx: &mut Tx, host: &Row, facts: &StorageFacts) -> Result<String> {
        let at = Cond::eq("host_id", host.id()).and(Cond::eq("mount_point", facts.path.as_str())).and(Cond::eq("deleted", false));
        let now = tx.now();
        if let Some(tie) = tx.list::<HostStorage>(at).await?.pop() {
            if let Some(row) = tx.one(Storage::facts(), &tie.storage_id).await? {
                let bounds = &self.env.settings.bounds;
                intent::change(tx, row, |r| {
                    r.set("capacity", facts.capacity_mb);
                    r.set("actual_capacity_used", facts.used_mb);
                    r.set("status", "online");
                    let limit = storage_limit(bounds, &Storage::from_row(r));
                    r.set("virtual_limit", limit);
                })
                .await?;
            }
            return Ok(tie.storage_id);
        }
        let kind = if facts.storage_type.is_empty() { "local" } else { &facts.storage_type };
        let id = new_id();
        let standalone =
            |id: &str, name: String| meta::Standalone { id: id.into(), name, created_at: now, updated_at: now, ..Default::default() };
        let cache = StorageCache {
            meta: standalone(&new_id(), format!("cache-{}", &id[..8])),
            path: format!("{}/imagecache", facts.path),
            master_host: host.id().into(),
            ..Default::default()
        };
        tx.insert(&cache.to_row()).await?;
        let mut storage = Storage {
            meta: standalone(&id, format!("{}-{kind}-{}", host.name(), &id[..8])),
            status: meta::Status { status: "online".into(), progress: 100 },
            enabled: meta::Enabled { enabled: true },
            domain: meta::DomainOwned { domain_id: host.text("domain_id").into(), domain_src: "local".into() },
            shared: meta::Shared { is_public: true, public_scope: "system".into(), public_src: "local".into(), ..Default::default() },
            external: meta::External { source: "local".into(), imported_at: Some(now), ..Default::default() },
            zone_id: host.text("zone_id").into(),
            storage_type: kind.into(),
            medium_type: if facts.medium_type.is_empty() { "ssd".into() } else { facts.medium_type.clone() },
            capacity: facts.capacity_mb,
            actual_capacity_used: facts.used_mb,
            storagecache_id: cache.meta.id,
            master_host: host.id().into(),
            is_sys_disk_store: true,
            ..Storage::default()
        };
        storage.virtual_limit = storage_limit(&self.env.settings.bounds, &storage);
        let row = storage.to_row();
        tx.insert(&row).await?;
        tx.emit(Change { op: ChangeOp::Create, ..resource::changed(&row) }).await?;
        let tie = HostStorage {
            joint: joint(tx),
            host_id: host.id().into(),
            storage_id: id.clone(),
            mount_point: facts.path.clone(),
            real_capacity: facts.capacity_mb,
            ..Default::default()
        };
        tx.insert(&tie.to_row()).await?;
        Ok(id)
    }
}

fn joint(tx: &Tx) -> meta::Joint {
    meta::Joint { id: new_id(), row_id: tx.now().micros(), created_at: tx.now(), updated_at: tx.now(), ..Default::default() }
}

/// The zone a host names, the one it had, or the only one there is.
async fn zone(tx: &mut Tx, named: &str, had: &str) -> Result<String> {
    let live = Cond::eq("deleted", false);
    if named.is_empty() && !had.is_empty() {
        return Ok(had.to_string());
    }
    let cond = if named.is_empty() { live } else { live.and(Cond::eq("id", named).or(Cond::eq("name", named))) };
    let mut zones: Vec<Zone> = tx.list(cond).await?;
    match zones.len() {
        1 => Ok(zones.remove(0).meta.id),
        0 if named.is_empty() => Err(err!(ResourceNotFound, "there is no zone; make one first with wolke zone create")),
        0 => Err(err!(ResourceNotFound, "{} {} not found", "zone", named)),
        n => Err(err!(MissingParameter, "{} zones fit; name the host's zone in its configuration", n)),
    }
}

fn fill(r: &mut Row, facts: &HostFacts, zone: &str) {
    r.set("zone_id", zone);
    for (column, text) in [
        ("hostname", &facts.hostname),
        ("access_ip", &facts.access_ip),
        ("access_mac", &facts.access_mac),
        ("cpu_desc", &facts.cpu_desc),
        ("cpu_architecture", &facts.cpu_architecture),
        ("version", &facts.version),
    ] {
        r.set(column, text.as_str());
    }
    // A serial number corrected by hand stays when the machine tells none.
    if let Some(sn) = facts.sys_info.get("sn").filter(|sn| !sn.is_empty()) {
        r.set("sn", sn.as_str());
    }
    for (column, n) in [
        ("cpu_count", facts.cpu_count),
        ("node_count", facts.node_count),
        ("cpu_mhz", facts.cpu_mhz),
        ("cpu_cache", facts.cpu_cache),
        ("mem_size", facts.mem_size),
        ("storage_size", facts.storages.iter().map(|s| s.capacity_mb).sum()),
        ("kvm_cap_max_vcpu", 128),
    ] {
        r.set(column, n);
    }
    if let Some(first) = facts.storages.first() {
        r.set("storage_type", first.medium_type.as_str());
    }
    let mut info: BTreeMap<&str, Json> = facts.sys_info.iter().map(|(k, v)| (k.as_str(), Json::from(v.as_str()))).collect();
    for (key, value) in [
        ("qemu_version", &facts.qemu_version),
        ("ovs_version", &facts.ovs_version),
        ("os_distribution", &facts.os_distribution),
        ("os_version", &facts.os_version),
        ("kernel_version", &facts.kernel_version),
        ("accelerator", &facts.accelerator),
    ] {
        info.insert(key, Json::from(value.as_str()));
    }
    r.set("sys_info", serde_json::to_value(info).unwrap_or_default());
}

/// Makes the host's interfaces what it says they are.
async fn bridges(tx: &mut Tx, host: &Row, zone: &str, facts: &[BridgeFacts]) -> Result<()> {
    let mine = || Cond::eq("host_id", host.id()).and(Cond::eq("deleted", false));
    let known: Vec<NetInterface> = tx.list(mine()).await?;
    let now = tx.now();
    for gone in known.iter().filter(|k| !facts.iter().any(|f| f.bridge == k.bridge)) {
        tx.update(
            "netinterfaces",
            Cond::eq("id", gone.joint.id.as_str()),
            vec![store::set("deleted", true), store::set("deleted_at", now)],
        )
        .await?;
    }
    for (i, f) in facts.iter().enumerate() {
        let wire = wire(tx, zone, &f.wire).await?;
        let nic = NetInterface {
            joint: joint(tx),
            host_id: host.id().into(),
            wire_id: wire,
            mac: f.mac.clone(),
            bridge: f.bridge.clone(),
            interface: f.interface.clone(),
            ip_addr: f.ip_addr.clone(),
            mtu: f.mtu,
            index: i as i64,
        };
        match known.iter().find(|k| k.bridge == f.bridge) {
            Some(old) => {
                let sets = vec![
                    store::set("wire_id", nic.wire_id),
                    store::set("mac", nic.mac),
                    store::set("interface", nic.interface),
                    store::set("ip_addr", nic.ip_addr),
                    store::set("mtu", nic.mtu),
                ];
                tx.update("netinterfaces", Cond::eq("id", old.joint.id.as_str()), sets).await?;
            }
            None => tx.insert(&nic.to_row()).await?,
        }
    }
    Ok(())
}

/// The wire a bridge names, or the zone's only one of the classic network.
async fn wire(tx: &mut Tx, zone: &str, named: &str) -> Result<String> {
    let live = Cond::eq("deleted", false).and(Cond::eq("zone_id", zone));
    let cond = if named.is_empty() {
        live.and(Cond::eq("vpc_id", "default"))
    } else {
        live.and(Cond::eq("id", named).or(Cond::eq("name", named)))
    };
    let mut wires: Vec<Wire> = tx.list(cond).await?;
    match wires.len() {
        1 => Ok(wires.remove(0).meta.id),
        0 => Err(err!(ResourceNotFound, "the zone has no wire {}; make one first with wolke wire create", named)),
        n => Err(err!(MissingParameter, "{} wires fit; name the bridge's wire in the host's configuration", n)),
    }
}
