//! Steps and waits that several tasks share.

use crate::{Compute, intent};
use api_agent::GuestState;
use api_compute::Server;
use base::{Error, Resource, Result, Row, err};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};
use store::{Cond, Read, Tx};
use task::{Call, Polled, Step, StepKey, Wait};

/// What a host last said of a server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Seen {
    pub generation: i64,
    pub restarts: i64,
    pub state: GuestState,
    pub error: String,
    pub ended_by_itself: bool,
}

impl Seen {
    pub fn of(row: &Row) -> Seen {
        match row.get("observed") {
            base::Value::Json(json) => serde_json::from_value(json.clone()).unwrap_or_default(),
            _ => Seen::default(),
        }
    }
}

/// Turns a server's power and tells its host. Undone, the power is wanted as before: a start that failed must not happen later by itself,
/// when something else changes.
pub(crate) struct SetPower {
    pub server: String,
    pub on: bool,
    pub force: bool,
    pub timeout: i64,
    pub status: &'static str,
    pub restart: bool,
}

impl Step<Compute> for SetPower {
    const NAME: &'static str = "set power";
    type Out = Turned;

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<Turned> {
        let row = intent::server_row(tx, &self.server).await?;
        let host = row.text("host_id").to_string();
        let was_on = row.text("power") == "on";
        let now = tx.now();
        let row = intent::change(tx, row, |r| {
            let generation = r.int("generation") + 1;
            r.set("generation", generation);
            r.set("power", if self.on { "on" } else { "off" });
            r.set("force_stop", self.force);
            r.set("stop_timeout", self.timeout);
            r.set("status", self.status);
            r.set("status_reason", "");
            if self.restart {
                let restarts = r.int("restarts") + 1;
                r.set("restarts", restarts);
            }
            if self.on {
                let starts = r.int("starts") + 1;
                r.set("starts", starts);
                r.set("last_start_at", now);
            }
        })
        .await?;
        if self.on {
            let size = [("start_vcpu_count", "vcpu_count"), ("start_vmem_mb", "vmem_size")];
            let tags: Vec<_> = size.iter().map(|(tag, column)| (tag.to_string(), Some(row.int(column).to_string()))).collect();
            resource::write_tags(tx, &row, &tags, None).await?;
        }
        intent::touch_host(tx, &host).await?;
        Ok(Turned { generation: row.int("generation"), was_on })
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, out: &Turned) -> Result<()> {
        let Some(row) = tx.one(Server::facts(), &self.server).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        let host = row.text("host_id").to_string();
        intent::change(tx, row, |r| {
            let generation = r.int("generation") + 1;
            r.set("generation", generation);
            r.set("power", if out.was_on { "on" } else { "off" });
            if out.was_on && !self.on {
                // It may be down by now: then it is started, as one asks for it.
                let starts = r.int("starts") + 1;
                r.set("starts", starts);
            }
        })
        .await?;
        intent::touch_host(tx, &host).await
    }
}

/// What [`SetPower`] did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Turned {
    /// Carries the intent.
    pub generation: i64,
    pub was_on: bool,
}

/// Waits until the host says that a server is in a state, for a generation at least this.
pub(crate) struct Reached {
    pub server: String,
    pub generation: i64,
    pub state: GuestState,
    pub deadline: Duration,
}

impl Wait<Compute> for Reached {
    const NAME: &'static str = "wait for host";
    type Out = ();

    fn name(&self) -> Cow<'static, str> {
        Cow::Owned(format!("wait until {}", word(self.state)))
    }
    fn watches(&self) -> Vec<(String, String)> {
        vec![("server".into(), self.server.clone())]
    }
    fn deadline(&self) -> Option<Duration> {
        Some(self.deadline)
    }
    fn late(&self) -> Error {
        err!(Timeout, "the host did not report the server as {} in time; look at the host's agent", word(self.state))
    }
    async fn poll(&self, _: &Compute, tx: &mut Tx) -> Result<Polled<()>> {
        let row = intent::server_row(tx, &self.server).await?;
        let seen = Seen::of(&row);
        if seen.generation < self.generation {
            return Ok(Polled::Pending);
        }
        if seen.state == self.state {
            return Ok(Polled::Ready(()));
        }
        if seen.state == GuestState::Failed {
            return Err(err!(InsufficientResource, "the host could not do it: {}", seen.error));
        }
        // Its process came and went before anybody saw it run: it will not come again by itself.
        if seen.state == GuestState::Stopped && seen.ended_by_itself && self.state == GuestState::Running {
            return Err(err!(InsufficientResource, "the server ended by itself while it was started: {}", seen.error));
        }
        Ok(Polled::Pending)
    }
}

fn word(state: GuestState) -> &'static str {
    match state {
        GuestState::Running => "running",
        GuestState::Stopped => "stopped",
        GuestState::Absent => "gone",
        _ => "settled",
    }
}

/// Waits until disks are ready, or gone.
pub(crate) struct Disks {
    pub ids: Vec<String>,
    /// Gone instead of ready.
    pub gone: bool,
    pub deadline: Duration,
}

impl Wait<Compute> for Disks {
    const NAME: &'static str = "wait for disks";
    type Out = ();

    fn watches(&self) -> Vec<(String, String)> {
        self.ids.iter().map(|id| ("disk".to_string(), id.clone())).collect()
    }
    fn deadline(&self) -> Option<Duration> {
        Some(self.deadline)
    }
    fn late(&self) -> Error {
        err!(Timeout, "the host did not report the disks as {} in time; look at the host's agent", if self.gone { "gone" } else { "ready" })
    }
    async fn poll(&self, _: &Compute, tx: &mut Tx) -> Result<Polled<()>> {
        let rows: Vec<api_compute::Disk> = tx.list(Cond::is_in("id", self.ids.iter().map(String::as_str))).await?;
        let mut done = 0;
        let mut percent = 0;
        for disk in &rows {
            if ["alloc_failed", "resize_failed"].contains(&disk.status.status.as_str()) && !self.gone {
                return Err(err!(InsufficientResource, "disk {} could not be made as wanted: {}", disk.meta.name, disk.status_reason));
            }
            percent += disk.status.progress;
            let there = disk.status.status == "ready";
            if (self.gone && disk.meta.deleted) || (!self.gone && there) {
                done += 1;
            }
        }
        if done == rows.len() {
            return Ok(Polled::Ready(()));
        }
        Ok(Polled::Progress(percent / rows.len().max(1) as i64))
    }
}

/// Marks a server as settled.
pub(crate) struct Settle {
    pub server: String,
    pub status: &'static str,
    pub power: &'static str,
}

impl Step<Compute> for Settle {
    const NAME: &'static str = "settle";
    const NO_UNDO: &'static str = "it writes down what was observed";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let row = intent::server_row(tx, &self.server).await?;
        intent::change(tx, row, |r| {
            let size = r.int("vcpu_count");
            r.set("status", self.status);
            r.set("power_states", self.power);
            r.set("progress", 100);
            // Whatever size it was to have, it has it now.
            r.set("vcpu_held", size);
        })
        .await
        .map(drop)
    }
}

/// Brings what the scheduler knows up to everything that is committed. A step of its own: done inside a transaction it would need a second
/// connection while holding one, and enough tasks at once would wait for each other's.
pub(crate) struct Look;

impl Call<Compute> for Look {
    const NAME: &'static str = "look";
    const NO_UNDO: &'static str = "it only reads";
    type Out = ();

    async fn call(&self, env: &Compute, _: &StepKey) -> Result<()> {
        env.scheduler.catch_up().await
    }
}

/// Says that a server's parts changed: its host takes the new document up. Gives the generation that carries it.
pub(crate) async fn bump(tx: &mut Tx, server: &str) -> Result<i64> {
    let row = intent::server_row(tx, server).await?;
    let row = intent::change(tx, row, |r| {
        let generation = r.int("generation") + 1;
        r.set("generation", generation);
    })
    .await?;
    intent::touch_host(tx, row.text("host_id")).await?;
    Ok(row.int("generation"))
}

/// Waits until the host has made a change of a server's parts, whether it runs or not.
pub(crate) struct Applied {
    pub server: String,
    pub generation: i64,
    pub deadline: Duration,
}

impl Wait<Compute> for Applied {
    const NAME: &'static str = "wait until applied";
    type Out = ();

    fn watches(&self) -> Vec<(String, String)> {
        vec![("server".into(), self.server.clone())]
    }
    fn deadline(&self) -> Option<Duration> {
        Some(self.deadline)
    }
    fn late(&self) -> Error {
        err!(Timeout, "the host did not report the change as made in time; look at the host's agent")
    }
    async fn poll(&self, _: &Compute, tx: &mut Tx) -> Result<Polled<()>> {
        let seen = Seen::of(&intent::server_row(tx, &self.server).await?);
        if seen.generation < self.generation {
            return Ok(Polled::Pending);
        }
        match seen.state {
            // The guest runs on without what it was to get.
            GuestState::Running if !seen.error.is_empty() => Err(err!(InsufficientResource, "the host could not do it: {}", seen.error)),
            GuestState::Failed => Err(err!(InsufficientResource, "the host could not do it: {}", seen.error)),
            GuestState::Running | GuestState::Stopped => Ok(Polled::Ready(())),
            _ => Ok(Polled::Pending),
        }
    }
}

/// Puts a server's status back to what its host says it does.
pub(crate) struct Back {
    pub server: String,
}

impl Step<Compute> for Back {
    const NAME: &'static str = "back";
    const NO_UNDO: &'static str = "it writes down what was observed";
    type Out = ();

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let row = intent::server_row(tx, &self.server).await?;
        back(tx, row, "").await.map(drop)
    }
}

async fn back(tx: &mut Tx, row: Row, reason: &str) -> Result<Row> {
    let seen = Seen::of(&row);
    intent::change(tx, row, |r| {
        let (word, power) = match seen.state {
            GuestState::Running => (api_compute::status::RUNNING, "on"),
            _ => (api_compute::status::READY, "off"),
        };
        let size = r.int("vcpu_count");
        r.set("status", word);
        r.set("power_states", power);
        r.set("status_reason", reason);
        r.set("progress", 100);
        r.set("vcpu_held", size);
    })
    .await
}

/// After a task on a server's parts failed: the server does what it did before; the reason stays with it, and in its events under `word`.
pub(crate) async fn unchanged(tx: &mut Tx, server: &str, word: &str, error: &Error) -> Result<()> {
    let Some(row) = tx.one(Server::facts(), server).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
    let row = back(tx, row, &error.to_string()).await?;
    resource::audit(tx, &base::Ctx::platform("task"), &row, word, error.to_string()).await
}

/// Marks a server after its task failed.
pub(crate) async fn failed(tx: &mut Tx, server: &str, status: &str, error: &Error) -> Result<()> {
    let Some(row) = tx.one(Server::facts(), server).await?.filter(|r| !r.flag("deleted")) else {
        return Ok(());
    };
    let ctx = base::Ctx::platform("task");
    let row = intent::change(tx, row, |r| {
        r.set("status", status);
        r.set("status_reason", error.to_string());
    })
    .await?;
    resource::audit(tx, &ctx, &row, status, error.to_string()).await
}
