//! Totals from memory: never from before one's own writes, and not counted anew without a reason.

use crate::fixture::{Crate, Rig, both, new, row};
use base::{Json, Resource};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use store::{Change, ChangeOp, Cond, Db, Select, Tx, set, work};

both!(own_writes_count_at_once, nothing_changed_nothing_counted, writers_meet_their_writes, another_process_is_noticed, the_feed_tells);

async fn total(db: &Db, cond: Cond) -> i64 {
    db.total(Crate::facts(), &cond).await.expect("counting")
}

async fn put(db: &Db, id: &str) {
    db.tx(|tx| work(async move { tx.insert(&row(id)).await })).await.expect("inserting");
}

fn opened() -> Cond {
    Cond::eq("open", true)
}

async fn own_writes_count_at_once(rig: Rig) {
    let db = rig.open().await;
    let check = async |want: (i64, i64), what: &str| {
        // Twice: counted, and remembered.
        for _ in 0..2 {
            assert_eq!((total(&db, Cond::True).await, total(&db, opened()).await), want, "{what}");
        }
    };
    check((0, 0), "empty").await;
    put(&db, "a").await;
    check((1, 0), "insert").await;
    let fresh = db.tx(|tx| work(async move { tx.try_insert(&row("b")).await })).await.expect("inserting");
    assert!(fresh);
    check((2, 0), "try_insert").await;
    db.tx(|tx| work(tx.update("crates", Cond::eq("id", "a"), vec![set("open", true)]))).await.expect("updating");
    check((2, 1), "update of what the condition looks at").await;
    db.tx(|tx| {
        work(async move {
            let old = store::Read::one(tx, Crate::facts(), "b").await?.expect("b");
            let mut new = old.clone();
            new.set("open", true);
            tx.save(&old, &mut new).await
        })
    })
    .await
    .expect("saving");
    check((2, 2), "save").await;
    let rest = row("c");
    let cols: Vec<_> = rest.facts.fields.iter().zip(rest.values.clone()).map(|(f, v)| (f.name.into(), v)).collect();
    db.tx(|tx| {
        let cols = cols.clone();
        work(async move { tx.upsert("crates", &["id"], cols).await })
    })
    .await
    .expect("upserting");
    check((3, 2), "upsert").await;
    db.tx(|tx| work(tx.delete("crates", opened()))).await.expect("deleting");
    check((1, 0), "delete").await;
    let failed = db.tx(|tx| work(async move { fail_after(tx, "d").await })).await;
    assert!(failed.is_err());
    check((1, 0), "rolled back").await;
    // Conditions that look into other tables are counted each time.
    let inside = || Cond::in_select("id", Select::from("crates").column("id", base::Kind::Text).filter(opened()));
    assert_eq!(total(&db, inside()).await, 0);
    db.tx(|tx| work(tx.update("crates", Cond::True, vec![set("open", true)]))).await.expect("updating");
    assert_eq!(total(&db, inside()).await, 1);
}

async fn fail_after(tx: &mut Tx, id: &str) -> base::Result<()> {
    tx.insert(&row(id)).await?;
    Err(base::err!(Conflict, "on purpose"))
}

/// Whether a question was answered without the database.
async fn remembered(db: &Db, cond: Cond) -> bool {
    let before = db.queries();
    total(db, cond).await;
    db.queries() == before
}

/// Until something is so; a total lives for a second only, and the machine may be busy for longer.
async fn at_last(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if is().await {
            return;
        }
    }
    panic!("{what}");
}

async fn nothing_changed_nothing_counted(rig: Rig) {
    let db = rig.open().await;
    put(&db, "a").await;
    assert!(!remembered(&db, opened()).await, "the first time is counted");
    at_last("asked again", async || remembered(&db, opened()).await).await;
    at_last("another column changed", async || {
        total(&db, opened()).await;
        db.tx(|tx| work(tx.update("crates", Cond::eq("id", "a"), vec![set("remark", "x")]))).await.expect("updating");
        remembered(&db, opened()).await
    })
    .await;
    at_last("another table changed", async || {
        total(&db, opened()).await;
        db.leases().acquire("x", "me", Duration::from_secs(60)).await.expect("a lease");
        remembered(&db, opened()).await
    })
    .await;
    total(&db, opened()).await;
    db.tx(|tx| work(tx.update("crates", Cond::eq("id", "a"), vec![set("open", false)]))).await.expect("updating");
    assert!(!remembered(&db, opened()).await, "the column changed");
    assert!(!remembered(&db, Cond::eq("open", false)).await, "another value is another question");
    // A hundred at once count once, or a few times when a second passes.
    let before = db.queries();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let db = db.clone();
        tasks.spawn(async move { total(&db, Cond::eq("used", 7)).await });
    }
    assert!(tasks.join_all().await.iter().all(|n| *n == 0));
    assert!(db.queries() - before < 50, "{} questions of 100 counted", db.queries() - before);
}

async fn writers_meet_their_writes(rig: Rig) {
    let db = rig.open().await;
    let written = Arc::new(AtomicI64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let (db, written) = (db.clone(), written.clone());
        tasks.spawn(async move {
            for n in 0..25 {
                put(&db, &format!("{task}-{n}")).await;
                let least = written.fetch_add(1, Ordering::SeqCst) + 1;
                let seen = total(&db, Cond::True).await;
                assert!(seen >= least, "{least} were written and {seen} counted");
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(total(&db, Cond::True).await, 200);
}

async fn another_process_is_noticed(rig: Rig) {
    let (here, there) = (rig.open().await, rig.open().await);
    for n in 1..=3 {
        total(&here, Cond::True).await;
        put(&there, &n.to_string()).await;
        assert_eq!(total(&there, Cond::True).await, n);
        while total(&here, Cond::True).await != n {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn the_feed_tells(rig: Rig) {
    let (here, there) = (rig.open().await, rig.open().await);
    for n in 1..=5 {
        total(&here, Cond::True).await;
        let id = n.to_string();
        there
            .tx(|tx| {
                let one = Crate { id: id.clone(), ..new(&id) };
                work(async move {
                    tx.insert(&one.to_row()).await?;
                    let (kind, op) = ("crate".to_string(), ChangeOp::Create);
                    let owner = String::new();
                    tx.emit(Change { kind, id: one.id, op, version: 0, domain_id: owner.clone(), project_id: owner, data: Json::Null })
                        .await
                })
            })
            .await
            .expect("writing");
        there.feed().settle().await.expect("numbering");
        let told = here.feed().after(n - 1, 10).await.expect("following");
        assert_eq!(told.changes.len(), 1);
        assert_eq!(total(&here, Cond::True).await, n, "heard of by the feed");
    }
}
