//! Letting a server go: into the recycle bin, or for good.

use super::steps::{Disks, Reached, SetPower, failed};
use crate::{Compute, intent};
use api_agent::GuestState;
use api_compute::{Disk, GuestDisk, Server, status};
use base::{Error, Json, Resource, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Change, ChangeOp, Cond, Read, Tx};
use task::{Flow, Step, StepKey, Task};

#[derive(Serialize, Deserialize)]
pub struct ServerDelete {
    pub server: String,
    /// Into the recycle bin only.
    pub recycle: bool,
    /// Whether the server is known to a host that can be asked.
    pub on_host: bool,
    /// Forget everything without asking any host: the host is gone.
    pub purge: bool,
}

const PATIENCE: Duration = Duration::from_secs(600);

impl Task<Compute> for ServerDelete {
    const NAME: &'static str = "ServerDeleteTask";
    const STEPS: u32 = 6;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let server = || self.server.clone();
        if self.recycle {
            if self.on_host {
                let off = SetPower { server: server(), on: false, force: true, timeout: 0, status: status::START_DELETE, restart: false };
                let generation = flow.step(off).await?.generation;
                flow.wait(Reached { server: server(), generation, state: GuestState::Stopped, deadline: PATIENCE }).await?;
            }
            return flow.finish(Recycle { server: server() }).await;
        }
        flow.commit_point().await?;
        let (generation, disks) = flow.step(Absent { server: server(), on_host: self.on_host }).await?;
        if self.on_host {
            flow.wait(Reached { server: server(), generation, state: GuestState::Absent, deadline: PATIENCE }).await?;
        }
        flow.step(DropDisks { server: server(), purge: self.purge }).await?;
        if !disks.is_empty() {
            flow.wait(Disks { ids: disks, gone: true, deadline: PATIENCE }).await?;
        }
        flow.finish(Forget { server: server() }).await
    }

    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        failed(tx, &self.server, status::DELETE_FAIL, error).await
    }
}

/// Into the bin: the server, and the disks that go with it.
struct Recycle {
    server: String,
}

impl Step<Compute> for Recycle {
    const NAME: &'static str = "recycle";
    const NO_UNDO: &'static str = "it is the last step";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let now = tx.now();
        let row = intent::server_row(tx, &self.server).await?;
        let row = intent::change(tx, row, |r| {
            r.set("pending_deleted", true);
            r.set("pending_deleted_at", now);
            r.set("status", status::READY);
            r.set("power_states", "off");
        })
        .await?;
        for tie in tx.list::<GuestDisk>(Cond::eq("guest_id", row.id()).and(Cond::eq("deleted", false))).await? {
            let disk = intent::disk_row(tx, &tie.disk_id).await?;
            // One that outlives its server must not run out in the bin.
            if !disk.flag("auto_delete") {
                continue;
            }
            intent::change(tx, disk, |r| {
                r.set("pending_deleted", true);
                r.set("pending_deleted_at", now);
            })
            .await?;
        }
        resource::audit(tx, &base::Ctx::platform("task"), &row, "pending_delete", String::new()).await
    }
}

/// Asks the host to remove the server. Gives the generation that says so, and the disks that will go.
struct Absent {
    server: String,
    on_host: bool,
}

impl Step<Compute> for Absent {
    const NAME: &'static str = "remove";
    const NO_UNDO: &'static str = "removal is not taken back; a failed one is asked for again";
    type Out = (i64, Vec<String>);

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<(i64, Vec<String>)> {
        let row = intent::server_row(tx, &self.server).await?;
        let host = row.text("host_id").to_string();
        let row = intent::change(tx, row, |r| {
            let generation = r.int("generation") + 1;
            r.set("generation", generation);
            r.set("power", "off");
            r.set("force_stop", true);
            r.set("existence", "absent");
            r.set("status", status::DELETING);
        })
        .await?;
        if self.on_host {
            intent::touch_host(tx, &host).await?;
        }
        let mut going = Vec::new();
        for tie in tx.list::<GuestDisk>(Cond::eq("guest_id", row.id()).and(Cond::eq("deleted", false))).await? {
            let disk = intent::disk_row(tx, &tie.disk_id).await?;
            if disk.flag("auto_delete") {
                going.push(tie.disk_id);
            }
        }
        Ok((row.int("generation"), going))
    }
}

/// Asks for the removal of the disks that go with the server, and takes the others off it.
struct DropDisks {
    server: String,
    purge: bool,
}

impl Step<Compute> for DropDisks {
    const NAME: &'static str = "drop disks";
    const NO_UNDO: &'static str = "removal is not taken back";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let now = tx.now();
        for tie in tx.list::<GuestDisk>(Cond::eq("guest_id", self.server.as_str()).and(Cond::eq("deleted", false))).await? {
            let Some(disk) = tx.one(Disk::facts(), &tie.disk_id).await?.filter(|d| !d.flag("deleted")) else { continue };
            match (disk.flag("auto_delete"), self.purge) {
                // One that a failed creation already asked to be removed is on its way.
                (true, false) if disk.text("existence") != "absent" => intent::remove_disk(tx, disk).await?,
                (true, false) => {}
                (true, true) => intent::forget_disk(tx, disk).await?,
                (false, _) => {
                    let sets = vec![store::set("deleted", true), store::set("deleted_at", now)];
                    tx.update("guestdisks", Cond::eq("id", tie.joint.id.as_str()), sets).await?;
                    // Put there with its server by an earlier version.
                    intent::change(tx, disk, |r| {
                        r.set("pending_deleted", false);
                        r.set("pending_deleted_at", base::Value::Null);
                    })
                    .await?;
                }
            }
        }
        Ok(())
    }
}

/// The server is gone: addresses and room are free, the row is kept for the record.
struct Forget {
    server: String,
}

impl Step<Compute> for Forget {
    const NAME: &'static str = "forget";
    const NO_UNDO: &'static str = "it is the last step";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let Some(row) = tx.one(Server::facts(), &self.server).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        let host = row.text("host_id").to_string();
        intent::release_nics(tx, row.id()).await?;
        intent::give_host(tx, &host, row.int("vcpu_count"), row.int("vmem_size")).await?;
        let mut gone = row.clone();
        let now = tx.now();
        gone.set("deleted", true);
        gone.set("deleted_at", now);
        gone.set("status", "deleted");
        gone.set("existence", "");
        gone.set("login_secret", "");
        let params = crate::server::without_user_data(gone.get("create_params").to_json());
        gone.set("create_params", params);
        tx.save(&row, &mut gone).await?;
        tx.emit(Change { op: ChangeOp::Delete, ..resource::changed(&gone) }).await?;
        intent::touch_host(tx, &host).await?;
        resource::audit(tx, &base::Ctx::platform("task"), &gone, "delete", String::new()).await
    }
}
