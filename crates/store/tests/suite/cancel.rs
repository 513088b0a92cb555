//! A transaction whose future is dropped at any point is as if it had never been, or as if it had ended; the next one works.

use crate::fixture::{Rig, both, change, dice, new, row};
use base::{Resource, Row};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use store::{Cond, Read, work};

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
    let (mut done, mut dropped, mut usual) = (0, 0, Duration::ZERO);
    for i in 0.. {
        if done >= 50 && dropped >= 50 {
            break;
        }
        // Times around that of a transaction on this machine, which the first one shows.
        let began = Instant::now();
        let (a, b) = (&new(&format!("{i}-a")).to_row(), &new(&format!("{i}-b")).to_row());
        let body = db.tx(|tx| {
            work(async move {
                tx.insert(a).await?;
                tx.insert(b).await?;
                tx.emit(change(a.id(), i)).await
            })
        });
        tokio::select! {
            result = body => {
                result.expect("a transaction that was left alone");
                (done, usual) = (done + 1, began.elapsed());
            }
            () = tokio::time::sleep(usual.mul_f64(dice(1500) as f64 / 1000.0)), if done > 0 => dropped += 1,
        }
    }
    db.tx(|tx| work(tx.insert(&LAST))).await.expect("the next transaction");
    let mut told = Vec::new();
    // On PostgreSQL the server may still be about to finish a commit whose future was dropped, so the two meet only after a while.
    loop {
        let rows = db.read().texts("crates", "id", Cond::ne("id", LAST.id())).await.unwrap();
        let mut want: Vec<String> = rows.iter().filter(|id| id.ends_with("-a")).cloned().collect();
        assert_eq!(want.len() * 2, rows.len(), "both rows or none");
        assert!(want.len() >= done);
        let batch = db.feed().after(told.len() as i64, 1000).await.unwrap();
        assert!(!batch.lost);
        told.extend(batch.changes.iter().map(|(_, _, change)| change.id.clone()));
        let mut sorted = told.clone();
        sorted.sort();
        want.sort();
        if sorted == want {
            break;
        }
        db.feed().wait(told.len() as i64, Duration::from_millis(200)).await.unwrap();
    }
}

static LAST: LazyLock<Row> = LazyLock::new(|| row("last"));
