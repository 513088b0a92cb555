//! The change feed under fire.

use crate::fixture::{Rig, both, change, dice, row};
use base::{Clock, Timestamp};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use store::{Cond, Db, Dialect, Read, add, work};
use tokio::task::JoinSet;

both!(
    every_change_once_in_order,
    followers_ask_once,
    waiting_ends_at_once,
    trimmed_is_lost,
    what_is_undone_is_not_told,
    many_changes_of_one_transaction
);

const WRITERS: usize = 64;
const EACH: i64 = 20;

/// Writers sleep inside their transactions, so that they commit in another order than they began; readers follow all the while. On PostgreSQL half of
/// the readers and writers are another process's, as far as the store can tell.
async fn every_change_once_in_order(rig: Rig) {
    let db = rig.open().await;
    let far = if rig.dialect == Dialect::Postgres { rig.open().await } else { db.clone() };
    let mut readers = JoinSet::new();
    for db in [db.clone(), far.clone(), far.clone()] {
        readers.spawn(async move {
            let mut follow = db.feed().subscribe(0);
            let mut seen = Vec::new();
            while seen.len() < WRITERS * EACH as usize {
                let batch = follow.next().await.expect("reading");
                assert!(!batch.lost);
                seen.extend(batch.changes);
            }
            seen
        });
    }
    let mut writers = JoinSet::new();
    for w in 0..WRITERS {
        let db = if w % 2 == 0 { db.clone() } else { far.clone() };
        writers.spawn(async move {
            for n in 1..=EACH {
                let id = &format!("w{w}");
                db.tx(|tx| {
                    work(async move {
                        tx.emit(change(id, n)).await?;
                        tx.upsert("crates", &["id"], vec![("id".into(), id.into()), ("name".into(), id.into())]).await?;
                        tx.update("crates", Cond::eq("id", id.as_str()), vec![add("used", 1)]).await?;
                        // On SQLite every other writer waits meanwhile.
                        let most = if tx.dialect() == Dialect::Postgres { 20_000 } else { 200 };
                        tokio::time::sleep(Duration::from_micros(dice(most))).await;
                        Ok(())
                    })
                })
                .await
                .expect("writing");
            }
        });
    }
    writers.join_all().await;
    let all = readers.join_all().await;
    for seen in &all {
        let mut last: HashMap<&str, i64> = HashMap::new();
        for (i, (seq, _, change)) in seen.iter().enumerate() {
            assert_eq!(*seq, i as i64 + 1, "dense and in order");
            let before = last.insert(&change.id, change.version).unwrap_or(0);
            assert_eq!(change.version, before + 1, "each object's changes in the order they happened, each once");
        }
        assert_eq!(last.len(), WRITERS);
    }
    assert_eq!(all[0], all[1], "all readers see the same");
}

/// What one follower has read costs the others nothing; who comes late or lies far behind gets the same.
async fn followers_ask_once(rig: Rig) {
    let db = rig.open().await;
    let all = async |cursor: i64, upto: i64| {
        let (mut follow, mut seen) = (db.feed().subscribe(cursor), Vec::new());
        while follow.cursor() < upto {
            seen.extend(follow.next().await.expect("reading").changes.iter().map(|(seq, _, change)| (*seq, change.version)));
        }
        assert!(seen.iter().copied().eq((cursor + 1..=upto).map(|n| (n, n))), "{seen:?}");
    };
    emit(&db, 1, 10).await;
    settled(&db, 10).await;
    all(4, 10).await;
    let before = db.queries();
    for _ in 0..25 {
        all(4, 10).await;
        all(7, 10).await;
    }
    // Whoever gives the numbers may ask whether there is more to do.
    assert!(db.queries() - before < 5, "nobody asks for what somebody has read");
    all(0, 10).await;
    db.tx(|tx| {
        work(async move {
            for n in 11..=3000 {
                tx.emit(change("x", n)).await?;
            }
            Ok(())
        })
    })
    .await
    .expect("emitting");
    settled(&db, 3000).await;
    for cursor in [2990, 10, 1500, 0, 2999, 2500] {
        all(cursor, 3000).await;
    }
}

async fn emit(db: &Db, from: i64, to: i64) {
    for n in from..=to {
        db.tx(|tx| work(async move { tx.emit(change("x", n)).await })).await.expect("emitting");
    }
}

/// Waits until so many changes have their numbers.
async fn settled(db: &Db, head: i64) {
    while db.feed().head().await.expect("the head") < head {
        db.feed().wait(head - 1, Duration::from_millis(200)).await.expect("waiting");
    }
}

async fn waiting_ends_at_once(rig: Rig) {
    let db = rig.open().await;
    let began = Instant::now();
    db.feed().wait(0, Duration::from_millis(50)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50), "nothing happened, so it waits to the end");
    let waiter = tokio::spawn({
        let db = db.clone();
        async move {
            db.feed().wait(0, Duration::from_secs(250)).await.unwrap();
            db.feed().after(0, 10).await.unwrap()
        }
    });
    emit(&db, 1, 1).await;
    let batch = waiter.await.unwrap();
    assert_eq!((batch.changes.len(), batch.cursor), (1, 1));
    // What already lies there needs no waiting.
    db.feed().wait(0, Duration::from_secs(250)).await.unwrap();
    if rig.dialect == Dialect::Postgres {
        let far = rig.open().await;
        let waiter = tokio::spawn(async move { far.feed().wait(1, Duration::from_secs(250)).await });
        emit(&db, 2, 2).await;
        waiter.await.unwrap().unwrap();
    }
}

async fn trimmed_is_lost(rig: Rig) {
    let clock = Clock::manual(Timestamp(1_000_000_000));
    let db = rig.open_with(clock.clone()).await;
    assert!(!db.feed().after(0, 10).await.unwrap().lost, "an empty feed has lost nothing");
    assert!(db.feed().after(-1, 10).await.unwrap().lost, "who knows nothing takes a snapshot");
    assert!(db.feed().after(5, 10).await.unwrap().lost, "a cursor from another life of the database");
    emit(&db, 1, 10).await;
    clock.advance(Duration::from_secs(100));
    emit(&db, 11, 20).await;
    settled(&db, 20).await;
    let day = Duration::from_secs(86_400);
    assert_eq!(db.feed().trim(day, 1000).await.unwrap(), 0);
    assert_eq!(db.feed().trim(Duration::from_secs(50), 1000).await.unwrap(), 10);
    assert_eq!(db.feed().trim(day, 5).await.unwrap(), 5);
    for (cursor, lost) in [(0, true), (14, true), (15, false), (20, false), (21, true)] {
        let batch = db.feed().after(cursor, 100).await.unwrap();
        assert_eq!((batch.lost, batch.cursor), (lost, 20), "{cursor}");
        assert_eq!(batch.changes.len(), if cursor == 15 { 5 } else { 0 });
    }
    assert_eq!(db.feed().after(16, 2).await.unwrap().cursor, 18);
    clock.advance(day);
    assert_eq!(db.feed().trim(Duration::ZERO, 0).await.unwrap(), 4, "the newest stays");
    let mut late = db.feed().subscribe(3);
    let batch = late.next().await.unwrap();
    assert_eq!((batch.lost, late.cursor()), (true, 20));
    emit(&db, 21, 21).await;
    let batch = late.next().await.unwrap();
    assert_eq!((batch.lost, batch.changes[0].0, batch.changes[0].2.version), (false, 21, 21));
    assert_eq!(batch.changes[0].1, clock.now());
}

async fn what_is_undone_is_not_told(rig: Rig) {
    let db = rig.open().await;
    let undone: base::Result<()> = db
        .tx(|tx| {
            work(async move {
                tx.emit(change("a", 1)).await?;
                tx.insert(&row("a")).await?;
                Err(base::err!(Conflict, "no"))
            })
        })
        .await;
    assert!(undone.is_err());
    emit(&db, 1, 1).await;
    settled(&db, 1).await;
    let batch = db.feed().after(0, 10).await.unwrap();
    assert_eq!(batch.changes.iter().map(|(_, _, c)| c.id.as_str()).collect::<Vec<_>>(), ["x"]);
}

async fn many_changes_of_one_transaction(rig: Rig) {
    let db = rig.open().await;
    db.tx(|tx| {
        work(async move {
            for n in 1..=2500 {
                tx.emit(change("x", n)).await?;
            }
            Ok(())
        })
    })
    .await
    .unwrap();
    settled(&db, 2500).await;
    let batch = db.feed().after(0, 5000).await.unwrap();
    assert!(batch.changes.iter().enumerate().all(|(i, (seq, _, c))| *seq == i as i64 + 1 && c.version == *seq));
    assert_eq!(batch.changes.len(), 2500);
}
