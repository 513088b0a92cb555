//! One life of a process of the crash test: goes on with the tasks it finds, starts new ones until there are enough, and ends when all have ended.
//!
//! `crash DIR COUNT`; a line on standard output says that the first task was taken.

#[path = "../tests/suite/kit.rs"]
#[allow(dead_code)]
mod kit;
#[path = "../tests/suite/random.rs"]
#[allow(dead_code)]
mod random;

use kit::Env;
use random::{Dice, Random, ops};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{Cond, Db, Read};
use task::testing::{Running, begin, quick};
use task::{NewTask, Options, Tasks, status};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().expect("a directory"));
    let count: i64 = args.next().expect("a number of tasks").parse().expect("a number of tasks");
    let db = Db::open(&format!("sqlite://{}", dir.join("tasks.db").display())).await.unwrap();
    kit::prepare(&db).await;
    let env = Arc::new(Env::at(dir.join("things")));
    let options = Options { look: Duration::from_millis(100), ..quick() };
    let tasks = Tasks::builder().kind::<Random>().options(options).build(&db, env);
    let claimed = tasks.metrics().claimed.clone();
    let _running = Running::new(tasks);
    tokio::spawn(async move {
        let claimed = claimed.get_or_create(&task::OfTask { task: "RandomTask".to_string() }).clone();
        while claimed.get() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!("at work");
    });
    let _inspector = tokio::spawn(kit::inspector(db.clone()));

    let roots = || async { (&mut &db).count("tasks", Cond::eq("parent_task_id", "")).await.unwrap() };
    while roots().await < count {
        let seed = roots().await;
        let task = Random { ops: ops(&mut Dice::new(1000 + seed as u64), 2) };
        begin(&db, &NewTask::of(&task).on("round", &seed.to_string(), "")).await.unwrap();
    }
    loop {
        let cursor = db.feed().head().await.unwrap();
        if (&mut &db).count("tasks", Cond::ne("status", status::DONE)).await.unwrap() == 0 {
            return;
        }
        db.feed().wait(cursor, Duration::from_secs(1)).await.unwrap();
    }
}
