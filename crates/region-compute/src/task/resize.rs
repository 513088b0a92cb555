//! Other processors and memory for a server: intent, which a running guest takes up when it starts anew.

use super::power::GRACE;
use super::steps::{Reached, SetPower, Settle, Turned, unchanged};
use crate::{Compute, intent, quota};
use api_agent::GuestState;
use api_compute::{Server, status};
use base::{Ctx, Error, Json, Resource, Result, Row, err};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Read, Tx};
use task::{Flow, Step, StepKey, Task};

/// What a server is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub vcpu_count: i64,
    /// MiB
    pub vmem_size: i64,
    /// SKU it is of, or empty.
    pub instance_type: String,
}

impl Size {
    pub(crate) fn of(row: &Row) -> Size {
        Size { vcpu_count: row.int("vcpu_count"), vmem_size: row.int("vmem_size"), instance_type: row.text("instance_type").into() }
    }
}

/// `change-config` of a server that is to run afterwards.
#[derive(Serialize, Deserialize)]
pub struct ServerChangeConfig {
    pub server: String,
    pub size: Size,
    /// What it had: the request has written the new size already.
    pub before: Size,
    /// It runs: it is shut down in between. Otherwise it is only started.
    pub running: bool,
    pub timeout_secs: i64,
    pub deadline_secs: u64,
}

impl Task<Compute> for ServerChangeConfig {
    const NAME: &'static str = "GuestChangeConfigTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let power = SetPower {
            server: self.server.clone(),
            on: true,
            force: false,
            timeout: self.timeout_secs,
            status: status::CHANGE_FLAVOR,
            restart: self.running,
        };
        let anew = Anew { size: self.size.clone(), before: self.before.clone(), power };
        let generation = flow.step(anew).await?.generation;
        let deadline = Duration::from_secs(self.deadline_secs + self.timeout_secs.max(0) as u64) + GRACE;
        flow.wait(Reached { server: self.server.clone(), generation, state: GuestState::Running, deadline }).await?;
        flow.finish(Settle { server: self.server.clone(), status: status::RUNNING, power: "on" }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        unchanged(tx, &self.server, "change_flavor_fail", error).await
    }
}

/// Starts with the new size. The request has written it; here it is what is taken back when the server does not come up with it, together with the
/// power, so that its host never starts it with the size it is to lose.
struct Anew {
    size: Size,
    before: Size,
    power: SetPower,
}

impl Step<Compute> for Anew {
    const NAME: &'static str = "start anew";
    type Out = Turned;

    async fn act(&self, env: &Compute, tx: &mut Tx, key: &StepKey) -> Result<Turned> {
        let row = intent::server_row(tx, &self.power.server).await?;
        if Size::of(&row) != self.size {
            resize(tx, &Ctx::platform("task"), row, &self.size, true).await?;
        }
        self.power.act(env, tx, key).await
    }

    async fn undo(&self, env: &Compute, tx: &mut Tx, key: &StepKey, out: &Turned) -> Result<()> {
        let Some(row) = tx.one(Server::facts(), &self.power.server).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        // Somebody else may have taken what was given back meanwhile; then the size stays, and the server starts with it when it can.
        write(tx, row, &self.before, false).await?;
        self.power.undo(env, tx, key, out).await
    }
}

/// Gives a server another size: its host must have the room, its project the quota. `trial`: it may still be taken back.
pub(crate) async fn resize(tx: &mut Tx, ctx: &Ctx, row: Row, size: &Size, trial: bool) -> Result<Row> {
    let before = Size::of(&row);
    let name = row.name().to_string();
    let (cpu, memory) = (size.vcpu_count - before.vcpu_count, size.vmem_size - before.vmem_size);
    let Some(changed) = write(tx, row, size, trial).await? else {
        return Err(err!(
            InsufficientResource,
            "the host of server {} has not {} more processors and {} MiB more memory",
            name,
            cpu.max(0),
            memory.max(0)
        ));
    };
    quota::check(tx, &changed, quota::Amounts { cpu, memory, ..Default::default() }).await?;
    let notes = format!("{}=>{} processors, {}=>{} MiB", before.vcpu_count, size.vcpu_count, before.vmem_size, size.vmem_size);
    resource::audit(tx, ctx, &changed, "change_config", notes).await?;
    Ok(changed)
}

/// Moves what the host has promised, and writes the size; `None` when the host has not the room. On trial, what is given back is kept from others
/// who would have it by the licence, until the server runs with less: the size before must be there to come back to.
async fn write(tx: &mut Tx, row: Row, size: &Size, trial: bool) -> Result<Option<Row>> {
    let (cpu, memory) = (size.vcpu_count - row.int("vcpu_count"), size.vmem_size - row.int("vmem_size"));
    if !intent::shift_host(tx, row.text("host_id"), cpu, memory).await? {
        return Ok(None);
    }
    let row = intent::change(tx, row, |r| {
        let generation = r.int("generation") + 1;
        r.set("generation", generation);
        let held = if trial { size.vcpu_count.max(r.int("vcpu_held")) } else { size.vcpu_count };
        r.set("vcpu_count", size.vcpu_count);
        r.set("vcpu_held", held);
        r.set("vmem_size", size.vmem_size);
        r.set("instance_type", size.instance_type.as_str());
    })
    .await?;
    intent::touch_host(tx, row.text("host_id")).await?;
    Ok(Some(row))
}
