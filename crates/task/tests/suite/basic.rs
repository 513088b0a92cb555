//! One task from the start to each of its ends.

use crate::kit::{Carton, Env, Shelf, engine, fresh, store};
use std::sync::Arc;
use store::{Cond, Read};
use task::testing::{Running, begin, ended, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn completes() {
    let db = fresh().await;
    let env = Arc::new(Env::default());
    let tasks = engine(&db, &env, quick());
    let id = begin(&db, &store("b1", "s1", false, false)).await.unwrap();
    let work = Running::new(tasks);
    let row = ended(&db, &id).await;
    assert!(row.succeeded(), "{row:?}");
    assert_eq!(row.facts.result, "receipt for b1");
    assert_eq!(row.facts.progress, 100);
    let mut read = &db;
    assert_eq!(read.get::<Shelf>("s1").await.unwrap().unwrap().used, 1);
    assert_eq!(read.count("task_holds", Cond::True).await.unwrap(), 0);
    work.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_undone_when_it_fails() {
    let db = fresh().await;
    let env = Arc::new(Env::default());
    let tasks = engine(&db, &env, quick());
    let work = Running::new(tasks);
    let id = begin(&db, &store("b1", "s1", false, true)).await.unwrap();
    let row = ended(&db, &id).await;
    assert!(!row.succeeded());
    assert_eq!(row.failure().unwrap().to_string(), "the box is ugly");
    let mut read = &db;
    assert_eq!(read.get::<Shelf>("s1").await.unwrap().unwrap().used, 0);
    assert!(read.get::<Carton>("b1").await.unwrap().is_none());
    assert!(env.things().is_empty());
    work.kill().await;
}
