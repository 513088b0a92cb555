//! Another password for an account of a running guest, by the guest's own agent.

use super::power;
use super::steps::{Applied, Back, unchanged};
use crate::{Compute, intent};
use api_compute::Server;
use base::{Error, Json, Resource, Result, Row};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{Read, Tx};
use task::{Flow, Step, StepKey, Task};

/// How long a host may take: a guest that is still booting is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// The tag that says when a password was set.
pub(crate) const LOGIN_SET: &str = "login_key_timestamp";

/// An account of a guest and its password, sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Login {
    pub account: String,
    pub secret: String,
}

#[derive(Serialize, Deserialize)]
pub struct ServerSetPassword {
    pub server: String,
    pub login: Login,
    /// Whether it is started first.
    pub start: bool,
    pub deadline_secs: u64,
}

impl Task<Compute> for ServerSetPassword {
    const NAME: &'static str = "GuestSetPasswordTask";
    const STEPS: u32 = 3;

    async fn run(&self, flow: &Flow<Compute>) -> Result<Json> {
        if self.start {
            let running = power::start(flow, &self.server, self.deadline_secs).await?;
            flow.step(running).await?;
            // It runs: what comes of the password is no reason to stop it.
            flow.commit_point().await?;
        }
        let generation = flow.step(Give { server: self.server.clone(), login: self.login.clone() }).await?.generation;
        flow.wait(Applied { server: self.server.clone(), generation, deadline: PATIENCE }).await?;
        flow.finish(Back { server: self.server.clone() }).await
    }
    async fn failed(&self, _: &Compute, tx: &mut Tx, error: &Error) -> Result<()> {
        unchanged(tx, &self.server, "set_password_fail", error).await
    }
}

/// Writes the password down and has the host give it to the guest. Undone, the one before is what `login-info` tells: the guest has that one.
struct Give {
    server: String,
    login: Login,
}

/// What the server had before.
#[derive(Serialize, Deserialize)]
struct Given {
    generation: i64,
    before: Login,
    login_generation: i64,
}

impl Step<Compute> for Give {
    const NAME: &'static str = "give password";
    type Out = Given;

    async fn act(&self, _: &Compute, tx: &mut Tx, _: &StepKey) -> Result<Given> {
        let row = intent::server_row(tx, &self.server).await?;
        let before = Login { account: row.text("login_account").into(), secret: row.text("login_secret").into() };
        let login_generation = row.int("login_generation");
        let row = take_login(tx, row, &self.login).await?;
        Ok(Given { generation: row.int("generation"), before, login_generation })
    }

    async fn undo(&self, _: &Compute, tx: &mut Tx, _: &StepKey, out: &Given) -> Result<()> {
        let Some(row) = tx.one(Server::facts(), &self.server).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
        let row = write(tx, row, &out.before, Some(out.login_generation)).await?;
        intent::touch_host(tx, row.text("host_id")).await
    }
}

/// Writes a login into a server's row, for its host to make true.
pub(crate) async fn take_login(tx: &mut Tx, row: Row, login: &Login) -> Result<Row> {
    let row = write(tx, row, login, None).await?;
    let tags = [("login_account", login.account.clone()), (LOGIN_SET, tx.now().to_string())];
    resource::write_tags(tx, &row, &tags.map(|(key, value)| (key.to_string(), Some(value))), None).await?;
    intent::touch_host(tx, row.text("host_id")).await?;
    Ok(row)
}

/// `asked_at`: the generation that asked for this login; left out: this one.
async fn write(tx: &mut Tx, row: Row, login: &Login, asked_at: Option<i64>) -> Result<Row> {
    intent::change(tx, row, |r| {
        let generation = r.int("generation") + 1;
        r.set("generation", generation);
        r.set("login_account", login.account.as_str());
        r.set("login_secret", login.secret.as_str());
        r.set("login_generation", asked_at.unwrap_or(generation));
    })
    .await
}
