//! Comparing and choosing passwords, off the threads that serve requests: a hash takes tens of milliseconds of a whole core.

use crate::{provider, state::State};
use api_identity::Secret;
use auth::password::{Outcome, Stored, hash, waste, waste_old};
use base::{Error, Json, Result, Row, err};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Password hashes computed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashWork {
    pub argon2: u64,
    pub bcrypt: u64,
}

/// Counts them, and knows whether old hashes are still about.
#[derive(Default)]
pub struct Hashed {
    argon2: AtomicU64,
    bcrypt: AtomicU64,
    /// Whether some user still has a hash of the old kind. Then every wrong password costs one of either kind: otherwise the time would tell
    /// who exists and has not logged in since the change.
    old: AtomicBool,
}

impl Hashed {
    pub fn read(&self) -> HashWork {
        HashWork { argon2: self.argon2.load(Relaxed), bcrypt: self.bcrypt.load(Relaxed) }
    }

    pub fn expect_old(&self, old: bool) {
        self.old.store(old, Relaxed);
    }

    fn count(&self, stored: &Stored) {
        match stored {
            Stored::Argon2(_) => &self.argon2,
            Stored::Bcrypt(_) => &self.bcrypt,
        }
        .fetch_add(1, Relaxed);
    }
}

/// Compares a password with a user's.
pub async fn compare(state: &State, user: &Row, password: &Secret) -> Result<Outcome> {
    match by_directory(state, user, password).await? {
        Some(outcome) => Ok(outcome),
        None => compare_with(state, Some(user.text("password_hash")), password).await,
    }
}

/// A directory's users have no password here: it decides. A wrong one costs what it costs everybody else, besides.
async fn by_directory(state: &State, user: &Row, password: &Secret) -> Result<Option<Outcome>> {
    let told = provider::login::compare(state, user, password).await;
    if !matches!(&told, Ok(None | Some(Outcome::Right))) {
        compare_with(state, None, password).await?;
    }
    told
}

/// The same for whoever may be nobody: then the same work is done, here and in the directory of the domain, and the answer is wrong. `domain` is
/// where the user was looked for; `None` is everywhere, and then every directory is asked, whoever it is.
pub async fn compare_at_door(state: &State, user: Option<&Row>, domain: Option<&str>, password: &Secret) -> Result<Outcome> {
    let Some(domain) = domain else {
        let own = user.map(|u| u.text("password_hash")).filter(|hash| !hash.is_empty());
        let outcome = compare_with(state, own, password).await?;
        return if outcome.is_right() { Ok(outcome) } else { provider::login::compare_anywhere(state, user, password).await };
    };
    if let Some(user) = user
        && let Some(outcome) = by_directory(state, user, password).await?
    {
        return Ok(outcome);
    }
    let outcome = compare_with(state, user.map(|u| u.text("password_hash")), password).await?;
    if outcome.is_right() {
        return Ok(outcome);
    }
    let asked = provider::login::compare_nobody(state, domain, password).await;
    // Of a domain that has a directory it tells about strangers what it tells about its users. Guesses at a password that is kept here are
    // counted whatever happens there.
    if user.is_none_or(|u| u.text("password_hash").is_empty()) {
        asked?;
    }
    Ok(outcome)
}

/// The same for the hash of anything else that is a secret of somebody.
pub async fn compare_with(state: &State, hash: Option<&str>, password: &Secret) -> Result<Outcome> {
    let stored = hash.and_then(Stored::parse);
    let decoy = Decoys { argon2: !matches!(stored, Some(Stored::Argon2(_))), bcrypt: state.hashed.old.load(Relaxed) };
    let (password, cost) = (password.clone(), state.config.password_cost());
    if let Some(stored) = &stored {
        state.hashed.count(stored);
    }
    let of_old = matches!(stored, Some(Stored::Bcrypt(_)));
    let (outcome, wasted) = working(state, move || {
        let outcome = stored.map_or(Outcome::Wrong, |stored| stored.verify(password.expose(), cost));
        if outcome.is_right() {
            return Ok((outcome, Vec::new()));
        }
        let mut wasted = Vec::new();
        if decoy.argon2 {
            wasted.push(waste(password.expose(), cost));
        }
        if decoy.bcrypt && !of_old {
            wasted.push(waste_old(password.expose()));
        }
        Ok((outcome, wasted))
    })
    .await?;
    wasted.iter().flatten().for_each(|w| state.hashed.count(w));
    Ok(outcome)
}

/// What is computed besides, so that every wrong password costs the same.
struct Decoys {
    argon2: bool,
    bcrypt: bool,
}

/// Whether somebody else chose the password and the rules about its shape are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    ByUser,
    ByAdministrator { any_shape: bool },
}

/// Puts a new password into a user's row.
pub async fn set(state: &State, row: &mut Row, password: &str, by: Chosen) -> Result<()> {
    let any_shape = by == Chosen::ByAdministrator { any_shape: true };
    if password.is_empty() {
        return Err(err!(WeakPassword, "the password is empty"));
    }
    provider::login::demand_own(state, row).await?;
    if !any_shape {
        state.config.password_rules().check(password, row.name())?;
    }
    let keep = state.config.password_unique_history_check;
    let mut earlier: Vec<String> = match row.get("password_history") {
        base::Value::Json(Json::Array(all)) => all.iter().filter_map(|j| j.as_str().map(str::to_string)).collect(),
        _ => Vec::new(),
    };
    let current = row.text("password_hash").to_string();
    if !current.is_empty() {
        earlier.insert(0, current);
    }
    earlier.truncate(keep);
    let (cost, secret, compared) = (state.config.password_cost(), Secret::new(password), earlier.clone());
    let fresh = working(state, move || {
        if compared.iter().filter_map(|h| Stored::parse(h)).any(|old| old.verify(secret.expose(), cost).is_right()) {
            return Err(err!(WeakPassword, "the password was used before; choose another"));
        }
        hash(secret.expose(), cost)
    })
    .await?;
    let now = state.clock.now();
    row.set("password_hash", fresh);
    row.set("password_history", Json::from(earlier));
    row.set("password_changed_at", now);
    let life = state.config.password_expiration_seconds;
    row.set("password_expires_at", (life > 0).then(|| now.plus_secs(life)));
    row.set("need_reset_password", any_shape);
    row.set("password_reset_hint", if any_shape { "admin_reset" } else { "" });
    row.set("failed_auth_count", 0);
    Ok(())
}

/// The same password under a newer kind of hash, once it is at hand.
pub async fn rehash(state: &State, password: &Secret) -> Result<String> {
    let (cost, password) = (state.config.password_cost(), password.clone());
    working(state, move || hash(password.expose(), cost)).await
}

/// Runs slow work on a thread that may block; only as much at once as there are cores, so that a storm of logins queues here and not in memory.
async fn working<T: Send + 'static>(state: &State, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let _place = state.hashing.acquire().await.map_err(Error::internal)?;
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}
