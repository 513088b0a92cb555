//! Actions that change what a server is made of: disks, interfaces, root disk (spec 11 §6.3 to §6.5). Its size has a file of its own.

use super::action::{host_open, host_ready, launch};
use super::{ServerHooks, in_status, input, on_server};
use crate::{intent, quota, task as tasks};
use api_compute::{DiskConfig, GuestDisk, GuestNetwork, parse_size_mb, status};
use base::{Json, Kind as Cell, Result, Row, Scope, err};
use resource::{ActionFact, BoxFuture, Builder, Input, Map, Op, Reply};
use store::{Cond, Read, work};
use tasks::plan::DiskPlan;

const fn input(name: &'static str, kind: Cell, required: bool, doc: &'static str) -> Input {
    Input { name, kind, required, doc }
}

const CREATE_DISK: &[Input] = &[input("disks", Cell::Json, false, "Disks as at creation: objects, or texts as in 10g.")];
const ATTACH_DISK: &[Input] = &[
    input("disk_id", Cell::Text, true, "The disk, by id or name; it lies on the server's host and belongs to no server."),
    input("driver", Cell::Text, false, "virtio, scsi, sata or ide; a running server takes the first two."),
    input("cache", Cell::Text, false, "none, writeback or writethrough."),
    input("boot_index", Cell::Int, false, "Position in the boot order; -1: by index."),
];
const DETACH_DISK: &[Input] = &[
    input("disk_id", Cell::Text, true, "The disk, by id or name; not the root disk."),
    input("keep_disk", Cell::Bool, false, "Keep a disk that would go with its server."),
];
const RESIZE_DISK: &[Input] = &[
    input("disk_id", Cell::Text, true, "The disk, by id or name."),
    input("size", Cell::Text, true, "New size in MiB, or with a unit as in 20g; more than now."),
];
const ATTACH_NETWORK: &[Input] = &[
    input("nets", Cell::Json, false, "Interfaces as at creation: objects, or texts as in network:address."),
    input("net_desc", Cell::Json, false, "The same, as texts alone."),
];
const DETACH_NETWORK: &[Input] = &[
    input("net_id", Cell::Text, false, "Network of the interface, by id or name."),
    input("ip_addr", Cell::Text, false, "Address of the interface."),
    input("mac", Cell::Text, false, "MAC of the interface."),
    input("reserve", Cell::Bool, false, "Set the address aside instead of giving it back."),
];
const REBUILD_ROOT: &[Input] = &[
    input("image_id", Cell::Text, false, "Image of the new root disk, by id or name; left out: the same again."),
    input("auto_start", Cell::Bool, false, "Start it then."),
    input("keypair_id", Cell::Text, false, "Key pair put into it; left out: none."),
    input("password", Cell::Text, false, "Password put into it; left out: as before."),
    input("login_account", Cell::Text, false, "Account it is of; left out: as before."),
    input("user_data", Cell::Text, false, "Left out: as before."),
];

pub(super) fn add(kind: Builder<ServerHooks>) -> Builder<ServerHooks> {
    let fact = |name, doc, inputs| ActionFact { name, doc, inputs };
    kind.action(fact("createdisk", "Give the server new disks.", CREATE_DISK), create_disk)
        .action(fact("attachdisk", "Give the server a disk that is there.", ATTACH_DISK), attach_disk)
        .action(fact("detachdisk", "Take a disk off the server.", DETACH_DISK), detach_disk)
        .action(fact("resize-disk", "Make a disk of the server larger.", RESIZE_DISK), resize_disk)
        .action(fact("attachnetwork", "Give the server further interfaces.", ATTACH_NETWORK), attach_network)
        .action(fact("detachnetwork", "Take an interface off the server.", DETACH_NETWORK), detach_network)
        .action(fact("rebuild-root", "Make the root disk of a stopped server anew.", REBUILD_ROOT), rebuild_root)
        .action(fact("purge", "Forget a server whose host is gone, without asking the host.", &[]), purge)
}

/// The server can take a change of its parts now.
async fn changeable(op: &Op<'_>, row: &Row, words: &[&str], verb: &str) -> Result<()> {
    in_status(row, words, verb)?;
    not_in_bin(row)?;
    host_ready(op, row).await
}

pub(super) fn not_in_bin(row: &Row) -> Result<()> {
    if row.flag("pending_deleted") {
        return Err(err!(InvalidStatus, "server {} lies in the recycle bin; restore it first with cancel-delete", row.name()));
    }
    Ok(())
}

const UP_OR_DOWN: &[&str] = &[status::RUNNING, status::READY];

fn create_disk<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        changeable(op, &row, UP_OR_DOWN, "add disks to").await?;
        let mut disks = Vec::new();
        for (i, config) in DiskConfig::list(&body)?.into_iter().enumerate() {
            disks.push(input::disk(&hooks.env, op, i, config, &row).await?);
        }
        if disks.is_empty() {
            return Err(err!(MissingParameter, "disks is missing; give sizes or images, as in 10g"));
        }
        let had = ties(op, &row).await?.len();
        if had + disks.len() > tasks::MOST_DISKS {
            return Err(err!(OutOfLimit, "disks: at most {}, got {}", tasks::MOST_DISKS, had + disks.len()));
        }
        // Something new, as a disk of its own would be.
        op.engine.allowed().await?;
        quota::foresee(op, &row, quota::Amounts::storage(disks.iter().map(|d| d.size).sum())).await?;
        let task = tasks::ServerCreateDisk { server: row.id().into(), disks, deadline_secs: hooks.env.settings.disk_deadline.as_secs() };
        launch(op, &row, "create_disk", status::ATTACH_DISK, on_server(&task, &row)).await
    })
}

async fn ties(op: &Op<'_>, row: &Row) -> Result<Vec<GuestDisk>> {
    let mut db = &op.engine.db;
    db.list(Cond::eq("guest_id", row.id()).and(Cond::eq("deleted", false))).await
}

fn attach_disk<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        changeable(op, &row, UP_OR_DOWN, "attach a disk to").await?;
        let disk = op.engine.resolve(op.ctx, "disk", &resource::required(&body, "disk_id")?).await?;
        if disk.text("status") != "ready" || disk.flag("pending_deleted") {
            return Err(err!(InvalidStatus, "disk_id: disk {} is {}; it must be ready", disk.name(), disk.text("status")));
        }
        // Seen is not owned: a shared disk stays with its project.
        if disk.text("tenant_id") != row.text("tenant_id") {
            return Err(err!(InputParameter, "disk_id: disk {} belongs to another project than server {}", disk.name(), row.name()));
        }
        if disk.text("host_id") != row.text("host_id") {
            return Err(err!(InputParameter, "disk_id: disk {} lies on another host than server {}", disk.name(), row.name()));
        }
        let text = |keys: &[&str]| resource::text(&body, keys).unwrap_or_default();
        let config = DiskConfig {
            driver: text(&["driver"]),
            cache: text(&["cache", "cache_mode"]),
            disk_id: disk.id().into(),
            ..Default::default()
        };
        config.check_words("disk_id")?;
        if row.text("status") == status::RUNNING && ["ide", "sata"].contains(&config.driver.as_str()) {
            return Err(err!(
                InputParameter,
                "driver: a running server takes virtio and scsi disks; stop it to attach one as {}",
                config.driver
            ));
        }
        let boot_index = resource::int(&body, "boot_index")?.unwrap_or(-1);
        let plan = DiskPlan { driver: config.driver, cache: config.cache, boot_index, ..Default::default() };
        let task = tasks::ServerAttachDisk { server: row.id().into(), disk: disk.id().into(), plan };
        launch(op, &row, "attach_disk", status::ATTACH_DISK, on_server(&task, &row).hold("disk", disk.id())).await
    })
}

/// A disk of the server by what the body names, and its tie.
async fn own_disk(op: &Op<'_>, row: &Row, body: &Map) -> Result<(Row, Option<GuestDisk>)> {
    let disk = op.engine.resolve(op.ctx, "disk", &resource::required(body, "disk_id")?).await?;
    let tie = ties(op, row).await?.into_iter().find(|t| t.disk_id == disk.id());
    Ok((disk, tie))
}

fn detach_disk<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        let (disk, tie) = own_disk(op, &row, &body).await?;
        // Detached twice is detached.
        let Some(tie) = tie else { return Ok(Reply::Object) };
        changeable(op, &row, UP_OR_DOWN, "detach a disk from").await?;
        if tie.index == 0 {
            return Err(err!(InputParameter, "disk_id: disk {} is the root disk of server {}", disk.name(), row.name()));
        }
        if row.text("status") == status::RUNNING && ["ide", "sata"].contains(&tie.driver.as_str()) {
            return Err(err!(
                InvalidStatus,
                "disk_id: disk {} is an {} disk; stop server {} to take it off",
                disk.name(),
                tie.driver,
                row.name()
            ));
        }
        let keep = resource::flag(&body, "keep_disk")?.unwrap_or(false);
        let task = tasks::ServerDetachDisk { server: row.id().into(), disk: disk.id().into(), remove: !keep && disk.flag("auto_delete") };
        launch(op, &row, "detach_disk", status::DETACH_DISK, on_server(&task, &row).hold("disk", disk.id())).await
    })
}

/// A size of a body, in MiB.
pub(crate) fn size_of(body: &Map, key: &str) -> Result<i64> {
    let size = match body.get(key) {
        None | Some(Json::Null) => return Err(err!(MissingParameter, "{} is missing; give it in MiB, or with a unit as in 10g", key)),
        Some(Json::String(text)) => parse_size_mb(text),
        Some(other) => other.as_i64(),
    };
    let bad =
        || err!(InputParameter, "{}: {} is not a size; use a number of MiB or a unit as in 10g", key, body.get(key).unwrap_or(&Json::Null));
    let size = size.ok_or_else(bad)?;
    if !(1..=64 * 1024 * 1024).contains(&size) {
        return Err(err!(InputParameter, "size: {} MiB is out of range 1 to 67108864", size));
    }
    Ok(size)
}

/// Refuses a size that is not more than a ready disk has.
pub(crate) fn growable(disk: &Row, size: i64) -> Result<()> {
    if disk.text("status") != "ready" || disk.flag("pending_deleted") {
        return Err(err!(InvalidStatus, "disk_id: disk {} is {}; it must be ready", disk.name(), disk.text("status")));
    }
    let had = disk.int("disk_size");
    if size <= had {
        return Err(err!(InputParameter, "size: {} MiB is not more than the {} MiB disk {} has; disks only grow", size, had, disk.name()));
    }
    Ok(())
}

fn resize_disk<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        changeable(op, &row, UP_OR_DOWN, "resize a disk of").await?;
        let (disk, tie) = own_disk(op, &row, &body).await?;
        if tie.is_none() {
            return Err(err!(InputParameter, "disk_id: disk {} is not of server {}", disk.name(), row.name()));
        }
        let size = size_of(&body, "size")?;
        growable(&disk, size)?;
        quota::foresee(op, &disk, quota::Amounts::storage(size - disk.int("disk_size"))).await?;
        let deadline_secs = hooks.env.settings.disk_deadline.as_secs();
        let task = tasks::DiskResize { disk: disk.id().into(), size, server: row.id().into(), deadline_secs };
        launch(op, &row, "resize_disk", status::RESIZE_DISK, on_server(&task, &row).hold("disk", disk.id())).await
    })
}

fn attach_network<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, mut body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        changeable(op, &row, UP_OR_DOWN, "attach a network to").await?;
        if let Some(texts) = body.remove("net_desc") {
            body.insert("nets".into(), texts);
        }
        if !body.keys().any(|k| k == "nets" || k == "net" || k.starts_with("net.")) {
            return Err(err!(MissingParameter, "nets is missing; name networks, with an address as in network:10.0.0.9"));
        }
        let nics = input::nics(op, &body).await?;
        let had = nics_of(op, &row).await?.len();
        if had + nics.len() > input::MOST_NICS {
            return Err(err!(OutOfLimit, "nets: at most {}, got {}", input::MOST_NICS, had + nics.len()));
        }
        let task = tasks::ServerAttachNetwork { server: row.id().into(), nics };
        launch(op, &row, "attach_network", status::SYNC_CONFIG, on_server(&task, &row)).await
    })
}

async fn nics_of(op: &Op<'_>, row: &Row) -> Result<Vec<GuestNetwork>> {
    let mut db = &op.engine.db;
    db.list(Cond::eq("guest_id", row.id()).and(Cond::eq("deleted", false))).await
}

fn detach_network<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        changeable(op, &row, UP_OR_DOWN, "detach a network from").await?;
        let mut nics = nics_of(op, &row).await?;
        let network = match resource::text(&body, &["net_id", "network_id", "network"]) {
            Some(which) => Some(op.engine.resolve(op.ctx, "network", &which).await?.id().to_string()),
            None => None,
        };
        let (ip, mac) = (resource::text(&body, &["ip_addr"]), resource::text(&body, &["mac", "mac_addr"]));
        if network.is_none() && ip.is_none() && mac.is_none() {
            return Err(err!(MissingParameter, "net_id, ip_addr or mac is missing: which interface?"));
        }
        nics.retain(|n| {
            network.as_ref().is_none_or(|id| *id == n.network_id)
                && ip.as_ref().is_none_or(|ip| *ip == n.ip_addr)
                && mac.as_ref().is_none_or(|mac| mac.eq_ignore_ascii_case(&n.mac_addr))
        });
        let nic = match nics.as_slice() {
            [one] => one.joint.id.clone(),
            [] => return Err(err!(ResourceNotFound, "server {} has no such interface", row.name())),
            several => {
                return Err(err!(InputParameter, "{} interfaces of server {} fit; name one by ip_addr or mac", several.len(), row.name()));
            }
        };
        let reserve = resource::flag(&body, "reserve")?.unwrap_or(false);
        if reserve {
            op.engine.demand_of(op.ctx, "network", "perform", &["reserve-ip"], Scope::System)?;
        }
        let task = tasks::ServerDetachNetwork { server: row.id().into(), nic, reserve };
        launch(op, &row, "detach_network", status::SYNC_CONFIG, on_server(&task, &row)).await
    })
}

fn rebuild_root<'a>(hooks: &'a ServerHooks, op: &'a Op<'a>, row: Row, body: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        changeable(op, &row, &[status::READY, status::START_FAIL], "rebuild").await?;
        host_open(op, &row).await?;
        let mut db = &op.engine.db;
        let tie = ties(op, &row).await?.into_iter().find(|t| t.index == 0);
        let tie = tie.ok_or_else(|| err!(InvalidStatus, "server {} has no root disk", row.name()))?;
        let old: api_compute::Disk =
            db.get(&tie.disk_id).await?.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "disk", tie.disk_id))?;
        let which = resource::text(&body, &["image_id", "image"]).unwrap_or_else(|| old.template_id.clone());
        if which.is_empty() {
            return Err(err!(MissingParameter, "image_id is missing and the root disk was made of none; name an image by id or name"));
        }
        let image = input::image(&hooks.env, op, "image_id", &which, &row).await?;
        if image.min_disk > old.disk_size {
            return Err(err!(
                InputParameter,
                "image_id: image {} needs {} MiB, the root disk has {}",
                image.name,
                image.min_disk,
                old.disk_size
            ));
        }
        if !image.os_arch.is_empty() && !row.text("os_arch").is_empty() && image.os_arch != row.text("os_arch") {
            return Err(err!(
                InputParameter,
                "image_id: image {} is for {}, server {} is {}",
                image.name,
                image.os_arch,
                row.name(),
                row.text("os_arch")
            ));
        }
        let mut new = row.clone();
        for column in ["os_type", "os_arch"] {
            new.set(column, "");
        }
        input::system(&mut new, Some(&image));
        if let Some(account) = resource::text(&body, &["login_account"]) {
            new.set("login_account", account);
        }
        input::credentials(&hooks.env, &body, &mut new)?;
        let key = match resource::text(&body, &["keypair_id", "keypair"]) {
            Some(which) => op.engine.resolve(op.ctx, "keypair", &which).await?.id().to_string(),
            None => String::new(),
        };
        new.set("keypair_id", key);
        let text = |column: &str| new.text(column).to_string();
        let told = tasks::Told {
            os_type: text("os_type"),
            os_name: text("os_name"),
            os_arch: text("os_arch"),
            login_account: text("login_account"),
            login_secret: text("login_secret"),
            keypair_id: text("keypair_id"),
            user_data: input::user_data(&hooks.env, &body)?,
            tags: input::tags(&Map::new(), &new, Some(&image)),
        };
        let root = DiskPlan {
            size: old.disk_size,
            storage_id: old.storage_id,
            format: old.disk_format,
            disk_type: old.disk_type,
            auto_delete: old.auto_delete,
            auto_reset: old.auto_reset,
            image: Some(image.clone()),
            ..Default::default()
        };
        let task = tasks::ServerRebuildRoot {
            server: row.id().into(),
            root,
            told: Some(told),
            auto_start: resource::flag(&body, "auto_start")?.unwrap_or(false),
            disk_deadline_secs: hooks.env.settings.disk_deadline.as_secs(),
            start_deadline_secs: hooks.deadline(),
        };
        let (row, task) = (&row, &task);
        op.engine
            .db
            .tx(|tx| {
                work(async move {
                    let now = intent::idle_server(tx, row).await?;
                    ::task::start(tx, op.ctx, on_server(task, row)).await?;
                    let now = intent::change(tx, now, |r| r.set("status", status::REBUILD_ROOT)).await?;
                    resource::audit(tx, op.ctx, &now, "rebuild_root", String::new()).await
                })
            })
            .await?;
        Ok(Reply::Object)
    })
}

fn purge<'a>(_: &'a ServerHooks, op: &'a Op<'a>, row: Row, _: Map) -> BoxFuture<'a, Result<Reply>> {
    Box::pin(async move {
        op.engine.demand_of(op.ctx, "server", "delete", &["purge"], Scope::System)?;
        if row.flag("disable_delete") {
            return Err(err!(InvalidStatus, "server {} is locked against deletion; update it with disable_delete=false first", row.name()));
        }
        let mut db = &op.engine.db;
        if let Some(host) = db.get::<api_compute::Host>(row.text("host_id")).await?.filter(|h| !h.meta.deleted)
            && host.host_status == "online"
            && host.enabled.enabled
        {
            return Err(err!(
                InvalidStatus,
                "host {} of server {} is there; delete the server instead, or disable the host first",
                host.meta.name,
                row.name()
            ));
        }
        let task = tasks::ServerDelete { server: row.id().into(), recycle: false, on_host: false, purge: true };
        launch(op, &row, "purge", status::START_DELETE, on_server(&task, &row)).await
    })
}
