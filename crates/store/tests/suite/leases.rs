//! Leases: one holder at a time, and a zombie's write affects nothing.

use crate::fixture::{Rig, both, row};
use base::{Class, Clock, Timestamp};
use std::time::Duration;
use store::{Cond, Read, work};
use tokio::task::JoinSet;

both!(one_holder_at_a_time, a_zombie_writes_nothing, a_fence_holds_off_the_next, one_of_many_wins);

const TERM: Duration = Duration::from_secs(30);

async fn one_holder_at_a_time(rig: Rig) {
    let clock = Clock::manual(Timestamp(1_000_000_000));
    let leases = rig.open_with(clock.clone()).await.leases();
    let a = leases.acquire("cleaner", "a", TERM).await.unwrap().expect("free");
    assert_eq!((a.epoch, a.expires_at), (1, clock.now().plus_secs(30)));
    assert_eq!(leases.acquire("cleaner", "b", TERM).await.unwrap(), None);
    assert_eq!(leases.acquire("other", "b", TERM).await.unwrap().expect("another lease").epoch, 1);
    clock.advance(Duration::from_secs(20));
    let a = leases.renew(&a, TERM).await.unwrap();
    clock.advance(Duration::from_secs(20));
    assert_eq!(leases.acquire("cleaner", "b", TERM).await.unwrap(), None, "renewed");
    clock.advance(Duration::from_secs(10));
    let a = leases.renew(&a, TERM).await.expect("ran out, but nobody took it");
    clock.advance(TERM);
    let b = leases.acquire("cleaner", "b", TERM).await.unwrap().expect("ran out");
    assert_eq!(b.epoch, 2);
    assert_eq!(leases.renew(&a, TERM).await.expect_err("lost").class(), Class::Conflict);
    leases.release(a).await.expect("nothing to give back");
    assert_eq!(leases.acquire("cleaner", "c", TERM).await.unwrap(), None, "the loser's release changes nothing");
    let again = leases.acquire("cleaner", "b", TERM).await.unwrap().expect("its own");
    assert_eq!(again.epoch, 3, "even the same holder starts a new epoch");
    assert_eq!(leases.renew(&b, TERM).await.expect_err("an epoch ago").class(), Class::Conflict);
    leases.release(again.clone()).await.unwrap();
    assert_eq!(leases.renew(&again, TERM).await.expect_err("given back").class(), Class::Conflict);
    assert_eq!(leases.acquire("cleaner", "c", TERM).await.unwrap().expect("given back").epoch, 4);
}

async fn a_zombie_writes_nothing(rig: Rig) {
    let clock = Clock::manual(Timestamp(1_000_000_000));
    let db = &rig.open_with(clock.clone()).await;
    let write = |lease: store::Lease, id: &'static str| {
        db.tx(move |tx| {
            let lease = lease.clone();
            work(async move {
                tx.insert(&row(id)).await?;
                tx.fence(&lease).await
            })
        })
    };
    let zombie = db.leases().acquire("w", "zombie", TERM).await.unwrap().unwrap();
    write(zombie.clone(), "alive").await.unwrap();
    clock.advance(TERM);
    write(zombie.clone(), "late").await.expect("late, but nobody else is there");
    let heir = db.leases().acquire("w", "heir", TERM).await.unwrap().unwrap();
    assert_eq!(write(zombie.clone(), "dead").await.expect_err("fenced").class(), Class::Conflict);
    // Swallowing the error does not help.
    let zombie = &zombie;
    let sly = db.tx(|tx| {
        work(async move {
            tx.fence(zombie).await.ok();
            Ok(())
        })
    });
    assert_eq!(sly.await.expect_err("fenced").class(), Class::Internal);
    write(heir, "heir").await.unwrap();
    let mut ids = db.read().texts("crates", "id", Cond::True).await.unwrap();
    ids.sort();
    assert_eq!(ids, ["alive", "heir", "late"]);
    let unknown = store::Lease { name: "nobody's".into(), holder: "x".into(), epoch: 1, expires_at: Timestamp::ZERO };
    assert_eq!(write(unknown, "x").await.expect_err("no such lease").class(), Class::Conflict);
}

/// Between the fence and the commit nobody else becomes the holder.
async fn a_fence_holds_off_the_next(rig: Rig) {
    let clock = Clock::manual(Timestamp(1_000_000_000));
    let db = &rig.open_with(clock.clone()).await;
    let old = &db.leases().acquire("w", "old", TERM).await.unwrap().unwrap();
    clock.advance(TERM);
    let (fenced, ready) = tokio::sync::oneshot::channel();
    let fenced = &std::sync::Mutex::new(Some(fenced));
    let writing = db.tx(|tx| {
        work(async move {
            tx.fence(old).await?;
            if let Some(fenced) = fenced.lock().unwrap().take() {
                fenced.send(()).ok();
            }
            // Time enough for the other to slip in, if it could.
            tokio::time::sleep(Duration::from_millis(300)).await;
            tx.insert(&row("a")).await
        })
    });
    let taking = async {
        ready.await.expect("fenced");
        let lease = db.leases().acquire("w", "new", TERM).await.unwrap().expect("ran out");
        (lease.epoch, db.read().exists("crates", Cond::eq("id", "a")).await.unwrap())
    };
    let (written, taken) = tokio::join!(writing, taking);
    written.expect("the fence held");
    assert_eq!(taken, (2, true), "the next holder sees all that was written under the lease before");
}

async fn one_of_many_wins(rig: Rig) {
    let db = rig.open().await;
    for round in 1..=3_i64 {
        let mut all = JoinSet::new();
        for i in 0..32 {
            let leases = db.leases();
            all.spawn(async move { leases.acquire("w", &format!("{round}-{i}"), TERM).await.expect("no error") });
        }
        let won: Vec<_> = all.join_all().await.into_iter().flatten().collect();
        assert_eq!(won.iter().map(|l| l.epoch).collect::<Vec<_>>(), [round]);
        db.leases().release(won[0].clone()).await.unwrap();
    }
}
