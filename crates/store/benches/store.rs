//! What the store costs: reading one object, a page, writing; on SQLite and on a private PostgreSQL. `cargo bench -p store` prints a table; nothing is
//! asserted.

use base::{Json, Resource, Row, Timestamp};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Change, ChangeOp, Cond, Db, Dialect, Migrations, Order, Read, add, ddl, work};

/// Sixty columns, as a server has.
#[derive(Clone, Debug, Default, base::Resource)]
#[resource(name = "wide", plural = "wides", service = "bench", level = project)]
struct Wide {
    #[field(flatten)]
    meta: base::meta::Standalone,
    #[field(flatten)]
    status: base::meta::Status,
    #[field(flatten)]
    owner: base::meta::ProjectOwned,
    #[field(flatten)]
    shared: base::meta::Shared,
    #[field(flatten)]
    external: base::meta::External,
    #[field(flatten)]
    billing: base::meta::Billing,
    #[field(flatten)]
    guarded: base::meta::Guarded,
    #[field(flatten)]
    more: More,
}

/// Columns of its own.
#[derive(Clone, Debug, Default, base::Columns)]
struct More {
    /// A.
    a1: String,
    /// A.
    a2: String,
    /// A.
    a3: String,
    /// A.
    a4: String,
    /// A.
    a5: String,
    /// A.
    a6: String,
    /// A.
    a7: String,
    /// A.
    a8: String,
    /// B.
    b1: i64,
    /// B.
    b2: i64,
    /// B.
    b3: i64,
    /// B.
    b4: i64,
    /// B.
    b5: i64,
    /// B.
    b6: i64,
    /// C.
    c1: bool,
    /// C.
    c2: bool,
    /// C.
    c3: Option<bool>,
    /// D.
    d1: f64,
    /// D.
    d2: f64,
    /// E.
    e1: Option<Timestamp>,
    /// E.
    e2: Option<Timestamp>,
    /// E.
    e3: Option<Timestamp>,
    /// F.
    f1: Json,
    /// F.
    f2: Json,
}

const ROWS: usize = 10_000;

fn id(n: usize) -> String {
    format!("{n:08x}-7d3c-4f5e-9a61-0242ac120002")
}

fn wide(n: usize) -> Row {
    let mut wide = Wide::default();
    wide.meta.id = id(n);
    wide.meta.name = format!("server-{n}");
    wide.meta.created_at = Timestamp(1_770_000_000_000_000 + n as i64);
    wide.status.status = "running".into();
    wide.owner.tenant_id = format!("{:032x}", n % 100);
    wide.more.a1 = "a text of some length, say a description".into();
    wide.more.f1 = serde_json::json!({"boot": "disk", "tags": ["a", "b"]});
    wide.to_row()
}

/// Runs something so often, so many at once, and prints how long one takes and how many there are a second.
async fn measure<F: Future<Output = ()> + Send + 'static>(
    what: &str,
    times: usize,
    at_once: usize,
    job: impl Fn(usize) -> F + Send + Sync + 'static,
) {
    let job = Arc::new(job);
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..at_once {
        let job = job.clone();
        tasks.spawn(async move {
            let mut each = Vec::with_capacity(times / at_once);
            for n in 0..times / at_once {
                let began = Instant::now();
                job(task * (times / at_once) + n).await;
                each.push(began.elapsed());
            }
            each
        });
    }
    let mut each: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
    let all = began.elapsed();
    each.sort();
    let at = |part: f64| each[((each.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    println!(
        "{what:<34} {at_once:>3} at once {:>9.1} us median {:>9.1} us p99 {:>10.0}/s",
        at(0.5),
        at(0.99),
        each.len() as f64 / all.as_secs_f64()
    );
}

async fn fill(db: &Db) {
    let facts = Wide::facts();
    let files: &'static [(&str, &str)] = {
        let index = "CREATE INDEX wides_created_at ON wides (created_at);";
        let text: &'static str = Box::leak((ddl::create_table(facts, db.dialect()) + index).into_boxed_str());
        Box::leak(vec![("0001_wides.sql", text)].into_boxed_slice())
    };
    db.migrate(&Migrations { owner: "bench", sqlite: files, postgres: files }).await.expect("migrating");
    let began = Instant::now();
    for chunk in 0..ROWS / 500 {
        db.tx(|tx| {
            work(async move {
                for n in 0..500 {
                    tx.insert(&wide(chunk * 500 + n)).await?;
                }
                Ok(())
            })
        })
        .await
        .expect("filling");
    }
    println!("{:<34} {:>38.0}/s", "insert, 500 a transaction", ROWS as f64 / began.elapsed().as_secs_f64());
}

async fn run(name: &str, db: Db) {
    let facts = Wide::facts();
    println!("\n{name}: {} columns, {ROWS} rows", facts.fields.len());
    fill(&db).await;
    for at_once in [1, 8] {
        let get = db.clone();
        measure("get by id", 10_000, at_once, move |n| {
            let db = get.clone();
            async move { assert!(db.read().one(facts, &id(n * 7 % ROWS)).await.expect("reading").is_some()) }
        })
        .await;
        let page = db.clone();
        measure("page of 20, newest first", 2_000, at_once, move |n| {
            let db = page.clone();
            async move {
                let order = vec![Order::desc("created_at")];
                let page =
                    db.read().page(facts, Cond::eq("pending_deleted", false), order, 20, (n % 50) as u64 * 20).await.expect("reading");
                assert_eq!(page.len(), 20);
            }
        })
        .await;
    }
    let count = db.clone();
    measure("count with a filter", 500, 1, move |n| {
        let db = count.clone();
        async move {
            let mine = Cond::eq("tenant_id", format!("{:032x}", n % 100));
            assert!(db.read().count("wides", mine).await.expect("reading") >= 100);
        }
    })
    .await;
    for at_once in [1, 8, 64] {
        let tx = db.clone();
        measure("tx: read, save, emit", 2_048, at_once, move |n| {
            let db = tx.clone();
            async move {
                db.tx(|tx| {
                    work(async move {
                        let old = tx.one(facts, &id(n)).await?.expect("a row");
                        let mut new = old.clone();
                        new.set("status", if old.text("status") == "ready" { "running" } else { "ready" });
                        tx.save(&old, &mut new).await?;
                        let (kind, version) = ("wide".to_string(), new.int("update_version"));
                        let (domain_id, project_id) = ("default".to_string(), old.text("tenant_id").to_string());
                        tx.emit(Change {
                            kind,
                            id: old.id().to_string(),
                            op: ChangeOp::Update,
                            version,
                            domain_id,
                            project_id,
                            data: Json::Null,
                        })
                        .await
                    })
                })
                .await
                .expect("writing")
            }
        })
        .await;
    }
    let hot = db.clone();
    measure("tx: one hot counter", 2_048, 64, move |_| {
        let db = hot.clone();
        async move {
            let hit = db.tx(|tx| work(tx.update("wides", Cond::eq("id", id(0)), vec![add("b1", 1)]))).await.expect("writing");
            assert_eq!(hit, 1);
        }
    })
    .await;
}

#[tokio::main]
async fn main() {
    let dir = std::env::temp_dir().join(format!("store-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    for sync in ["full", "normal"] {
        let url = format!("sqlite://{}/{sync}.db?synchronous={sync}", dir.display());
        run(&format!("SQLite, synchronous={sync}"), Db::open(&url).await.expect("opening")).await;
    }
    std::fs::remove_dir_all(&dir).expect("clearing up");
    let db = store::testing::postgres().await;
    assert_eq!(db.dialect(), Dialect::Postgres);
    run("PostgreSQL on a unix socket, fsync=off", db).await;
}
