//! The generated tests of `task::testing` on every kind of task of the region: each step twice, failing, killed, cancelled; every undo too.
//!
//! A world is a region without workers, one host that does what it is told, and what the task needs to find. What must be as before is every
//! row that is not gone: servers, disks, addresses, and the counters of hosts, storages and networks.

use crate::world::{self, How, World, obey};
use api_compute::{Disk, GuestDisk, GuestNetwork, Network, Server, Storage};
use base::{Clock, Facts, Resource, Result};
use region_compute::Compute;
use region_compute::agent::{Agents, HostId};
use region_compute::task::{self as tasks, plan};
use scheduler::Scheduler;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Cond, Db, Read, Tx};
use task::testing::{self, Bed, Running};
use task::{Builder, NewTask, Tasks};

/// What a world has before the task starts.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// A server `vm`, as soon as it was asked for.
    Asked,
    Running,
    Ready,
    /// Beside it a disk `d` of its own.
    RunningAndDisk,
    /// A server with two disks, stopped, and its second disk is `d`.
    ReadyWithDisk,
    /// A disk `d`, as soon as it was asked for.
    DiskAsked,
    DiskReady,
}

struct Kit {
    before: Before,
    task: fn(&Found) -> NewTask,
    postgres: bool,
    /// Who speaks for the host of the world made last.
    host: Mutex<Option<HostId>>,
}

/// Identifiers of what the world has.
#[derive(Default)]
struct Found {
    server: String,
    disk: String,
    network: String,
    nic: String,
}

fn kit(before: Before, task: fn(&Found) -> NewTask) -> Kit {
    Kit { before, task, postgres: false, host: Mutex::default() }
}

async fn compute(db: &Db) -> Arc<Compute> {
    let scheduler = Arc::new(Scheduler::start(db.clone()).await.expect("a scheduler"));
    Arc::new(Compute { images: world::images(), scheduler, settings: world::settings(), seal: world::seal() })
}

/// Lets the host do what it is told, and the tasks that are there run, until there is one row with this status and nothing goes on.
async fn work_until(db: &Db, env: &Arc<Compute>, host: &HostId, table: &'static str, word: &str) {
    let agent = tokio::spawn(speak(db.clone(), env.clone(), host.clone()));
    let running = Running::new(tasks_of(Tasks::builder()).options(testing::quick()).build(db, env.clone()));
    let seen = tokio::time::timeout(world::LONG, async {
        while (&mut &*db).count("task_holds", Cond::True).await.expect("holds") > 0
            || (&mut &*db).count(table, Cond::eq("status", word)).await.expect("rows") == 0
            || !at_rest(db).await
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(seen.await.is_ok(), "nothing becomes {word}");
    running.kill().await;
    agent.abort();
}

async fn speak(db: Db, env: Arc<Compute>, host: HostId) {
    let agents = Agents::new(db, Clock::real(), env);
    let how = Mutex::new(How::Obedient);
    tokio::join!(obey(&agents, &host, &how), async { agents.follow().await.expect("the feed") });
}

fn tasks_of(builder: Builder<Compute>) -> Builder<Compute> {
    region_compute::with_tasks(builder)
}

impl Bed for Kit {
    type Env = Compute;

    async fn world(&self) -> (Db, Arc<Compute>) {
        let db = if self.postgres { store::testing::postgres().await } else { store::testing::sqlite().await };
        let world = World::still(db.clone()).await;
        let host = world.machine("h1").await;
        let env = compute(&db).await;
        let vm = |start: bool| {
            json!({"server": {"name": "vm", "vcpu_count": 2, "vmem_size": 512, "disks": ["tiny:2g", "1g"], "nets": ["net"], "auto_start": start,
                "disable_delete": false}})
        };
        let ask = match self.before {
            Before::Asked | Before::Ready | Before::ReadyWithDisk => ("servers", vm(false)),
            Before::Running | Before::RunningAndDisk => ("servers", vm(true)),
            Before::DiskAsked | Before::DiskReady => ("disks", json!({"disk": {"name": "d", "size": "1g"}})),
        };
        world.post(ask.0, ask.1).await.expect("what the task needs");
        match self.before {
            // Its own task would be a second one.
            Before::Asked | Before::DiskAsked => {
                let forget = db.tx(|tx| {
                    store::work(async move {
                        tx.delete("tasks", Cond::True).await?;
                        tx.delete("task_holds", Cond::True).await.map(drop)
                    })
                });
                forget.await.expect("the task of the request goes");
            }
            Before::Running => work_until(&db, &env, &host, "servers", "running").await,
            Before::RunningAndDisk => {
                work_until(&db, &env, &host, "servers", "running").await;
                // The same host has it: there is no other.
                world.post("disks", json!({"disk": {"name": "d", "size": "1g"}})).await.expect("a disk");
                work_until(&db, &env, &host, "disks", "ready").await;
            }
            Before::Ready => work_until(&db, &env, &host, "servers", "ready").await,
            Before::ReadyWithDisk => {
                work_until(&db, &env, &host, "servers", "ready").await;
                let second = (&mut &db).list::<Disk>(Cond::eq("disk_type", "data")).await.expect("disks").pop().expect("a second disk");
                let named = json!({"disk": {"name": "d"}});
                let path = format!("disks/{}", second.meta.id);
                world.ask(&world::admin(), resource::Method::Put, &path, named).await.expect("a name");
            }
            Before::DiskReady => work_until(&db, &env, &host, "disks", "ready").await,
        }
        *self.host.lock().expect("no panic in between") = Some(host);
        (db, env)
    }

    fn kinds(&self, builder: Builder<Compute>) -> Builder<Compute> {
        tasks_of(builder)
    }

    async fn start(&self, tx: &mut Tx) -> Result<NewTask> {
        let first = async |tx: &mut Tx, facts: &'static Facts, cond: Cond| -> Result<String> {
            Ok(tx.find(facts, cond).await?.first().map(|r| r.id().to_string()).unwrap_or_default())
        };
        let found = Found {
            server: first(tx, Server::facts(), Cond::True).await?,
            disk: first(tx, Disk::facts(), Cond::eq("name", "d")).await?,
            network: first(tx, Network::facts(), Cond::eq("name", "net")).await?,
            nic: first(tx, GuestNetwork::facts(), Cond::True).await?,
        };
        Ok((self.task)(&found))
    }

    fn tables(&self) -> Vec<&'static Facts> {
        vec![
            Server::facts(),
            Disk::facts(),
            GuestDisk::facts(),
            GuestNetwork::facts(),
            api_compute::Host::facts(),
            Storage::facts(),
            Network::facts(),
        ]
    }

    fn rows(&self, _: &Facts) -> Cond {
        Cond::eq("deleted", false)
    }

    fn volatile(&self) -> &'static [&'static str] {
        &[
            // Words for people, and what a report says anew each time.
            "status",
            "status_reason",
            "progress",
            "update_version",
            "observed",
            "observed_version",
            // They only ever rise.
            "generation",
            "login_generation",
            "desired_version",
            "restarts",
            "starts",
            // How the last stop was asked for.
            "force_stop",
            "stop_timeout",
            // What a failed creation planned counts no longer.
            "planned_mb",
            "last_start_at",
            // Chosen by chance.
            "row_id",
            "mac_addr",
            "ifname",
            "credential",
            "login_secret",
            "disks.name",
            "storages.name",
        ]
    }

    async fn settled(&self, db: &Db, _: &Compute) {
        let rest = tokio::time::timeout(world::LONG, async {
            while !at_rest(db).await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(rest.await.is_ok(), "the host does not come to rest");
    }

    fn beside(&self, db: Db, env: Arc<Compute>) -> impl Future<Output = ()> + Send + 'static {
        let host = self.host.lock().expect("no panic in between").clone().expect("a world");
        speak(db, env, host)
    }
}

/// Whether the host has said of every server and disk that it is as wanted.
async fn at_rest(mut db: &Db) -> bool {
    let live = || Cond::eq("deleted", false);
    let going = db.count("disks", live().and(Cond::is_in("existence", ["absent", "retracted"]))).await.expect("disks");
    let servers: Vec<Server> = db.list(live().and(Cond::ne("existence", ""))).await.expect("servers");
    going == 0 && servers.iter().all(|s| s.observed["generation"].as_i64() == Some(s.generation))
}

/// Runs the generated tests; the names of the steps, so that a test shows that it went through them.
async fn steps(kit: Kit) -> (Vec<String>, Vec<String>) {
    let report = testing::check(&kit).await;
    let bare = |names: Vec<String>| names.into_iter().map(|n| n.split_once('/').expect("task/step").1.to_string()).collect();
    (bare(report.steps), bare(report.undos))
}

fn on_server<T: task::Task<Compute>>(input: &T, found: &Found) -> NewTask {
    NewTask::of(input).on("server", &found.server, "vm").owned_by("default", "system")
}

fn on_disk<T: task::Task<Compute>>(input: &T, found: &Found) -> NewTask {
    NewTask::of(input).on("disk", &found.disk, "d").owned_by("default", "system")
}

fn create(found: &Found, auto_start: bool) -> NewTask {
    let disk = |size, kind: &str| plan::DiskPlan { size, disk_type: kind.into(), auto_delete: true, ..Default::default() };
    let task = tasks::ServerCreate {
        server: found.server.clone(),
        disks: vec![disk(2048, "sys"), disk(1024, "data")],
        nics: vec![plan::NicPlan { network_id: found.network.clone(), ..Default::default() }],
        prefer_host: String::new(),
        prefer_zone: String::new(),
        prefer_zones: Vec::new(),
        auto_start,
        disk_deadline_secs: 60,
        start_deadline_secs: 60,
    };
    on_server(&task, found)
}

/// A kind of task without a bed here would pass unseen.
#[test]
fn every_kind_has_its_generated_tests() {
    let registered = include_str!("../../../region-compute/src/lib.rs");
    let kinds: Vec<&str> = registered.split(".kind::<task::").skip(1).filter_map(|rest| rest.split('>').next()).collect();
    assert!(kinds.len() >= 16, "{kinds:?}");
    let here = include_str!("tasks.rs");
    let without: Vec<&&str> = kinds.iter().filter(|kind| !here.contains(&format!("tasks::{kind} {{"))).collect();
    assert!(without.is_empty(), "{without:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn create_and_start() {
    let (steps, undos) = steps(kit(Before::Asked, |found| create(found, true))).await;
    assert_eq!(
        steps,
        ["schedule", "network", "disk", "wait for disks", "point of no return", "publish", "set power", "wait until running", "settle"]
    );
    assert_eq!(undos, ["disk", "network", "schedule"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn create_without_start() {
    let (steps, undos) = steps(kit(Before::Asked, |found| create(found, false))).await;
    assert_eq!(steps, ["schedule", "network", "disk", "wait for disks", "point of no return", "publish", "settle"]);
    assert_eq!(undos, ["disk", "network", "schedule"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn start() {
    let start = |found: &Found| on_server(&tasks::ServerStart { server: found.server.clone(), deadline_secs: 60 }, found);
    let (steps, undos) = steps(kit(Before::Ready, start)).await;
    assert_eq!(steps, ["set power", "wait until running", "settle"]);
    assert_eq!(undos, ["set power"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop() {
    let stop = |found: &Found| on_server(&tasks::ServerStop { server: found.server.clone(), force: false, timeout_secs: 5 }, found);
    let (steps, _) = steps(kit(Before::Running, stop)).await;
    assert_eq!(steps, ["set power", "wait until stopped", "settle"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn restart() {
    let restart = |found: &Found| {
        let task = tasks::ServerRestart { server: found.server.clone(), force: true, timeout_secs: 5, deadline_secs: 60 };
        on_server(&task, found)
    };
    let (steps, _) = steps(kit(Before::Running, restart)).await;
    assert_eq!(steps, ["set power", "wait until running", "settle"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reset() {
    let reset = |found: &Found| on_server(&tasks::ServerReset { server: found.server.clone() }, found);
    let (steps, undos) = steps(kit(Before::Running, reset)).await;
    assert_eq!(steps, ["ask the host", "wait for host", "let go"]);
    assert!(undos.is_empty(), "{undos:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn into_the_bin() {
    let delete = |found: &Found| {
        let task = tasks::ServerDelete { server: found.server.clone(), recycle: true, on_host: true, purge: false };
        on_server(&task, found)
    };
    let (steps, undos) = steps(kit(Before::Running, delete)).await;
    assert_eq!(steps, ["set power", "wait until stopped", "recycle"]);
    assert_eq!(undos, ["set power"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn for_good() {
    let delete = |found: &Found| {
        let task = tasks::ServerDelete { server: found.server.clone(), recycle: false, on_host: true, purge: false };
        on_server(&task, found)
    };
    let (steps, _) = steps(kit(Before::Running, delete)).await;
    assert_eq!(steps, ["point of no return", "remove", "wait until gone", "drop disks", "wait for disks", "forget"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_create() {
    let create = |found: &Found| {
        let plan = plan::DiskPlan { size: 1024, disk_type: "data".into(), ..Default::default() };
        on_disk(&tasks::DiskCreate { disk: found.disk.clone(), plan, deadline_secs: 60 }, found)
    };
    let (steps, undos) = steps(kit(Before::DiskAsked, create)).await;
    assert_eq!(steps, ["look", "place", "wait for disks"]);
    assert_eq!(undos, ["place"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_delete() {
    let delete = |found: &Found| on_disk(&tasks::DiskDelete { disk: found.disk.clone() }, found);
    let (steps, _) = steps(kit(Before::DiskReady, delete)).await;
    assert_eq!(steps, ["point of no return", "remove", "wait for disks"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_resize() {
    let resize = |found: &Found| {
        on_disk(&tasks::DiskResize { disk: found.disk.clone(), size: 4096, server: String::new(), deadline_secs: 60 }, found)
    };
    let (steps, undos) = steps(kit(Before::DiskReady, resize)).await;
    assert_eq!(steps, ["grow", "wait for disks"]);
    assert_eq!(undos, ["grow"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_resize_of_a_server() {
    let resize = |found: &Found| {
        let task = tasks::DiskResize { disk: found.disk.clone(), size: 4096, server: found.server.clone(), deadline_secs: 60 };
        on_server(&task, found).hold("disk", &found.disk)
    };
    let (steps, _) = steps(kit(Before::ReadyWithDisk, resize)).await;
    assert_eq!(steps, ["grow", "wait for disks", "back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn create_disk() {
    let create = |found: &Found| {
        let disks = vec![plan::DiskPlan { size: 1024, disk_type: "data".into(), ..Default::default() }; 2];
        on_server(&tasks::ServerCreateDisk { server: found.server.clone(), disks, deadline_secs: 60 }, found)
    };
    let (steps, undos) = steps(kit(Before::Running, create)).await;
    assert_eq!(steps, ["look", "place disks", "wait for disks", "tie", "wait until applied", "back"]);
    assert_eq!(undos, ["tie", "place disks"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_disk() {
    let attach = |found: &Found| {
        let task = tasks::ServerAttachDisk { server: found.server.clone(), disk: found.disk.clone(), plan: Default::default() };
        on_server(&task, found).hold("disk", &found.disk)
    };
    let (steps, undos) = steps(kit(Before::RunningAndDisk, attach)).await;
    assert_eq!(steps, ["tie", "wait until applied", "back"]);
    assert_eq!(undos, ["tie"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn detach_disk() {
    let detach = |found: &Found| {
        let task = tasks::ServerDetachDisk { server: found.server.clone(), disk: found.disk.clone(), remove: true };
        on_server(&task, found).hold("disk", &found.disk)
    };
    let (steps, undos) = steps(kit(Before::ReadyWithDisk, detach)).await;
    assert_eq!(steps, ["untie", "wait until applied", "point of no return", "let go", "back"]);
    assert_eq!(undos, ["untie"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_network() {
    let attach = |found: &Found| {
        let nics = vec![plan::NicPlan { network_id: found.network.clone(), ..Default::default() }, plan::NicPlan::default()];
        on_server(&tasks::ServerAttachNetwork { server: found.server.clone(), nics }, found)
    };
    let (steps, undos) = steps(kit(Before::Running, attach)).await;
    assert_eq!(steps, ["look", "plug", "wait until applied", "back"]);
    assert_eq!(undos, ["plug"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn detach_network() {
    let detach = |found: &Found| {
        let task = tasks::ServerDetachNetwork { server: found.server.clone(), nic: found.nic.clone(), reserve: false };
        on_server(&task, found)
    };
    let (steps, undos) = steps(kit(Before::Running, detach)).await;
    assert_eq!(steps, ["unplug", "wait until applied", "point of no return", "release", "back"]);
    assert_eq!(undos, ["unplug"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_root() {
    let rebuild = |found: &Found| {
        let root = plan::DiskPlan { size: 2048, disk_type: "sys".into(), auto_delete: true, ..Default::default() };
        let task = tasks::ServerRebuildRoot {
            server: found.server.clone(),
            root,
            told: Some(tasks::Told {
                os_type: "Linux".into(),
                os_name: "Linux".into(),
                os_arch: "x86_64".into(),
                login_account: "root".into(),
                login_secret: String::new(),
                keypair_id: String::new(),
                user_data: None,
                tags: vec![("os_name".into(), Some("Linux".into()))],
            }),
            auto_start: true,
            disk_deadline_secs: 60,
            start_deadline_secs: 60,
        };
        on_server(&task, found)
    };
    let (steps, undos) = steps(kit(Before::Ready, rebuild)).await;
    let start = ["set power", "wait until running", "settle"];
    assert_eq!(
        steps,
        [&["look", "place disks", "wait for disks", "point of no return", "swap", "wait until applied"][..], &start].concat()
    );
    assert_eq!(undos, ["place disks"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn change_config() {
    let change = |found: &Found| {
        let size = |vcpu_count, vmem_size| tasks::Size { vcpu_count, vmem_size, instance_type: String::new() };
        let task = tasks::ServerChangeConfig {
            server: found.server.clone(),
            size: size(3, 768),
            before: size(2, 512),
            running: true,
            timeout_secs: 5,
            deadline_secs: 60,
        };
        on_server(&task, found)
    };
    let (steps, undos) = steps(kit(Before::Running, change)).await;
    assert_eq!(steps, ["start anew", "wait until running", "settle"]);
    assert_eq!(undos, ["start anew"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn set_password() {
    let set = |found: &Found| {
        let login = tasks::Login { account: "root".into(), secret: world::seal().close("Another-1-password").expect("sealed") };
        on_server(&tasks::ServerSetPassword { server: found.server.clone(), login, start: false, deadline_secs: 60 }, found)
    };
    let (steps, undos) = steps(kit(Before::Running, set)).await;
    assert_eq!(steps, ["give password", "wait until applied", "back"]);
    assert_eq!(undos, ["give password"]);
}

/// The richest task and the one with the retracted disk, on the other database.
#[tokio::test(flavor = "multi_thread")]
async fn pg_create() {
    steps(Kit { postgres: true, ..kit(Before::Asked, |found| create(found, true)) }).await;
}
