//! A new root disk for a server: made beside the old one, which goes when the new one is in its place.

use super::create::DiskPlan;
use super::parts::PlaceDisks;
use super::power;
use super::steps::{Applied, Back, Disks, Look, bump, unchanged};
use crate::{Compute, intent};
use api_compute::GuestDisk;
use base::{Error, Json, Result, err};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Cond, Read, Tx, set};
use task::{Flow, Step, StepKey, Task};

#[derive(Serialize, Deserialize)]
pub struct ServerRebuildRoot {
    pub server: String,
    /// The new root disk.
    pub root: DiskPlan,
    /// What the server says of its new system; `None` in tasks of earlier versions, whose requests wrote it themselves.
    #[serde(default)]
    pub told: Option<Told>,
    pub auto_start: bool,
    pub disk_deadline_secs: u64,
    pub start_deadline_secs: u64,
}

/// What a server says of the system on its root disk, and to it. Secrets are sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Told {
    pub os_type: String,
    pub os_name: String,
    pub os_arch: String,
    pub login_account: String,
    pub login_secret: String,
    pub keypair_id: String,
    /// `None`: as before.
    pub user_data: Option<String>,
    /// Metadata of the image's.
    pub tags: Vec<(String, Option<String>)>,
}

impl Task<Compute> for ServerRebuildRoot {
    const NAME: &'static str = "GuestRebuildRootTask";
    const STEPS: u32 = 6;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let server = || self.server.clone();
        flow.call(Look).await?;
        let ids = flow.step(PlaceDisks { server: server(), disks: vec![self.root.clone()] }).await?;
        flow.wait(Disks { ids: ids.clone(), gone: false, deadline: Duration::from_secs(self.disk_deadline_secs) }).await?;
        flow.commit_point().await?;
        let generation = flow.step(Swap { server: server(), ids, told: self.told.clone() }).await?;
        flow.wait(Applied { server: server(), generation, deadline: Duration::from_secs(self.start_deadline_secs) }).await?;
        if self.auto_start {
            flow.finish(power::start(flow, &self.server, self.start_deadline_secs).await?).await
        } else {
            flow.finish(Back { server: server() }).await
        }
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        unchanged(tx, &self.server, "rebuild_root_fail", error).await
    }
}

/// Puts the new disk into the place of the old one, which is asked to go.
struct Swap {
    server: String,
    ids: Vec<String>,
    told: Option<Told>,
}

impl Step<Compute> for Swap {
    const NAME: &'static str = "swap";
    const NO_UNDO: &'static str = "it comes after the point of no return: the old disk goes";
    type Out = i64;

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<i64> {
        let root = Cond::eq("guest_id", self.server.as_str()).and(Cond::eq("deleted", false)).and(Cond::eq("index", 0));
        let tie =
            tx.list::<GuestDisk>(root).await?.pop().ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "guestdisk", self.server))?;
        let Some(new) = self.ids.first() else { return Err(Error::internal("a rebuild without a disk")) };
        if tie.disk_id != *new {
            tx.update("guestdisks", Cond::eq("id", tie.joint.id.as_str()), vec![set("disk_id", new.as_str())]).await?;
            let old = intent::disk_row(tx, &tie.disk_id).await?;
            intent::remove_disk(tx, old).await?;
        }
        if let Some(told) = &self.told {
            let row = intent::server_row(tx, &self.server).await?;
            let row = intent::change(tx, row, |r| {
                for (column, text) in [
                    ("os_type", &told.os_type),
                    ("os_name", &told.os_name),
                    ("os_arch", &told.os_arch),
                    ("login_account", &told.login_account),
                    ("login_secret", &told.login_secret),
                    ("keypair_id", &told.keypair_id),
                ] {
                    r.set(column, text.as_str());
                }
                if let Some(sealed) = &told.user_data {
                    let plan = crate::server::with_user_data(r.get("create_params").to_json(), sealed);
                    r.set("create_params", plan);
                }
            })
            .await?;
            resource::write_tags(tx, &row, &told.tags, None).await?;
        }
        bump(tx, &self.server).await
    }
}
