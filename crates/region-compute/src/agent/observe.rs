//! What a host says is: taken into the rows that lie on it, and nowhere else.

use super::{Agents, HostId};
use crate::{
    intent,
    task::{self as tasks, steps::Seen},
};
use api_agent::{DiskState, GuestState, Observed};
use api_compute::{Disk, Host, Server, status};
use base::{Kind, Resource, Result, Row};
use serde_json::json;
use std::collections::HashMap;
use store::{Cond, Read, Select, Tx, add, set, work};

impl Agents {
    /// Writes down that a host is there, and its numbers of the moment.
    pub(super) async fn mark_alive(&self, host: &HostId, report: &Observed) -> Result<()> {
        self.db
            .tx(|tx| {
                work(async move {
                    let now = tx.now();
                    let Some(row) = tx.one(Host::facts(), host.as_str()).await? else { return Ok(()) };
                    let mut sets = vec![
                        set("last_ping_at", now),
                        set("memory_used_mb", report.stats.memory_used_mb),
                        set("cpu_usage_percent", report.stats.cpu_usage_percent),
                        set("observed_version", report.version),
                    ];
                    let back = row.text("host_status") != "online";
                    if back {
                        sets.extend([set("host_status", "online"), set("status", "running")]);
                    }
                    tx.update("hosts", Cond::eq("id", host.as_str()), sets).await?;
                    for storage in &report.stats.storages {
                        let at = Cond::eq("host_id", host.as_str())
                            .and(Cond::eq("mount_point", storage.path.as_str()))
                            .and(Cond::eq("deleted", false));
                        for tie in tx.list::<api_compute::HostStorage>(at).await? {
                            let this = Cond::eq("id", tie.storage_id.as_str());
                            tx.update("storages", this.clone(), vec![set("actual_capacity_used", storage.used_mb)]).await?;
                            if tx.update("storages", this.and(Cond::ne("status", "online")), vec![set("status", "online")]).await? > 0 {
                                intent::emit_storage(tx, &tie.storage_id).await?;
                            }
                        }
                    }
                    if back { intent::emit_host(tx, host.as_str()).await } else { Ok(()) }
                })
            })
            .await
    }

    /// Marks a silent host.
    pub(super) async fn offline(&self, row: Row) -> Result<()> {
        let row = &row;
        self.db
            .tx(|tx| {
                work(async move {
                    let row = intent::change(tx, row.clone(), |r| {
                        r.set("host_status", "offline");
                        r.set("status", "unknown");
                    })
                    .await?;
                    resource::audit(tx, &base::Ctx::platform("heartbeat"), &row, "offline", "its agent was not heard of".into()).await
                })
            })
            .await
    }

    /// Servers at rest on hosts that are offline become `unknown`: nobody knows what they do (spec 11 §9).
    ///
    /// Hosts are offline sooner here than the 180 seconds of the specification, and their servers with them: between the two moments a list would
    /// show as running what no request can reach. It costs nothing to be early: the first report that comes brings the word back. Looked for anew each
    /// time, not once when a host falls silent, because a task that ends later leaves its server with what was last seen.
    pub(super) async fn forget_states(&self) -> Result<()> {
        // Only what an agent would bring back.
        let silent = Cond::eq("host_status", "offline").and(Cond::eq("deleted", false)).and(Cond::ne("credential", ""));
        let mut db = &self.db;
        let hosts: Vec<String> = db
            .rows(&Select::from("hosts").column("id", Kind::Text).filter(silent.clone()))
            .await?
            .iter()
            .map(|row| row[0].as_str().to_string())
            .collect();
        if hosts.is_empty() {
            return Ok(());
        }
        let held = Select::from("task_holds").column("id", Kind::Text).filter(Cond::eq("kind", "server"));
        // The host is asked about again in each statement: it may be back.
        let lost = Cond::is_in("host_id", hosts.clone())
            .and(Cond::in_select("host_id", Select::from("hosts").column("id", Kind::Text).filter(silent)))
            .and(Cond::eq("deleted", false))
            .and(Cond::is_in("status", [status::RUNNING, status::READY]))
            .and(Cond::in_select("id", held).not());
        let ids = Select::from("servers").column("id", Kind::Text).filter(lost.clone()).page(AT_ONCE, 0);
        loop {
            let ids: Vec<String> = db.rows(&ids).await?.iter().map(|row| row[0].as_str().to_string()).collect();
            if ids.is_empty() {
                return Ok(());
            }
            let these = &lost.clone().and(Cond::is_in("id", ids));
            let hosts = &hosts;
            self.db.tx(|tx| work(forget_state(tx, hosts, these))).await?;
        }
    }

    /// Takes the states in. Rows that lie elsewhere are none of this host's business, whatever it says.
    pub(super) async fn take(&self, host: &HostId, report: &Observed) -> Result<()> {
        self.db.tx(|tx| work(take(tx, host, report, self.env.settings.recycle))).await
    }
}

/// Servers that become unknown in one transaction.
const AT_ONCE: u64 = 500;

async fn forget_state(tx: &mut Tx, hosts: &[String], lost: &Cond) -> Result<()> {
    // No host comes back and nobody changes a server between our look and our write: the feed tells of exactly those that were written.
    tx.lock("hosts", Cond::is_in("id", hosts.iter().map(String::as_str))).await?;
    tx.lock("servers", lost.clone()).await?;
    let rows = tx.find(Server::facts(), lost.clone()).await?;
    let sets = vec![set("status", status::UNKNOWN), set("power_states", "unknown"), set("updated_at", tx.now()), add("update_version", 1)];
    tx.update("servers", lost.clone().and(Cond::is_in("id", rows.iter().map(Row::id))), sets).await?;
    for mut row in rows {
        let version = row.int("update_version") + 1;
        row.set("update_version", version);
        tx.emit(resource::changed(&row)).await?;
    }
    Ok(())
}

async fn take(tx: &mut Tx, host: &HostId, report: &Observed, recycle: bool) -> Result<()> {
    let mine = |ids: Vec<&str>| Cond::is_in("id", ids).and(Cond::eq("host_id", host.as_str())).and(Cond::eq("deleted", false));
    let disks = tx.find(Disk::facts(), mine(report.disks.iter().map(|d| d.id.as_str()).collect())).await?;
    let mut by_id: HashMap<String, Row> = disks.into_iter().map(|r| (r.id().to_string(), r)).collect();
    let mut gone = false;
    for seen in &report.disks {
        let Some(row) = by_id.remove(&seen.id) else { continue };
        if seen.generation < row.int("generation") {
            continue;
        }
        if row.text("existence") != "present" {
            if seen.state == DiskState::Absent {
                match row.text("existence") {
                    "absent" => intent::forget_disk(tx, row).await?,
                    _ => intent::unplace_disk(tx, row).await?,
                }
                gone = true;
            }
            continue;
        }
        let (word, progress) = match seen.state {
            DiskState::Ready => ("ready", 100),
            DiskState::Caching => ("image_caching", seen.progress.clamp(0, 99)),
            DiskState::Creating => ("allocating", 99),
            // A disk that could not grow is not one that could not be made.
            DiskState::Failed if row.text("status") == "resizing" => ("resize_failed", 0),
            DiskState::Failed if row.text("status") == "resize_failed" => continue,
            DiskState::Failed => ("alloc_failed", 0),
            DiskState::Unknown | DiskState::Absent => continue,
        };
        intent::change(tx, row, |r| {
            r.set("status", word);
            r.set("progress", progress);
            r.set("status_reason", seen.error.as_str());
        })
        .await?;
    }
    let guests = tx.find(Server::facts(), mine(report.guests.iter().map(|g| g.id.as_str()).collect())).await?;
    let mut by_id: HashMap<String, Row> = guests.into_iter().map(|r| (r.id().to_string(), r)).collect();
    let answers = super::work::answers(tx, &report.jobs, &by_id).await?;
    for guest in &report.guests {
        let Some(row) = by_id.remove(&guest.id) else { continue };
        let before = Seen::of(&row);
        if guest.generation < before.generation {
            continue;
        }
        let mut json = serde_json::to_value(guest).unwrap_or_default();
        if let Some(map) = json.as_object_mut() {
            map.remove("id");
            if let Some(answer) = answers.get(&guest.id) {
                map.insert("asked".into(), json!(answer));
            }
        }
        let row = intent::change(tx, row, |r| r.set("observed", json)).await?;
        let ended = if guest.ended_by_itself { Some(recycle) } else { None };
        settle_row(tx, row, ended, false).await?;
    }
    if gone {
        // What is gone need not be in the document any longer.
        intent::touch_host(tx, host.as_str()).await?;
    }
    Ok(())
}

/// Brings a server's status in line with what its host last said, unless a task is at work on it.
pub async fn settle(tx: &mut Tx, server_id: &str) -> Result<()> {
    let Some(row) = tx.one(Server::facts(), server_id).await?.filter(|r| !r.flag("deleted")) else { return Ok(()) };
    // What a host said before it fell silent is no longer how it is.
    let speaks = Cond::eq("id", row.text("host_id")).and(Cond::eq("host_status", "online"));
    if row.text("status") == status::UNKNOWN && !tx.exists("hosts", speaks).await? {
        return Ok(());
    }
    settle_row(tx, row, None, true).await
}

/// `ended`: it ended by itself, and whether a server that goes with its end goes into the recycle bin. `asked`: by somebody who wants to see the state as it is, over a failure of the past.
async fn settle_row(tx: &mut Tx, row: Row, ended: Option<bool>, asked: bool) -> Result<()> {
    let seen = Seen::of(&row);
    // What is to go is settled by whoever removes it.
    if seen.generation < row.int("generation") || row.text("existence") != "present" {
        return Ok(());
    }
    let (word, power) = match seen.state {
        GuestState::Running => (status::RUNNING, "on"),
        GuestState::Stopped => (status::READY, "off"),
        // Its host came back without it, and could not start it again.
        GuestState::Failed if row.text("status") == status::UNKNOWN && row.text("power") == "on" => (status::START_FAIL, "off"),
        GuestState::Failed if row.text("status") == status::UNKNOWN => (status::READY, "off"),
        _ => return Ok(()),
    };
    // A failed start or stop stays visible until somebody acts, unless the machine itself went on.
    let failed =
        matches!((row.text("status"), seen.state), (status::START_FAIL, GuestState::Stopped) | (status::STOP_FAIL, GuestState::Running));
    let word = if failed && !asked { row.text("status").to_string() } else { word.to_string() };
    if row.text("status") == word && row.text("power_states") == power {
        return Ok(());
    }
    if tx.exists("task_holds", Cond::eq("kind", "server").and(Cond::eq("id", row.id()))).await? {
        return Ok(());
    }
    let recycle = ended.unwrap_or(true);
    let ended = ended.is_some() && seen.state == GuestState::Stopped && row.text("power") == "on";
    let host = row.text("host_id").to_string();
    let before = row.text("status").to_string();
    let row = intent::change(tx, row, |r| {
        r.set("status", word.as_str());
        r.set("power_states", power);
        if word == status::START_FAIL && before == status::UNKNOWN {
            r.set("status_reason", seen.error.as_str());
        }
        if ended {
            // The guest shut itself down: that is now what is wanted, or it would be started again behind its user's back.
            let generation = r.int("generation") + 1;
            r.set("generation", generation);
            r.set("power", "off");
        }
    })
    .await?;
    let ctx = base::Ctx::platform("report");
    resource::audit(tx, &ctx, &row, "updatestatus", format!("{before}=>{word}")).await?;
    if !ended {
        return Ok(());
    }
    intent::touch_host(tx, &host).await?;
    if row.text("shutdown_behavior") == "terminate" && !row.flag("disable_delete") {
        let delete = tasks::ServerDelete { server: row.id().into(), recycle, on_host: true, purge: false };
        task::start(tx, &ctx, crate::server::on_server(&delete, &row)).await?;
    }
    Ok(())
}
