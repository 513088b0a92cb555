//! The paths that ordinary use takes seldom: statements that are stopped, started over or given up, locks of others, and the log.

use super::{Engine, Sync};
use crate::fault::Fault;
use crate::query::{Cond, Select};
use crate::sql::{self, Dialect, Sql};
use base::Kind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Ten times what anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts up to so many, which costs SQLite some ten steps each.
fn counting(most: u64) -> Sql {
    let text = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most}) SELECT COUNT(*) FROM n");
    Sql { text, args: Vec::new(), kinds: vec![Kind::Int], cached: false }
}

/// A statement that changes nothing and would take days.
fn endless() -> Sql {
    let text = format!("DELETE FROM t WHERE id < -({})", counting(1 << 40).text);
    Sql { text, args: Vec::new(), kinds: Vec::new(), cached: false }
}

fn plain(text: &str) -> Sql {
    Sql { text: text.into(), args: Vec::new(), kinds: vec![Kind::Int], cached: true }
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> (Place, Engine) {
        let place = Place { dir: tempfile::tempdir().expect("a directory") };
        let engine = place.open().await;
        let mut held = engine.hold().await;
        held.begin().await.map_err(told).expect("begun");
        held.script("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)").map_err(told).expect("a table");
        held.commit().map_err(told).expect("committed");
        drop(held);
        (place, engine)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("x.db")
    }

    async fn open(&self) -> Engine {
        Engine::open(Some(&self.file()), Some(Sync::Normal), 1).await.expect("opening")
    }
}

fn told(fault: Fault) -> String {
    format!("{} {:?}", fault.error, fault.error.context())
}

async fn patient<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

async fn number(engine: &Engine, sql: Sql) -> i64 {
    let rows = patient("a read", engine.read(sql)).await.map_err(told).expect("an answer");
    rows[0][0].as_int().expect("a number")
}

/// Writes one row as one transaction.
async fn insert(engine: &Engine, text: &str) {
    let mut held = patient("the writer", engine.hold()).await;
    patient("the lock", held.begin()).await.map_err(told).expect("begun");
    let sql = Sql {
        text: "INSERT INTO t (text) VALUES (?)".into(),
        args: vec![crate::sql::Arg::Text(text.into())],
        kinds: Vec::new(),
        cached: true,
    };
    patient("a write", held.execute(sql)).await.map_err(told).expect("written");
    held.commit().map_err(told).expect("committed");
}

/// One thread for everything: a statement that stayed on it would let nobody else run.
#[tokio::test]
async fn a_long_read_is_started_over_elsewhere() {
    let (_place, engine) = Place::new().await;
    let ticks = Arc::new(AtomicUsize::new(0));
    let ticking = {
        let ticks = ticks.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let sql = counting(3_000_000);
    assert!(!engine.readers.knows_as_long(&sql.text));
    assert_eq!(number(&engine, sql.clone()).await, 3_000_000);
    assert!(engine.readers.knows_as_long(&sql.text), "next time it goes there at once");
    let seen = ticks.load(Ordering::Relaxed);
    assert!(seen > 20, "others ran meanwhile: {seen}");
    assert_eq!(number(&engine, sql).await, 3_000_000);
    assert!(ticks.load(Ordering::Relaxed) > seen + 20);
    // What is short stays here.
    let short = counting(10);
    assert_eq!(number(&engine, short.clone()).await, 10);
    assert!(!engine.readers.knows_as_long(&short.text));
    ticking.abort();
}

#[tokio::test]
async fn a_read_nobody_waits_for_is_stopped() {
    let (_place, engine) = Place::new().await;
    let endless = counting(1 << 40);
    // On its way there, and there.
    for _ in 0..3 {
        let given_up = tokio::time::timeout(Duration::from_millis(50), engine.read(endless.clone())).await;
        assert!(given_up.is_err(), "it would take days");
        // There is one connection: it is free again, and as good as before.
        assert_eq!(number(&engine, plain("SELECT COUNT(*) FROM t")).await, 0);
    }
}

/// Whoever left may stop the one who has the connection now: that one is begun again, and nobody learns of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_comes_too_late_harms_nobody() {
    let (_place, engine) = Place::new().await;
    let sql = counting(1_000_000);
    assert_eq!(number(&engine, sql.clone()).await, 1_000_000);
    let allowance = engine.readers.allowance().expect("an idle connection");
    let (over, stops) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let stopping = {
        let (over, stops) = (over.clone(), stops.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) && stops.load(Ordering::Relaxed) < 20 {
                std::thread::sleep(Duration::from_millis(2));
                allowance.store(0, Ordering::Release);
                stops.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    // Until one has come, however quick the reads are.
    loop {
        assert_eq!(number(&engine, sql.clone()).await, 1_000_000);
        if stops.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
    over.store(true, Ordering::Relaxed);
    stopping.join().expect("it ends");
}

#[tokio::test]
async fn a_write_nobody_waits_for_is_stopped_and_taken_back() {
    let (place, engine) = Place::new().await;
    let other = place.open().await;
    for round in 0..3 {
        let mut held = engine.hold().await;
        held.begin().await.map_err(told).expect("begun");
        held.execute(plain("INSERT INTO t (text) VALUES ('ghost')")).await.map_err(told).expect("written");
        held.long.learn(&endless().text);
        assert!(tokio::time::timeout(Duration::from_millis(50), held.execute(endless())).await.is_err(), "it would take days");
        drop(held);
        // Neither here nor in another process anybody waits for it.
        insert(if round == 1 { &other } else { &engine }, "row").await;
    }
    assert_eq!(number(&engine, plain("SELECT COUNT(*) FROM t WHERE text = 'ghost'")).await, 0);
    assert_eq!(number(&engine, plain("SELECT COUNT(*) FROM t")).await, 3);
}

/// A writer that was kept waiting, by other threads or by much to copy, has not become long for ever.
#[tokio::test]
async fn long_is_a_write_of_many_steps() {
    let (_place, engine) = Place::new().await;
    let mut held = engine.hold().await;
    held.begin().await.map_err(told).expect("begun");
    let slow = plain("INSERT INTO t (text) VALUES (hex(zeroblob(20000000)))");
    let began = std::time::Instant::now();
    held.execute(slow.clone()).await.map_err(told).expect("written");
    assert!(began.elapsed() > Duration::from_millis(2), "what used to count as long");
    assert!(!held.long.knows(&slow.text));
    let many = plain(&format!("DELETE FROM t WHERE id < -({})", counting(100_000).text));
    assert!(!held.long.knows(&many.text));
    held.execute(many.clone()).await.map_err(told).expect("written");
    assert!(held.long.knows(&many.text), "its second time is elsewhere");
    held.execute(many).await.map_err(told).expect("written");
    // On a connection that was opened anew as well, once there is a row to look at.
    held.conn = None;
    held.execute(plain("INSERT INTO t (text) VALUES ('row')")).await.map_err(told).expect("written");
    let more = plain(&format!("DELETE FROM t WHERE id < -({})", counting(200_000).text));
    held.execute(more.clone()).await.map_err(told).expect("written");
    assert!(held.long.knows(&more.text));
}

/// The lock of another process is waited for without keeping the thread: the one that has the lock runs on the same one.
#[tokio::test]
async fn the_lock_of_others_is_waited_for() {
    let (place, engine) = Place::new().await;
    let other = place.open().await;
    let mut held = other.hold().await;
    held.begin().await.map_err(told).expect("begun");
    let waits = insert(&engine, "second");
    let goes_on = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        held.execute(plain("INSERT INTO t (text) VALUES ('first')")).await.map_err(told).expect("written");
        held.commit().map_err(told).expect("committed");
    };
    tokio::join!(waits, goes_on);
    assert_eq!(number(&engine, plain("SELECT COUNT(*) FROM t WHERE text = 'second' AND id = 2")).await, 1);
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |m| m.len())
}

/// Writers and readers that never rest: the log is copied and begun anew all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_does_not_grow_for_ever() {
    let (place, engine) = Place::new().await;
    let engine = Arc::new(engine);
    let log = place.dir.path().join("x.db-wal");
    let text = "x".repeat(40_000);
    let most = Arc::new(AtomicUsize::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (engine, text, log, most) = (engine.clone(), text.clone(), log.clone(), most.clone());
        writers.spawn(async move {
            for _ in 0..2500 {
                insert(&engine, &text).await;
                most.fetch_max(size(&log) as usize, Ordering::Relaxed);
            }
        });
    }
    let reading = {
        let engine = engine.clone();
        tokio::spawn(async move {
            while engine.read(plain("SELECT MAX(id) FROM t")).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
    };
    // Each write has its own patience.
    writers.join_all().await;
    reading.abort();
    let (most, whole) = (most.load(Ordering::Relaxed) >> 20, 7500 * text.len() >> 20);
    assert!(most < whole / 2, "the log had {most} MiB when {whole} MiB were written");
    assert_eq!(number(&engine, plain("SELECT COUNT(*) FROM t")).await, 7500);
}

/// A plan knows no values, so what an index is limited to must stand in the statement.
#[tokio::test]
async fn an_index_of_live_rows_serves_who_asks_for_live_rows() {
    let (_place, engine) = Place::new().await;
    let mut held = engine.hold().await;
    held.begin().await.map_err(told).expect("begun");
    let index = "ALTER TABLE t ADD deleted INT; CREATE UNIQUE INDEX t_live ON t (text) WHERE deleted = 0";
    held.script(index).map_err(told).expect("an index");
    held.commit().map_err(told).expect("committed");
    drop(held);
    let live = Cond::eq("text", "x").and(Cond::eq("deleted", false));
    let asked =
        sql::select(Dialect::Sqlite, &Select::from("t").column("id", Kind::Int).filter(live), sql::Wish::default()).expect("a statement");
    let kinds = vec![Kind::Int, Kind::Int, Kind::Int, Kind::Text];
    let plan = engine.read(Sql { text: format!("EXPLAIN QUERY PLAN {}", asked.text), kinds, ..asked }).await.map_err(told).expect("a plan");
    assert!(format!("{plan:?}").contains("INDEX t_live"), "{plan:?}");
}
