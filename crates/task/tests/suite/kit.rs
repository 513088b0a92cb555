//! A small world to run tasks in: shelves with room, boxes on them, and an outside warehouse that answers calls.

use base::{Json, Resource, Result, err};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Change, ChangeOp, Cond, Db, Read, Tx, add, set, work};
use task::{Call, Flow, NewTask, Options, Polled, Step, StepKey, Task, Tasks, Wait};

/// A shelf.
#[derive(Clone, Debug, Default, base::Resource)]
#[resource(name = "shelf", plural = "shelves", service = "test", level = system)]
pub struct Shelf {
    /// Identifier.
    pub id: String,
    /// Boxes on it.
    pub used: i64,
    /// Boxes it bears.
    pub cap: i64,
}

/// A box.
#[derive(Clone, Debug, Default, base::Resource)]
#[resource(name = "box", plural = "boxes", service = "test", level = system)]
pub struct Carton {
    /// Identifier.
    pub id: String,
    /// Shelf it stands on.
    pub shelf_id: String,
    /// Where it is in its life.
    pub status: String,
}

pub const MIGRATIONS: store::Migrations =
    store::Migrations { owner: "test", sqlite: &[("0001_test.sql", SQLITE)], postgres: &[("0001_test.sql", POSTGRES)] };
const SQLITE: &str = "CREATE TABLE shelves (id TEXT NOT NULL PRIMARY KEY, used INTEGER NOT NULL, cap INTEGER NOT NULL);
CREATE TABLE boxes (id TEXT NOT NULL PRIMARY KEY, shelf_id TEXT NOT NULL, status TEXT NOT NULL);";
const POSTGRES: &str = "CREATE TABLE shelves (id TEXT COLLATE \"C\" NOT NULL PRIMARY KEY, used BIGINT NOT NULL, cap BIGINT NOT NULL);
CREATE TABLE boxes (id TEXT COLLATE \"C\" NOT NULL PRIMARY KEY, shelf_id TEXT NOT NULL, status TEXT NOT NULL);";

/// The warehouse: what is in it by key, and what it was asked.
#[derive(Default)]
pub struct Env {
    things: Mutex<BTreeMap<String, String>>,
    /// Where it lies on disk, if it is to outlive the process; otherwise it is in memory.
    dir: Option<PathBuf>,
    pub calls: Mutex<u64>,
    /// When there is one, every call waits for a permit.
    pub gate: Mutex<Option<Arc<tokio::sync::Semaphore>>>,
    /// Errors it answers with, the next first.
    pub troubles: Mutex<Vec<base::Error>>,
}

impl Env {
    /// One that lies on disk.
    pub fn at(dir: PathBuf) -> Env {
        Env { dir: Some(dir), ..Env::default() }
    }

    pub fn put(&self, key: &str, what: &str) {
        match &self.dir {
            Some(dir) => std::fs::write(dir.join(key.replace('/', "_")), what).unwrap(),
            None => drop(self.things.lock().unwrap().insert(key.to_string(), what.to_string())),
        }
    }

    pub fn take(&self, key: &str) {
        match &self.dir {
            Some(dir) => match std::fs::remove_file(dir.join(key.replace('/', "_"))) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => panic!("{e}"),
                _ => {}
            },
            None => drop(self.things.lock().unwrap().remove(key)),
        }
    }

    pub fn things(&self) -> BTreeMap<String, String> {
        let Some(dir) = &self.dir else { return self.things.lock().unwrap().clone() };
        let entries = std::fs::read_dir(dir).unwrap().map(std::result::Result::unwrap);
        entries.map(|e| (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap())).collect()
    }

    /// Returns when so many calls have come.
    pub async fn until_calls(&self, n: u64) {
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        while *self.calls.lock().unwrap() < n {
            assert!(tokio::time::Instant::now() < end, "call {n} did not come");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn answer(&self) -> Result<()> {
        *self.calls.lock().unwrap() += 1;
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        match self.troubles.lock().unwrap().pop() {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }
}

pub struct Reserve {
    pub shelf: String,
}

impl Step<Env> for Reserve {
    const NAME: &'static str = "reserve";
    type Out = ();

    async fn act(&self, _: &Env, tx: &mut Tx, _: &StepKey) -> Result<()> {
        let room = Cond::eq("id", self.shelf.as_str()).and(Cond::Fits { used: "used".into(), add: 1, cap: "cap".into() });
        match tx.update("shelves", room, vec![add("used", 1)]).await? {
            0 => Err(err!(InsufficientResource, "shelf {} is full", self.shelf)),
            _ => Ok(()),
        }
    }
    async fn undo(&self, _: &Env, tx: &mut Tx, _: &StepKey, (): &()) -> Result<()> {
        tx.update("shelves", Cond::eq("id", self.shelf.as_str()), vec![add("used", -1)]).await.map(drop)
    }
}

pub struct Place {
    pub carton: String,
    pub shelf: String,
}

impl Step<Env> for Place {
    const NAME: &'static str = "place";
    type Out = String;

    async fn act(&self, _: &Env, tx: &mut Tx, _: &StepKey) -> Result<String> {
        let row = Carton { id: self.carton.clone(), shelf_id: self.shelf.clone(), status: "new".to_string() };
        tx.insert(&row.to_row()).await?;
        changed(tx, &self.carton).await?;
        Ok(self.carton.clone())
    }
    async fn undo(&self, _: &Env, tx: &mut Tx, _: &StepKey, out: &String) -> Result<()> {
        tx.delete("boxes", Cond::eq("id", out.as_str())).await.map(drop)
    }
}

pub async fn changed(tx: &mut Tx, id: &str) -> Result<()> {
    let (kind, id) = ("box".to_string(), id.to_string());
    tx.emit(Change { kind, id, op: ChangeOp::Update, version: 1, domain_id: String::new(), project_id: String::new(), data: Json::Null })
        .await
}

pub struct Deliver {
    pub what: String,
}

impl Call<Env> for Deliver {
    const NAME: &'static str = "deliver";
    type Out = String;

    async fn call(&self, env: &Env, key: &StepKey) -> Result<String> {
        env.answer().await?;
        env.put(&key.to_string(), &self.what);
        Ok(format!("receipt for {}", self.what))
    }
    async fn undo_call(&self, env: &Env, key: &StepKey, _: Option<&String>) -> Result<()> {
        env.answer().await?;
        env.take(&key.to_string());
        Ok(())
    }
}

/// Until the box has a status.
pub struct Until {
    pub carton: String,
    pub status: &'static str,
    pub deadline: Option<Duration>,
    /// How often to look when nobody says anything.
    pub every: Duration,
}

/// As often as waits of the platform do.
pub const USUAL: Duration = Duration::from_secs(60);

impl Wait<Env> for Until {
    const NAME: &'static str = "until";
    type Out = String;

    fn watches(&self) -> Vec<(String, String)> {
        vec![("box".to_string(), self.carton.clone())]
    }
    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }
    fn every(&self) -> Duration {
        self.every
    }
    async fn poll(&self, _: &Env, tx: &mut Tx) -> Result<Polled<String>> {
        let carton = tx.get::<Carton>(&self.carton).await?;
        Ok(match carton {
            Some(c) if c.status == self.status => Polled::Ready(c.status),
            Some(_) => Polled::Pending,
            None => return Err(err!(ResourceNotFound, "box {} is gone", self.carton)),
        })
    }
}

/// Puts a box on a shelf.
#[derive(Serialize, Deserialize)]
pub struct Store {
    pub carton: String,
    pub shelf: String,
    /// Wait for the box to be checked.
    pub wait: bool,
    pub fail: bool,
}

impl Task<Env> for Store {
    const NAME: &'static str = "BoxStoreTask";
    const STEPS: u32 = 4;

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        flow.step(Reserve { shelf: self.shelf.clone() }).await?;
        let carton = flow.step(Place { carton: self.carton.clone(), shelf: self.shelf.clone() }).await?;
        let receipt = flow.call(Deliver { what: carton.clone() }).await?;
        if self.wait {
            flow.wait(Until { carton, status: "checked", deadline: Some(Duration::from_secs(120)), every: USUAL }).await?;
        }
        if self.fail {
            return Err(err!(Conflict, "the box is {}", "ugly"));
        }
        Ok(Json::String(receipt))
    }
}

pub fn store(carton: &str, shelf: &str, wait: bool, fail: bool) -> NewTask {
    let input = Store { carton: carton.to_string(), shelf: shelf.to_string(), wait, fail };
    NewTask::of(&input).on("box", carton, carton)
}

pub async fn prepare(db: &Db) {
    db.migrate(&task::MIGRATIONS).await.unwrap();
    db.migrate(&MIGRATIONS).await.unwrap();
    let shelf = |id: &str, cap| Shelf { id: id.to_string(), used: 0, cap }.to_row();
    let (open, full) = (&shelf("s1", 1_000_000), &shelf("full", 0));
    db.tx(|tx| {
        work(async move {
            tx.try_insert(open).await?;
            tx.try_insert(full).await.map(drop)
        })
    })
    .await
    .unwrap();
}

pub async fn fresh() -> Db {
    let db = store::testing::sqlite().await;
    prepare(&db).await;
    db
}

pub fn engine(db: &Db, env: &Arc<Env>, options: Options) -> Tasks<Env> {
    Tasks::builder().kind::<Store>().options(options).build(db, env.clone())
}

/// Checks boxes as they come, like an agent.
pub async fn inspector(db: Db) {
    let mut cursor = 0;
    loop {
        let new = (&mut &db).texts("boxes", "id", Cond::eq("status", "new")).await.unwrap();
        for id in &new {
            db.tx(|tx| {
                work(async move {
                    tx.update("boxes", Cond::eq("id", id.as_str()), vec![set("status", "checked")]).await?;
                    changed(tx, id).await
                })
            })
            .await
            .unwrap();
        }
        db.feed().wait(cursor, Duration::from_secs(5)).await.unwrap();
        cursor = db.feed().head().await.unwrap();
    }
}
