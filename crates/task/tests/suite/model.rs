//! Random tasks, random cancellations, random deaths: whatever happens, every task ends complete or undone.

use crate::kit::{self, Env};
use crate::random::{Dice, Random, audit, ops};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use store::{Db, work};
use task::testing::{Running, begin, ended, quick};
use task::{NewTask, Options, Tasks};

async fn rounds(db: Db, seeds: Range<u64>) {
    let count = seeds.end - seeds.start;
    kit::prepare(&db).await;
    let env = Arc::new(Env::default());
    let inspector = tokio::spawn(kit::inspector(db.clone()));
    let engine = || {
        let options = Options { look: Duration::from_millis(200), ..quick() };
        Running::new(Tasks::builder().kind::<Random>().options(options).build(&db, env.clone()))
    };
    let (mut complete, mut failed, mut killed) = (0, 0, 0);
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let what = format!("round {seed}");
        let mut ids = Vec::new();
        for _ in 0..1 + dice.roll(3) {
            let task = Random { ops: ops(&mut dice, 2) };
            ids.push(begin(&db, &NewTask::of(&task).on("round", &format!("{seed}.{}", ids.len()), "")).await.unwrap());
        }
        for _ in 0..dice.roll(4) {
            let running = engine();
            tokio::time::sleep(Duration::from_micros(dice.roll(25_000))).await;
            if dice.roll(3) == 0 {
                let id = &ids[dice.roll(ids.len() as u64) as usize];
                // Too late is an answer, too.
                match db.tx(|tx| work(task::cancel(tx, id))).await {
                    Ok(()) => {}
                    Err(e) => assert_eq!(e.class(), base::Class::InvalidStatus, "{what}: {e}"),
                }
            }
            tokio::time::sleep(Duration::from_micros(dice.roll(5_000))).await;
            running.kill().await;
            killed += 1;
        }
        let running = engine();
        for id in &ids {
            match ended(&db, id).await.succeeded() {
                true => complete += 1,
                false => failed += 1,
            }
        }
        running.kill().await;
        audit(&db, &env, &what).await;
    }
    inspector.abort();
    assert!(complete > count / 2 && failed > count / 4 && killed > count, "{complete} complete, {failed} failed, {killed} killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_tasks_and_deaths_on_sqlite() {
    for part in 0..6 {
        rounds(store::testing::sqlite().await, part * 50 + 1..part * 50 + 51).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_tasks_and_deaths_on_postgres() {
    rounds(store::testing::postgres().await, 1001..1061).await;
}
