//! `change-config`: other processors and memory (spec 11 §6.3).

use super::action::host_open;
use super::{ServerHooks, in_status, input, on_server, parts::not_in_bin};
use crate::{intent, task as tasks};
use api_compute::status;
use base::{Kind as Cell, Result, Row, err};
use resource::{ActionFact, BoxFuture, Builder, Input, Map, Op, Reply};
use store::work;
use tasks::Size;

const fn input(name: &'static str, kind: Cell, doc: &'static str) -> Input {
    Input { name, kind, required: false, doc }
}

const CHANGE_CONFIG: &[Input] = &[
    input("vcpu_count", Cell::Int, "Virtual processors."),
    input("vmem_size", Cell::Text, "Memory in MiB, or with a unit as in 2G."),
    input("instance_type", Cell::Text, "SKU to take both from."),
    input("force_stop", Cell::Bool, "Shut a running server down for it, and start it again."),
    input("auto_start", Cell::Bool, "Start a stopped server then."),
];

pub(super) fn add(kind: Builder<ServerHooks>) -> Builder<ServerHooks> {
    kind.action(
        ActionFact { name: "change-config", doc: "Change processors and memory of a server.", inputs: CHANGE_CONFIG },
        change_config,
    )
}

fn change_config<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, mut body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let flag = |key: &str| Ok::<_, base::Error>(resource::flag(&body, key)?.unwrap_or(false));
        let (stop, start) = (flag("force_stop")?, flag("auto_start")?);
        let running = row.text("status") == status::RUNNING;
        if running && !stop {
            return Err(err!(
                InvalidStatus,
                "cannot resize server {} while it is running; stop it first, or have it shut down and started again with force_stop=true",
                row.name()
            ));
        }
        in_status(&row, &[status::RUNNING, status::READY, status::START_FAIL], "resize")?;
        not_in_bin(&row)?;
        if body.get("disks").is_some_and(|d| d.as_array().is_some_and(|d| !d.is_empty())) {
            return Err(err!(InputParameter, "disks: use createdisk for new disks and resize-disk for larger ones"));
        }
        input::read(&mut body)?;
        let size = wanted(op, &row, &body).await?;
        let before = Size::of(&row);
        // Only what grows is asked about: a licence that has ended stops nobody from giving something back.
        let bounds = if size.vcpu_count > before.vcpu_count { op.engine.allowed().await? } else { Vec::new() };
        let anew = running || start;
        host_open(op, &row).await?;
        let task = tasks::ServerChangeConfig {
            server: row.id().into(),
            size,
            before,
            running,
            timeout_secs: hooks.env.settings.stop_timeout,
            deadline_secs: hooks.deadline(),
        };
        let (row, task, bounds) = (&row, &task, &bounds);
        op.engine
            .db
            .tx(|tx| {
                work(async move {
                    let now = intent::idle_server(tx, row).await?;
                    // Room, quota and licence now: a guest is not shut down for what it cannot get.
                    let held = now.int("vcpu_held");
                    let changed = tasks::resize(tx, op.ctx, now, &task.size, anew).await?;
                    let cpus = changed.int("vcpu_held") - held;
                    // The host of a stopped server has nothing to do until the next start.
                    if anew {
                        ::task::start(tx, op.ctx, on_server(task, row)).await?;
                        intent::change(tx, changed, |r| r.set("status", status::CHANGE_FLAVOR)).await?;
                    }
                    // Last: others who make or grow servers wait for what this holds.
                    resource::within(tx, row.facts.table, bounds, |bound| if bound.sum == Some("vcpu_held") { cpus } else { 0 }).await
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

/// The size a body asks for.
async fn wanted(op: &Op<'_>, row: &Row, body: &Map) -> Result<Size> {
    let mut wanted = row.clone();
    if let Some(sku) = resource::text(body, &["instance_type", "sku", "flavor"]) {
        wanted.set("instance_type", sku);
    } else {
        let (cpu, memory) = (resource::int(body, "vcpu_count")?, resource::int(body, "vmem_size")?);
        if cpu.is_none() && memory.is_none() {
            return Err(err!(MissingParameter, "vcpu_count, vmem_size or instance_type is missing"));
        }
        wanted.set("instance_type", "");
        wanted.set("vcpu_count", cpu.unwrap_or(row.int("vcpu_count")));
        wanted.set("vmem_size", memory.unwrap_or(row.int("vmem_size")));
    }
    input::size(op, &mut wanted).await?;
    Ok(Size::of(&wanted))
}
