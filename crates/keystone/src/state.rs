//! What every part of the service shares.

use crate::{
    config::Config, counters::Counters, directory::Directory, keys::Keys, login::Throttle, passwords::Hashed, provider::web::Sites,
    rules::Rules,
};
use api_identity::CatalogService;
use arc_swap::ArcSwap;
use auth::Seal;
use auth::Verifier;
use base::{Clock, Result};
use prometheus_client::metrics::{counter::Counter, family::Family};
use std::{
    collections::HashSet,
    sync::{Arc, atomic::AtomicI64},
};
use store::Db;
use tokio::sync::{Mutex, Semaphore};

pub struct State {
    pub config: Config,
    pub db: Db,
    pub clock: Clock,
    pub seal: Seal,
    pub directory: Directory,
    pub rules: Rules,
    pub catalogue: ArcSwap<Vec<CatalogService>>,
    /// Users with a role in the project `system`: they are administered by the platform's administrators only.
    pub mighty: ArcSwap<HashSet<String>>,
    pub keys: Keys,
    /// What other services keep for projects and domains.
    pub counters: Counters,
    pub verifier: Arc<Verifier>,
    /// Places for password work.
    pub hashing: Semaphore,
    pub hashed: Hashed,
    /// Authorities of single sign-on, as they are reached.
    pub sites: Sites,
    /// How fast addresses may fail.
    pub throttle: Throttle,
    /// Token requests by how they ended.
    pub logins: Family<[(&'static str, &'static str); 1], Counter>,
    /// How far the change feed has been followed; held while following.
    pub(crate) followed: Mutex<()>,
    pub(crate) cursor: AtomicI64,
}

/// Tokens whose verification is remembered.
const REMEMBERED: usize = 20_000;

impl State {
    pub fn new(config: Config, db: Db, clock: Clock) -> Result<State> {
        let seal = Seal::new(config.secret_key.expose(), "identity")?;
        let rules = Rules::new(clock.clone(), config.own_rules.clone());
        let cores = std::thread::available_parallelism().map_or(2, |n| n.get());
        Ok(State {
            seal,
            rules,
            directory: Directory::default(),
            catalogue: ArcSwap::default(),
            mighty: ArcSwap::default(),
            keys: Keys::default(),
            logins: Family::default(),
            counters: Counters::default(),
            verifier: Arc::new(Verifier::new(auth::KeyRing::new(), REMEMBERED, clock.clone())),
            hashing: Semaphore::new(cores),
            hashed: Hashed::default(),
            sites: Sites::default(),
            throttle: Throttle::default(),
            followed: Mutex::default(),
            cursor: AtomicI64::new(-1),
            config,
            db,
            clock,
        })
    }
}
