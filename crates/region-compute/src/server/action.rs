//! The actions of a server (spec 11 §6).

use super::{ServerHooks, in_status, input, login, on_server};
use crate::{intent, task as tasks};
use api_agent::ConsoleKind;
use api_compute::status;
use base::{Json, Kind as Cell, Result, Row, err};
use resource::{ActionFact, BoxFuture, Builder, Input, Map, Op, Reply};
use serde_json::json;
use store::{Read, work};
use task::NewTask;

const STOP: &[Input] = &[
    Input { name: "is_force", kind: Cell::Bool, required: false, doc: "Cut the power instead of asking the guest." },
    Input { name: "timeout_secs", kind: Cell::Int, required: false, doc: "Seconds the guest has to shut down before it is cut off." },
];

const SRC_CHECK: &[Input] = &[
    Input { name: "src_ip_check", kind: Cell::Bool, required: false, doc: "Drop frames that do not carry the server's own address." },
    Input { name: "src_mac_check", kind: Cell::Bool, required: false, doc: "Drop frames that do not carry the server's own MAC." },
];

pub(super) fn add(kind: Builder<ServerHooks>) -> Builder<ServerHooks> {
    kind.action(ActionFact { name: "start", doc: "Power on.", inputs: &[] }, start)
        .action(ActionFact { name: "stop", doc: "Shut down; after the timeout the power is cut.", inputs: STOP }, stop)
        .action(ActionFact { name: "restart", doc: "Shut down and power on.", inputs: STOP }, restart)
        .action(
            ActionFact {
                name: "reset",
                doc: "Press the reset button: the machine starts anew, and the guest is not asked.",
                inputs: &[Input {
                    name: "is_hard",
                    kind: Cell::Bool,
                    required: false,
                    doc: "Cut the power and start a new process. Left out: the running machine is reset and its status stays.",
                }],
            },
            reset,
        )
        .action(ActionFact { name: "syncstatus", doc: "Take the state the host last reported.", inputs: &[] }, sync)
        .action(ActionFact { name: "sync", doc: "Have the host fetch the server's description anew.", inputs: &[] }, sync)
        .action(
            ActionFact { name: "modify-src-check", doc: "Set which frames of the guest its host drops.", inputs: SRC_CHECK },
            modify_src_check,
        )
        .action(
            ActionFact {
                name: "console",
                doc: "Ask for the screen or the serial console; `GET /servers/{id}/console` with an upgrade opens it.",
                inputs: &[Input { name: "kind", kind: Cell::Text, required: false, doc: "`vnc` or `serial`; left out: `vnc`." }],
            },
            console,
        )
        .spec(ActionFact { name: "vnc", doc: "How to reach the screen.", inputs: &[] }, vnc)
        .spec(ActionFact { name: "create-params", doc: "What was asked for at creation.", inputs: &[] }, params)
        .spec(ActionFact { name: "tasks", doc: "Tasks on the server, newest first.", inputs: &[] }, list_tasks)
        .spec(ActionFact { name: "desc", doc: "What the server's host last reported of it.", inputs: &[] }, desc)
}

/// The host must be there to do anything.
pub(super) async fn host_ready(op: &Op<'_>, row: &Row) -> Result<()> {
    host(op, row).await.map(drop)
}

/// The host must be there and be let do its work: a disabled one is being looked after by somebody, and what turns guests on or off, makes their system
/// anew or changes their size waits (spec 11 §6).
pub(super) async fn host_open(op: &Op<'_>, row: &Row) -> Result<()> {
    let host = host(op, row).await?;
    if !host.enabled.enabled {
        return Err(err!(InvalidStatus, "host {} of server {} is disabled; enable it first", host.meta.name, row.name()));
    }
    Ok(())
}

async fn host(op: &Op<'_>, row: &Row) -> Result<api_compute::Host> {
    let mut db = &op.engine.db;
    let Some(host) = db.get::<api_compute::Host>(row.text("host_id")).await? else {
        return Err(err!(InvalidStatus, "server {} has no host; its creation failed", row.name()));
    };
    if host.host_status != "online" {
        return Err(err!(InvalidStatus, "host {} of server {} is offline; bring its agent back first", host.meta.name, row.name()));
    }
    Ok(host)
}

/// Sets the status of the request and starts the task, in one transaction.
pub(super) async fn launch(op: &Op<'_>, row: &Row, word: &str, status: &str, new: NewTask) -> Result<Reply> {
    let new = &new;
    op.engine
        .db
        .tx(|tx| {
            work(async move {
                let now = intent::server_row(tx, row.id()).await?;
                // The check was made on a row read before: it must still be that row.
                if now.text("status") != row.text("status") {
                    return Err(err!(InvalidStatus, "server {} has just become {}; look again", row.name(), now.text("status")));
                }
                task::start(tx, op.ctx, new.clone()).await?;
                let now = intent::change(tx, now, |r| r.set("status", status)).await?;
                resource::audit(tx, op.ctx, &now, word, String::new()).await
            })
        })
        .await?;
    Ok(Reply::Object)
}

fn start<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        in_status(&row, &[status::READY, status::START_FAIL], "start")?;
        super::parts::not_in_bin(&row)?;
        host_open(op, &row).await?;
        let task = tasks::ServerStart { server: row.id().into(), deadline_secs: hooks.deadline() };
        launch(op, &row, "start", status::START_START, on_server(&task, &row)).await
    })
}

fn patience(hooks: &ServerHooks, body: &Map) -> Result<(bool, i64)> {
    let force = resource::flag(body, "is_force")?.unwrap_or(false);
    let timeout = resource::int(body, "timeout_secs")?.filter(|t| *t > 0).unwrap_or(hooks.env.settings.stop_timeout);
    if timeout > 3600 {
        return Err(err!(InputParameter, "timeout_secs: {} is out of range 1 to 3600", timeout));
    }
    Ok((force, timeout))
}

fn stop<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let (force, timeout_secs) = patience(hooks, &body)?;
        let row = match row.text("status") == status::SET_PASSWORD {
            true if force => {
                host_open(op, &row).await?;
                login::give_way(op, row).await?
            }
            true => {
                return Err(err!(
                    InvalidStatus,
                    "server {} is being given a password; wait for the end of that, or stop it with is_force=true",
                    row.name()
                ));
            }
            false => row,
        };
        let words: &[&str] = if force {
            &[status::RUNNING, status::STOP_FAIL, status::START_FAIL, status::UNKNOWN, status::READY]
        } else {
            &[status::RUNNING, status::STOP_FAIL]
        };
        in_status(&row, words, "stop")?;
        host_open(op, &row).await?;
        let task = tasks::ServerStop { server: row.id().into(), force, timeout_secs };
        launch(op, &row, "stop", status::START_STOP, on_server(&task, &row)).await
    })
}

fn restart<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let (force, timeout_secs) = patience(hooks, &body)?;
        in_status(&row, &[status::RUNNING, status::STOP_FAIL, status::START_FAIL], "restart")?;
        host_open(op, &row).await?;
        let task = tasks::ServerRestart { server: row.id().into(), force, timeout_secs, deadline_secs: hooks.deadline() };
        launch(op, &row, "restart", status::STOPPING, on_server(&task, &row)).await
    })
}

/// The hard one is a restart that does not ask the guest; the soft one leaves process and status as they are.
fn reset<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        in_status(&row, &[status::RUNNING, status::STOP_FAIL], "reset")?;
        host_open(op, &row).await?;
        if !resource::flag(&body, "is_hard")?.unwrap_or(false) {
            let task = tasks::ServerReset { server: row.id().into() };
            return launch(op, &row, "reset", row.text("status"), on_server(&task, &row)).await;
        }
        let task = tasks::ServerRestart { server: row.id().into(), force: true, timeout_secs: 0, deadline_secs: hooks.deadline() };
        launch(op, &row, "reset", status::STOPPING, on_server(&task, &row)).await
    })
}

fn sync<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let row = &row;
        op.engine
            .db
            .tx(|tx| {
                work(async move {
                    crate::agent::settle(tx, row.id()).await?;
                    intent::touch_host(tx, row.text("host_id")).await
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

/// The same as an update of these two; a running guest's ports are set at once.
fn modify_src_check<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let mut wanted = Vec::new();
        for column in ["src_ip_check", "src_mac_check"] {
            wanted.extend(resource::flag(&body, column)?.map(|on| (column, on)));
        }
        if wanted.is_empty() {
            return Err(err!(MissingParameter, "src_ip_check and src_mac_check are missing; give true or false for one of them"));
        }
        let (row, wanted) = (&row, &wanted);
        op.engine
            .db
            .tx(|tx| {
                work(async move {
                    let now = intent::server_row(tx, row.id()).await?;
                    let new = intent::change(tx, now.clone(), |r| wanted.iter().for_each(|(column, on)| r.set(column, *on))).await?;
                    if new.values != now.values {
                        let notes = wanted.iter().map(|(column, on)| format!("{column}={on}")).collect::<Vec<_>>().join(" ");
                        resource::audit(tx, op.ctx, &new, "modify_src_check", notes).await?;
                        intent::touch_host(tx, new.text("host_id")).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

fn vnc<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        in_status(&row, &[status::RUNNING], "show the screen of")?;
        let mut db = &op.engine.db;
        let host = db.get::<api_compute::Host>(row.text("host_id")).await?;
        Ok(Reply::Value(
            json!({"protocol": "vnc", "host_id": row.text("host_id"), "host": host.map(|h| h.access_ip), "id": row.id(), "socket": observed(&row, "vnc")}),
        ))
    })
}

/// Says whether the console may be opened and where it is; the audit log keeps who asked.
fn console<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let kind = resource::text(&body, &["kind"]).unwrap_or_else(|| "vnc".into());
        let Some(kind) = ConsoleKind::from_name(&kind) else {
            return Err(err!(InputParameter, "kind: {} is not one of vnc, serial", body["kind"]));
        };
        in_status(&row, &[status::RUNNING, status::STOPPING, status::STOP_FAIL], "open a console of")?;
        host_ready(op, &row).await?;
        let row = &row;
        op.engine
            .db
            .tx(|tx| work(async move { resource::audit(tx, op.ctx, row, "console", format!("{} opened", kind.name())).await }))
            .await?;
        Ok(Reply::Value(json!({"id": row.id(), "name": row.name(), "host_id": row.text("host_id"), "kind": kind.name()})))
    })
}

fn observed(row: &Row, key: &str) -> Json {
    match row.get("observed") {
        base::Value::Json(json) => json.get(key).cloned().unwrap_or_default(),
        _ => Json::Null,
    }
}

fn params<'a>(_: &'a ServerHooks, _: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move { Ok(Reply::Value(input::without_user_data(row.get("create_params").to_json()))) })
}

fn desc<'a>(_: &'a ServerHooks, _: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let mut json = row.get("observed").to_json();
        if json.is_null() {
            json = json!({});
        }
        json["wanted"] = json!({"power": row.text("power"), "generation": row.int("generation"), "existence": row.text("existence")});
        Ok(Reply::Value(json))
    })
}

fn list_tasks<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let mut db = &op.engine.db;
        let rows: Vec<task::TaskRow> = db.list(store::Cond::eq("obj_id", row.id())).await?;
        let mut tasks: Vec<&task::TaskFacts> = rows.iter().map(|r| &r.facts).collect();
        tasks.sort_by_key(|t| std::cmp::Reverse(t.created_at));
        let shown: Vec<Json> = tasks
            .iter()
            .map(|t| json!({"id": t.id, "task_name": t.task_name, "stage": t.stage, "status": t.status, "progress": t.progress, "created_at": t.created_at.to_string()}))
            .collect();
        Ok(Reply::Value(json!({ "tasks": shown })))
    })
}
