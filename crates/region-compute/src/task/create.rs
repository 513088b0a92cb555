//! Making a server: a host, addresses, disks, and if wished power.
//!
//! Until the disks are ready everything is taken back on failure, and the server's row stays with the reason. From then on the server exists:
//! a failing start leaves it stopped with its disks, to be looked at and started again.

use super::{power, steps};
use crate::{Compute, Image, intent};
use api_compute::{Disk, GuestDisk, GuestNetwork, Network, Server, status};
use base::{Error, Json, Resource, Result, Row, err, meta, new_id, said};
use region_network::{Wish, allocate, new_mac};
use scheduler::{Candidate, DiskWish, NetWish, Reach, Request};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::Ipv4Addr;
use store::{ChangeOp, Read, Tx};
use task::{Flow, Step, StepKey, Task};

/// A disk as understood when the request came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskPlan {
    pub size: i64,
    pub backend: String,
    pub storage_id: String,
    pub medium: String,
    pub format: String,
    pub driver: String,
    pub cache: String,
    pub disk_type: String,
    pub boot_index: i64,
    pub auto_delete: bool,
    pub auto_reset: bool,
    pub image: Option<Image>,
}

/// An interface as understood when the request came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NicPlan {
    pub network_id: String,
    pub wire_id: String,
    pub address: String,
    pub mac: String,
    pub exactly: bool,
    pub reserved: bool,
    pub driver: String,
    pub bw_limit: i64,
    pub is_default: bool,
    pub exit: bool,
    pub private: bool,
    /// Of several servers, each takes its own.
    pub addresses: Vec<String>,
    pub macs: Vec<String>,
}

impl NicPlan {
    /// What is left to one of several servers, by its place among them.
    pub(crate) fn settle(&mut self, nth: usize) {
        for (own, all) in [(&mut self.address, &mut self.addresses), (&mut self.mac, &mut self.macs)] {
            if let Some(one) = std::mem::take(all).into_iter().nth(nth) {
                *own = one;
            }
        }
    }

    /// What the scheduler is to find for it.
    pub(super) fn wish(&self) -> NetWish {
        NetWish { network_id: self.network_id.clone(), wire_id: self.wire_id.clone(), exit: self.exit, private: self.private }
    }
}

#[derive(Serialize, Deserialize)]
pub struct ServerCreate {
    pub server: String,
    pub disks: Vec<DiskPlan>,
    pub nics: Vec<NicPlan>,
    pub prefer_host: String,
    pub prefer_zone: String,
    #[serde(default)]
    pub prefer_zones: Vec<String>,
    pub auto_start: bool,
    pub disk_deadline_secs: u64,
    pub start_deadline_secs: u64,
}

impl Task<Compute> for ServerCreate {
    const NAME: &'static str = "ServerCreateTask";
    const STEPS: u32 = 8;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let schedule = |last| Schedule {
            server: self.server.clone(),
            disks: self.disks.clone(),
            nics: self.nics.clone(),
            prefer_host: self.prefer_host.clone(),
            prefer_zone: self.prefer_zone.clone(),
            prefer_zones: self.prefer_zones.clone(),
            last,
        };
        let placed = match flow.step(schedule(false)).await? {
            Some(placed) => placed,
            None => {
                // What the scheduler knows may be a moment behind: a refusal is given on what is committed now.
                flow.call(steps::Look).await?;
                let none = || Error::internal("the last attempt to schedule neither placed nor refused");
                flow.step(schedule(true)).await?.ok_or_else(none)?
            }
        };
        flow.step(Interfaces { server: self.server.clone(), nics: self.nics.clone(), networks: placed.networks.clone() }).await?;
        let ids = flow
            .step(MakeDisks {
                server: self.server.clone(),
                host: placed.host_id.clone(),
                disks: self.disks.clone(),
                storages: placed.storages.clone(),
            })
            .await?;
        let deadline = std::time::Duration::from_secs(self.disk_deadline_secs);
        flow.wait(steps::Disks { ids, gone: false, deadline }).await?;
        flow.commit_point().await?;
        flow.step(Publish { server: self.server.clone() }).await?;
        if self.auto_start {
            flow.finish(power::start(flow, &self.server, self.start_deadline_secs).await?).await
        } else {
            flow.finish(steps::Settle { server: self.server.clone(), status: status::READY, power: "off" }).await
        }
    }

    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        let Some(row) = tx.one(Server::facts(), &self.server).await? else { return Ok(()) };
        let word = match row.text("status") {
            status::INIT | status::SCHEDULE => status::SCHED_FAIL,
            status::NETWORK => status::NET_FAIL,
            status::DISK => status::DISK_FAIL,
            status::STARTING | status::START_START => status::START_FAIL,
            status::DEPLOYING => status::DEPLOY_FAIL,
            _ => status::CREATE_FAIL,
        };
        steps::failed(tx, &self.server, word, error).await?;
        if word != status::START_FAIL {
            // A server that never came to be must not be locked against being removed.
            let row = intent::server_row(tx, &self.server).await?;
            intent::change(tx, row, |r| {
                r.set("disable_delete", false);
                r.set("planned_mb", 0);
            })
            .await?;
        }
        Ok(())
    }
}

/// Finds a host and takes room on it: the first candidate whose counters still have it.
struct Schedule {
    server: String,
    disks: Vec<DiskPlan>,
    nics: Vec<NicPlan>,
    prefer_host: String,
    prefer_zone: String,
    prefer_zones: Vec<String>,
    /// Whether having no candidate is a refusal.
    last: bool,
}

/// How many hosts are tried when others keep taking the room of the best.
const CANDIDATES: usize = 16;

impl Step<Compute> for Schedule {
    const NAME: &'static str = "schedule";
    type Out = Option<Candidate>;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(if self.last { "schedule again" } else { Self::NAME })
    }

    async fn act(&self, env: &Compute, tx: &mut Tx, _: &StepKey) -> Result<Option<Candidate>> {
        let row = intent::server_row(tx, &self.server).await?;
        let (cpu, mem) = (row.int("vcpu_count"), row.int("vmem_size"));
        let request = Request {
            vcpu_count: cpu,
            vmem_size: mem,
            disks: self
                .disks
                .iter()
                .map(|d| DiskWish { size: d.size, backend: d.backend.clone(), storage_id: d.storage_id.clone(), medium: d.medium.clone() })
                .collect(),
            nets: self.nics.iter().map(NicPlan::wish).collect(),
            os_arch: row.text("os_arch").to_string(),
            prefer_host: self.prefer_host.clone(),
            prefer_zone: self.prefer_zone.clone(),
            prefer_zones: self.prefer_zones.clone(),
            project_id: row.text("tenant_id").to_string(),
            domain_id: row.text("domain_id").to_string(),
            ..Request::default()
        };
        let outcome = env.scheduler.place(&request, CANDIDATES);
        for candidate in &outcome.candidates {
            if !intent::take_host(tx, &candidate.host_id, cpu, mem).await? {
                continue;
            }
            let mut taken: Vec<(&str, i64)> = Vec::new();
            for (storage, disk) in candidate.storages.iter().zip(&self.disks) {
                if !intent::take_storage(tx, storage, disk.size).await? {
                    break;
                }
                taken.push((storage, disk.size));
            }
            if taken.len() < self.disks.len() {
                for (storage, size) in taken {
                    intent::give_storage(tx, storage, size).await?;
                }
                intent::give_host(tx, &candidate.host_id, cpu, mem).await?;
                continue;
            }
            intent::change(tx, row, |r| {
                r.set("host_id", candidate.host_id.as_str());
                // A step's own writes go with it when it fails: the word that tells what failed is set by the step before.
                r.set("status", status::NETWORK);
            })
            .await?;
            return Ok(Some(candidate.clone()));
        }
        // What is known may be from before others took their room: the next look knows better.
        if !self.last {
            return Ok(None);
        }
        if outcome.candidates.is_empty() {
            return Err(outcome.refused(&request));
        }
        let why = said!("others took the room of every fitting host at the same moment; try again");
        Err(err!(InsufficientResource, "No matching resources: {}", why).because(why))
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, out: &Option<Candidate>) -> Result<()> {
        let Some(out) = out else { return Ok(()) };
        let Some(row) = tx.one(Server::facts(), &self.server).await? else { return Ok(()) };
        // Room of disks that were made goes with them, when their host says they are gone.
        let made = tx.count("guestdisks", store::Cond::eq("guest_id", self.server.as_str())).await?;
        if made == 0 {
            for (storage, disk) in out.storages.iter().zip(&self.disks) {
                intent::give_storage(tx, storage, disk.size).await?;
            }
        }
        intent::give_host(tx, &out.host_id, row.int("vcpu_count"), row.int("vmem_size")).await?;
        intent::change(tx, row, |r| r.set("host_id", "")).await.map(drop)
    }
}

/// Gives every interface its address and MAC.
struct Interfaces {
    server: String,
    nics: Vec<NicPlan>,
    networks: Vec<String>,
}

impl Step<Compute> for Interfaces {
    const NAME: &'static str = "network";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let server = intent::server_row(tx, &self.server).await?;
        let wanted = self.nics.iter().position(|n| n.is_default).unwrap_or(0);
        for (i, (plan, network)) in self.nics.iter().zip(&self.networks).enumerate() {
            let (row, address) = address_for(tx, &server, plan, network).await?;
            let nic = nic_of(tx, &self.server, &row, plan, address)?;
            let nic = GuestNetwork { index: i as i64, is_default: i == wanted, ..nic };
            tx.insert(&nic.to_row()).await?;
        }
        intent::server_status(tx, &self.server, status::DISK).await
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, (): &()) -> Result<()> {
        intent::release_nics(tx, &self.server).await
    }
}

/// Takes the address an interface of a server asks for.
pub(super) async fn address_for(tx: &mut Tx, server: &Row, plan: &NicPlan, network: &str) -> Result<(Row, Ipv4Addr)> {
    let row = tx
        .one(Network::facts(), network)
        .await?
        .filter(|r| !r.flag("deleted"))
        .ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "network", network))?;
    // Whoever named it saw it. What the scheduler chose may have stopped being shared since it last looked.
    if plan.network_id.is_empty() && !Reach::of(&row).covers(server.text("tenant_id"), server.text("domain_id")) {
        return Err(err!(InsufficientResource, "network {} is not shared with the server's project any more; try again", row.name()));
    }
    let wish = Wish { address: plan.address.clone(), exactly: plan.exactly, reserved: plan.reserved };
    let address = allocate(tx, &row, &wish).await?;
    Ok((row, address))
}

/// An interface's row but for its place.
pub(super) fn nic_of(tx: &Tx, server: &str, network: &Row, plan: &NicPlan, address: Ipv4Addr) -> Result<GuestNetwork> {
    let mac = if plan.mac.is_empty() { new_mac()? } else { plan.mac.clone() };
    // Tap names are at most 15 bytes and unique per host: the hint and the end of the MAC.
    let tail: String = mac.chars().filter(|c| *c != ':').skip(6).collect();
    let hint: String = network.text("ifname_hint").chars().take(8).collect();
    Ok(GuestNetwork {
        joint: joint(tx),
        guest_id: server.into(),
        network_id: network.id().into(),
        mac_addr: mac,
        ip_addr: address.to_string(),
        driver: if plan.driver.is_empty() { "virtio".into() } else { plan.driver.clone() },
        bw_limit: plan.bw_limit,
        ifname: format!("{hint}-{tail}"),
        num_queues: 1,
        charge_type: "bandwidth".into(),
        billing_type: "prepaid".into(),
        ..GuestNetwork::default()
    })
}

/// A disk's place in a server.
pub(super) fn tie_of(tx: &Tx, server: &str, disk: &str, index: i64, plan: &DiskPlan) -> GuestDisk {
    GuestDisk {
        joint: joint(tx),
        guest_id: server.into(),
        disk_id: disk.into(),
        index,
        boot_index: plan.boot_index,
        driver: if plan.driver.is_empty() { "scsi".into() } else { plan.driver.clone() },
        cache_mode: if plan.cache.is_empty() { "none".into() } else { plan.cache.clone() },
        aio_mode: "native".into(),
        ..GuestDisk::default()
    }
}

fn joint(tx: &Tx) -> meta::Joint {
    meta::Joint { id: new_id(), row_id: tx.now().micros(), created_at: tx.now(), updated_at: tx.now(), ..meta::Joint::default() }
}

/// Writes the disks' rows; the host sees them in its document and makes them.
struct MakeDisks {
    server: String,
    host: String,
    disks: Vec<DiskPlan>,
    storages: Vec<String>,
}

impl Step<Compute> for MakeDisks {
    const NAME: &'static str = "disk";
    type Out = Vec<String>;

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<Vec<String>> {
        let server = intent::server_row(tx, &self.server).await?;
        let mut ids = Vec::new();
        for (i, (plan, storage)) in self.disks.iter().zip(&self.storages).enumerate() {
            let id = new_id();
            let disk = disk_of(tx, &id, &format!("vdisk-{}-{i}-{}", server.name(), &id[..8]), plan, &server, storage, &self.host);
            insert_disk(tx, &disk).await?;
            let tie = tie_of(tx, &self.server, &id, i as i64, plan);
            tx.insert(&tie.to_row()).await?;
            ids.push(id);
        }
        // From here on the disks' rows count.
        intent::change(tx, server, |r| r.set("planned_mb", 0)).await?;
        intent::touch_host(tx, &self.host).await?;
        Ok(ids)
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, ids: &Vec<String>) -> Result<()> {
        remove_disks(tx, ids).await
    }
}

pub(super) async fn insert_disk(tx: &mut Tx, disk: &Disk) -> Result<()> {
    let row = disk.to_row();
    tx.insert(&row).await?;
    tx.emit(store::Change { op: ChangeOp::Create, ..resource::changed(&row) }).await
}

/// Asks for the removal of disks that are there.
pub(super) async fn remove_disks(tx: &mut Tx, ids: &[String]) -> Result<()> {
    for id in ids {
        if let Some(disk) = tx.one(Disk::facts(), id).await?.filter(|d| !d.flag("deleted") && d.text("existence") != "absent") {
            intent::remove_disk(tx, disk).await?;
        }
    }
    Ok(())
}

/// A disk's row as its plan says, owned like `like`.
pub(super) fn disk_of(tx: &Tx, id: &str, name: &str, plan: &DiskPlan, like: &base::Row, storage: &str, host: &str) -> Disk {
    let image = plan.image.clone().unwrap_or_default();
    Disk {
        meta: meta::Standalone { id: id.into(), name: name.into(), created_at: tx.now(), updated_at: tx.now(), ..Default::default() },
        status: meta::Status { status: "allocating".into(), progress: 0 },
        owned: meta::ProjectOwned {
            domain_id: like.text("domain_id").into(),
            tenant_id: like.text("tenant_id").into(),
            project_src: "local".into(),
            ..Default::default()
        },
        shared: meta::Shared { public_scope: "none".into(), public_src: "local".into(), ..Default::default() },
        external: meta::External { source: "local".into(), imported_at: Some(tx.now()), ..Default::default() },
        billing: meta::Billing { billing_type: "postpaid".into(), ..Default::default() },
        storage_id: storage.into(),
        disk_size: plan.size,
        disk_format: if plan.format.is_empty() { "qcow2".into() } else { plan.format.clone() },
        disk_type: plan.disk_type.clone(),
        auto_delete: plan.auto_delete,
        auto_reset: plan.auto_reset,
        portable: plan.disk_type == "data",
        template_id: image.id.clone(),
        template_name: image.name.clone(),
        generation: 1,
        existence: "present".into(),
        image: if image.id.is_empty() { Json::Null } else { serde_json::to_value(&image).unwrap_or_default() },
        host_id: host.into(),
        ..Disk::default()
    }
}

/// Lets the host see the server: from here on it exists, powered off.
struct Publish {
    server: String,
}

impl Step<Compute> for Publish {
    const NAME: &'static str = "publish";
    const NO_UNDO: &'static str = "it comes after the point of no return: the server exists, and goes by being deleted";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let row = intent::server_row(tx, &self.server).await?;
        let host = row.text("host_id").to_string();
        intent::change(tx, row, |r| {
            let generation = r.int("generation") + 1;
            r.set("generation", generation);
            r.set("existence", "present");
            r.set("status", status::DEPLOYING);
        })
        .await?;
        intent::touch_host(tx, &host).await
    }
}
