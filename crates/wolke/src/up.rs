//! `wolke up`: every service in one process on one port, and the host agent beside it.
//!
//! The agent is a process of its own: a panic or a kill of the control plane does not touch it, and its guests outlive both.

use crate::{
    agent,
    data::Data,
    frame::{Frame, catalogue, identify},
    front::Front,
    images::LocalImages,
    settings::Sources,
};
use anyhow::{Context, Result};
use api_identity::Secret;
use clap::Args;
use std::{io::IsTerminal, sync::Arc};

#[derive(Args, Clone, Debug)]
pub struct Up {
    #[command(flatten)]
    pub sources: Sources,
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

/// Where it listens when nothing is said.
const PORT: u16 = 7780;

pub async fn run(up: Up) -> Result<()> {
    let mut settings = up.sources.load()?;
    if let Some(password) = &up.admin_password {
        settings.keystone.bootstrap_admin_user_password = Secret::new(password.clone());
    }
    let mut frame = Frame::new(settings, PORT)?;
    let console = crate::console::prepare(&mut frame)?;
    let keystone = frame.keystone(catalogue(&frame.front.url)).await?;
    let (gate, owners) = (keystone.gate.clone(), keystone.owners.clone());
    let glance = frame.glance(gate.clone(), owners.clone()).await?;
    let region = frame.region(gate.clone(), owners.clone(), Arc::new(LocalImages(glance.clone())), "up", "").await?;
    region.seed(&place(&up, owners.as_ref())?).await?;
    region.start(&frame.process);

    let gateway = console.gateway(&frame, keystone.verifier.clone(), gate.clone()).await?;
    let who = identify(keystone.verifier.clone());
    let changes = |prefix: &str, db: &store::Db| apigateway::changes(prefix, db.clone(), keystone.verifier.clone(), gate.clone());
    let services = vec![
        ("/identity", "identity", keystone.router.merge(changes("/v3", &keystone.engine.db))),
        ("/image", "image", glance.router(who.clone()).merge(changes("/v1", &glance.engine().db))),
        ("/scheduler", "scheduler", region::scheduler_router(region.scheduler.clone(), gate.clone(), who.clone())),
        ("/compute", "compute", region.router(who).merge(changes("", &region.engine.db))),
        ("/", "apigateway", gateway.router()),
    ];
    let server = frame.listen(services, keystone.verifier.clone()).await?;
    remember(&frame, &keystone.outcome, console.password.as_ref())?;
    if !up.no_host {
        agent::supervise(&frame, &up, &region).await?;
    }
    frame.run(server).await
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
fn remember(frame: &Frame, outcome: &keystone::Outcome, made_up: Option<&Secret>) -> Result<()> {
    let (data, front): (&Data, &Front) = (&frame.data, &frame.front);
    let known = std::fs::read_to_string(data.path("admin.json")).ok().and_then(|t| serde_json::from_str::<serde_json::Value>(&t).ok());
    let password = match outcome.admin_password.as_ref().or(made_up) {
        Some(secret) => secret.expose().to_string(),
        None => known.as_ref().and_then(|k| k["password"].as_str()).unwrap_or_default().to_string(),
    };
    let profile = serde_json::json!({"auth_url": format!("{}/identity/v3", front.url), "user": "sysadmin", "password": password,
        "domain": "Default", "project": "system", "region": frame.settings.region_name,
        "ca_file": front.ca.clone().unwrap_or_default()});
    data.write_private("admin.json", &serde_json::to_string_pretty(&profile)?)?;
    if outcome.admin_password.is_some() || made_up.is_some() {
        // Told once, and to a person: a file that output goes to is kept.
        let told = if std::io::stdout().is_terminal() { password } else { format!("in {}", data.path("admin.json").display()) };
        println!("administrator: sysadmin");
        println!("password:      {told}");
        println!("console:       {}  (as {}, with the same password)", front.url, crate::console::USER);
    }
    Ok(())
}
