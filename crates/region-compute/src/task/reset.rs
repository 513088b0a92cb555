//! The reset button: the machine starts anew under a guest that was not asked. Its process, its power and its status stay as they are.
//!
//! What a host is to do once is no state it could be brought to, so it is no generation of the server either: the host finds it in its document as long
//! as this task waits, does it at most once, and says how it went.

use super::power::GRACE;
use crate::{Compute, intent};
use api_compute::Server;
use base::{Error, Json, Resource, Result, Row, err};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, time::Duration};
use store::{Read, Tx};
use task::{Flow, Polled, Step, StepKey, Task, Wait};

#[derive(Serialize, Deserialize)]
pub struct ServerReset {
    pub server: String,
}

impl Task<Compute> for ServerReset {
    const NAME: &'static str = "ServerResetTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        let task = flow.step(Tell { server: self.server.clone(), name: "ask the host" }).await?;
        flow.wait(Answered { server: self.server.clone(), task }).await?;
        flow.step(Tell { server: self.server.clone(), name: "let go" }).await?;
        Ok(Json::Null)
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        let Some(row) = tx.one(Server::facts(), &self.server).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        intent::touch_host(tx, row.text("host_id")).await?;
        resource::audit(tx, &base::Ctx::platform("task"), &row, "reset_fail", error.to_string()).await
    }
}

/// A host's answer to what a task asked of it, beside what it says of the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// Id of the task.
    pub job: String,
    /// Empty when it was done.
    pub error: String,
}

impl Asked {
    pub fn of(server: &Row) -> Asked {
        match server.get("observed") {
            base::Value::Json(json) => serde_json::from_value(json["asked"].clone()).unwrap_or_default(),
            _ => Asked::default(),
        }
    }
}

/// Has the host look at its document anew: the task is in it while it waits. Gives the task's id.
struct Tell {
    server: String,
    name: &'static str,
}

impl Step<Compute> for Tell {
    const NAME: &'static str = "tell the host";
    const NO_UNDO: &'static str = "what the host is told is whatever holds when it looks";
    type Out = String;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.name)
    }
    async fn act(&self, _: &Compute, tx: &mut Tx, key: &StepKey) -> Result<String> {
        let row = intent::server_row(tx, &self.server).await?;
        intent::touch_host(tx, row.text("host_id")).await?;
        Ok(key.task_id.to_string())
    }
}

struct Answered {
    server: String,
    task: String,
}

impl Wait<Compute> for Answered {
    const NAME: &'static str = "wait for host";
    type Out = ();

    fn watches(&self) -> Vec<(String, String)> {
        vec![("server".into(), self.server.clone())]
    }
    fn deadline(&self) -> Option<Duration> {
        Some(GRACE)
    }
    fn late(&self) -> Error {
        err!(Timeout, "the host did not say in time that it was done; look at the host's agent")
    }
    async fn poll(&self, _: &Compute, tx: &mut Tx) -> Result<Polled<()>> {
        let asked = Asked::of(&intent::server_row(tx, &self.server).await?);
        match (asked.job == self.task, asked.error.as_str()) {
            (false, _) => Ok(Polled::Pending),
            (true, "") => Ok(Polled::Ready(())),
            (true, why) => Err(err!(InsufficientResource, "the host could not do it: {}", why)),
        }
    }
}
