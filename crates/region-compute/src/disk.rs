//! Disks of their own, and the rows of those that servers have.

use crate::{Compute, image, intent, quota, server, task as tasks};
use api_compute::{Disk, GuestDisk, Storage};
use base::{Error, Kind as Cell, Result, Row, err};
use region_infra::{brand, place};
use resource::{ActionFact, BoxFuture, Deleted, Extra, Hooks, Input, Kind, Map, Op, Page, Params, Removal, Reply};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};
use store::{Cond, Read, Select, Tx};
use task::NewTask;

struct DiskHooks {
    env: Arc<Compute>,
}

fn on_disk<T: task::Task<Compute>>(input: &T, row: &Row) -> NewTask {
    NewTask::of(input).on("disk", row.id(), row.name()).owned_by(row.text("domain_id"), row.text("tenant_id"))
}

fn in_use(row: &Row) -> Error {
    err!(NotEmpty, "disk {} belongs to a server; detach it or delete the server", row.name())
}

/// Refuses what clients of the wire may ask of a new disk and is not there.
fn foreign(body: &Map) -> Result<()> {
    api_compute::refuse_disk("", body)?;
    server::foreign::unpaid(body)
}

impl Hooks for DiskHooks {
    fn recycles(&self) -> bool {
        true
    }

    fn read(&self, body: &mut Map) -> Result<()> {
        for key in ["size", "disk_size"] {
            if let Some(base::Json::String(text)) = body.get(key) {
                let mb = api_compute::parse_size_mb(text)
                    .ok_or_else(|| err!(InputParameter, "{}: {} is not a size; use a number of MiB or a unit as in 10g", key, text))?;
                body.insert(key.into(), mb.into());
            }
        }
        Ok(())
    }

    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            foreign(body)?;
            let mut found: Option<image::Image> = None;
            if !row.text("template_id").is_empty() {
                let image = self.env.images.find(op.ctx, row.text("template_id")).await?;
                if image.status != "active" {
                    return Err(err!(InvalidStatus, "image_id: image {} is {}; it must be active", image.name, image.status));
                }
                row.set("template_id", image.id.as_str());
                let size = row.int("disk_size").max(image.min_disk);
                row.set("disk_size", size);
                found = Some(image);
            }
            let size = row.int("disk_size");
            if size == 0 {
                return Err(err!(
                    MissingParameter,
                    "size is missing; give it in MiB or with a unit as in 10g, or an image_id to take it from"
                ));
            }
            if !(1..=64 * 1024 * 1024).contains(&size) {
                return Err(err!(InputParameter, "size: {} MiB is out of range 1 to 67108864", size));
            }
            if !["qcow2", "raw"].contains(&row.text("disk_format")) {
                return Err(err!(InputParameter, "disk_format: {} is not one of {}", row.text("disk_format"), "qcow2, raw"));
            }
            let backend = resource::text(body, &["backend"]).unwrap_or_default();
            let plan = tasks::plan::DiskPlan {
                size,
                backend,
                storage_id: row.text("storage_id").into(),
                medium: resource::text(body, &["medium", "medium_type"]).unwrap_or_default(),
                format: row.text("disk_format").into(),
                disk_type: "data".into(),
                auto_delete: row.flag("auto_delete"),
                boot_index: -1,
                image: found,
                ..Default::default()
            };
            row.set("portable", true);
            row.set("existence", "");
            body.insert("__plan".into(), serde_json::to_value(plan).map_err(Error::internal)?);
            Ok(())
        })
    }

    fn created<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            quota::check(tx, row, quota::Amounts::storage(row.int("disk_size"))).await?;
            let plan = body.get("__plan").cloned().unwrap_or_default();
            let plan = serde_json::from_value(plan).map_err(Error::internal)?;
            let task = tasks::DiskCreate { disk: row.id().into(), plan, deadline_secs: self.env.settings.disk_deadline.as_secs() };
            task::start(tx, op.ctx, on_disk(&task, row)).await.map(drop)
        })
    }

    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let mut db = &op.engine.db;
            let ties: Vec<GuestDisk> = db.list(Cond::is_in("disk_id", rows.iter().map(Row::id)).and(Cond::eq("deleted", false))).await?;
            let used = |row: &Row| ties.iter().any(|t| t.disk_id == row.id()).then(|| in_use(row));
            Ok(rows.iter().map(used).collect())
        })
    }

    fn delete<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            let made = !row.text("storage_id").is_empty();
            match how {
                Removal::Recycle if made => {
                    // What was looked at before this transaction may be otherwise by now: a disk in the bin must not be in a server.
                    tx.lock("disks", Cond::eq("id", row.id())).await?;
                    if tx.exists("guestdisks", Cond::eq("disk_id", row.id()).and(Cond::eq("deleted", false))).await? {
                        return Err(in_use(row));
                    }
                    if tx.exists("task_holds", Cond::eq("kind", "disk").and(Cond::eq("id", row.id()))).await? {
                        return Err(err!(ResourceBusy, "a task is at work on disk {}; wait for its end", row.name()));
                    }
                    Ok(Deleted::Now)
                }
                Removal::Final | Removal::Recycle if made || row.text("existence") == "absent" => {
                    row.set("status", "deleting");
                    task::start(tx, op.ctx, on_disk(&tasks::DiskDelete { disk: row.id().into() }, row)).await?;
                    Ok(Deleted::Later)
                }
                _ => {
                    if made {
                        intent::give_storage(tx, row.text("storage_id"), row.int("disk_size")).await?;
                    }
                    // There is nothing behind it, so it goes for good at once.
                    row.set("deleted", true);
                    row.set("deleted_at", tx.now());
                    Ok(Deleted::Later)
                }
            }
        })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if server::owner::same(old, row) {
                return Ok(());
            }
            tx.lock("disks", Cond::eq("id", row.id())).await?;
            if tx.exists("guestdisks", Cond::eq("disk_id", row.id()).and(Cond::eq("deleted", false))).await? {
                return Err(err!(InvalidStatus, "disk {} belongs to a server; give away the server, or detach the disk first", row.name()));
            }
            if tx.exists("task_holds", Cond::eq("kind", "disk").and(Cond::eq("id", row.id()))).await? {
                return Err(err!(ResourceBusy, "a task is at work on disk {}; wait for its end", row.name()));
            }
            if row.flag("pending_deleted") {
                return Ok(());
            }
            let itself = quota::Amounts::storage(row.int("disk_size"));
            quota::check_moved(tx, old, row, itself, itself).await
        })
    }

    fn restored<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // The row itself is written after this hook.
            let itself = quota::Amounts::storage(row.int("disk_size"));
            quota::check_with(tx, row, itself, itself).await
        })
    }

    fn filter<'a>(&'a self, _op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            use base::Kind::Text;
            let mut all = std::mem::replace(cond, Cond::True);
            let ties = || Select::from("guestdisks").column("disk_id", Text).filter(Cond::eq("deleted", false));
            if let Some(unused) = params.flag("unused") {
                let tied = Cond::in_select("id", ties());
                all = all.and(if unused { tied.not() } else { tied });
            }
            for guest in ["guest_id", "guest", "server_id", "server"].iter().flat_map(|k| params.all(k)) {
                let servers =
                    Select::from("servers").column("id", Text).filter(Cond::eq("id", guest.as_str()).or(Cond::eq("name", guest.as_str())));
                all = all.and(Cond::in_select("id", ties().filter(Cond::in_select("guest_id", servers))));
            }
            *cond = all;
            Ok(())
        })
    }

    fn view<'a>(&'a self, op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if !page.details || page.rows.is_empty() {
                return Ok(());
            }
            let mut db = &op.engine.db;
            let storages: HashMap<String, Storage> =
                db.list::<Storage>(Cond::is_in("id", page.ids("storage_id"))).await?.into_iter().map(|s| (s.meta.id.clone(), s)).collect();
            let ties: Vec<GuestDisk> = db.list(Cond::is_in("disk_id", page.ids("id")).and(Cond::eq("deleted", false))).await?;
            let servers = server::names_of(db, ties.iter().map(|t| t.guest_id.clone()).collect()).await?;
            brand(page);
            place(op, page, |row| storages.get(row.text("storage_id")).map(|s| s.zone_id.clone()).unwrap_or_default()).await?;
            for i in 0..page.rows.len() {
                let id = page.rows[i].id().to_string();
                if let Some(s) = storages.get(page.rows[i].text("storage_id")) {
                    page.add(i, "storage", s.meta.name.clone());
                    page.add(i, "storage_type", s.storage_type.clone());
                    page.add(i, "medium_type", s.medium_type.clone());
                    page.add(i, "storage_status", s.status.status.clone());
                }
                let mine: Vec<&GuestDisk> = ties.iter().filter(|t| t.disk_id == id).collect();
                page.add(i, "guest_count", mine.len());
                let guests: Vec<_> = mine
                    .iter()
                    .filter_map(|t| servers.get(&t.guest_id).map(|(name, status)| json!({"id": t.guest_id, "name": name, "status": status, "index": t.index, "driver": t.driver, "cache_mode": t.cache_mode})))
                    .collect();
                if let Some(first) = mine.first().and_then(|t| servers.get(&t.guest_id)) {
                    page.add(i, "guest", first.0.clone());
                    page.add(i, "guest_status", first.1.clone());
                }
                page.add(i, "guests", guests);
                let template = page.rows[i].text("template_name").to_string();
                page.add(i, "template", template);
                for key in ["snapshot_count", "manual_snapshot_count"] {
                    page.add(i, key, 0);
                }
            }
            Ok(())
        })
    }
}

const RESIZE: ActionFact = ActionFact {
    name: "resize",
    doc: "Make the disk larger.",
    inputs: &[Input {
        name: "size",
        kind: base::Kind::Text,
        required: true,
        doc: "New size in MiB, or with a unit as in 20g; more than now.",
    }],
};

fn resize<'a>(hooks: &'a DiskHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let size = server::parts::size_of(&body, "size")?;
        server::parts::growable(&row, size)?;
        quota::foresee(op, &row, quota::Amounts::storage(size - row.int("disk_size"))).await?;
        let mut db = &op.engine.db;
        let tie = db.list::<GuestDisk>(Cond::eq("disk_id", row.id()).and(Cond::eq("deleted", false))).await?.pop();
        let deadline_secs = hooks.env.settings.disk_deadline.as_secs();
        let task = tasks::DiskResize { disk: row.id().into(), size, server: String::new(), deadline_secs };
        // Nothing else may happen to its server meanwhile.
        let new = match &tie {
            Some(tie) => on_disk(&task, &row).hold("server", &tie.guest_id),
            None => on_disk(&task, &row),
        };
        let (row, new) = (&row, &new);
        op.engine
            .db
            .tx(|tx| {
                store::work(async move {
                    task::start(tx, op.ctx, new.clone()).await?;
                    resource::audit(tx, op.ctx, row, "resize", format!("{}=>{size} MiB", row.int("disk_size"))).await
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

const EXTRAS: &[Extra] = &[
    Extra::create("backend", Cell::Text, "Type of storage it lies on: local, nfs, …; left out: any."),
    Extra::create("medium", Cell::Text, "rotate, ssd or hybrid; left out: any."),
];

pub(crate) fn kind(env: &Arc<Compute>) -> Kind {
    Kind::new::<Disk, _>(&Arc::new(DiskHooks { env: env.clone() }))
        .context("storages", "storage_id")
        .sums(&["disk_size"])
        .extras(EXTRAS)
        .action(RESIZE, resize)
        .done()
}
