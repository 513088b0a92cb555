//! The region service: controller of compute, network and storage. The last link of the chain: it puts the kinds together, gives them
//! tables, routes and workers, and holds no rule of its own.

mod consoles;
mod figures;
mod jobs;
mod quota;
mod routes;
mod seed;
mod usage;

pub use region_compute::{Image, Images, Settings};
pub use routes::{Identify, scheduler_router};
pub use seed::{Place, Subnet, subnet};

use base::{Clock, Resource, Result};
use region_compute::{Compute, agent::Agents};
use resource::{Engine, Gate, Owners};
use scheduler::Scheduler;
use service::Process;
use std::{sync::Arc, time::Duration};
use store::{Db, Migrations};
use task::Tasks;

/// The tables of the region.
pub const MIGRATIONS: Migrations = Migrations {
    owner: "region",
    sqlite: &[
        ("0001_init.sql", include_str!("../migrations/sqlite/0001_init.sql")),
        ("0002_login_generation.sql", include_str!("../migrations/sqlite/0002_login_generation.sql")),
        ("0003_vcpu_held.sql", include_str!("../migrations/sqlite/0003_vcpu_held.sql")),
    ],
    postgres: &[
        ("0001_init.sql", include_str!("../migrations/postgres/0001_init.sql")),
        ("0002_login_generation.sql", include_str!("../migrations/postgres/0002_login_generation.sql")),
        ("0003_vcpu_held.sql", include_str!("../migrations/postgres/0003_vcpu_held.sql")),
    ],
};

/// What the service is made with.
pub struct Parts {
    pub db: Db,
    pub clock: Clock,
    pub gate: Arc<dyn Gate>,
    pub owners: Arc<dyn Owners>,
    pub images: Arc<dyn Images>,
    pub settings: Settings,
    /// Options of every resource engine.
    pub options: resource::Options,
    /// Under which secrets lie in the database.
    pub seal: Arc<auth::Seal>,
    /// Names this process among those that work on the same database.
    pub node: String,
    /// Where agents reach this very process, as `https://10.0.0.5:7780/compute`; empty: it is the only one.
    pub own_url: String,
}

/// The service, ready to be served.
pub struct Region {
    /// MiB of the smallest root disk; smaller ones are made so large.
    pub root_minimum: i64,
    /// How long what is deleted lies in the recycle bin.
    pub(crate) keep_deleted: Duration,
    pub engine: Arc<Engine>,
    pub agents: Arc<Agents>,
    pub scheduler: Arc<Scheduler>,
    pub(crate) gate: Arc<dyn Gate>,
    images: Arc<dyn Images>,
    tasks: Arc<Tasks<Compute>>,
    pub(crate) consoles: consoles::Consoles,
    /// Where agents reach this very process; empty: where they reach the region.
    pub(crate) own_url: String,
}

/// Facts of every kind that has a table here.
pub fn facts() -> Vec<&'static base::Facts> {
    use api_compute::*;
    vec![
        CloudRegion::facts(),
        Zone::facts(),
        Vpc::facts(),
        Wire::facts(),
        Network::facts(),
        ReservedIp::facts(),
        Host::facts(),
        HostStorage::facts(),
        NetInterface::facts(),
        Storage::facts(),
        StorageCache::facts(),
        Disk::facts(),
        ServerSku::facts(),
        Keypair::facts(),
        Quota::facts(),
        Server::facts(),
        GuestDisk::facts(),
        GuestNetwork::facts(),
    ]
}

/// Brings the tables up to date; every process that works on the database does it.
pub async fn migrate(db: &Db) -> Result<()> {
    for set in [&resource::MIGRATIONS, &task::MIGRATIONS, &MIGRATIONS] {
        db.migrate(set).await?;
    }
    Ok(())
}

impl Region {
    /// Brings the tables up to date and builds the service.
    pub async fn build(parts: Parts) -> Result<Arc<Region>> {
        let Parts { db, clock, gate, owners, images, settings, options, seal, node, own_url } = parts;
        migrate(&db).await?;
        seed::builtins(&db).await?;
        let scheduler = Arc::new(Scheduler::start(db.clone()).await?);
        let (bounds, dns, root_minimum) = (settings.bounds.clone(), settings.dns.clone(), settings.root_minimum);
        let keep_deleted = settings.keep_deleted;
        let options = resource::Options { recycle: options.recycle && settings.recycle, ..options };
        let env = Arc::new(Compute { images: images.clone(), scheduler: scheduler.clone(), settings, seal: seal.clone() });
        let mut kinds = region_infra::kinds(&bounds, &seal);
        kinds.extend(region_network::kinds(&dns));
        kinds.extend(region_compute::kinds(&env));
        kinds.extend(jobs::kinds());
        let allowance = options.allowance.clone();
        let engine = Arc::new(Engine::new("compute", db.clone(), clock.clone(), gate.clone(), owners, kinds, options));
        let agents = Arc::new(Agents::new(db.clone(), clock, env.clone()).allowing(allowance));
        let tasks = Arc::new(region_compute::tasks().options(task::Options { node, ..task::Options::default() }).build(&db, env));
        Ok(Arc::new(Region {
            root_minimum,
            keep_deleted,
            engine,
            agents,
            scheduler,
            gate,
            images,
            tasks,
            consoles: consoles::Consoles::default(),
            own_url,
        }))
    }

    /// Starts what works beside requests.
    pub fn start(self: &Arc<Self>, process: &Process) {
        self.tasks.metrics().register(process.metrics());
        process.metrics().collect(figures::Figures(self.scheduler.clone()));
        let tasks = self.tasks.clone();
        process.worker("region tasks", move |stop| {
            let tasks = tasks.clone();
            async move { tasks.run(async move { stop.wait().await }).await }
        });
        let agents = self.agents.clone();
        process.worker("agent documents", move |stop| {
            let agents = agents.clone();
            async move { stop.or(agents.follow()).await.unwrap_or(Ok(())) }
        });
        let scheduler = self.scheduler.clone();
        process.worker("scheduler snapshot", move |stop| {
            let scheduler = scheduler.clone();
            async move { stop.or(scheduler.follow()).await.unwrap_or(Ok(())) }
        });
        let agents = self.agents.clone();
        process.worker("silent hosts", move |stop| {
            let agents = agents.clone();
            async move {
                while stop.or(tokio::time::sleep(Duration::from_secs(5))).await.is_some() {
                    agents.mark_offline().await?;
                }
                Ok(())
            }
        });
        let region = self.clone();
        process.worker("recycle bin", move |stop| {
            let region = region.clone();
            async move {
                while stop.or(tokio::time::sleep(Duration::from_secs(3600))).await.is_some() {
                    region.empty_bin().await?;
                    region.engine.db.feed().trim(Duration::from_secs(7 * 86_400), 1_000_000).await?;
                }
                Ok(())
            }
        });
    }
}
