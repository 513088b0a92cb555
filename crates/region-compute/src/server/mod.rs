//! Servers: what a request may ask, and what a row shows. What takes time is a task.

mod action;
mod extras;
mod filter;
pub(crate) mod foreign;
mod input;
mod login;
pub(crate) mod owner;
pub(crate) mod parts;
mod resize;
mod view;

pub(crate) use input::{MOST_NICS, SEALED_USER_DATA, with_user_data, without_user_data};

use crate::{Compute, quota, task as tasks};
use api_compute::{Server, status};
use base::{Error, Result, Row, err};
use resource::{BoxFuture, Deleted, Hooks, Kind, Map, Op, Page, Params, Removal};
use std::sync::Arc;
use store::{Cond, Read, Select, Tx};
use task::NewTask;

pub(crate) struct ServerHooks {
    env: Arc<Compute>,
}

impl ServerHooks {
    fn deadline(&self) -> u64 {
        self.env.settings.start_deadline.as_secs()
    }
}

/// A task on a server, held by it and owned by the server's project.
pub(crate) fn on_server<T: task::Task<Compute>>(input: &T, row: &Row) -> NewTask {
    NewTask::of(input).on("server", row.id(), row.name()).owned_by(row.text("domain_id"), row.text("tenant_id"))
}

impl Hooks for ServerHooks {
    fn recycles(&self) -> bool {
        true
    }

    fn read(&self, body: &mut Map) -> Result<()> {
        input::read(body)
    }

    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(input::create(&self.env, op, body, row))
    }

    fn created<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if row.text("hostname").is_empty() {
                let hostname = input::hostname(row.name(), row.text("os_type"));
                row.set("hostname", hostname);
            }
            quota::check(tx, row, quota::Amounts::server(row)).await?;
            let base::Value::Json(plan) = row.get("create_params").clone() else { return Err(Error::internal("a server without a plan")) };
            let mut plan: input::Plan = serde_json::from_value(plan).map_err(Error::internal)?;
            plan.nics.iter_mut().for_each(|nic| nic.settle(resource::nth(body)));
            resource::write_tags(tx, row, &input::tags(body, row, plan.disks.first().and_then(|d| d.image.as_ref())), None).await?;
            let task = tasks::ServerCreate {
                server: row.id().to_string(),
                disks: plan.disks,
                nics: plan.nics,
                prefer_host: plan.prefer_host,
                prefer_zone: plan.prefer_zone,
                prefer_zones: plan.prefer_zones,
                auto_start: plan.auto_start,
                disk_deadline_secs: self.env.settings.disk_deadline.as_secs(),
                start_deadline_secs: self.deadline(),
            };
            task::start(tx, op.ctx, on_server(&task, row)).await.map(drop)
        })
    }

    fn update<'a>(&'a self, _op: &'a Op<'a>, old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { input::check_words(row, Some(old)) })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // What the host shows the guest changed: its document too. The guest itself sees machine words at its next start.
            let shown =
                ["name", "hostname", "boot_order", "vga", "machine", "bios", "src_ip_check", "src_mac_check", "tenant_id", "domain_id"];
            if shown.iter().any(|c| old.get(c) != row.get(c)) {
                crate::intent::touch_host(tx, row.text("host_id")).await?;
            }
            owner::moved(tx, old, row).await
        })
    }

    fn delete<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            // What never came to be has nothing to come back as (spec 11 §4).
            let stillborn =
                matches!(row.text("status"), status::SCHED_FAIL | status::NET_FAIL | status::CREATE_FAIL | status::DISK_FAIL | "dev_fail");
            let recycle = how == Removal::Recycle && !stillborn;
            let on_host = how != Removal::Purge && !row.text("host_id").is_empty() && !row.text("existence").is_empty();
            row.set("status", status::START_DELETE);
            let task = tasks::ServerDelete { server: row.id().to_string(), recycle, on_host, purge: how == Removal::Purge };
            task::start(tx, op.ctx, on_server(&task, row)).await?;
            Ok(Deleted::Later)
        })
    }

    fn restored<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut storage = 0;
            for tie in tx.list::<api_compute::GuestDisk>(Cond::eq("guest_id", row.id()).and(Cond::eq("deleted", false))).await? {
                let disk = crate::intent::disk_row(tx, &tie.disk_id).await?;
                if !disk.flag("pending_deleted") {
                    continue;
                }
                let size = disk.int("disk_size");
                crate::intent::change(tx, disk, |r| {
                    r.set("pending_deleted", false);
                    r.set("pending_deleted_at", base::Value::Null);
                })
                .await?;
                storage += size;
            }
            // The row itself is written after this hook.
            let itself = quota::Amounts::server(row);
            quota::check_with(tx, row, quota::Amounts { storage, ..itself }, itself).await
        })
    }

    fn filter<'a>(&'a self, op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(filter::filter(op, params, cond))
    }

    fn ordered<'a>(&'a self, op: &'a Op<'a>, cond: &'a Cond) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(filter::ordered(op, cond))
    }

    fn asks(&self, ids: &[&str]) -> Vec<store::Select> {
        view::asks(ids)
    }

    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(view::view(op, page))
    }
}

pub(crate) fn kind(env: &Arc<Compute>) -> Kind {
    let hooks = Arc::new(ServerHooks { env: env.clone() });
    let kind = action::add(Kind::new::<Server, _>(&hooks).context("hosts", "host_id").context("keypairs", "keypair_id"));
    let kind = kind.sums(&["vcpu_count", "vmem_size"]).extras(extras::EXTRAS);
    login::add(resize::add(parts::add(kind))).done()
}

/// A server whose status is one of these words.
fn in_status(row: &Row, words: &[&str], verb: &str) -> Result<()> {
    if words.contains(&row.text("status")) {
        return Ok(());
    }
    let now = row.text("status");
    if now == status::RUNNING && words.contains(&status::READY) {
        return Err(err!(InvalidStatus, "cannot {} server {} while it is running; stop it first", verb, row.name()));
    }
    if now == status::READY && words.contains(&status::RUNNING) {
        return Err(err!(InvalidStatus, "cannot {} server {} while it is stopped; start it first", verb, row.name()));
    }
    Err(err!(InvalidStatus, "cannot {} server {} in status {}; it must be {}", verb, row.name(), now, words.join(" or ")))
}

/// Servers' rows by id, for views of other kinds.
pub(crate) async fn names_of(db: &store::Db, ids: Vec<String>) -> Result<std::collections::HashMap<String, (String, String)>> {
    use base::Kind::Text;
    let select = Select::from("servers").column("id", Text).column("name", Text).column("status", Text).filter(Cond::is_in("id", ids));
    let mut db = db;
    Ok(db
        .rows(&select)
        .await?
        .into_iter()
        .map(|r| (r[0].as_str().to_string(), (r[1].as_str().to_string(), r[2].as_str().to_string())))
        .collect())
}
