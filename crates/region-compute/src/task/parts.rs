//! Parts of a server that come and go while it is there: disks and interfaces.
//!
//! Each of these tasks changes the server's document and waits for its host to say that the guest has it. What the host could not do is taken
//! back. What is taken off a guest is given to nobody else before the guest has let go of it.

use super::create::{DiskPlan, NicPlan, address_for, disk_of, insert_disk, nic_of, remove_disks, tie_of};
use super::steps::{Applied, Back, Disks, Look, bump, unchanged};
use crate::{Compute, intent, quota};
use api_compute::{Disk, GuestDisk, GuestNetwork, ReservedIp};
use base::{Error, Json, Resource, Result, err, new_id, said};
use scheduler::{Candidate, DiskWish, Request};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Cond, Read, Tx, set};
use task::{Flow, Step, StepKey, Task};

/// How long a host may take to plug something.
const PATIENCE: Duration = Duration::from_secs(300);
/// Disks of one server.
pub const MOST_DISKS: usize = 26;

/// `createdisk`: new disks for a server.
#[derive(Serialize, Deserialize)]
pub struct ServerCreateDisk {
    pub server: String,
    pub disks: Vec<DiskPlan>,
    pub deadline_secs: u64,
}

impl Task<Compute> for ServerCreateDisk {
    const NAME: &'static str = "GuestCreateDiskTask";
    const STEPS: u32 = 5;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        flow.call(Look).await?;
        let ids = flow.step(PlaceDisks { server: self.server.clone(), disks: self.disks.clone() }).await?;
        flow.wait(Disks { ids: ids.clone(), gone: false, deadline: Duration::from_secs(self.deadline_secs) }).await?;
        let generation = flow.step(Tie { server: self.server.clone(), disks: ids.into_iter().zip(self.disks.clone()).collect() }).await?.0;
        flow.wait(Applied { server: self.server.clone(), generation, deadline: PATIENCE }).await?;
        flow.finish(Back { server: self.server.clone() }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        unchanged(tx, &self.server, "create_disk_fail", error).await
    }
}

/// `attachdisk`: a disk that is there, for a server on the same host.
#[derive(Serialize, Deserialize)]
pub struct ServerAttachDisk {
    pub server: String,
    pub disk: String,
    /// Driver, cache mode and place in the boot order.
    pub plan: DiskPlan,
}

impl Task<Compute> for ServerAttachDisk {
    const NAME: &'static str = "GuestAttachDiskTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let disks = vec![(self.disk.clone(), self.plan.clone())];
        let generation = flow.step(Tie { server: self.server.clone(), disks }).await?.0;
        flow.wait(Applied { server: self.server.clone(), generation, deadline: PATIENCE }).await?;
        flow.finish(Back { server: self.server.clone() }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        unchanged(tx, &self.server, "attach_disk_fail", error).await
    }
}

/// `detachdisk`
#[derive(Serialize, Deserialize)]
pub struct ServerDetachDisk {
    pub server: String,
    pub disk: String,
    /// Whether the disk goes once it is free.
    pub remove: bool,
}

impl Task<Compute> for ServerDetachDisk {
    const NAME: &'static str = "GuestDetachDiskTask";
    const STEPS: u32 = 5;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let generation = flow.step(Untie { server: self.server.clone(), disk: self.disk.clone() }).await?.0;
        flow.wait(Applied { server: self.server.clone(), generation, deadline: PATIENCE }).await?;
        flow.commit_point().await?;
        flow.step(LetGo { disk: self.disk.clone(), remove: self.remove }).await?;
        flow.finish(Back { server: self.server.clone() }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        unchanged(tx, &self.server, "detach_disk_fail", error).await
    }
}

/// `attachnetwork`
#[derive(Serialize, Deserialize)]
pub struct ServerAttachNetwork {
    pub server: String,
    pub nics: Vec<NicPlan>,
}

impl Task<Compute> for ServerAttachNetwork {
    const NAME: &'static str = "GuestAttachNetworkTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        flow.call(Look).await?;
        let generation = flow.step(Plug { server: self.server.clone(), nics: self.nics.clone() }).await?.0;
        flow.wait(Applied { server: self.server.clone(), generation, deadline: PATIENCE }).await?;
        flow.finish(Back { server: self.server.clone() }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        unchanged(tx, &self.server, "attach_network_fail", error).await
    }
}

/// `detachnetwork`
#[derive(Serialize, Deserialize)]
pub struct ServerDetachNetwork {
    pub server: String,
    /// Identifier of the interface's row.
    pub nic: String,
    /// Set its address aside instead of giving it back.
    pub reserve: bool,
}

impl Task<Compute> for ServerDetachNetwork {
    const NAME: &'static str = "GuestDetachNetworkTask";
    const STEPS: u32 = 5;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let generation = flow.step(Leave { server: self.server.clone(), nic: self.nic.clone() }).await?;
        flow.wait(Applied { server: self.server.clone(), generation, deadline: PATIENCE }).await?;
        flow.commit_point().await?;
        flow.step(Release { server: self.server.clone(), nic: self.nic.clone(), reserve: self.reserve }).await?;
        flow.finish(Back { server: self.server.clone() }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        unchanged(tx, &self.server, "detach_network_fail", error).await
    }
}

/// What the server's own host can give.
async fn on_its_host(env: &Compute, tx: &mut Tx, server: &str, disks: &[DiskPlan], nics: &[NicPlan]) -> Result<Candidate> {
    let row = intent::server_row(tx, server).await?;
    let wish =
        |d: &DiskPlan| DiskWish { size: d.size, backend: d.backend.clone(), storage_id: d.storage_id.clone(), medium: d.medium.clone() };
    let request = Request {
        disks: disks.iter().map(wish).collect(),
        nets: nics.iter().map(NicPlan::wish).collect(),
        prefer_host: row.text("host_id").to_string(),
        project_id: row.text("tenant_id").to_string(),
        domain_id: row.text("domain_id").to_string(),
        any_domain: true,
        ..Request::default()
    };
    let mut outcome = env.scheduler.place(&request, 1);
    // Only the host's own reason helps: that another was asked for is known.
    let name = outcome.refusals.iter().find(|(_, why)| !matches!(why, scheduler::Refusal::NotPreferred));
    let why = name.map_or_else(|| outcome.explain(&request), |(host, why)| said!("{}: {}", host, why.said(&request)));
    outcome.candidates.pop().ok_or_else(|| err!(InsufficientResource, "No matching resources: {}", why).because(why))
}

/// Takes room on the server's host and asks for disks there.
pub(super) struct PlaceDisks {
    pub server: String,
    pub disks: Vec<DiskPlan>,
}

impl Step<Compute> for PlaceDisks {
    const NAME: &'static str = "place disks";
    type Out = Vec<String>;

    async fn act(&self, env: &Compute, tx: &mut Tx, _: &StepKey) -> Result<Vec<String>> {
        let candidate = on_its_host(env, tx, &self.server, &self.disks, &[]).await?;
        let server = intent::server_row(tx, &self.server).await?;
        let mut ids = Vec::new();
        for (plan, storage) in self.disks.iter().zip(&candidate.storages) {
            if !intent::take_storage(tx, storage, plan.size).await? {
                return Err(err!(InsufficientResource, "No matching resources: {}", "others took the room at the same moment; try again"));
            }
            let id = new_id();
            let name = format!("vdisk-{}-{}", server.name(), &id[..8]);
            insert_disk(tx, &disk_of(tx, &id, &name, plan, &server, storage, server.text("host_id"))).await?;
            ids.push(id);
        }
        quota::check(tx, &server, quota::Amounts::storage(self.disks.iter().map(|d| d.size).sum())).await?;
        intent::touch_host(tx, server.text("host_id")).await?;
        Ok(ids)
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, ids: &Vec<String>) -> Result<()> {
        remove_disks(tx, ids).await
    }
}

/// Ties disks to a server at the first free places. Gives the generation that carries it, and the ties.
struct Tie {
    server: String,
    disks: Vec<(String, DiskPlan)>,
}

impl Step<Compute> for Tie {
    const NAME: &'static str = "tie";
    type Out = (i64, Vec<String>);

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<(i64, Vec<String>)> {
        let server = intent::server_row(tx, &self.server).await?;
        let mut places: Vec<i64> = live_ties(tx, &self.server).await?.iter().map(|t| t.index).collect();
        let mut made = Vec::new();
        for (disk, plan) in &self.disks {
            // Nobody puts it into the recycle bin while it becomes part of a server.
            tx.lock("disks", Cond::eq("id", disk.as_str())).await?;
            let row = intent::disk_row(tx, disk).await?;
            if row.flag("pending_deleted") {
                return Err(err!(InvalidStatus, "disk {} lies in the recycle bin; restore it first with cancel-delete", row.name()));
            }
            // Either may have gone to another project since it was asked for.
            if row.text("tenant_id") != server.text("tenant_id") {
                return Err(err!(InputParameter, "disk_id: disk {} belongs to another project than server {}", row.name(), server.name()));
            }
            if row.text("host_id") != server.text("host_id") || row.text("existence") != "present" {
                return Err(err!(InvalidStatus, "disk {} is not on the host of server {}", row.name(), server.name()));
            }
            if tx.exists("guestdisks", Cond::eq("disk_id", disk.as_str()).and(Cond::eq("deleted", false))).await? {
                return Err(err!(Conflict, "disk {} belongs to a server already; detach it first", row.name()));
            }
            if places.len() >= MOST_DISKS {
                return Err(err!(OutOfLimit, "disks: at most {}, got {}", MOST_DISKS, places.len() + 1));
            }
            let place = (1..).find(|i| !places.contains(i)).unwrap_or_default();
            places.push(place);
            let tie = tie_of(tx, &self.server, disk, place, plan);
            tx.insert(&tie.to_row()).await?;
            made.push(tie.joint.id);
        }
        Ok((bump(tx, &self.server).await?, made))
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, (_, ties): &(i64, Vec<String>)) -> Result<()> {
        let now = tx.now();
        let made = Cond::is_in("id", ties.iter().map(String::as_str));
        tx.update("guestdisks", made, vec![set("deleted", true), set("deleted_at", now)]).await?;
        bump(tx, &self.server).await.map(drop)
    }
}

async fn live_ties(tx: &mut Tx, server: &str) -> Result<Vec<GuestDisk>> {
    tx.list(Cond::eq("guest_id", server).and(Cond::eq("deleted", false))).await
}

/// Takes a disk off a server. Gives the generation that carries it, and the tie.
struct Untie {
    server: String,
    disk: String,
}

impl Step<Compute> for Untie {
    const NAME: &'static str = "untie";
    type Out = (i64, String);

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<(i64, String)> {
        let tie = live_ties(tx, &self.server).await?.into_iter().find(|t| t.disk_id == self.disk);
        let tie = tie.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "guestdisk", self.disk))?;
        let now = tx.now();
        tx.update("guestdisks", Cond::eq("id", tie.joint.id.as_str()), vec![set("deleted", true), set("deleted_at", now)]).await?;
        Ok((bump(tx, &self.server).await?, tie.joint.id))
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, (_, tie): &(i64, String)) -> Result<()> {
        tx.update("guestdisks", Cond::eq("id", tie.as_str()), vec![set("deleted", false), set("deleted_at", base::Value::Null)]).await?;
        bump(tx, &self.server).await.map(drop)
    }
}

/// The disk is free: it goes, or is one of its own that goes with no server from now on.
struct LetGo {
    disk: String,
    remove: bool,
}

impl Step<Compute> for LetGo {
    const NAME: &'static str = "let go";
    const NO_UNDO: &'static str = "it comes after the point of no return";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        match tx.one(Disk::facts(), &self.disk).await?.filter(|d| !d.flag("deleted")) {
            Some(disk) if self.remove => intent::remove_disk(tx, disk).await,
            Some(disk) => intent::change(tx, disk, |r| r.set("auto_delete", false)).await.map(drop),
            None => Ok(()),
        }
    }
}

/// Gives a server further interfaces. Gives the generation that carries it, and the interfaces.
struct Plug {
    server: String,
    nics: Vec<NicPlan>,
}

impl Step<Compute> for Plug {
    const NAME: &'static str = "plug";
    type Out = (i64, Vec<String>);

    async fn act(&self, env: &Compute, tx: &mut Tx, _: &StepKey) -> Result<(i64, Vec<String>)> {
        let candidate = on_its_host(env, tx, &self.server, &[], &self.nics).await?;
        let server = intent::server_row(tx, &self.server).await?;
        let mut places: Vec<i64> = live_nics(tx, &self.server).await?.iter().map(|n| n.index).collect();
        let mut made = Vec::new();
        for (plan, network) in self.nics.iter().zip(&candidate.networks) {
            let (row, address) = address_for(tx, &server, plan, network).await?;
            let place = (0..).find(|i| !places.contains(i)).unwrap_or_default();
            // The route of the guest is where it was; only a guest without interfaces gets one.
            let nic = GuestNetwork { index: place, is_default: places.is_empty(), ..nic_of(tx, &self.server, &row, plan, address)? };
            places.push(place);
            tx.insert(&nic.to_row()).await?;
            made.push(nic.joint.id);
        }
        Ok((bump(tx, &self.server).await?, made))
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, (_, nics): &(i64, Vec<String>)) -> Result<()> {
        for nic in nics {
            drop_nic(tx, nic, true).await?;
        }
        bump(tx, &self.server).await.map(drop)
    }
}

async fn live_nics(tx: &mut Tx, server: &str) -> Result<Vec<GuestNetwork>> {
    tx.list(Cond::eq("guest_id", server).and(Cond::eq("deleted", false))).await
}

/// Ends an interface; its address is free again unless it is kept.
async fn drop_nic(tx: &mut Tx, nic: &str, free: bool) -> Result<Option<GuestNetwork>> {
    let Some(nic) = tx.list::<GuestNetwork>(Cond::eq("id", nic).and(Cond::eq("deleted", false))).await?.pop() else { return Ok(None) };
    let now = tx.now();
    tx.update("guestnetworks", Cond::eq("id", nic.joint.id.as_str()), vec![set("deleted", true), set("deleted_at", now)]).await?;
    if free {
        region_network::release(tx, &nic.network_id, 1).await?;
    }
    Ok(Some(nic))
}

/// Takes an interface out of the server's document; the address stays its own. Gives the generation that carries it.
struct Leave {
    server: String,
    nic: String,
}

impl Step<Compute> for Leave {
    const NAME: &'static str = "unplug";
    type Out = i64;

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<i64> {
        tx.update("guestnetworks", Cond::eq("id", self.nic.as_str()), vec![set("leaving", true)]).await?;
        bump(tx, &self.server).await
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, _: &i64) -> Result<()> {
        tx.update("guestnetworks", Cond::eq("id", self.nic.as_str()), vec![set("leaving", false)]).await?;
        bump(tx, &self.server).await.map(drop)
    }
}

/// The guest has let go of the interface: its row goes, its address is free or set aside.
struct Release {
    server: String,
    nic: String,
    reserve: bool,
}

impl Step<Compute> for Release {
    const NAME: &'static str = "release";
    const NO_UNDO: &'static str = "it comes after the point of no return";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let Some(nic) = drop_nic(tx, &self.nic, false).await? else { return Ok(()) };
        let id = format!("{}-{}", nic.network_id, nic.ip_addr);
        // One that was taken from those set aside is one of them again, and both counted.
        let aside = tx.exists("reservedips", Cond::eq("id", id.as_str())).await?;
        if !self.reserve || aside {
            region_network::release(tx, &nic.network_id, 1).await?;
        } else {
            let ip = ReservedIp {
                id,
                network_id: nic.network_id,
                ip_addr: nic.ip_addr,
                notes: "detached from a server".into(),
                expired_at: None,
                created_at: tx.now(),
            };
            tx.insert(&ip.to_row()).await?;
        }
        if nic.is_default {
            let mut left = live_nics(tx, &self.server).await?;
            left.sort_by_key(|n| n.index);
            if let Some(first) = left.first() {
                tx.update("guestnetworks", Cond::eq("id", first.joint.id.as_str()), vec![set("is_default", true)]).await?;
                bump(tx, &self.server).await?;
            }
        }
        Ok(())
    }
}
