//! Connections that the server cut are replaced without anybody noticing.

use crate::fixture::{Rig, patient, row};
use sqlx::{Connection, PgConnection};
use store::{Cond, Read, work};

async fn cut_all(url: &str) {
    let mut admin = PgConnection::connect(url).await.expect("connecting");
    let cut =
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let cut = sqlx::query(cut).fetch_all(&mut admin).await.expect("cutting");
    assert!(!cut.is_empty(), "there was something to cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_connections_are_replaced() {
    let rig = Rig::postgres().await;
    let db = &rig.open().await;
    patient(async {
        for n in 0..5 {
            // Several connections lie in the pool.
            let many: Vec<_> = (0..6).map(|_| async { db.read().count("crates", Cond::True).await.expect("reading") }).collect();
            futures_util::future::join_all(many).await;
            cut_all(&rig.url).await;
            assert_eq!(db.read().count("crates", Cond::True).await.expect("reading after the cut"), n);
            cut_all(&rig.url).await;
            let id = &n.to_string();
            db.tx(|tx| work(async move { tx.insert(&row(id)).await })).await.expect("writing after the cut");
        }
    })
    .await;
}

/// A cut in the middle of a transaction, before its commit: the body runs again.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_transaction_runs_again() {
    let rig = Rig::postgres().await;
    let db = &rig.open().await;
    let (url, mut runs) = (&rig.url, 0);
    let done = db.tx(|tx| {
        runs += 1;
        let first = runs == 1;
        work(async move {
            tx.insert(&row("a")).await?;
            if first {
                cut_all(url).await;
            }
            tx.insert(&row("b")).await
        })
    });
    patient(done).await.expect("the second run");
    assert_eq!(runs, 2);
    assert_eq!(db.read().count("crates", Cond::True).await.unwrap(), 2);
}
