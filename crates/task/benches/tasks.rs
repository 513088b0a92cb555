//! How fast the engine is: tasks of six steps per second, and how soon a started task begins.
//!
//! `cargo bench -p task`, on SQLite files with both kinds of flushing and on a private PostgreSQL; nothing is asserted.

use base::{Ctx, Json, Resource, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Cond, Db, Read, Tx, work};
use task::testing::Running;
use task::{Flow, NewTask, Options, Step, StepKey, Task, TaskRow, Tasks, status};

/// A row such a step would write.
#[derive(Clone, Debug, Default, base::Resource)]
#[resource(name = "note", plural = "notes", service = "bench", level = system)]
struct Note {
    /// Identifier.
    id: String,
    /// Text.
    text: String,
}

const TABLES: store::Migrations = store::Migrations {
    owner: "bench",
    sqlite: &[("0001_notes.sql", "CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL);")],
    postgres: &[("0001_notes.sql", "CREATE TABLE notes (id TEXT COLLATE \"C\" NOT NULL PRIMARY KEY, text TEXT NOT NULL);")],
};

struct Write(u32);

impl Step<()> for Write {
    const NAME: &'static str = "write";
    type Out = u32;

    fn name(&self) -> Cow<'static, str> {
        Cow::Owned(format!("write {}", self.0))
    }
    async fn act(&self, (): &(), tx: &mut Tx, key: &StepKey) -> Result<u32> {
        tx.insert(&Note { id: key.to_string(), text: "x".to_string() }.to_row()).await?;
        Ok(self.0)
    }
    async fn undo(&self, (): &(), tx: &mut Tx, key: &StepKey, _: &u32) -> Result<()> {
        tx.delete("notes", Cond::eq("id", key.to_string())).await.map(drop)
    }
}

#[derive(Serialize, Deserialize)]
struct Six;

impl Task<()> for Six {
    const NAME: &'static str = "SixTask";
    const STEPS: u32 = 6;

    async fn run(&self, flow: &Flow<()>) -> Result<Json> {
        let mut sum = 0;
        for n in 0..6 {
            sum += flow.step(Write(n)).await?;
        }
        Ok(Json::from(sum))
    }
}

async fn start(db: &Db) -> Result<String> {
    db.tx(|tx| work(async move { task::start(tx, &Ctx::platform("bench"), NewTask::of(&Six)).await })).await
}

async fn idle(db: &Db) {
    loop {
        let cursor = db.feed().head().await.expect("feed");
        if !(&mut &*db).exists("tasks", Cond::ne("status", status::DONE)).await.expect("tasks") {
            return;
        }
        db.feed().wait(cursor, Duration::from_secs(1)).await.expect("feed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn measure(name: &str, url: &str, count: usize) {
    let db = Db::open(url).await.expect("database");
    db.migrate(&task::MIGRATIONS).await.expect("migrations");
    db.migrate(&TABLES).await.expect("migrations");
    let engine = || Running::new(Tasks::builder().kind::<Six>().options(Options::default()).build(&db, Arc::new(())));

    let begun = Instant::now();
    for _ in 0..count {
        start(&db).await.expect("start");
    }
    let started = begun.elapsed();
    let begun = Instant::now();
    let running = engine();
    idle(&db).await;
    let worked = begun.elapsed();
    let per = |d: Duration| count as f64 / d.as_secs_f64();
    println!("{name}: {:.0} tasks/s started one by one, {:.0} tasks/s of 6 steps worked off", per(started), per(worked));

    let mut delays = Vec::new();
    for _ in 0..100 {
        let id = start(&db).await.expect("start");
        idle(&db).await;
        let row = (&mut &db).get::<TaskRow>(&id).await.expect("task").expect("task");
        delays.push((
            row.facts.start_at.expect("it began").since(row.facts.created_at),
            row.facts.end_at.expect("it ended").since(row.facts.created_at),
        ));
    }
    let at = |f: fn(&(i64, i64)) -> i64, share: usize| {
        let mut all: Vec<i64> = delays.iter().map(f).collect();
        all.sort_unstable();
        all[all.len() * share / 100] as f64 / 1000.0
    };
    println!(
        "{name}: an idle engine takes a task after {:.1} ms (p99 {:.1}), ends it after {:.1} ms (p99 {:.1})",
        at(|d| d.0, 50),
        at(|d| d.0, 99),
        at(|d| d.1, 50),
        at(|d| d.1, 99)
    );
    running.kill().await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let count = 2000;
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str| format!("sqlite://{}", dir.path().join(name).display());
    measure("SQLite, flushed at commit", &file("full.db"), count).await;
    measure("SQLite, flushed later", &format!("{}?synchronous=normal", file("normal.db")), count).await;
    measure("PostgreSQL", &store::testing::postgres_url().await, count).await;
}
