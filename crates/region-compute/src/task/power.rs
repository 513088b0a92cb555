//! Starting, stopping and restarting servers.

use super::steps::{Reached, SetPower, Settle, failed};
use crate::Compute;
use api_agent::GuestState;
use api_compute::status;
use base::{Error, Json, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::Tx;
use task::{Flow, Task};

/// Time the host has beyond what the guest has.
pub(super) const GRACE: Duration = Duration::from_secs(120);

#[derive(Serialize, Deserialize)]
pub struct ServerStart {
    pub server: String,
    pub deadline_secs: u64,
}

impl Task<Compute> for ServerStart {
    const NAME: &'static str = "ServerStartTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        flow.finish(start(flow, &self.server, self.deadline_secs).await?).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        failed(tx, &self.server, status::START_FAIL, error).await
    }
}

/// Power on, and wait until it runs. The step that is left says so.
pub(crate) async fn start(flow: &Flow<Compute>, server: &str, deadline_secs: u64) -> Result<Settle> {
    let on = SetPower { server: server.into(), on: true, force: false, timeout: 30, status: status::STARTING, restart: false };
    let generation = flow.step(on).await?.generation;
    let deadline = Duration::from_secs(deadline_secs);
    flow.wait(Reached { server: server.into(), generation, state: GuestState::Running, deadline }).await?;
    Ok(Settle { server: server.into(), status: status::RUNNING, power: "on" })
}

#[derive(Serialize, Deserialize)]
pub struct ServerStop {
    pub server: String,
    pub force: bool,
    pub timeout_secs: i64,
}

impl Task<Compute> for ServerStop {
    const NAME: &'static str = "ServerStopTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let off = SetPower {
            server: self.server.clone(),
            on: false,
            force: self.force,
            timeout: self.timeout_secs,
            status: status::STOPPING,
            restart: false,
        };
        let generation = flow.step(off).await?.generation;
        let deadline = GRACE + Duration::from_secs(self.timeout_secs.max(0) as u64);
        flow.wait(Reached { server: self.server.clone(), generation, state: GuestState::Stopped, deadline }).await?;
        flow.finish(Settle { server: self.server.clone(), status: status::READY, power: "off" }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        failed(tx, &self.server, status::STOP_FAIL, error).await
    }
}

#[derive(Serialize, Deserialize)]
pub struct ServerRestart {
    pub server: String,
    pub force: bool,
    pub timeout_secs: i64,
    pub deadline_secs: u64,
}

impl Task<Compute> for ServerRestart {
    const NAME: &'static str = "ServerRestartTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let step = SetPower {
            server: self.server.clone(),
            on: true,
            force: self.force,
            timeout: self.timeout_secs,
            status: status::STOPPING,
            restart: true,
        };
        let generation = flow.step(step).await?.generation;
        let deadline = Duration::from_secs(self.deadline_secs + self.timeout_secs.max(0) as u64) + GRACE;
        flow.wait(Reached { server: self.server.clone(), generation, state: GuestState::Running, deadline }).await?;
        flow.finish(Settle { server: self.server.clone(), status: status::RUNNING, power: "on" }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        failed(tx, &self.server, status::START_FAIL, error).await
    }
}
