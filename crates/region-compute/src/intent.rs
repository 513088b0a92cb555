//! Small writes that several tasks share: each belongs to the transaction it is given.

use api_compute::{DOCUMENT_ALONE, Disk, Server};
use base::{Json, Resource, Result, Row, err};
use serde_json::json;
use store::{Change, ChangeOp, Cond, Read, Tx, add};

/// Says that the document of a host changed: its agent fetches it anew.
pub(crate) async fn touch_host(tx: &mut Tx, host_id: &str) -> Result<()> {
    if host_id.is_empty() {
        return Ok(());
    }
    tx.update("hosts", Cond::eq("id", host_id), vec![add("desired_version", 1)]).await?;
    tx.emit(notice("host", host_id, json!({DOCUMENT_ALONE: true}))).await
}

/// Says that a host's row changed.
pub(crate) async fn emit_host(tx: &mut Tx, host_id: &str) -> Result<()> {
    tx.emit(notice("host", host_id, Json::Null)).await
}

pub(crate) async fn emit_storage(tx: &mut Tx, storage_id: &str) -> Result<()> {
    tx.emit(notice("storage", storage_id, Json::Null)).await
}

fn notice(kind: &str, id: &str, data: Json) -> Change {
    let nobody = String::new;
    Change { kind: kind.into(), id: id.into(), op: ChangeOp::Update, version: 0, domain_id: nobody(), project_id: nobody(), data }
}

/// The row of a server that is not gone.
pub(crate) async fn server_row(tx: &mut Tx, id: &str) -> Result<Row> {
    tx.one(Server::facts(), id).await?.filter(|r| !r.flag("deleted")).ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "server", id))
}

/// A server as it is now, if it still is as it was read and no task is at work on it.
pub(crate) async fn idle_server(tx: &mut Tx, seen: &Row) -> Result<Row> {
    let now = server_row(tx, seen.id()).await?;
    if now.text("status") != seen.text("status") {
        return Err(err!(InvalidStatus, "server {} has just become {}; look again", seen.name(), now.text("status")));
    }
    if tx.exists("task_holds", Cond::eq("kind", "server").and(Cond::eq("id", seen.id()))).await? {
        return Err(err!(ResourceBusy, "a task is at work on server {}; wait for its end", seen.name()));
    }
    Ok(now)
}

pub(crate) async fn disk_row(tx: &mut Tx, id: &str) -> Result<Row> {
    tx.one(Disk::facts(), id).await?.filter(|r| !r.flag("deleted")).ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "disk", id))
}

/// Changes a row and tells the feed.
pub(crate) async fn change(tx: &mut Tx, row: Row, f: impl FnOnce(&mut Row) + Send) -> Result<Row> {
    let mut new = row.clone();
    f(&mut new);
    if new.values != row.values {
        tx.save(&row, &mut new).await?;
        tx.emit(resource::changed(&new)).await?;
    }
    Ok(new)
}

/// Sets a server's status word.
pub(crate) async fn server_status(tx: &mut Tx, id: &str, status: &str) -> Result<()> {
    let row = server_row(tx, id).await?;
    change(tx, row, |r| r.set("status", status)).await.map(drop)
}

/// Takes room on a storage; false when there is none, or when no host has the storage any more.
pub(crate) async fn take_storage(tx: &mut Tx, storage_id: &str, size: i64) -> Result<bool> {
    let room = Cond::eq("id", storage_id).and(Cond::eq("status", "online")).and(Cond::Fits {
        used: "used_capacity".into(),
        add: size,
        cap: "virtual_limit".into(),
    });
    if tx.update("storages", room, vec![add("used_capacity", size)]).await? == 0 {
        return Ok(false);
    }
    emit_storage(tx, storage_id).await?;
    Ok(true)
}

pub(crate) async fn give_storage(tx: &mut Tx, storage_id: &str, size: i64) -> Result<()> {
    tx.update("storages", Cond::eq("id", storage_id), vec![add("used_capacity", -size)]).await?;
    emit_storage(tx, storage_id).await
}

/// Takes processors and memory of a host; false when there are none, or when it takes no servers any more.
pub(crate) async fn take_host(tx: &mut Tx, host_id: &str, cpu: i64, mem: i64) -> Result<bool> {
    let room = Cond::eq("id", host_id)
        .and(Cond::eq("deleted", false))
        .and(Cond::eq("enabled", true))
        .and(Cond::eq("is_maintenance", false))
        .and(Cond::eq("host_status", "online"))
        .and(Cond::Fits { used: "cpu_commit".into(), add: cpu, cap: "cpu_capacity".into() })
        .and(Cond::Fits { used: "mem_commit".into(), add: mem, cap: "mem_capacity".into() });
    if tx.update("hosts", room, vec![add("cpu_commit", cpu), add("mem_commit", mem)]).await? == 0 {
        return Ok(false);
    }
    emit_host(tx, host_id).await?;
    Ok(true)
}

/// Takes and gives at once: what is taken must be there, what is given is free. False when it is not there.
pub(crate) async fn shift_host(tx: &mut Tx, host_id: &str, cpu: i64, mem: i64) -> Result<bool> {
    let mut room = Cond::eq("id", host_id).and(Cond::eq("deleted", false));
    for (used, add, cap) in [("cpu_commit", cpu, "cpu_capacity"), ("mem_commit", mem, "mem_capacity")] {
        if add > 0 {
            room = room.and(Cond::Fits { used: used.into(), add, cap: cap.into() });
        }
    }
    if tx.update("hosts", room, vec![add("cpu_commit", cpu), add("mem_commit", mem)]).await? == 0 {
        return Ok(false);
    }
    emit_host(tx, host_id).await?;
    Ok(true)
}

pub(crate) async fn give_host(tx: &mut Tx, host_id: &str, cpu: i64, mem: i64) -> Result<()> {
    if host_id.is_empty() {
        return Ok(());
    }
    tx.update("hosts", Cond::eq("id", host_id), vec![add("cpu_commit", -cpu), add("mem_commit", -mem)]).await?;
    emit_host(tx, host_id).await
}

/// Asks the disk's host to remove it. Its room is given back when the host says it is gone.
pub(crate) async fn remove_disk(tx: &mut Tx, disk: Row) -> Result<()> {
    let host = disk.text("host_id").to_string();
    if host.is_empty() {
        return forget_disk(tx, disk).await;
    }
    change(tx, disk, |r| {
        let generation = r.int("generation") + 1;
        r.set("generation", generation);
        r.set("existence", "absent");
        r.set("status", "deleting");
    })
    .await?;
    touch_host(tx, &host).await
}

/// The disk is gone: its row is kept for the record, its room is free.
pub(crate) async fn forget_disk(tx: &mut Tx, disk: Row) -> Result<()> {
    let (storage, size) = (disk.text("storage_id").to_string(), disk.int("disk_size"));
    let now = tx.now();
    tx.update(
        "guestdisks",
        Cond::eq("disk_id", disk.id()).and(Cond::eq("deleted", false)),
        vec![store::set("deleted", true), store::set("deleted_at", now)],
    )
    .await?;
    let mut gone = disk.clone();
    gone.set("deleted", true);
    gone.set("deleted_at", now);
    gone.set("status", "deleted");
    tx.save(&disk, &mut gone).await?;
    tx.emit(Change { op: ChangeOp::Delete, ..resource::changed(&gone) }).await?;
    if storage.is_empty() {
        return Ok(());
    }
    give_storage(tx, &storage, size).await
}

/// The disk was taken back before it was anything: its row stays, its room is free.
pub(crate) async fn unplace_disk(tx: &mut Tx, disk: Row) -> Result<()> {
    let (storage, size) = (disk.text("storage_id").to_string(), disk.int("disk_size"));
    change(tx, disk, |r| {
        for column in ["storage_id", "host_id", "existence"] {
            r.set(column, "");
        }
        r.set("image", Json::Null);
    })
    .await?;
    give_storage(tx, &storage, size).await
}

/// Gives a server's addresses back.
pub(crate) async fn release_nics(tx: &mut Tx, server_id: &str) -> Result<()> {
    let live = || Cond::eq("guest_id", server_id).and(Cond::eq("deleted", false));
    let nics: Vec<api_compute::GuestNetwork> = tx.list(live()).await?;
    let now = tx.now();
    tx.update("guestnetworks", live(), vec![store::set("deleted", true), store::set("deleted_at", now)]).await?;
    for nic in nics {
        region_network::release(tx, &nic.network_id, 1).await?;
    }
    Ok(())
}
