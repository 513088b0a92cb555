//! `wolke up`: every service in one process on one port, and the host agent beside it.
//!
//! The agent is a process of its own: a panic or a kill of the control plane does not touch it, and its guests outlive both.

use crate::{agent, data::Data, images::LocalImages};
use anyhow::{Context, Result};
use api_identity::Secret;
use base::Clock;
use clap::Args;
use http::{App, HeaderMap, Limits, Server};
use service::Process;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use store::Db;

#[derive(Args, Clone, Debug)]
pub struct Up {
    /// Directory of databases, images, secrets and the host's guests.
    #[arg(long, env = "WOLKE_DATA", default_value_os_t = crate::data::default_dir())]
    pub data: PathBuf,
    /// Address and port to serve on.
    #[arg(long, env = "WOLKE_LISTEN", default_value = "127.0.0.1:7780")]
    pub listen: String,
    /// URL clients reach the platform at; left out: http:// and the listening address.
    #[arg(long, env = "WOLKE_URL")]
    pub url: Option<String>,
    /// Database, as postgres://user@host/wolke_{service}; left out: SQLite files in the data directory.
    #[arg(long, env = "WOLKE_DATABASE")]
    pub database: Option<String>,
    /// Do not run a host agent on this machine.
    #[arg(long)]
    pub no_host: bool,
    /// Subnet of the first network.
    #[arg(long, default_value = "192.168.222.0/24")]
    pub network: String,
    /// Password of the administrator sysadmin at first start; left out: made up and told once.
    #[arg(long, env = "WOLKE_ADMIN_PASSWORD", hide_env_values = true)]
    pub admin_password: Option<String>,
    /// Bridge the host agent plugs guests into, at most 15 bytes.
    #[arg(long, default_value = "wolke0")]
    pub bridge: String,
}

/// The region's name in the catalogue.
pub const REGION: &str = "region0";

/// Opens one service's database.
async fn database(up: &Up, data: &Data, service: &str) -> base::Result<Db> {
    match &up.database {
        Some(url) => Db::open(&url.replace("{service}", service)).await,
        None => Db::open(&format!("sqlite://{}", data.path(&format!("{service}.db")).display())).await,
    }
}

fn catalogue(url: &str) -> Vec<keystone::ServiceEntry> {
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
    ]
}

pub async fn run(up: Up) -> Result<()> {
    let data = Data::open(&up.data)?;
    let metrics = telemetry::Metrics::default();
    let process = Process::new(&metrics, Duration::from_secs(10));
    let clock = Clock::real();

    // The port first: a taken one is the commonest mistake, and the catalogue needs the number when it is 0.
    let listener = std::net::TcpListener::bind(&up.listen)
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", up.listen))?;
    let address: SocketAddr = listener.local_addr()?;
    drop(listener);
    let url = up.url.clone().unwrap_or_else(|| format!("http://{address}"));

    let identity = keystone::Config {
        region: REGION.into(),
        secret_key: Secret::new(data.secret("secret.key")?),
        bootstrap_admin_user_password: Secret::new(up.admin_password.clone().unwrap_or_default()),
        services: catalogue(&url),
        ..keystone::Config::default()
    };
    let keystone = keystone::build(identity, database(&up, &data, "identity").await?, clock.clone()).await?;
    let (gate, owners, verifier) = (keystone.gate.clone(), keystone.owners.clone(), keystone.verifier.clone());
    keystone.work(&process);
    let (identity_router, outcome) = (keystone.router, keystone.outcome);

    let glance =
        glance::Glance::open(database(&up, &data, "image").await?, gate.clone(), owners.clone(), glance::Options::new(data.path("images")))
            .await?;
    let upkeep = glance.upkeep();
    process.worker("image upkeep", {
        let upkeep = Arc::new(upkeep);
        move |stop| {
            let upkeep = upkeep.clone();
            async move {
                stop.wait().await;
                drop(upkeep);
                Ok(())
            }
        }
    });

    let parts = region::Parts {
        db: database(&up, &data, "compute").await?,
        clock: clock.clone(),
        gate: gate.clone(),
        owners: owners.clone(),
        images: Arc::new(LocalImages(glance.clone())),
        settings: settings(),
        options: resource::Options { version: telemetry::version().to_string(), ..resource::Options::default() },
        node: "up".into(),
    };
    let region = region::Region::build(parts).await?;
    region.seed(&place(&up, owners.as_ref())?).await?;
    region.start(&process);

    let guard = auth::Guard::new(verifier);
    let identify: Arc<dyn Fn(&HeaderMap) -> Arc<base::Caller> + Send + Sync> = Arc::new(move |headers| guard.identify(headers).caller);
    let app = App::new(metrics.clone())
        .mount("/identity", "identity", identity_router)
        .mount("/image", "image", glance.router(identify.clone()))
        .mount("/scheduler", "scheduler", region.scheduler_router(identify.clone()))
        .mount("/compute", "compute", region.router(identify))
        .mount("/", "wolke", process.router())
        .limits(Limits::default());
    let mut server = Server::new(app);
    server.bind(&address.to_string(), None).await?;

    remember(&data, &url, &outcome)?;
    if !up.no_host {
        agent::supervise(&process, &data, &up, &url, &region).await?;
    }
    tracing::info!(url, "ready");
    process.run(vec![server]).await?;
    Ok(())
}

/// Name servers of this machine are those of its guests, as far as they can reach them.
fn settings() -> region::Settings {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let dns = text
        .lines()
        .filter_map(|l| l.strip_prefix("nameserver"))
        .map(|s| s.trim().to_string())
        .filter(|s| s.parse::<std::net::Ipv4Addr>().is_ok_and(|a| !a.is_loopback()))
        .collect();
    region::Settings { dns, ..region::Settings::default() }
}

/// The first zone, wire and network.
fn place(up: &Up, owners: &dyn resource::Owners) -> Result<region::Place> {
    let net = region::subnet(&up.network).context("--network takes a subnet as in 192.168.222.0/24")?;
    let system = owners.projects_named("system", Some("default")).pop().context("the project system is missing")?;
    Ok(region::Place {
        zone: "zone0".into(),
        wire: "bcast0".into(),
        network: "default".into(),
        cidr: (net.network, net.mask),
        gateway: net.gateway,
        first: net.first,
        last: net.last,
        domain_id: system.domain_id,
        project_id: system.project_id,
    })
}

/// Leaves a profile for the command line, and says the password once.
fn remember(data: &Data, url: &str, outcome: &keystone::Outcome) -> Result<()> {
    let path = data.path("admin.json");
    let known = std::fs::read_to_string(&path).ok().and_then(|t| serde_json::from_str::<serde_json::Value>(&t).ok());
    let password = match &outcome.admin_password {
        Some(secret) => secret.expose().to_string(),
        None => known.as_ref().and_then(|k| k["password"].as_str()).unwrap_or_default().to_string(),
    };
    let profile = serde_json::json!({"auth_url": format!("{url}/identity/v3"), "user": "sysadmin", "password": password, "domain": "Default",
        "project": "system", "region": REGION});
    data.write_private("admin.json", &serde_json::to_string_pretty(&profile)?)?;
    if outcome.admin_password.is_some() {
        // Not a log line: logs are kept, this is told once.
        println!("administrator: sysadmin");
        println!("password:      {password}");
    }
    Ok(())
}

/// A token for the agent on this machine, made in process.
pub async fn enrolment(region: &region::Region) -> Result<String> {
    Ok(region.agents.new_token("default", 3600).await?)
}
