//! The identity service: who somebody is, where he may work, what he may do there, and where the services are.
//!
//! [`build`] opens nothing and listens nowhere: it is given a database and answers with everything a process needs, for `wolke keystone` alone
//! and for `wolke up` with all services in one process.
//!
//! - `login`: from a token request to a signed token; `serve`: the paths; `kinds`: the resources; `bootstrap`: the state at first start;
//! - `state`, `follow`, `directory`, `rules`, `keys`: what is kept in memory, and how it stays true;
//! - `grants`, `binding`, `revoke`, `access`: what ties users, roles and policies together, and who may do that;
//! - `provider`: users of directories, brought over and let in;
//! - [`remote`]: the same directory, rules and verifier for services in other processes.

mod access;
mod binding;
mod bootstrap;
mod config;
mod counters;
mod directory;
mod explain;
mod follow;
mod grants;
mod keys;
mod kinds;
mod login;
mod owners;
mod passwords;
mod provider;
mod quota;
pub mod remote;
mod revoke;
mod rules;
mod separation;
mod serve;
mod state;
mod trail;

pub use bootstrap::{Outcome, random_password};
pub use config::{Config, ServiceEntry};
pub use passwords::HashWork;

use auth::{Guard, Verifier};
use base::{Class, Clock, Result};
use resource::{Engine, Gate, Owners};
use service::{PolicyGate, Process};
use state::State;
use std::{sync::Arc, time::Duration};
use store::{Db, Migrations};

/// The tables of the service.
pub const MIGRATIONS: Migrations = Migrations {
    owner: api_identity::SERVICE,
    sqlite: &[
        ("0001_init.sql", include_str!("../migrations/sqlite/0001_init.sql")),
        ("0010_quotas.sql", include_str!("../migrations/sqlite/0010_quotas.sql")),
        ("0011_logins.sql", include_str!("../migrations/sqlite/0011_logins.sql")),
    ],
    postgres: &[
        ("0001_init.sql", include_str!("../migrations/postgres/0001_init.sql")),
        ("0010_quotas.sql", include_str!("../migrations/postgres/0010_quotas.sql")),
        ("0011_logins.sql", include_str!("../migrations/postgres/0011_logins.sql")),
    ],
};

/// The service, ready to be mounted.
pub struct Keystone {
    /// Its paths, `/v3/…`.
    pub router: http::Router,
    /// Decides for every service of this process.
    pub gate: Arc<dyn Gate>,
    /// Projects and domains, for every service of this process.
    pub owners: Arc<dyn Owners>,
    /// Verifies tokens, for every service of this process.
    pub verifier: Arc<Verifier>,
    /// What the start found and made.
    pub outcome: Outcome,
    /// The engine of its resources, for documents and the command line.
    pub engine: Arc<Engine>,
    state: Arc<State>,
}

/// How often two processes that start at once may be in each other's way.
const TRIES: usize = 5;

/// Brings the database to where it must be, and puts the service together.
pub async fn build(config: Config, db: Db, clock: Clock) -> Result<Keystone> {
    db.migrate(&resource::MIGRATIONS).await?;
    db.migrate(&MIGRATIONS).await?;
    db.migrate(&provider::MIGRATIONS).await?;
    let state = Arc::new(State::new(config, db.clone(), clock.clone())?);
    let mut tries = 1;
    let outcome = loop {
        match bootstrap::ensure(&state).await {
            // Another process was faster with the same names: now they are there.
            Err(e) if tries < TRIES && matches!(e.class(), Class::DuplicateName | Class::DuplicateId | Class::DuplicateResource) => {
                tries += 1
            }
            outcome => break outcome?,
        }
    };
    separation::begin(&state).await?;
    state.load().await?;
    login::upkeep(&state).await?;

    let owners = Arc::new(owners::LocalOwners(state.clone()));
    let gate: Arc<dyn Gate> = Arc::new(PolicyGate::new(state.rules.shared(), clock.clone()).with_owner_tags(owners.clone()));
    let owners: Arc<dyn Owners> = owners;
    let options = resource::Options { recycle: false, version: telemetry::version().to_string(), ..resource::Options::default() };
    let engine = Engine::new(api_identity::SERVICE, db, clock, gate.clone(), owners.clone(), kinds::kinds(&state), options);
    let engine = Arc::new(engine);
    let verifier = state.verifier.clone();
    let desk = Arc::new(serve::Desk { state: state.clone(), engine: engine.clone(), guard: Guard::new(verifier.clone()) });
    Ok(Keystone { router: serve::router(&desk), gate, owners, verifier, outcome, engine, state })
}

/// How often keys are looked after and old rows cleared away.
const UPKEEP: Duration = Duration::from_secs(300);
/// How long the change feed is kept, and how many lines of it at most.
const FEED_KEPT: (Duration, u64) = (Duration::from_secs(86_400), 200_000);

/// How often it is looked whether a directory's time has come.
const DIRECTORIES: Duration = Duration::from_secs(30);

/// How often other services are asked what belongs to whom (spec 02 §11).
const COUNTING: Duration = Duration::from_secs(900);

impl Keystone {
    /// Lets the service ask the others of the catalogue what projects and domains still have, now and then and before one is deleted. Without this
    /// deletion looks at what identity itself keeps.
    pub fn count_resources(&self, client: http::Client, process: &Process) {
        self.state.counters.reach_by(client);
        let state = self.state.clone();
        process.worker("identity-counters", move |shutdown| {
            let state = state.clone();
            async move {
                while shutdown.or(tokio::time::sleep(COUNTING)).await.is_some() {
                    counters::refresh(&state).await?;
                }
                Ok(())
            }
        });
    }

    /// Brings over users and groups of the directories whose time has come; answers how many. One replica does it for each, whoever is first.
    pub async fn sync_directories(&self) -> Result<usize> {
        provider::sync::due(&self.state).await
    }

    /// Starts what runs beside the requests: following changes of other replicas, rotation of keys, clearing away.
    pub fn work(&self, process: &Process) {
        let help = "token requests, by how they ended; a rise of login_fail is somebody guessing, or a client with an old password";
        process.metrics().add("logins", help, self.state.logins.clone());
        let state = self.state.clone();
        process.worker("identity-follow", move |shutdown| {
            let state = state.clone();
            async move {
                shutdown.or(state.run()).await;
                Ok(())
            }
        });
        let state = self.state.clone();
        process.worker("identity-directories", move |shutdown| {
            let state = state.clone();
            async move {
                while shutdown.or(tokio::time::sleep(DIRECTORIES)).await.is_some() {
                    provider::sync::due(&state).await?;
                }
                Ok(())
            }
        });
        let state = self.state.clone();
        process.worker("identity-upkeep", move |shutdown| {
            let state = state.clone();
            async move {
                while shutdown.or(tokio::time::sleep(UPKEEP)).await.is_some() {
                    upkeep(&state).await?;
                }
                Ok(())
            }
        });
    }
}

impl Keystone {
    /// Password hashes computed since the start: what a stranger's guesses cost.
    pub fn hash_work(&self) -> HashWork {
        self.state.hashed.read()
    }
}

async fn upkeep(state: &State) -> Result<()> {
    state.keys.rotate(state).await?;
    // A key published earlier may have come to its turn.
    state.keys.load(state).await?;
    revoke::trim(&state.db).await?;
    trail::trim(&state.db, state.config.event_retention_days).await?;
    login::upkeep(state).await?;
    provider::pending::trim(state).await?;
    state.db.feed().trim(FEED_KEPT.0, FEED_KEPT.1).await?;
    Ok(())
}
