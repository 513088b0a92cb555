//! A real process that is killed: `examples/crash.rs` runs random tasks on a database file and dies by SIGKILL at any moment.

use crate::kit::Env;
use crate::random::{Dice, audit};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use store::{Cond, Db, Read};

const ROUNDS: u64 = 30;
const TASKS: i64 = 500;

fn binary() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let binary = here.parent().unwrap().parent().unwrap().join("examples/crash");
    assert!(binary.exists(), "{} is not built; `cargo build -p task --example crash` makes it", binary.display());
    binary
}

fn spawn(dir: &tempfile::TempDir) -> Child {
    Command::new(binary()).arg(dir.path()).arg(TASKS.to_string()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Returns once the process has taken its first task, or has ended without one.
fn until_at_work(child: &mut Child) {
    let out = child.stdout.take().unwrap();
    let (told, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || told.send(BufReader::new(out).read_line(&mut String::new()).unwrap()));
    said.recv_timeout(Duration::from_secs(120)).expect("no task was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_thirty_times() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("things")).unwrap();
    let mut dice = Dice::new(7);
    let mut cut = 0;
    for round in 0..ROUNDS {
        let mut child = spawn(&dir);
        // Mostly while it works, sometimes while it starts; seldom so late that all is done.
        let within = if round % 5 == 0 { 400 } else { 150 };
        if round % 5 != 0 {
            tokio::task::block_in_place(|| until_at_work(&mut child));
        }
        let moment = Instant::now() + Duration::from_millis(dice.roll(within));
        while Instant::now() < moment && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        cut += u64::from(!status.success());
    }
    let mut child = spawn(&dir);
    let end = Instant::now() + Duration::from_secs(300);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("the tasks did not end");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success(), "{status}");
    assert!(cut > ROUNDS / 2, "only {cut} of {ROUNDS} were cut short");

    let db = Db::open(&format!("sqlite://{}", dir.path().join("tasks.db").display())).await.unwrap();
    let env = Env::at(dir.path().join("things"));
    let roots = (&mut &db).count("tasks", Cond::eq("parent_task_id", "")).await.unwrap();
    assert_eq!(roots, TASKS);
    audit(&db, &env, "after the last life").await;
    let again = (&mut &db).count("tasks", Cond::cmp("epoch", store::Op::Gt, 1)).await.unwrap();
    println!("{cut} of {ROUNDS} lives were cut short, {again} tasks outlived one");
    assert!(again > 0, "no task ever outlived its process");
}
