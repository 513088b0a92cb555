//! Rows from memory: never from before one's own writes, others' as soon as the feed tells, and not read anew without a reason; several questions in one.

use crate::fixture::{Crate, Rig, both, change, row};
use base::{Resource, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use store::{Cond, Db, Order, Pick, Read, Select, set, work};

both!(own_writes_are_met, nothing_changed_nothing_read, writers_meet_their_writes, another_process_is_noticed, several_at_once);

const SHOWN: &[&str] = &["name", "remark", "used"];

async fn remark(db: &Db, id: &str) -> Option<String> {
    let rows = db.known(Crate::facts(), SHOWN, [id]).await.expect("asking");
    rows.get(id).map(|cells| cells[1].as_str().to_string())
}

async fn write(db: &Db, id: &str, remark: &str) {
    db.tx(|tx| {
        work(async move {
            tx.update("crates", Cond::eq("id", id), vec![set("remark", remark)]).await?;
            tx.emit(change(id, 1)).await
        })
    })
    .await
    .expect("writing");
}

async fn put(db: &Db, id: &str) {
    db.tx(|tx| work(async move { tx.insert(&row(id)).await })).await.expect("inserting");
}

async fn own_writes_are_met(rig: Rig) {
    let db = rig.open().await;
    assert_eq!(remark(&db, "a").await, None, "nothing there");
    put(&db, "a").await;
    assert_eq!(remark(&db, "a").await, Some(String::new()), "what was not there is not remembered");
    for text in ["one", "two"] {
        write(&db, "a", text).await;
        assert_eq!(remark(&db, "a").await.as_deref(), Some(text), "update");
    }
    db.tx(|tx| {
        work(async move {
            let old = tx.one(Crate::facts(), "a").await?.expect("a");
            let mut new = old.clone();
            new.set("remark", "saved");
            tx.save(&old, &mut new).await
        })
    })
    .await
    .expect("saving");
    assert_eq!(remark(&db, "a").await.as_deref(), Some("saved"));
    let mut other = row("a");
    other.set("remark", "over");
    let cols: Vec<_> = other.facts.fields.iter().zip(other.values).map(|(f, v)| (f.name.into(), v)).collect();
    db.tx(|tx| {
        let cols = cols.clone();
        work(async move { tx.upsert("crates", &["id"], cols).await })
    })
    .await
    .expect("upserting");
    assert_eq!(remark(&db, "a").await.as_deref(), Some("over"));
    let failed = db
        .tx(|tx| {
            work(async move {
                tx.update("crates", Cond::eq("id", "a"), vec![set("remark", "never")]).await?;
                Err::<(), _>(base::err!(Conflict, "on purpose"))
            })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(remark(&db, "a").await.as_deref(), Some("over"), "rolled back");
    db.tx(|tx| work(tx.delete("crates", Cond::eq("id", "a")))).await.expect("deleting");
    assert_eq!(remark(&db, "a").await, None, "gone");
}

/// Until asking takes no question: now and then the feed is looked through, and on a busy machine rows grow old.
async fn remembered(db: &Db, what: &str) {
    for _ in 0..1000 {
        let before = db.queries();
        remark(db, "a").await;
        if db.queries() == before {
            return;
        }
    }
    panic!("{what}: always read");
}

async fn nothing_changed_nothing_read(rig: Rig) {
    let db = rig.open().await;
    for id in ["a", "b"] {
        put(&db, id).await;
    }
    remembered(&db, "asked again").await;
    db.tx(|tx| work(tx.update("crates", Cond::eq("id", "a"), vec![set("capacity", 5)]))).await.expect("updating");
    let (before, asked) = (db.queries(), Instant::now());
    remark(&db, "a").await;
    // At most the feed is looked through.
    assert!(db.queries() - before <= 2, "a column that is not among them was changed");
    assert!(asked.elapsed() < Duration::from_secs(60));
    let before = db.queries();
    let both = db.known(Crate::facts(), SHOWN, ["b", "a", "", "b", "none"]).await.expect("asking");
    assert!(db.queries() - before >= 1, "b was not known");
    let mut ids: Vec<&str> = both.keys().map(String::as_str).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(both["b"].to_vec(), [Value::from("crate-b"), Value::Null, Value::Int(0)]);
    let other = db.known(Crate::facts(), &["capacity"], ["a"]).await.expect("asking");
    assert_eq!(other["a"].to_vec(), [Value::Int(5)], "other columns are other rows");
}

async fn writers_meet_their_writes(rig: Rig) {
    let db = rig.open().await;
    put(&db, "a").await;
    let written = Arc::new(AtomicI64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (db, written) = (db.clone(), written.clone());
        tasks.spawn(async move {
            for _ in 0..25 {
                db.tx(|tx| work(tx.update("crates", Cond::eq("id", "a"), vec![store::add("used", 1)]))).await.expect("updating");
                let least = written.fetch_add(1, Ordering::SeqCst) + 1;
                let rows = db.known(Crate::facts(), SHOWN, ["a"]).await.expect("asking");
                let seen = rows["a"][2].as_int().expect("a number");
                assert!(seen >= least, "{least} were written and {seen} known");
            }
        });
    }
    tasks.join_all().await;
}

async fn another_process_is_noticed(rig: Rig) {
    let (here, there) = (rig.open().await, rig.open().await);
    put(&there, "a").await;
    for text in ["one", "two", "three"] {
        remark(&here, "a").await;
        write(&there, "a", text).await;
        let began = Instant::now();
        while remark(&here, "a").await.as_deref() != Some(text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Half a second and a numbered feed; what nobody tells is known for thirty.
        assert!(began.elapsed() < Duration::from_secs(20), "noticed after {:?}", began.elapsed());
    }
    // What lay in the part of the feed that was trimmed away is not missed.
    remark(&here, "a").await;
    write(&there, "a", "four").await;
    write(&there, "b", "five").await;
    there.feed().settle().await.expect("numbering");
    there.feed().trim(Duration::ZERO, 1).await.expect("trimming");
    let began = Instant::now();
    while remark(&here, "a").await.as_deref() != Some("four") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(20), "noticed after {:?}", began.elapsed());
}

async fn several_at_once(rig: Rig) {
    let db = rig.open().await;
    for id in ["a", "b", "c"] {
        put(&db, id).await;
    }
    db.tx(|tx| {
        work(async move {
            let sets = vec![set("weight", 1.5), set("open", true), set("labels", serde_json::json!({"k": ["v"]})), set("place", 7)];
            tx.update("crates", Cond::eq("id", "b"), sets).await
        })
    })
    .await
    .expect("updating");
    let all = [
        Select::of(Crate::facts(), &["id", "labels", "weight", "open", "place", "created_at"])
            .filter(Cond::is_in("id", ["a", "b"]))
            .order(Order::desc("id")),
        Select::of(Crate::facts(), &["name", "remark"]).filter(Cond::eq("id", "none")),
        Select::from("crates").column("capacity", base::Kind::Int).pick(Pick::Count).group_by("capacity"),
        Select::of(Crate::facts(), &["used", "name", "id"]).order(Order::asc("id")).page(1, 1),
    ];
    let mut read = &db;
    let mut apart = Vec::new();
    for q in &all {
        apart.push(read.rows(q).await.expect("asking"));
    }
    let before = db.queries();
    let together = read.together(&all).await.expect("asking");
    let asked = db.queries() - before;
    assert_eq!(together, apart);
    assert_eq!(together.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 1, 1]);
    assert_eq!(asked, if rig.dialect == store::Dialect::Postgres { 1 } else { 4 });
    let inside = db.tx(|tx| work(async { tx.together(&all).await })).await.expect("asking");
    assert_eq!(inside, apart);
    assert!(read.together(&[]).await.expect("nothing").is_empty());
}
