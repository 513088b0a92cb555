//! What every server process of the platform is put together from: its directory, databases, address, and the way to its end.

use crate::{allowance::Licensed, data::Data, front::Front, settings::Settings};
use anyhow::Result;
use api_identity::Secret;
use apigateway::licence::Licence;
use auth::{Guard, Verifier};
use base::{Caller, Clock};
use glance::Glance;
use http::{App, HeaderMap, Limits, Router, Server, Trust};
use resource::{Gate, Owners};
use service::Process;
use std::{sync::Arc, time::Duration};
use store::Db;
use tokio::sync::OnceCell;

/// From the headers of a request to its caller.
pub type Identify = Arc<dyn Fn(&HeaderMap) -> Arc<Caller> + Send + Sync>;

pub fn identify(verifier: Arc<Verifier>) -> Identify {
    let guard = Guard::new(verifier);
    Arc::new(move |headers| guard.identify(headers).caller)
}

/// Workers get this long to end.
const GRACE: Duration = Duration::from_secs(10);

pub struct Frame {
    pub settings: Settings,
    pub data: Data,
    pub front: Front,
    pub process: Process,
    pub clock: Clock,
    metrics: telemetry::Metrics,
    /// Of the gateway: its database, and the licence that lies there.
    licence: OnceCell<(Db, Arc<Licence>)>,
}

impl Frame {
    /// `port` is the one served on when none is set.
    pub fn new(settings: Settings, port: u16) -> Result<Frame> {
        let data = Data::open(&settings.data)?;
        let front = Front::new(&settings, &data, port)?;
        let metrics = telemetry::Metrics::default();
        Ok(Frame { settings, data, front, process: Process::new(&metrics, GRACE), clock: Clock::real(), metrics, licence: OnceCell::new() })
    }

    /// The database of a service.
    pub async fn database(&self, service: &str) -> base::Result<Db> {
        match self.settings.database.as_str() {
            "" => Db::open(&format!("sqlite://{}", self.data.path(&format!("{service}.db")).display())).await,
            url => Db::open(&url.replace("{service}", service)).await,
        }
    }

    /// The licence, and the gateway's database, which has it: services read it there, whichever process they are in.
    pub async fn licence(&self) -> base::Result<&(Db, Arc<Licence>)> {
        let open = || async {
            let db = self.database("gateway").await?;
            db.migrate(&apigateway::MIGRATIONS).await?;
            let licence = Licence::new(db.clone(), &self.settings.apigateway.licence_signers)?;
            Ok((db, Arc::new(licence)))
        };
        self.licence.get_or_try_init(open).await
    }

    async fn allowance(&self, kind: &'static str) -> base::Result<Option<Arc<dyn resource::Allowance>>> {
        Ok(Some(Licensed::new(&self.licence().await?.1, kind, &self.clock)))
    }

    /// The key that secrets in databases are sealed with.
    pub fn secret_key(&self) -> Result<Secret> {
        if self.settings.secret_key.is_empty() {
            return Ok(Secret::new(self.data.secret("secret.key")?));
        }
        Ok(self.settings.secret_key.clone())
    }

    /// The identity service, with `services` for its catalogue where the configuration names none.
    pub async fn keystone(&self, services: Vec<keystone::ServiceEntry>) -> Result<keystone::Keystone> {
        let mut config = self.settings.keystone.clone();
        config.region.clone_from(&self.settings.region_name);
        config.secret_key = self.secret_key()?;
        if config.services.is_empty() {
            config.services = services;
        }
        let keystone = keystone::build(config, self.database("identity").await?, self.clock.clone()).await?;
        keystone.work(&self.process);
        let client = http::Client::new(http::ClientOptions { trust: self.trust()?, retries: 0, ..http::ClientOptions::default() })?;
        keystone.count_resources(client, &self.process);
        Ok(keystone)
    }

    pub async fn glance(&self, gate: Arc<dyn Gate>, owners: Arc<dyn Owners>) -> Result<Arc<Glance>> {
        let mut options = self.settings.glance.clone();
        if options.dir.as_os_str().is_empty() {
            options.dir = self.data.path("images");
        }
        options.allowance = self.allowance(api_image::SERVICE).await?;
        let glance = Glance::open(self.database("image").await?, gate, owners, options).await?;
        let upkeep = Arc::new(glance.upkeep());
        self.process.worker("image upkeep", move |stop| {
            let upkeep = upkeep.clone();
            async move {
                stop.wait().await;
                drop(upkeep);
                Ok(())
            }
        });
        Ok(glance)
    }

    /// The region on its database; nothing works on it yet. `node` names this process among those that share the database, and `own_url` is where hosts
    /// reach it among them.
    pub async fn region(
        &self,
        gate: Arc<dyn Gate>,
        owners: Arc<dyn Owners>,
        images: Arc<dyn region::Images>,
        node: &str,
        own_url: &str,
    ) -> Result<Arc<region::Region>> {
        let mut settings = self.settings.region.clone();
        if settings.dns.is_empty() {
            settings.dns = name_servers();
        }
        let parts = region::Parts {
            db: self.database("compute").await?,
            clock: self.clock.clone(),
            gate,
            owners,
            images,
            settings,
            seal: Arc::new(auth::Seal::new(self.secret_key()?.expose(), "compute")?),
            options: resource::Options {
                version: telemetry::version().to_string(),
                allowance: self.allowance("compute_v2").await?,
                ..resource::Options::default()
            },
            node: node.into(),
            own_url: own_url.into(),
        };
        Ok(region::Region::build(parts).await?)
    }

    /// Whose certificates this process believes of the services of its own address.
    pub fn trust(&self) -> Result<Trust> {
        Ok(match &self.front.ca {
            Some(pem) => Trust::SystemAnd(std::fs::read_to_string(pem)?),
            None => Trust::System,
        })
    }

    /// Begins to listen for services, each under its prefix, `/` for one that is alone. What the process says of itself comes to the root.
    /// Tokens of application credentials are held to their rules here, for all services alike.
    pub async fn listen(&self, mut services: Vec<(&str, &str, Router)>, verifier: Arc<Verifier>) -> Result<Server> {
        match services.iter_mut().find(|(prefix, ..)| *prefix == "/") {
            Some((_, _, router)) => *router = std::mem::take(router).merge(self.process.router()),
            None => services.push(("/", "wolke", self.process.router())),
        }
        let app = App::new(self.metrics.clone()).limits(Limits::default());
        let guard = Guard::new(verifier);
        let app = app.screen(Arc::new(move |service, request| guard.screen(service, request)));
        let app = services.into_iter().fold(app, |app, (prefix, name, router)| app.mount(prefix, name, router));
        let mut server = Server::new(app);
        server.bind(&self.front.address.to_string(), self.front.tls.clone()).await?;
        Ok(server)
    }

    /// Serves until the end.
    pub async fn run(self, server: Server) -> Result<()> {
        tracing::info!(url = self.front.url, "ready");
        self.process.run(vec![server]).await?;
        Ok(())
    }
}

/// The services of an installation behind one URL, each under its prefix.
pub fn catalogue(url: &str) -> Vec<keystone::ServiceEntry> {
    let entry = |name: &str, kind: &str, path: &str| keystone::ServiceEntry {
        name: name.into(),
        r#type: kind.into(),
        public_url: format!("{url}{path}"),
        internal_url: format!("{url}{path}"),
        ..keystone::ServiceEntry::default()
    };
    vec![
        entry("keystone", "identity", "/identity/v3"),
        entry("region2", "compute_v2", "/compute"),
        entry("glance", "image", "/image/v1"),
        entry("scheduler", "scheduler", "/scheduler"),
        entry("apigateway", apigateway::SERVICE, ""),
    ]
}

/// Name servers of this machine are those of its guests, as far as they can reach them.
fn name_servers() -> Vec<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    text.lines()
        .filter_map(|l| l.strip_prefix("nameserver"))
        .map(|s| s.trim().to_string())
        .filter(|s| s.parse::<std::net::Ipv4Addr>().is_ok_and(|a| !a.is_loopback()))
        .collect()
}
