//! `wolke keystone`, `wolke region`, `wolke glance`, `wolke scheduler`: one service of an installation that has several processes.
//!
//! Each has its own database (or its share of one server) and knows identity over the network: `keystone::remote` holds keys, rules and
//! projects in memory, so that requests go on while the identity service is away. Any number of each may run on PostgreSQL.

use crate::{
    frame::{Frame, identify},
    images::RemoteImages,
    settings::{Settings, Sources},
};
use anyhow::{Result, bail};
use api_identity::{IdentityClient, Login};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use http::{Client, ClientOptions, Trust};
use keystone::remote::{HttpTransport, Remote, RemoteOwners};
use scheduler::Scheduler;
use std::{sync::Arc, time::Duration};

/// Name, usual port, and what it is.
pub const SERVICES: [(&str, u16, &str); 5] = [
    ("keystone", 30500, "Run the identity service."),
    ("region", 30888, "Run the controller of compute, network and storage."),
    ("glance", 30292, "Run the image service."),
    ("scheduler", 30887, "Run the placement service: answers about where servers would go."),
    ("apigateway", 30300, "Run the web console and its gateway."),
];

pub fn commands() -> impl Iterator<Item = Command> {
    SERVICES.into_iter().map(|(name, port, about)| {
        Sources::augment_args(Command::new(name)).about(about).after_help(format!("Listens on 127.0.0.1:{port} unless told otherwise."))
    })
}

pub async fn run(name: &str, matches: &ArgMatches) -> Result<()> {
    let settings = Sources::from_arg_matches(matches)?.load()?;
    let Some((_, port, _)) = SERVICES.into_iter().find(|(known, ..)| *known == name) else { bail!("{name} is no service") };
    let frame = Frame::new(settings, port)?;
    match name {
        "keystone" => keystone(frame).await,
        "region" => region(frame).await,
        "glance" => glance(frame).await,
        "apigateway" => apigateway(frame).await,
        _ => scheduler(frame).await,
    }
}

async fn keystone(frame: Frame) -> Result<()> {
    if !frame.settings.database.is_empty() && frame.settings.secret_key.is_empty() {
        bail!(
            "secret_key must be set when the database is shared: 64 hex digits, the same for every process; make one with: openssl rand -hex 32"
        );
    }
    let own = keystone::ServiceEntry {
        name: "keystone".into(),
        r#type: "identity".into(),
        public_url: format!("{}/v3", frame.front.url),
        ..keystone::ServiceEntry::default()
    };
    let keystone = frame.keystone(vec![own]).await?;
    if let Some(password) = &keystone.outcome.admin_password {
        // Not a log line: logs are kept, this is told once.
        println!("administrator: sysadmin\npassword:      {}", password.expose());
    }
    let changes = apigateway::changes("/v3", keystone.engine.db.clone(), keystone.verifier.clone(), keystone.gate.clone());
    let server = frame.listen(vec![("/", "identity", keystone.router.merge(changes))], keystone.verifier).await?;
    frame.run(server).await
}

async fn glance(frame: Frame) -> Result<()> {
    let (remote, _) = identity(&frame.settings, &frame).await?;
    let glance = frame.glance(Arc::new(remote.gate()), Arc::new(RemoteOwners(remote.clone()))).await?;
    let changes = apigateway::changes("/v1", glance.engine().db.clone(), remote.verifier.clone(), Arc::new(remote.gate()));
    let router = glance.router(identify(remote.verifier.clone())).merge(changes);
    let server = frame.listen(vec![("/", "image", router)], remote.verifier.clone()).await?;
    frame.run(server).await
}

async fn region(frame: Frame) -> Result<()> {
    let (remote, client) = identity(&frame.settings, &frame).await?;
    let images = Arc::new(RemoteImages::new(client, remote.clone(), &frame.settings.region_name));
    let node = format!("{}-{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id());
    let region = frame.region(Arc::new(remote.gate()), Arc::new(RemoteOwners(remote.clone())), images, &node, &frame.front.own).await?;
    region.start(&frame.process);
    let changes = apigateway::changes("", region.engine.db.clone(), remote.verifier.clone(), Arc::new(remote.gate()));
    let router = region.router(identify(remote.verifier.clone())).merge(changes);
    let server = frame.listen(vec![("/", "compute", router)], remote.verifier.clone()).await?;
    frame.run(server).await
}

async fn apigateway(frame: Frame) -> Result<()> {
    let (remote, _) = identity(&frame.settings, &frame).await?;
    let gate = Arc::new(remote.gate());
    let url = frame.settings.identity.url.clone();
    let gateway =
        crate::console::build(&frame, remote.verifier.clone(), gate, account(&frame.settings, &frame)?.0, &url, trust(&frame.settings)?)
            .await?;
    let server = frame.listen(vec![("/", "apigateway", gateway.router())], remote.verifier.clone()).await?;
    frame.run(server).await
}

async fn scheduler(frame: Frame) -> Result<()> {
    let (remote, _) = identity(&frame.settings, &frame).await?;
    let db = frame.database("compute").await?;
    region::migrate(&db).await?;
    let scheduler = Arc::new(Scheduler::start(db).await?);
    let follower = scheduler.clone();
    frame.process.worker("scheduler snapshot", move |stop| {
        let follower = follower.clone();
        async move { stop.or(follower.follow()).await.unwrap_or(Ok(())) }
    });
    let router = region::scheduler_router(scheduler, Arc::new(remote.gate()), identify(remote.verifier.clone()));
    let server = frame.listen(vec![("/", "scheduler", router)], remote.verifier.clone()).await?;
    frame.run(server).await
}

/// Whose certificates are believed of the identity service.
fn trust(settings: &Settings) -> Result<Trust> {
    let told = &settings.identity;
    Ok(match told.ca.as_os_str().is_empty() {
        true => Trust::System,
        false => match std::fs::read_to_string(&told.ca) {
            Ok(pem) => Trust::SystemAnd(pem),
            Err(e) => bail!("identity.ca: {} cannot be read: {e}", told.ca.display()),
        },
    })
}

/// A client with this process's own account with the identity service.
fn account(settings: &Settings, frame: &Frame) -> Result<(IdentityClient, Client)> {
    let told = &settings.identity;
    for (key, value) in [("url", told.url.as_str()), ("user", &told.user), ("password", told.password.expose())] {
        if value.is_empty() {
            bail!("identity.{key} must be set: this service logs in to the identity service with an account of its own");
        }
    }
    let client = Client::new(ClientOptions { trust: trust(settings)?, ..ClientOptions::default() })?;
    let login = Login {
        user: told.user.clone(),
        password: told.password.clone(),
        domain: told.domain.clone(),
        project: told.project.clone(),
        source: "srv".into(),
    };
    let transport = Arc::new(HttpTransport::new(client.clone(), &told.url));
    Ok((IdentityClient::new(transport, Some(login), frame.clock.clone()), client))
}

/// Rights, projects and keys of the identity service, and the client that asks it. Waits for the service: processes of an installation start
/// in any order.
async fn identity(settings: &Settings, frame: &Frame) -> Result<(Arc<Remote>, Client)> {
    let (mut pause, clock) = (Duration::from_millis(200), frame.clock.clone());
    loop {
        let (asks, client) = account(settings, frame)?;
        match Remote::connect(asks, Vec::new(), clock.clone()).await {
            Ok(remote) => {
                remote.work(&frame.process);
                return Ok((remote, client));
            }
            Err(e) => tracing::warn!(url = settings.identity.url, error = %e, "the identity service does not let us in yet; asking again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}
