//! Disks of their own: made and removed without a server.

use super::{
    create::{DiskPlan, disk_of},
    steps::{Back, Disks, Look, unchanged},
};
use crate::{Compute, intent, quota};
use api_compute::Disk;
use base::{Error, Json, Resource, Result, Row, err};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Read, Tx};
use task::{Flow, Step, StepKey, Task};

#[derive(Serialize, Deserialize)]
pub struct DiskCreate {
    pub disk: String,
    pub plan: DiskPlan,
    pub deadline_secs: u64,
}

impl Task<Compute> for DiskCreate {
    const NAME: &'static str = "DiskCreateTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        flow.call(Look).await?;
        flow.step(Place { disk: self.disk.clone(), plan: self.plan.clone() }).await?;
        flow.wait(Disks { ids: vec![self.disk.clone()], gone: false, deadline: Duration::from_secs(self.deadline_secs) }).await?;
        Ok(Json::Null)
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        let Some(row) = tx.one(Disk::facts(), &self.disk).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        intent::change(tx, row, |r| {
            r.set("status", "alloc_failed");
            r.set("status_reason", error.to_string());
        })
        .await
        .map(drop)
    }
}

/// Takes room on a storage and asks its host for the disk.
struct Place {
    disk: String,
    plan: DiskPlan,
}

impl Step<Compute> for Place {
    const NAME: &'static str = "place";
    type Out = (String, String);

    async fn act(&self, env: &Compute, tx: &mut Tx, _: &StepKey) -> Result<(String, String)> {
        let row = intent::disk_row(tx, &self.disk).await?;
        let wish = scheduler::DiskWish {
            size: self.plan.size,
            backend: self.plan.backend.clone(),
            storage_id: self.plan.storage_id.clone(),
            medium: self.plan.medium.clone(),
        };
        let request = scheduler::Request {
            disks: vec![wish],
            project_id: row.text("tenant_id").into(),
            domain_id: row.text("domain_id").into(),
            ..Default::default()
        };
        let outcome = env.scheduler.place(&request, 16);
        for candidate in &outcome.candidates {
            let storage = &candidate.storages[0];
            if !intent::take_storage(tx, storage, self.plan.size).await? {
                continue;
            }
            let made = disk_of(tx, row.id(), row.name(), &self.plan, &row, storage, &candidate.host_id);
            intent::change(tx, row, |r| {
                for column in ["storage_id", "host_id", "disk_format", "template_id", "template_name", "existence"] {
                    r.set(column, made.to_row().text(column).to_string());
                }
                r.set("image", made.image.clone());
                r.set("generation", 1);
                r.set("status", "allocating");
                r.set("progress", 0);
            })
            .await?;
            intent::touch_host(tx, &candidate.host_id).await?;
            return Ok((storage.clone(), candidate.host_id.clone()));
        }
        Err(outcome.refused(&request))
    }

    /// The host may have begun: it is asked to remove what there is, and the row stays with the reason. The room is free when it is gone.
    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, (_, host): &(String, String)) -> Result<()> {
        let Some(row) = tx.one(Disk::facts(), &self.disk).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        intent::change(tx, row, |r| {
            let generation = r.int("generation") + 1;
            r.set("generation", generation);
            r.set("existence", "retracted");
        })
        .await?;
        intent::touch_host(tx, host).await
    }
}

/// Makes a disk larger, whether it is in use or not.
#[derive(Serialize, Deserialize)]
pub struct DiskResize {
    pub disk: String,
    /// MiB, larger than now.
    pub size: i64,
    /// The server that has it, if one does: its status comes back.
    pub server: String,
    pub deadline_secs: u64,
}

impl Task<Compute> for DiskResize {
    const NAME: &'static str = "DiskResizeTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        flow.step(Grow { disk: self.disk.clone(), size: self.size }).await?;
        flow.wait(Disks { ids: vec![self.disk.clone()], gone: false, deadline: Duration::from_secs(self.deadline_secs) }).await?;
        if self.server.is_empty() {
            return Ok(Json::Null);
        }
        flow.finish(Back { server: self.server.clone() }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        if !self.server.is_empty() {
            unchanged(tx, &self.server, "resize_disk_fail", error).await?;
        }
        let Some(row) = tx.one(Disk::facts(), &self.disk).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        // It is as usable as before.
        let row = intent::change(tx, row, |r| {
            r.set("status", "ready");
            r.set("status_reason", error.to_string());
        })
        .await?;
        resource::audit(tx, &base::Ctx::platform("task"), &row, "resize_fail", error.to_string()).await
    }
}

/// Takes room and wants the disk larger. Gives the size it had.
struct Grow {
    disk: String,
    size: i64,
}

impl Step<Compute> for Grow {
    const NAME: &'static str = "grow";
    type Out = i64;

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<i64> {
        let row = intent::disk_row(tx, &self.disk).await?;
        let had = row.int("disk_size");
        if self.size <= had {
            return Err(err!(
                InputParameter,
                "size: {} MiB is not more than the {} MiB disk {} has; disks only grow",
                self.size,
                had,
                row.name()
            ));
        }
        if !intent::take_storage(tx, row.text("storage_id"), self.size - had).await? {
            return Err(err!(InsufficientResource, "the storage of disk {} has not the {} MiB more", row.name(), self.size - had));
        }
        want(tx, row.clone(), self.size, "resizing").await?;
        quota::check(tx, &row, quota::Amounts::storage(self.size - had)).await?;
        Ok(had)
    }

    /// A file that has grown stays as large as it is: guests may have seen it. Its host is told what is wanted all the same.
    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, had: &i64) -> Result<()> {
        let Some(row) = tx.one(Disk::facts(), &self.disk).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        intent::give_storage(tx, row.text("storage_id"), self.size - had).await?;
        want(tx, row, *had, "ready").await
    }
}

async fn want(tx: &mut Tx, row: Row, size: i64, status: &str) -> Result<()> {
    let row = intent::change(tx, row, |r| {
        let generation = r.int("generation") + 1;
        r.set("generation", generation);
        r.set("disk_size", size);
        r.set("status", status);
        r.set("status_reason", "");
    })
    .await?;
    intent::touch_host(tx, row.text("host_id")).await
}

#[derive(Serialize, Deserialize)]
pub struct DiskDelete {
    pub disk: String,
}

impl Task<Compute> for DiskDelete {
    const NAME: &'static str = "DiskDeleteTask";
    const STEPS: u32 = 2;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        flow.commit_point().await?;
        flow.step(Remove { disk: self.disk.clone() }).await?;
        flow.wait(Disks { ids: vec![self.disk.clone()], gone: true, deadline: Duration::from_secs(600) }).await?;
        Ok(Json::Null)
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        let Some(row) = tx.one(Disk::facts(), &self.disk).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        intent::change(tx, row, |r| {
            r.set("status", "dealloc_failed");
            r.set("status_reason", error.to_string());
        })
        .await
        .map(drop)
    }
}

struct Remove {
    disk: String,
}

impl Step<Compute> for Remove {
    const NAME: &'static str = "remove";
    const NO_UNDO: &'static str = "removal is not taken back";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let row = intent::disk_row(tx, &self.disk).await?;
        intent::remove_disk(tx, row).await
    }
}
