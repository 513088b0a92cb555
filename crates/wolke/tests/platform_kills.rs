//! Whatever dies, nothing hangs and nothing leaks: a real control plane and simulated hosts are killed at random moments of servers' lives.
//!
//! `WOLKE_SEED` repeats what was drawn, `WOLKE_ROUNDS` goes on for longer.

mod lab;

use lab::{Owned, PATIENCE, Platform, dice::Dice, unsettled, until_none, users::Users};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use store::Db;

const HOSTS: usize = 4;
const ROUNDS: usize = 200;
/// Rounds on PostgreSQL, where what differs are the database's own races.
const ROUNDS_PG: usize = 40;
/// Rounds after which everything is looked at.
const LOOK: usize = 20;

struct Run {
    /// Before the platform, in whose directory they lie.
    hosts: Option<Owned>,
    platform: Platform,
    state: PathBuf,
    rows: Db,
    dice: Dice,
    users: Users,
    /// How often each wish was taken.
    taken: BTreeMap<String, usize>,
    /// What happened since all was last well.
    story: Vec<String>,
}

impl Run {
    async fn start(database: Option<String>) -> Run {
        let mut args = vec!["--no-host".to_string()];
        args.extend(database.into_iter().flat_map(|url| ["--set".to_string(), format!("database={url}")]));
        let platform = Platform::start(&args.iter().map(String::as_str).collect::<Vec<_>>(), true).await;
        let image = platform.dir.path().join("blob.raw");
        std::fs::write(&image, vec![7; 1 << 20]).expect("a file");
        platform.upload("blob", "raw", &image);
        let state = platform.dir.path().join("sim");
        let like = json!({"vcpu_count": 1, "vmem_size": 64, "disks": ["blob:1g", "1g"], "nets": ["default"], "disable_delete": false});
        let rows = platform.rows().await;
        let mut run = Run {
            platform,
            hosts: None,
            state,
            rows,
            dice: Dice::new(),
            users: Users::new(12, like, true),
            taken: BTreeMap::new(),
            story: Vec::new(),
        };
        run.start_hosts();
        run
    }

    fn start_hosts(&mut self) {
        let (region, admin) = (format!("{}/compute", self.platform.url()), self.platform.data().join("admin.json"));
        let count = HOSTS.to_string();
        let args = ["--region", &region, "--admin", admin.to_str().expect("a path"), "--state", self.state.to_str().expect("a path")];
        self.hosts = Some(self.platform.start_example("hosts", &[&args[..], &["--count", &count]].concat()));
    }

    /// Several users at once, and a death at some moment of it.
    async fn round(&mut self) {
        let wishes: Vec<_> = (0..3 + self.dice.roll(6)).map(|_| self.users.wish(&mut self.dice)).collect();
        // At some moment of the requests, or of what they set off.
        let (moment, whom) = (self.dice.up_to(Duration::from_millis(250)), self.dice.roll(10));
        let guests = sim::guests(&self.state).expect("hosts");
        let guest = (!guests.is_empty()).then(|| self.dice.pick(&guests).clone());
        let asked = futures_util::future::join_all(wishes.into_iter().map(|w| w.ask(&self.platform)));
        let death = async {
            tokio::time::sleep(moment).await;
            match (whom, &guest) {
                (0..=3, _) => self.platform.kill_control(),
                (4..=6, _) => self.hosts.take().expect("hosts run").kill(),
                (_, Some(guest)) => drop(sim::kill_guest(&self.state, guest).expect("hosts")),
                (_, None) => {}
            }
        };
        let (answers, ()) = tokio::join!(asked, death);
        for (told, gone) in answers {
            if let (true, Some(what)) = (told.ends_with(": taken"), told.split(' ').next()) {
                *self.taken.entry(what.to_string()).or_default() += 1;
            }
            self.story.push(told);
            if let Some(name) = gone {
                self.users.forget(&name);
            }
        }
        match whom {
            0..=3 => {
                self.story.push("the control plane dies".into());
                self.platform.start_control().await;
            }
            4..=6 => {
                self.story.push("the hosts' agents die".into());
                tokio::time::sleep(self.dice.up_to(Duration::from_millis(200))).await;
                self.start_hosts();
            }
            _ => self.story.push(format!("a guest died: {guest:?}")),
        }
    }

    /// All that is not at its end, or held by nobody.
    async fn look(&self) -> Vec<String> {
        let mut found: Vec<String> = match self.platform.servers().await {
            Ok(servers) => servers.iter().filter_map(unsettled).collect(),
            Err(e) => vec![format!("servers cannot be listed: {e}")],
        };
        found.extend(testkit::ledger::faults(&self.rows).await.expect("the region's books"));
        found.extend(sim::strays(&self.rows, &self.state).await.unwrap_or_else(|e| vec![format!("{e:#}")]));
        found
    }

    async fn all_is_well(&mut self) {
        until_none(PATIENCE, async || self.look().await).await;
        self.story.clear();
    }
}

/// Tells what led to a failure.
impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}; since all was well:\n{}", self.dice.seed, self.story.join("\n"));
            eprintln!("control plane: {}\nhosts: {}", self.platform.log("up.log"), self.platform.log("hosts.log"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_survives_random_kills() {
    survives(None, ROUNDS).await;
}

/// The same with the services' databases on a PostgreSQL server, which outlives them.
#[tokio::test(flavor = "multi_thread")]
async fn platform_survives_random_kills_on_postgres() {
    survives(Some(store::testing::postgres_urls(&["identity", "image", "compute", "gateway"]).await), ROUNDS_PG).await;
}

async fn survives(database: Option<String>, usual: usize) {
    let rounds = std::env::var("WOLKE_ROUNDS").map_or(usual, |text| text.parse().expect("WOLKE_ROUNDS is a number"));
    let mut run = Run::start(database).await;
    until_none(PATIENCE, async || {
        let hosts = run.platform.get("hosts?host_status=online&limit=0").await.expect("hosts");
        (hosts["total"].as_u64() != Some(HOSTS as u64)).then(|| format!("{hosts}")).into_iter().collect()
    })
    .await;
    eprintln!("seed {}", run.dice.seed);
    let started = Instant::now();
    for round in 1..=rounds {
        run.story.push(format!("round {round}"));
        run.round().await;
        if round % LOOK == 0 || round == rounds {
            let since = Instant::now();
            run.all_is_well().await;
            eprintln!("round {round}: {:?} in all, all well after {:?}", started.elapsed(), since.elapsed());
        }
    }
    eprintln!("taken: {:?}", run.taken);
    if rounds >= ROUNDS {
        // Of 13 kinds; what is drawn may pass over one.
        assert!(run.taken.len() > 9, "nearly everything is taken now and then: {:?}", run.taken);
    }
    // At the very end nothing must be left.
    let since = Instant::now();
    for server in run.platform.servers().await.expect("servers") {
        let name = server["name"].as_str().expect("a name");
        run.platform.delete(name).await.unwrap_or_else(|e| panic!("{name} cannot be deleted: {e}"));
    }
    until_none(PATIENCE, async || {
        let mut found = run.look().await;
        found.extend(run.platform.servers().await.expect("servers").iter().map(|s| format!("{s}")));
        found
    })
    .await;
    eprintln!("all gone after {:?}", since.elapsed());
    for path in ["disks?limit=0&scope=system", "disks?limit=0&scope=system&pending_delete=true"] {
        assert_eq!(run.platform.get(path).await.expect("disks")["total"].as_u64().unwrap_or(0), 0);
    }
    assert_eq!(sim::guests(&run.state).expect("hosts"), Vec::<String>::new());
}
