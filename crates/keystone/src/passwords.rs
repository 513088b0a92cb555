//! Comparing and choosing passwords, off the threads that serve requests: a hash takes tens of milliseconds of a whole core.

use crate::state::State;
use api_identity::Secret;
use auth::password::{Outcome, Stored, hash, waste};
use base::{Error, Json, Result, Row, err};

/// Compares a password with a user's; for no user the same work is done and the answer is wrong.
pub async fn compare(state: &State, user: Option<&Row>, password: &Secret) -> Result<Outcome> {
    let stored = user.and_then(|u| Stored::parse(u.text("password_hash")));
    let (password, cost) = (password.clone(), state.config.password_cost());
    working(state, move || {
        Ok(match stored {
            Some(stored) => stored.verify(password.expose(), cost),
            None => {
                waste(password.expose());
                Outcome::Wrong
            }
        })
    })
    .await
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
