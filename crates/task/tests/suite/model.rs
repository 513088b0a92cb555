//! Random tasks, random cancellations, random deaths: whatever happens, every task ends complete or undone.

use crate::kit::{self, Env};
use crate::random::{Dice, Random, audit, fails, ops};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use store::{Db, work};
use task::testing::{Running, begin, ended, quick};
use task::{NewTask, Options, Tasks};

async fn rounds(db: Db, seeds: Range<u64>) {
    let (first, count) = (seeds.start, seeds.end - seeds.start);
    kit::prepare(&db).await;
    let env = Arc::new(Env::default());
    let inspector = tokio::spawn(kit::inspector(db.clone()));
    let engine = || {
        let options = Options { look: Duration::from_millis(200), ..quick() };
        Running::new(Tasks::builder().kind::<Random>().options(options).build(&db, env.clone()))
    };
    let (mut complete, mut failed, mut killed, mut bound) = (0, 0, 0, 0);
    for seed in seeds {
        let mut dice = Dice::new(seed);
        let what = format!("round {seed}");
        let (mut ids, mut doomed) = (Vec::new(), Vec::new());
        for _ in 0..1 + dice.roll(3) {
            let task = Random { ops: ops(&mut dice, 2) };
            doomed.push(fails(&task.ops));
            ids.push(begin(&db, &NewTask::of(&task).on("round", &format!("{seed}.{}", ids.len()), "")).await.unwrap());
        }
        if seed == first {
            // One is cancelled before anybody could have begun it, however fast the machine is.
            db.tx(|tx| work(task::cancel(tx, &ids[0]))).await.unwrap();
            doomed[0] = true;
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
        for (id, doomed) in ids.iter().zip(doomed) {
            let row = ended(&db, id).await;
            assert!(!(doomed && row.succeeded()), "{what}: {id} had to fail: {row:?}");
            bound += u64::from(doomed);
            match row.succeeded() {
                true => complete += 1,
                false => failed += 1,
            }
        }
        running.kill().await;
        audit(&db, &env, &what).await;
    }
    inspector.abort();
    // How many fail by themselves lies in the seeds; how many of the others are cancelled in time lies in the machine.
    let enough = complete > count / 2 && failed >= bound && bound > count / 5 && killed > count;
    assert!(enough, "{complete} complete, {failed} failed of {bound} that had to, {killed} killed");
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
