//! A region with a zone, a network, images and any number of hosts whose machines are pretended.

use api_agent::{
    BridgeFacts, DiskObserved, DiskState, Enroll, Existence, GuestObserved, GuestState, HostFacts, JobResult, Observed, Power, StorageFacts,
};
use base::{Caller, Clock, Ctx, Json, Result, Role, Scope, err};
use region::{Image, Images, Parts, Place, Region, Settings};
use region_compute::agent::{Agents, HostId};
use resource::{Ask, BoxFuture, FixedOwners, Gate, Method, Owner, Params};
use service::Process;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use store::Db;

/// Longer than anything takes on a loaded machine.
pub const LONG: Duration = Duration::from_secs(60);

/// Makes tests of scenarios: each in a world on SQLite, and all of them, one after the other, in worlds on one PostgreSQL server.
macro_rules! on_both {
    ($($scenario:ident),+ $(,)?) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $scenario() {
                    super::$scenario(crate::world::World::new().await).await;
                }
            )+
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn pg_all() {
            $($scenario(crate::world::World::on(store::testing::postgres().await).await).await;)+
        }
    };
}
pub(crate) use on_both;

/// Roles by name: `admin` may everything everywhere, `member` everything in its project, `viewer` look at its project.
struct Roles;

impl Gate for Roles {
    fn widest(&self, caller: &Caller, _: Option<IpAddr>, ask: &Ask<'_>) -> Scope {
        let has = |role: &str| caller.roles.iter().any(|r| r.name == role);
        let places = matches!(ask.resource, "zones" | "cloudregions" | "vpcs" | "wires" | "networks" | "storages" | "serverskus" | "hosts");
        let look = matches!(ask.action, "list" | "get");
        if has("admin") {
            Scope::System
        } else if has("member") && (!places || look || ask.resource == "networks") {
            Scope::Project
        } else if has("viewer") && look {
            Scope::Project
        } else {
            Scope::None
        }
    }
    fn allows(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>, scope: Scope) -> bool {
        let widest = self.widest(caller, peer, ask);
        widest >= scope || (scope == Scope::User && widest > Scope::None)
    }
}

/// Two images: one to boot, one that is an ISO.
struct Shelf;

impl Images for Shelf {
    fn find<'a>(&'a self, _: &'a Ctx, which: &'a str) -> BoxFuture<'a, Result<Image>> {
        Box::pin(async move {
            let image = |format: &str, status: &str| Image {
                id: format!("id-{which}"),
                name: which.into(),
                status: status.into(),
                disk_format: format.into(),
                size: 1 << 20,
                min_disk: 60,
                os_arch: "x86_64".into(),
                properties: [("os_type", "Linux"), ("os_distribution", "CentOS"), ("os_version", "7.9")]
                    .map(|(k, v)| (k.into(), v.into()))
                    .into(),
                ..Image::default()
            };
            match which {
                "tiny" | "id-tiny" => Ok(image("qcow2", "active")),
                "cd" => Ok(image("iso", "active")),
                "half" => Ok(image("qcow2", "saving")),
                _ => Err(err!(ResourceNotFound, "{} {} not found", "image", which)),
            }
        })
    }
    fn fetch<'a>(&'a self, id: &'a str, _: Option<&'a str>) -> BoxFuture<'a, Result<http::Response>> {
        Box::pin(async move { Err(err!(ImageNotFound, "image {} has no bytes in this test", id)) })
    }
}

pub fn images() -> Arc<dyn Images> {
    Arc::new(Shelf)
}

pub fn seal() -> Arc<auth::Seal> {
    Arc::new(auth::Seal::new(&"11".repeat(32), "compute").expect("a key"))
}

pub fn settings() -> Settings {
    Settings { root_minimum: 1024, dns: vec!["10.1.0.53".into()], ..Settings::default() }
}

pub struct World {
    pub region: Arc<Region>,
    pub db: Db,
    process: Process,
}

pub fn person(name: &str, project: &str, role: &str) -> Ctx {
    let caller = Caller {
        user_id: format!("u-{name}"),
        user: name.into(),
        user_domain_id: "default".into(),
        user_domain: "Default".into(),
        project_id: project.into(),
        project: project.into(),
        project_domain_id: "default".into(),
        project_domain: "Default".into(),
        roles: vec![Role { id: role.into(), name: role.into() }],
        is_system_account: false,
    };
    Ctx { caller: Arc::new(caller), ..Ctx::platform("test") }
}

pub fn admin() -> Ctx {
    person("root", "system", "admin")
}

impl World {
    /// Who decides here.
    pub fn gate(&self) -> Arc<dyn Gate> {
        Arc::new(Roles)
    }

    pub async fn new() -> World {
        World::on(Db::open("sqlite::memory:").await.expect("a database in memory")).await
    }

    /// A region on a database, with its workers running.
    pub async fn on(db: Db) -> World {
        let world = World::still(db).await;
        world.region.start(&world.process);
        world
    }

    /// A region on a database, without workers: tasks are written, and nobody does them.
    pub async fn still(db: Db) -> World {
        World::at(db, Clock::real()).await
    }

    /// [`World::still`] by another clock.
    pub async fn at(db: Db, clock: Clock) -> World {
        World::with(db, clock, resource::Options::default(), settings()).await
    }

    /// [`World::on`] under a licence.
    pub async fn licensed(db: Db, allowance: Option<Arc<dyn resource::Allowance>>) -> World {
        let world = World::with(db, Clock::real(), resource::Options { allowance, ..resource::Options::default() }, settings()).await;
        world.region.start(&world.process);
        world
    }

    /// [`World::at`] as an operator set it.
    pub async fn set(db: Db, clock: Clock, settings: Settings) -> World {
        World::with(db, clock, resource::Options::default(), settings).await
    }

    async fn with(db: Db, clock: Clock, options: resource::Options, settings: Settings) -> World {
        let owner = |id: &str| Owner { project_id: id.into(), project: id.into(), domain_id: "default".into(), domain: "Default".into() };
        let parts = Parts {
            db: db.clone(),
            clock,
            gate: Arc::new(Roles),
            owners: Arc::new(FixedOwners(["system", "red", "blue"].map(owner).to_vec())),
            images: images(),
            settings,
            seal: seal(),
            options,
            node: "test".into(),
            own_url: String::new(),
        };
        let region = Region::build(parts).await.expect("a region");
        let net = region::subnet("10.1.0.0/24").expect("a subnet");
        let place = Place {
            zone: "z".into(),
            wire: "w".into(),
            network: "net".into(),
            cidr: (net.network, net.mask),
            gateway: net.gateway,
            first: net.first,
            last: net.last,
            domain_id: "default".into(),
            project_id: "system".into(),
        };
        region.seed(&place).await.expect("a place");
        let process = Process::new(&telemetry::Metrics::default(), Duration::from_secs(5));
        World { region, db, process }
    }

    /// One request; the JSON answer or the error.
    pub async fn ask(&self, ctx: &Ctx, method: Method, path: &str, body: Json) -> Result<Json> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let params = http::Query::parse(query).expect("a query").json().clone();
        let path: Vec<String> = path.split('/').map(str::to_string).collect();
        let body = if body.is_null() { None } else { Some(body) };
        let answer = self.region.engine.handle(ctx, method, &path, &Params(params), body).await?;
        Ok(serde_json::from_slice(&answer.body).expect("answers are JSON"))
    }

    pub async fn get(&self, path: &str) -> Result<Json> {
        self.ask(&admin(), Method::Get, path, Json::Null).await
    }

    pub async fn post(&self, path: &str, body: Json) -> Result<Json> {
        self.ask(&admin(), Method::Post, path, body).await
    }

    pub async fn delete(&self, path: &str) -> Result<Json> {
        self.ask(&admin(), Method::Delete, path, Json::Null).await
    }

    /// Waits until a server's status is one of these words; answers the server.
    pub async fn reach(&self, name: &str, words: &[&str]) -> Json {
        let mut last = Json::Null;
        let seen = tokio::time::timeout(LONG, async {
            loop {
                last = self.get(&format!("servers/{name}")).await.map_or(Json::Null, |b| b["server"].clone());
                if last["status"].as_str().is_some_and(|s| words.contains(&s)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(seen.await.is_ok(), "{name} did not become {words:?}: {last}");
        last
    }

    /// Waits until a path answers 404.
    pub async fn gone(&self, path: &str) {
        let seen = tokio::time::timeout(LONG, async {
            while self.get(path).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(seen.await.is_ok(), "{path} is still there");
    }

    /// A host that does at once what its document says. It ends with the world.
    pub async fn host(&self, name: &str, how: How) -> Host {
        let id = self.machine(name).await;
        let how = Arc::new(Mutex::new(how));
        let (region, shared) = (self.region.clone(), how.clone());
        let (host_id, machine) = (id.as_str().to_string(), id.clone());
        let task = tokio::spawn(async move { obey(&region.agents, &id, &shared).await });
        Host { id: host_id, machine, how, task }
    }

    /// A host that is registered; nobody speaks for it.
    pub async fn machine(&self, name: &str) -> HostId {
        let token = self.region.agents.new_token("default", 600).await.expect("a token");
        let enrolled = self.region.agents.enroll(Enroll { token, hostname: name.into(), secret: String::new() }).await.expect("enrolment");
        let id = self.region.agents.authenticate(&enrolled.credential).await.expect("the credential");
        let facts = HostFacts {
            hostname: name.into(),
            cpu_count: 8,
            mem_size: 16_384,
            cpu_architecture: "x86_64".into(),
            cpu_desc: "Pretended".into(),
            access_ip: "10.1.0.2".into(),
            access_mac: "00:00:00:00:00:01".into(),
            version: "1".into(),
            sys_info: ["manufacture", "model", "sn"].map(|key| (key.into(), "pretended".into())).into(),
            storages: vec![StorageFacts {
                path: format!("/{name}"),
                storage_type: "local".into(),
                medium_type: "ssd".into(),
                capacity_mb: 500_000,
                used_mb: 0,
            }],
            bridges: vec![BridgeFacts { bridge: "br".into(), mac: "00:00:00:00:00:01".into(), ..BridgeFacts::default() }],
            ..HostFacts::default()
        };
        self.region.agents.register(&id, facts.clone()).await.expect("registration");
        self.region.agents.register(&id, facts).await.expect("registration is repeatable");
        id
    }
}

/// A host's document as it is now.
pub async fn document_of(agents: &Agents, id: &HostId) -> api_agent::Desired {
    agents.desired(id, -1, Duration::ZERO).await.expect("an answer").document.expect("a document")
}

/// Does what a host's documents say, for ever.
pub async fn obey(agents: &Agents, id: &HostId, how: &Mutex<How>) {
    let mut version = -1;
    let way = || *how.lock().expect("no panic in between");
    loop {
        let wait = Duration::from_millis(200);
        let news = if way() == How::Deaf { Ok(api_agent::News::default()) } else { agents.desired(id, version, wait).await };
        let now = way();
        // It may have become deaf while it waited for a document: that one it has not heard either.
        if now == How::Deaf {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        if let Ok(api_agent::News { document: Some(document), .. }) = news {
            version = document.version;
            let report = now.report(&document);
            // The region may be going down with the test.
            let _heard = agents.observed(id, report).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.process.stop();
    }
}

pub struct Host {
    pub id: String,
    pub machine: HostId,
    pub how: Arc<Mutex<How>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a pretended host behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Obedient,
    /// Disks cannot be made.
    NoDisks,
    /// Guests do not start.
    NoStarts,
    /// Running guests take nothing and give nothing.
    NoPlugs,
    /// Does nothing that is to be done once.
    NoResets,
    /// Disks do not grow beyond 8 GiB.
    NoGrowth,
    /// Takes nothing in and says nothing.
    Deaf,
}

impl How {
    fn report(self, document: &api_agent::Desired) -> Observed {
        let disks = document.disks.iter().map(|d| {
            let state = match (d.existence, self) {
                (Existence::Absent, _) => DiskState::Absent,
                (_, How::NoDisks) => DiskState::Failed,
                (_, How::NoGrowth) if d.size_mb > 8192 => DiskState::Failed,
                _ => DiskState::Ready,
            };
            DiskObserved {
                id: d.id.clone(),
                generation: d.generation,
                state,
                error: "no space left on device".into(),
                ..DiskObserved::default()
            }
        });
        let guests = document.guests.iter().map(|g| {
            let state = match (g.existence, g.power, self) {
                (Existence::Absent, _, _) => GuestState::Absent,
                (_, Power::Off, _) => GuestState::Stopped,
                (_, Power::On, How::NoStarts) => GuestState::Failed,
                _ => GuestState::Running,
            };
            GuestObserved {
                id: g.id.clone(),
                generation: g.generation,
                restarts: g.restarts,
                state,
                error: match (self, state) {
                    (How::NoPlugs, GuestState::Running) => "no slot is free".into(),
                    (_, GuestState::Failed) => "no accelerator".into(),
                    _ => String::new(),
                },
                ..GuestObserved::default()
            }
        });
        let jobs = document.jobs.iter().map(|job| JobResult {
            id: job.id.clone(),
            error: if self == How::NoResets { "the guest is not running".into() } else { String::new() },
            ..JobResult::default()
        });
        Observed {
            version: document.version,
            disks: disks.collect(),
            guests: guests.collect(),
            jobs: jobs.collect(),
            ..Observed::default()
        }
    }
}

/// What must hold whenever nothing is going on: nobody holds what nobody has.
pub async fn nothing_leaks(world: &World) {
    let faults = testkit::ledger::faults(&world.db).await.expect("the books");
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Waits until no task is at work.
pub async fn quiet(world: &World) {
    use store::{Cond, Read};
    let mut db = &world.db;
    let still = tokio::time::timeout(LONG, async {
        while db.count("task_holds", Cond::True).await.expect("holds") > 0
            || db.count("disks", Cond::eq("deleted", false).and(Cond::eq("existence", "absent"))).await.expect("disks") > 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(still.await.is_ok(), "tasks do not end");
}
