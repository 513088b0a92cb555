//! A process that writes is killed; what it had been told was committed is there, whole, and told in the feed.

use crate::fixture::{Rig, both, change, dice, row};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;
use store::{Cond, Dialect, Read, add, work};

both!(killed_while_writing);

const URL: &str = "STORE_TEST_CHILD";

/// The process to be killed: writes for ever and says on standard output what was acknowledged. Does nothing unless called for.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let db = store::Db::open(&url).await.expect("opening");
    let start = db.read().count("crates", Cond::True).await.expect("counting");
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let db = db.clone();
        tasks.spawn(async move {
            for n in 0.. {
                let id = &format!("{start}-{task}-{n}");
                db.tx(|tx| {
                    work(async move {
                        tx.insert(&row(id)).await?;
                        tx.update("crates", Cond::eq("id", "sum"), vec![add("used", 1)]).await?;
                        tx.emit(change(id, n)).await
                    })
                })
                .await
                .expect("writing");
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {id}").and_then(|()| out.flush()).expect("telling");
            }
        });
    }
    tasks.join_all().await;
}

async fn killed_while_writing(rig: Rig) {
    let sum = &row("sum");
    rig.open().await.tx(|tx| work(tx.insert(sum))).await.unwrap();
    let mut acknowledged = HashSet::new();
    for _ in 0..5 {
        let url = match rig.dialect {
            Dialect::Sqlite => rig.url.clone(),
            Dialect::Postgres => format!("{}&application_name={}", rig.url, writer().replace(' ', "%20")),
        };
        let acks = tokio::task::spawn_blocking(move || write_and_die(&url)).await.unwrap();
        assert!(acks.len() >= 20);
        acknowledged.extend(acks);
        until_nobody_writes(&rig).await;
        let db = rig.open().await;
        let written: HashSet<String> = db.read().texts("crates", "id", Cond::ne("id", "sum")).await.unwrap().into_iter().collect();
        let missing: Vec<_> = acknowledged.difference(&written).collect();
        assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
        assert_eq!(db.read().sum("crates", "used", Cond::True).await.unwrap(), written.len() as i64, "each transaction is there whole");
        let (mut told, mut cursor) = (Vec::new(), 0);
        while told.len() < written.len() {
            let batch = db.feed().after(cursor, 10_000).await.unwrap();
            assert!(!batch.lost);
            cursor = batch.cursor;
            told.extend(batch.changes.iter().map(|(_, _, c)| c.id.clone()));
            db.feed().wait(cursor, Duration::from_millis(10)).await.unwrap();
        }
        assert_eq!(told.len(), written.len(), "each told once");
        assert_eq!(told.into_iter().collect::<HashSet<_>>(), written);
    }
}

/// A server may still have a COMMIT of the dead in a socket; it is not read before that is done.
async fn until_nobody_writes(rig: &Rig) {
    if rig.dialect == Dialect::Sqlite {
        return;
    }
    let db = rig.bare().await;
    while db.read().count("pg_stat_activity", Cond::eq("application_name", writer())).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How the writer of this process calls itself at a server.
fn writer() -> String {
    format!("writer of {}", std::process::id())
}

/// Starts the writer, kills it after some acknowledgements and answers all it gave.
fn write_and_die(url: &str) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "kill::child", "--nocapture"])
        .env(URL, url)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("starting the writer");
    let out = BufReader::new(child.stdout.take().expect("its output"));
    let enough = 20 + dice(300) as usize;
    let mut acks = Vec::new();
    for line in out.lines() {
        let line = line.expect("its output");
        // The test harness writes lines of its own.
        if let Some(id) = line.split("ack ").nth(1) {
            acks.push(id.to_string());
        }
        if acks.len() == enough {
            child.kill().expect("killing the writer");
        }
    }
    child.wait().expect("the end of the writer");
    acks
}
