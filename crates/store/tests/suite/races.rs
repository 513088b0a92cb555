//! Many at once: nothing is lost, nothing is exceeded, nobody waits for ever.

use crate::fixture::{Crate, Rig, both, dice, row};
use base::{Class, Resource};
use std::time::Duration;
use store::{Cond, Db, Op, Read, add, set, work};
use tokio::task::JoinSet;

both!(
    no_update_is_lost,
    no_counter_exceeds_its_cap,
    a_stale_row_is_not_saved,
    opposite_orders_both_end,
    no_write_skew_under_lock,
    no_transaction_in_a_transaction
);

const MANY: usize = 64;

async fn with(rig: &Rig, ids: &[&str]) -> Db {
    let db = rig.open().await;
    db.tx(|tx| {
        work(async move {
            for id in ids {
                tx.insert(&row(id)).await?;
            }
            Ok(())
        })
    })
    .await
    .expect("inserting");
    db
}

/// Runs a job many times at once and collects what each says.
async fn all<T: Send + 'static, F: Future<Output = T> + Send + 'static>(job: impl Fn(usize) -> F) -> Vec<T> {
    let mut set = JoinSet::new();
    for i in 0..MANY {
        set.spawn(job(i));
    }
    set.join_all().await
}

async fn no_update_is_lost(rig: Rig) {
    let db = with(&rig, &["a"]).await;
    let done = all(|_| {
        let db = db.clone();
        async move {
            db.tx(|tx| {
                work(async move {
                    let old = tx.one(Crate::facts(), "a").await?.expect("the row");
                    tokio::time::sleep(Duration::from_micros(dice(500))).await;
                    let mut new = old.clone();
                    new.set("used", old.int("used") + 1);
                    tx.save(&old, &mut new).await
                })
            })
            .await
        }
    })
    .await;
    let failed: Vec<_> = done.iter().filter_map(|d| d.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let a: Crate = db.read().get("a").await.unwrap().unwrap();
    assert_eq!((a.used, a.update_version), (MANY as i64, MANY as i64));
}

async fn no_counter_exceeds_its_cap(rig: Rig) {
    let db = with(&rig, &["a"]).await;
    let done = all(|_| {
        let db = db.clone();
        async move {
            db.tx(|tx| {
                work(async move {
                    let room = Cond::Fits { used: "used".into(), add: 3, cap: "capacity".into() };
                    let got = tx.update("crates", Cond::eq("id", "a").and(room), vec![add("used", 3)]).await?;
                    tokio::time::sleep(Duration::from_micros(dice(500))).await;
                    Ok(got)
                })
            })
            .await
            .expect("no error")
        }
    })
    .await;
    assert_eq!(done.iter().sum::<u64>(), 3, "ten pieces of room hold three times three");
    assert_eq!(db.read().get::<Crate>("a").await.unwrap().unwrap().used, 9);
}

async fn a_stale_row_is_not_saved(rig: Rig) {
    let db = with(&rig, &["a"]).await;
    let old = &db.read().one(Crate::facts(), "a").await.unwrap().unwrap();
    let save = |used: i64| {
        db.tx(move |tx| {
            work(async move {
                let mut new = old.clone();
                new.set("used", used);
                tx.save(old, &mut new).await
            })
        })
    };
    save(1).await.unwrap();
    let before = db.queries();
    let e = save(2).await.expect_err("the row has moved on");
    assert_eq!(e.class(), Class::ResourceBusy);
    assert!(db.queries() - before <= 2, "a row read outside is not tried over and over");
    assert_eq!(db.read().get::<Crate>("a").await.unwrap().unwrap().used, 1);
}

async fn opposite_orders_both_end(rig: Rig) {
    let db = with(&rig, &["a", "b"]).await;
    let done = all(|i| {
        let db = db.clone();
        async move {
            db.tx(|tx| {
                work(async move {
                    let order = if i % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
                    for id in order {
                        tx.update("crates", Cond::eq("id", id), vec![add("used", 1)]).await?;
                        tokio::task::yield_now().await;
                    }
                    Ok(())
                })
            })
            .await
        }
    })
    .await;
    let failed: Vec<_> = done.iter().filter_map(|d| d.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(db.read().sum("crates", "used", Cond::True).await.unwrap(), 2 * MANY as i64);
}

/// Each wants to close one of two crates, and at least one must stay open: a decision that rests on a row it does not write.
async fn no_write_skew_under_lock(rig: Rig) {
    let db = with(&rig, &["a", "b"]).await;
    db.tx(|tx| work(tx.update("crates", Cond::True, vec![set("open", true)]))).await.unwrap();
    all(|i| {
        let db = db.clone();
        async move {
            db.tx(|tx| {
                work(async move {
                    assert_eq!(tx.lock("crates", Cond::cmp("id", Op::Le, "b")).await?, 2);
                    if tx.count("crates", Cond::eq("open", true)).await? == 2 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        tx.update("crates", Cond::eq("id", ["a", "b"][i % 2]), vec![set("open", false)]).await?;
                    }
                    Ok(())
                })
            })
            .await
            .expect("no error")
        }
    })
    .await;
    assert_eq!(db.read().count("crates", Cond::eq("open", true)).await.unwrap(), 1);
}

async fn no_transaction_in_a_transaction(rig: Rig) {
    let (db, other) = (&rig.open().await, &rig.open().await);
    let inner = db.tx(|_| work(async move { db.tx(|tx| work(async move { Ok(tx.now()) })).await }));
    assert_eq!(inner.await.expect_err("it would wait for itself").class(), Class::Internal);
    // Another handle is another matter; reading outside is allowed and does not see inside.
    let seen = db.tx(|tx| {
        work(async move {
            tx.insert(&row("a")).await?;
            Ok((tx.count("crates", Cond::True).await?, other.read().count("crates", Cond::True).await?))
        })
    });
    assert_eq!(seen.await.unwrap(), (1, 0));
}
