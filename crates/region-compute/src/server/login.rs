//! The account and password of a server (spec 11 §6.3, §6.7): who may read them, and changing them.
//!
//! The password lies sealed in the row. A running guest is given it by its own agent, through its host; a stopped one finds it in what it is told
//! at its next start, where guests that look only at their first start pass it over.

use super::action::{host_ready, launch};
use super::{ServerHooks, in_status, input, on_server, parts::not_in_bin};
use crate::{intent, task as tasks};
use api_compute::{Keypair, Server, status};
use base::{Error, Json, Kind as Cell, Resource, Result, Row, err};
use resource::{ActionFact, BoxFuture, Builder, Input, Map, Op, Reply};
use serde_json::json;
use std::time::Duration;
use store::{Cond, Read, work};

const fn input(name: &'static str, kind: Cell, doc: &'static str) -> Input {
    Input { name, kind, required: false, doc }
}

const SET_PASSWORD: &[Input] = &[
    input("username", Cell::Text, "Account; left out: the server's own."),
    input("password", Cell::Text, "The password: at least 12 characters with upper and lower case letters, digits and punctuation."),
    input("reset_password", Cell::Bool, "Make one up; `login-info` tells it."),
    input("auto_start", Cell::Bool, "Start a stopped server for it."),
];

/// Longest a cancelled task takes to be gone; it has nothing to wait for.
const GIVING_WAY: Duration = Duration::from_secs(20);

pub(super) fn add(kind: Builder<ServerHooks>) -> Builder<ServerHooks> {
    kind.action(
        ActionFact {
            name: "set-password",
            doc: "Give an account of the guest another password: of a running server at once, by the guest's agent; of a stopped one at its next start.",
            inputs: SET_PASSWORD,
        },
        set_password,
    )
    .action(ActionFact { name: "login-info", doc: "Account and password of the guest; the audit log keeps who asked.", inputs: &[] }, login_info)
}

fn set_password<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, mut body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let start = resource::flag(&body, "auto_start")?.unwrap_or(false);
        in_status(&row, &[status::RUNNING, status::READY, status::START_FAIL], "set the password of")?;
        not_in_bin(&row)?;
        match (resource::text(&body, &["password"]), resource::flag(&body, "reset_password")?.unwrap_or(false)) {
            (None, true) => drop(body.insert("password".into(), Json::from(made_up()?))),
            (None, false) => return Err(err!(MissingParameter, "password is missing; or have one made up with reset_password=true")),
            (Some(_), _) => {}
        }
        let mut wanted = row.clone();
        if let Some(account) = resource::text(&body, &["username", "login_account"]) {
            wanted.set("login_account", account);
        }
        input::credentials(&hooks.env, &body, &mut wanted)?;
        let login = tasks::Login { account: wanted.text("login_account").into(), secret: wanted.text("login_secret").into() };
        let runs = row.text("status") == status::RUNNING;
        if runs || start {
            host_ready(op, &row).await?;
            let task = tasks::ServerSetPassword { server: row.id().into(), login, start: !runs, deadline_secs: hooks.deadline() };
            return launch(op, &row, "set_password", status::SET_PASSWORD, on_server(&task, &row)).await;
        }
        let (row, login) = (&row, &login);
        op.engine
            .db
            .tx(|tx| {
                work(async move {
                    let now = intent::idle_server(tx, row).await?;
                    let now = tasks::take_login(tx, now, login).await?;
                    resource::audit(tx, op.ctx, &now, "set_password", format!("of {}, from the next start on", login.account)).await
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

/// Cancels the giving of a password, for somebody who will not wait for the guest's agent: what `login-info` tells is the one before. The server as it
/// is afterwards.
///
/// # Errors
/// `InvalidStatus` when the task is past its point of no return, as one that started the server first is; `ResourceBusy` when it does not end.
pub(super) async fn give_way(op: &Op<'_>, row: Row) -> Result<Row> {
    let id = row.id();
    let held = || Cond::eq("kind", "server").and(Cond::eq("id", id));
    let at_work = op.engine.db.tx(|tx| {
        work(async move {
            // Locked: what follows the giving of the password, somebody else's task among it, is none of ours.
            let now = tx.one(Server::facts(), id).await?;
            let holder = tx.texts("task_holds", "task_id", held()).await?.pop();
            if let Some(task) = &holder
                && now.is_some_and(|row| row.text("status") == status::SET_PASSWORD)
            {
                task::cancel(tx, task).await?;
            }
            Ok(holder)
        })
    });
    let at_work = at_work.await?;
    let mut db = &op.engine.db;
    let left = async {
        loop {
            // The status changes a moment before the task lets go.
            let holder = db.texts("task_holds", "task_id", held()).await?.pop();
            if holder.is_none() || holder != at_work {
                let now = db.one(Server::facts(), id).await?.filter(|r| !r.flag("deleted"));
                return now.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "server", id));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(GIVING_WAY, left).await {
        Ok(now) => now,
        Err(_) => Err(err!(ResourceBusy, "a task is at work on server {}; wait for its end", row.name())),
    }
}

fn login_info<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let sealed = row.text("login_secret");
        let password = if sealed.is_empty() { String::new() } else { hooks.env.seal.open(sealed)? };
        let mut db = &op.engine.db;
        let keypair = match row.text("keypair_id") {
            "" => String::new(),
            id => db.get::<Keypair>(id).await?.map(|k| k.meta.name).unwrap_or_default(),
        };
        if password.is_empty() && keypair.is_empty() {
            return Err(err!(
                InvalidStatus,
                "server {} has neither password nor key pair of the platform's; set-password gives it one",
                row.name()
            ));
        }
        let row = &row;
        op.engine.db.tx(|tx| work(async move { resource::audit(tx, op.ctx, row, "login_info", String::new()).await })).await?;
        let since = Cond::eq("obj_type", "server").and(Cond::eq("obj_id", row.id())).and(Cond::eq("key", tasks::LOGIN_SET));
        let updated = db.texts("metadata", "value", since).await?.pop().unwrap_or_default();
        Ok(Reply::Value(
            json!({"username": row.text("login_account"), "password": password, "login_key": "", "keypair": keypair, "updated": updated}),
        ))
    })
}

/// Twenty characters of every class the rules want, 75 bits of them by chance.
fn made_up() -> Result<String> {
    const CLASSES: [&[u8]; 4] = [b"abcdefghijkmnpqrstuvwxyz", b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"23456789", b"-_.+=@^~"];
    let mut text = String::new();
    let mut bytes = [0u8; 20];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    for (i, byte) in bytes.into_iter().enumerate() {
        // Which class comes where is known; what is drawn from it is not.
        let class = CLASSES[i % CLASSES.len()];
        text.push(char::from(class[usize::from(byte) % class.len()]));
    }
    Ok(text)
}
