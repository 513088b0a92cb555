//! A transaction whose future is dropped at any point is as if it had never been, or as if it had ended; the next one works.

use crate::fixture::{Crate, Rig, both, change, dice, new, row};
use base::Resource;
use std::time::Duration;
use store::{Cond, Read, set, work};

both!(dropped_in_the_middle, dropped_anywhere);

async fn dropped_in_the_middle(rig: Rig) {
    let (db, other) = (rig.open().await, rig.open().await);
    for round in 0..20 {
        let body = db.tx(|tx| {
            work(async move {
                tx.insert(&row("ghost")).await?;
                tx.emit(change("ghost", 1)).await?;
                std::future::pending::<()>().await;
                Ok(())
            })
        });
        let _ = tokio::time::timeout(Duration::from_millis(if round % 2 == 0 { 20 } else { 0 }), body).await;
        // A writer elsewhere is not kept waiting by what was dropped, nor is this one.
        for db in [&other, &db] {
            let id = &format!("{round}-{}", std::ptr::eq(db, &other));
            db.tx(|tx| {
                work(async move {
                    assert!(!tx.exists("crates", Cond::eq("id", "ghost")).await?);
                    tx.insert(&row(id)).await
                })
            })
            .await
            .expect("the next transaction");
        }
    }
    assert_eq!(db.read().count("crates", Cond::True).await.unwrap(), 40);
    assert_eq!(db.feed().head().await.unwrap(), 0);
}

/// Drops transactions after a random time, also while they commit. Two rows of one transaction are there together or not at all, and whatever is there
/// was told in the feed.
async fn dropped_anywhere(rig: Rig) {
    let db = rig.open().await;
    for i in 0..300 {
        let (a, b) = (&new(&format!("{i}-a")).to_row(), &new(&format!("{i}-b")).to_row());
        let body = db.tx(|tx| {
            work(async move {
                tx.insert(a).await?;
                tx.insert(b).await?;
                tx.emit(change(a.id(), i)).await
            })
        });
        tokio::select! {
            done = body => done.expect("a transaction that was left alone"),
            () = tokio::time::sleep(Duration::from_micros(dice(3000))) => {}
        }
    }
    let last = db.tx(|tx| work(tx.update("crates", Cond::True, vec![set("open", true)]))).await.unwrap() as i64;
    let rows = db.read().texts("crates", "id", Cond::True).await.unwrap();
    assert_eq!(rows.len() as i64, last);
    let mut want: Vec<String> = rows.iter().filter(|id| id.ends_with("-a")).cloned().collect();
    assert_eq!(want.len() * 2, rows.len(), "both rows or none");
    assert!(!want.is_empty() && want.len() < 300, "some were dropped and some not: {}", want.len());
    let mut told = Vec::new();
    while told.len() < want.len() {
        let batch = db.feed().after(told.len() as i64, 1000).await.unwrap();
        assert!(!batch.lost);
        told.extend(batch.changes.into_iter().map(|(_, _, change)| change.id));
        db.feed().wait(told.len() as i64, Duration::from_millis(200)).await.unwrap();
    }
    told.sort();
    want.sort();
    assert_eq!(told, want);
    assert_eq!(db.read().find(Crate::facts(), Cond::True).await.unwrap().len(), rows.len());
}
