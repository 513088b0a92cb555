//! Reconcilers under a clock that only moves when nothing else can, and two processes sharing turns on a real database.

use base::{Clock, Result, err};
use reconcile::{Counts, Handle, Phase, Reconciler, Reconcilers, Scope, Turn};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Cond, Db, Read, set, work};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// Counts its runs, and runs only with a permit.
#[derive(Clone)]
struct Probe {
    began: Arc<Mutex<Vec<Instant>>>,
    count: watch::Sender<usize>,
    at_once: Arc<AtomicI64>,
    permits: Arc<Semaphore>,
    fails: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
    period: Duration,
}

impl Probe {
    fn new(period: Duration) -> Probe {
        Probe {
            began: Arc::default(),
            count: watch::Sender::new(0),
            at_once: Arc::default(),
            permits: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            fails: Arc::default(),
            panics: Arc::default(),
            period,
        }
    }
    fn runs(&self) -> usize {
        self.began.lock().unwrap().len()
    }
    /// Pauses between the beginnings of runs.
    fn pauses(&self) -> Vec<Duration> {
        self.began.lock().unwrap().windows(2).map(|w| w[1] - w[0]).collect()
    }
    async fn until_runs(&self, n: usize) {
        let mut count = self.count.subscribe();
        let enough = count.wait_for(|runs| *runs >= n);
        tokio::time::timeout(Duration::from_secs(1_000_000), enough).await.unwrap_or_else(|_| panic!("only {} runs", self.runs())).unwrap();
    }
}

impl Reconciler for Probe {
    fn name(&self) -> String {
        "probe".to_string()
    }
    fn period(&self) -> Duration {
        self.period
    }
    async fn run(&self, _: &Turn) -> Result<Counts> {
        self.began.lock().unwrap().push(Instant::now());
        self.count.send_replace(self.runs());
        assert_eq!(self.at_once.fetch_add(1, Ordering::SeqCst), 0, "two runs at once");
        self.permits.acquire().await.unwrap().forget();
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "as told");
        if self.fails.load(Ordering::SeqCst) {
            return Err(err!(ServiceAbnormal, "the host does not answer").with_context("host h1"));
        }
        Ok(Counts::default().with("seen", 7))
    }
}

fn start(probe: &Probe) -> (Reconcilers, Handle) {
    let mut all = Reconcilers::without_database(Clock::real());
    let handle = all.add(probe.clone());
    (all, handle)
}

fn about(got: Duration, want: Duration) -> bool {
    got >= want.mul_f64(0.89) && got <= want.mul_f64(1.11)
}

#[tokio::test(start_paused = true)]
async fn runs_at_once_and_then_periodically_with_jitter() {
    let probe = Probe::new(Duration::from_secs(60));
    let (all, handle) = start(&probe);
    probe.until_runs(20).await;
    let pauses = probe.pauses();
    assert!(pauses.iter().all(|p| about(*p, Duration::from_secs(60))), "{pauses:?}");
    assert!(pauses.iter().any(|p| *p != pauses[0]), "no jitter: {pauses:?}");
    let status = handle.status();
    assert_eq!((status.phase, status.failures, status.last_success.unwrap().counts.get("seen")), (Phase::Idle, 0, 7));
    all.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_activation_during_a_run_makes_one_more_run_after_it() {
    let probe = Probe { permits: Arc::new(Semaphore::new(0)), ..Probe::new(Duration::from_secs(3600)) };
    let (_all, handle) = start(&probe);
    probe.until_runs(1).await;
    assert_eq!(handle.status().phase, Phase::Running);
    for _ in 0..5 {
        handle.activate();
    }
    probe.permits.add_permits(1);
    probe.until_runs(2).await;
    probe.permits.add_permits(10);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(probe.runs(), 2, "five activations are one run");
}

#[tokio::test(start_paused = true)]
async fn a_failing_one_backs_off_and_obeys_only_operators() {
    let probe = Probe::new(Duration::from_secs(10));
    probe.fails.store(true, Ordering::SeqCst);
    let (_all, handle) = start(&probe);
    probe.until_runs(14).await;
    let pauses = probe.pauses();
    for (i, pause) in pauses.iter().enumerate() {
        assert!(about(*pause, Duration::from_secs((1 << i).min(300))), "{i}: {pauses:?}");
    }
    let status = handle.status();
    assert_eq!((status.phase, status.failing), (Phase::BackingOff, 14));
    assert_eq!(status.last.unwrap().error.unwrap(), "the host does not answer (host h1)");

    let before = Instant::now();
    handle.activate();
    probe.until_runs(15).await;
    assert!(before.elapsed() > Duration::from_secs(200), "an activation does not break the back-off");

    probe.fails.store(false, Ordering::SeqCst);
    let before = Instant::now();
    let last = handle.run_now().await.unwrap();
    assert_eq!((last.error, before.elapsed() < Duration::from_secs(1)), (None, true));
    assert_eq!((handle.status().phase, handle.status().failing), (Phase::Idle, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_run() {
    let probe = Probe::new(Duration::from_secs(10));
    probe.panics.store(true, Ordering::SeqCst);
    let (_all, handle) = start(&probe);
    probe.until_runs(3).await;
    let error = handle.status().last.unwrap().error.unwrap();
    assert!(error.contains("panic: as told"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_stopped_one_is_told() {
    let probe = Probe { permits: Arc::new(Semaphore::new(0)), ..Probe::new(Duration::from_secs(10)) };
    let (all, handle) = start(&probe);
    probe.until_runs(1).await;
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.run_now().await }
    });
    tokio::task::yield_now().await;
    all.stop().await;
    assert_eq!(waiting.await.unwrap().unwrap_err().class(), base::Class::ServiceAbnormal);
    assert_eq!(handle.status().phase, Phase::Stopped);
    assert!(handle.run_now().await.is_err());
}

/// Adds one to a counter by reading and writing it apart, which only works when nobody else does the same.
struct Careless {
    db: Db,
    term: Duration,
}

impl Reconciler for Careless {
    fn name(&self) -> String {
        "careless".to_string()
    }
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }
    fn scope(&self) -> Scope {
        Scope::Cluster { term: self.term }
    }
    async fn run(&self, turn: &Turn) -> Result<Counts> {
        let seen = (&self.db).sum("counters", "n", Cond::True).await?;
        tokio::task::yield_now().await;
        self.db
            .tx(|tx| {
                work(async move {
                    turn.fence(tx).await?;
                    tx.update("counters", Cond::True, vec![set("n", seen + 1)]).await
                })
            })
            .await?;
        Ok(Counts::default().with("n", seen + 1))
    }
}

const TABLES: store::Migrations = store::Migrations {
    owner: "test",
    sqlite: &[("0001_counters.sql", "CREATE TABLE counters (n INTEGER NOT NULL); INSERT INTO counters VALUES (0);")],
    postgres: &[("0001_counters.sql", "CREATE TABLE counters (n BIGINT NOT NULL); INSERT INTO counters VALUES (0);")],
};

async fn take_turns(db: Db) {
    db.migrate(&TABLES).await.unwrap();
    let term = Duration::from_secs(60);
    let mut processes: Vec<(Reconcilers, Handle)> = Vec::new();
    for _ in 0..4 {
        let mut all = Reconcilers::new(&db);
        let handle = all.add(Careless { db: db.clone(), term });
        processes.push((all, handle));
    }
    // Every request to run is answered by a run of that very process, whoever has the turn when it comes.
    for _ in 0..5 {
        for result in futures_util::future::join_all(processes.iter().map(|(_, h)| h.run_now())).await {
            assert_eq!(result.unwrap().error, None);
        }
    }
    let runs: i64 = processes.iter().map(|(_, h)| h.status().runs as i64).sum();
    assert!(runs >= 20);
    assert_eq!((&mut &db).sum("counters", "n", Cond::True).await.unwrap(), runs, "no run was lost to another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_take_turns_on_sqlite() {
    take_turns(store::testing::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_take_turns_on_postgres() {
    take_turns(store::testing::postgres().await).await;
}

/// Says that it runs and then waits for ever.
struct Sleeper(Arc<Semaphore>);

impl Reconciler for Sleeper {
    fn name(&self) -> String {
        "sleeper".to_string()
    }
    fn period(&self) -> Duration {
        Duration::from_secs(3600)
    }
    fn scope(&self) -> Scope {
        Scope::Cluster { term: Duration::from_millis(300) }
    }
    async fn run(&self, _: &Turn) -> Result<Counts> {
        self.0.add_permits(1);
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_turn_was_taken_is_ended() {
    let db = store::testing::sqlite().await;
    let mut all = Reconcilers::new(&db);
    let running = Arc::new(Semaphore::new(0));
    let handle = all.add(Sleeper(running.clone()));
    running.acquire().await.unwrap().forget();
    // Somebody else takes the turn, as if this process had slept: its lease is made to look run out.
    let rival = async {
        loop {
            db.tx(|tx| work(async move { tx.update("leases", Cond::True, vec![set("expires_at", base::Timestamp(1))]).await }))
                .await
                .unwrap();
            if db.leases().acquire("reconcile/sleeper", "rival", Duration::from_secs(600)).await.unwrap().is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), rival).await.unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    let error = loop {
        if let Some(error) = handle.status().last.and_then(|l| l.error) {
            break error;
        }
        assert!(Instant::now() < end, "{:?}", handle.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(error.contains("taken over"), "{error}");
}
