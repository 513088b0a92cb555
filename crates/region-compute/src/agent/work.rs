//! What tasks are at work on the things of one host: which requests they came from, and what they want done once.
//!
//! Read for a host's document from the tasks' own tables, so that no row has to be told who changes it. What is asked for once lives as long as
//! its task: it is in the documents until the host has answered, and the answer is kept beside what the host says of the server until the task has
//! read it.

use crate::task::{Asked, ServerReset};
use api_agent::{Job, JobResult, Work as Kind};
use base::{Kind as Cell, Result, Row, Value};
use std::collections::HashMap;
use store::{Cond, Read, Select, Tx};
use task::Task;

/// Name, id of the request.
type Done = (String, String);

pub(super) struct Work {
    /// Task by what it works on.
    holders: HashMap<String, String>,
    tasks: HashMap<String, Done>,
}

/// What is asked of the database for [`Work::of`].
pub(super) fn asks(host_id: &str) -> [Select; 3] {
    let here = |table: &'static str| {
        let mine = Cond::eq("host_id", host_id).and(Cond::eq("deleted", false));
        Cond::in_select("id", Select::from(table).column("id", Cell::Text).filter(mine))
    };
    let held = |kind: &'static str, table: &'static str| Cond::eq("kind", kind).and(here(table));
    let holds = held("server", "servers").or(held("disk", "disks"));
    let of = Select::from("task_holds").column("task_id", Cell::Text).filter(holds.clone());
    let servers = Select::from("task_holds").column("id", Cell::Text).filter(held("server", "servers"));
    [
        Select::from("task_holds").column("id", Cell::Text).column("task_id", Cell::Text).filter(holds),
        Select::from("tasks")
            .column("id", Cell::Text)
            .column("task_name", Cell::Text)
            .column("request_id", Cell::Text)
            .filter(Cond::in_select("id", of)),
        Select::from("guestdisks")
            .column("disk_id", Cell::Text)
            .column("guest_id", Cell::Text)
            .filter(Cond::in_select("guest_id", servers).and(Cond::eq("deleted", false))),
    ]
}

impl Work {
    /// From the answers to [`asks`].
    pub fn of(answers: Vec<Vec<Vec<Value>>>) -> Work {
        let text = |cell: &Value| cell.as_str().to_string();
        let [holds, tasks, disks] = <[_; 3]>::try_from(answers).unwrap_or_default();
        let mut holders: HashMap<String, String> = holds.iter().map(|row| (text(&row[0]), text(&row[1]))).collect();
        // Who works on a server works on its disks, unless somebody else does.
        for row in &disks {
            if let Some(task) = holders.get(row[1].as_str()).cloned() {
                holders.entry(text(&row[0])).or_insert(task);
            }
        }
        let tasks = tasks.iter().map(|row| (text(&row[0]), (text(&row[1]), text(&row[2])))).collect();
        Work { holders, tasks }
    }

    fn on(&self, object: &str) -> Option<(&str, &Done)> {
        let (id, task) = self.tasks.get_key_value(self.holders.get(object)?)?;
        Some((id, task))
    }

    /// The request whose task is at work on a server or disk.
    pub fn request_on(&self, object: &str) -> Option<&str> {
        self.on(object).map(|(_, (_, request))| request.as_str())
    }

    /// What is to be done once on these servers and has not been answered.
    pub fn jobs(&self, servers: &[Row]) -> Vec<Job> {
        let job = |server: &Row| {
            let (id, (name, request)) = self.on(server.id())?;
            (name == ServerReset::NAME && Asked::of(server).job != id).then(|| Job {
                id: id.into(),
                work: Kind::ResetGuest { guest_id: server.id().into() },
                request_id: request.clone(),
            })
        };
        servers.iter().filter_map(job).collect()
    }
}

/// Answers by the server whose task asked: those of a report, and those that came before it and whose task has yet to read them.
pub(super) async fn answers(tx: &mut Tx, results: &[JobResult], servers: &HashMap<String, Row>) -> Result<HashMap<String, Asked>> {
    let before = servers.values().map(Asked::of).filter(|asked| !asked.job.is_empty());
    let now = results.iter().map(|r| Asked { job: r.id.clone(), error: r.error.clone() });
    let all: HashMap<String, Asked> = before.chain(now).map(|asked| (asked.job.clone(), asked)).collect();
    if all.is_empty() {
        return Ok(HashMap::new());
    }
    let asked = Cond::eq("kind", "server").and(Cond::is_in("task_id", all.keys().map(String::as_str)));
    let select = Select::from("task_holds").column("id", Cell::Text).column("task_id", Cell::Text).filter(asked);
    let holds = tx.rows(&select).await?;
    Ok(holds.iter().filter_map(|row| Some((row[0].as_str().to_string(), all.get(row[1].as_str())?.clone()))).collect())
}
