//! Checks a region's books: whatever happened before, once nothing is going on nobody holds what nobody has.

use api_compute::{Disk, GuestDisk, GuestNetwork, Host, Network, Server, Storage};
use base::Result;
use std::collections::BTreeSet;
use store::{Cond, Db, Read};
use task::TaskRow;

/// Everything in a region's database that does not add up; empty when all is well. Reads only.
pub async fn faults(mut db: &Db) -> Result<Vec<String>> {
    let live = || Cond::eq("deleted", false);
    let mut found = Vec::new();
    let mut must_equal = |what: String, kept: i64, counted: i64| {
        if kept != counted {
            found.push(format!("{what}: {kept} noted, {counted} counted"));
        }
    };
    let servers: Vec<Server> = db.list(live()).await?;
    let disks: Vec<Disk> = db.list(live()).await?;
    let nics: Vec<GuestNetwork> = db.list(live()).await?;
    for host in db.list::<Host>(live()).await? {
        let on = || servers.iter().filter(|s| s.host_id == host.meta.id);
        must_equal(format!("processors of host {}", host.meta.name), host.cpu_commit, on().map(|s| s.vcpu_count).sum());
        must_equal(format!("memory of host {}", host.meta.name), host.mem_commit, on().map(|s| s.vmem_size).sum());
    }
    for server in &servers {
        must_equal(format!("processors of server {}", server.meta.name), server.vcpu_held, server.vcpu_count);
    }
    for storage in db.list::<Storage>(live()).await? {
        let on = disks.iter().filter(|d| d.storage_id == storage.meta.id);
        must_equal(format!("space of storage {}", storage.meta.name), storage.used_capacity, on.map(|d| d.disk_size).sum());
    }
    for network in db.list::<Network>(live()).await? {
        let on: Vec<&str> = nics.iter().filter(|n| n.network_id == network.meta.id).map(|n| n.ip_addr.as_str()).collect();
        must_equal(format!("addresses of network {}", network.meta.name), network.used, on.len() as i64);
        let apart: BTreeSet<&str> = on.iter().copied().collect();
        must_equal(format!("different addresses of network {}", network.meta.name), on.len() as i64, apart.len() as i64);
    }
    let known: BTreeSet<&str> = servers.iter().map(|s| s.meta.id.as_str()).collect();
    for nic in nics.iter().filter(|n| !known.contains(n.guest_id.as_str())) {
        found.push(format!("address {} belongs to no server", nic.ip_addr));
    }
    let there: BTreeSet<&str> = disks.iter().map(|d| d.meta.id.as_str()).collect();
    let mut tied = BTreeSet::new();
    for tie in db.list::<GuestDisk>(live()).await? {
        if !known.contains(tie.guest_id.as_str()) || !there.contains(tie.disk_id.as_str()) {
            found.push(format!("disk {} is tied to server {}, and one of them is gone", tie.disk_id, tie.guest_id));
        }
        tied.insert(tie.disk_id);
    }
    for disk in disks.iter().filter(|d| d.auto_delete && !tied.contains(&d.meta.id)) {
        found.push(format!("disk {} goes with its server, and has none", disk.meta.name));
    }
    for task in db.list::<TaskRow>(Cond::ne("status", task::status::DONE)).await? {
        let t = task.facts;
        found.push(format!("task {} on {} {} is {} in {}", t.task_name, t.obj_type, t.object, t.status, t.stage));
    }
    match db.count("task_holds", Cond::True).await? {
        0 => {}
        n => found.push(format!("{n} objects are held by tasks for ever")),
    }
    Ok(found)
}
