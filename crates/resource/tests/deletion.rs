//! Deleting a row that somebody else writes at the same moment, as a host does that reports.

use base::meta::{ProjectOwned, Standalone};
use base::{Caller, Class, Clock, Ctx, Resource, Result, Row, Scope, err};
use resource::{Ask, BoxFuture, Engine, FixedOwners, Gate, Hooks, Kind, Method, Op, Options, Params};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use store::{Cond, Db, Dialect, Migrations, Read, ddl, work};

#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "thing", plural = "things", service = "test", level = project)]
struct Thing {
    #[field(flatten)]
    meta: Standalone,
    #[field(flatten)]
    owned: ProjectOwned,
}

/// How many looks a deletion takes before it gives up.
const LOOKS: usize = 5;
/// What a report says that makes a thing stay.
const NEEDED: &str = "needed";

/// Between the look at a row and the transaction that deletes it, somebody reports: so often, and at last this.
#[derive(Debug, Default)]
struct Reports {
    left: AtomicUsize,
    last: std::sync::Mutex<&'static str>,
    looks: AtomicUsize,
}

impl Reports {
    fn come(&self, times: usize, last: &'static str) {
        self.left.store(times, SeqCst);
        self.looks.store(0, SeqCst);
        *self.last.lock().expect("no panic in between") = last;
    }
}

impl Hooks for Reports {
    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<base::Error>>>> {
        Box::pin(async move {
            self.looks.fetch_add(1, SeqCst);
            let why = |row: &Row| (row.text("description") == NEEDED).then(|| err!(InvalidStatus, "thing {} is needed", row.name()));
            let told = rows.iter().map(why).collect();
            if let Ok(left) = self.left.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)) {
                let last = *self.last.lock().expect("no panic in between");
                let word = if left == 1 && !last.is_empty() { last.to_string() } else { format!("report {left}") };
                report(&op.engine.db, rows[0].id(), &word).await;
            }
            Ok(told)
        })
    }
}

async fn report(db: &Db, id: &str, word: &str) {
    let told = db.tx(|tx| {
        work(async move {
            let row = tx.one(Thing::facts(), id).await?.expect("it is there");
            let mut new = row.clone();
            new.set("description", word);
            tx.save(&row, &mut new).await
        })
    });
    told.await.expect("a report is taken in");
}

#[derive(Debug)]
struct Everybody;

impl Gate for Everybody {
    fn widest(&self, _: &Caller, _: Option<IpAddr>, _: &Ask<'_>) -> Scope {
        Scope::System
    }
    fn allows(&self, _: &Caller, _: Option<IpAddr>, _: &Ask<'_>, _: Scope) -> bool {
        true
    }
}

async fn scenario(db: Db) {
    db.migrate(&resource::MIGRATIONS).await.expect("tables");
    let table = |dialect| -> &'static [(&'static str, &'static str)] {
        let text: &'static str = Box::leak(ddl::create_table(Thing::facts(), dialect).into_boxed_str());
        Box::leak(Box::new([("0001.sql", text)]))
    };
    let (sqlite, postgres) = (table(Dialect::Sqlite), table(Dialect::Postgres));
    db.migrate(&Migrations { owner: "test", sqlite, postgres }).await.expect("a table");
    let reports = Arc::new(Reports::default());
    let kinds = vec![Kind::new::<Thing, _>(&reports).done()];
    let owners = Arc::new(FixedOwners::default());
    let engine = Engine::new("test", db.clone(), Clock::real(), Arc::new(Everybody), owners, kinds, Options::default());
    let (ctx, params) = (Ctx::platform("test"), Params::default());
    let delete = async |id: &str| engine.handle(&ctx, Method::Delete, &["things".to_string(), id.to_string()], &params, None).await;
    let there = async |id: &str| (&db).one(Thing::facts(), id).await.expect("an answer").filter(|row| !row.flag("deleted"));
    let things = ["a", "b", "c", "d"];
    for id in things {
        let meta = Standalone { id: id.into(), name: format!("thing {id}"), ..Standalone::default() };
        let row = &Thing { meta, ..Thing::default() }.to_row();
        db.tx(|tx| work(async move { tx.insert(row).await })).await.expect("a thing");
    }

    // The answer of a deletion shows the row once more, hence the look beyond those that decide.
    reports.come(0, "");
    delete("a").await.expect("nobody reports");
    let shown = reports.looks.load(SeqCst) - 1;
    assert!(there("a").await.is_none());

    reports.come(LOOKS - 1, "");
    delete("b").await.expect("it looks again");
    assert_eq!(reports.looks.load(SeqCst), LOOKS + shown);
    assert!(there("b").await.is_none());

    // What came meanwhile counts.
    reports.come(2, NEEDED);
    let why = delete("c").await.expect_err("it is needed by now");
    assert_eq!((why.class(), why.to_string()), (Class::InvalidStatus, "thing thing c is needed".to_string()));
    assert_eq!(reports.looks.load(SeqCst), 3);
    assert!(there("c").await.is_some());

    // It does not try for ever, leaves everything as it was, and may be asked again.
    reports.come(usize::MAX, "");
    let why = delete("d").await.expect_err("somebody reports all the time");
    assert_eq!(why.class(), Class::ResourceBusy, "{why}");
    assert_eq!(reports.looks.load(SeqCst), LOOKS);
    let row = there("d").await.expect("it is there");
    assert!(row.text("description").starts_with("report "), "{}", row.text("description"));
    let deleted = Cond::eq("action", "delete").and(Cond::eq("obj_id", "d"));
    assert_eq!((&db).count("events", deleted).await.expect("events"), 0, "nothing is on record that did not happen");
    reports.come(0, "");
    delete("d").await.expect("it is quiet");
    assert!(there("d").await.is_none());
}

#[tokio::test]
async fn a_deletion_looks_again() {
    scenario(store::testing::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_a_deletion_looks_again() {
    scenario(store::testing::postgres().await).await;
}
