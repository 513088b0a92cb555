//! Who is it: the methods of a token request.

use super::{Proved, acceptable, aksk, note_failure, wrong_password};
use crate::{passwords, state::State};
use api_identity::{AccessKey, AuthContext, Identity, PasswordUser, User, Which};
use auth::password::Outcome;
use base::{Resource, Result, Row, Value, err};
use store::{Cond, Read, set, work};

pub(super) async fn prove(state: &State, identity: &Identity) -> Result<Proved> {
    let method = match identity.methods.as_slice() {
        [one] => one.as_str(),
        _ => return Err(err!(Unauthorized, "name exactly one authentication method, got {}", identity.methods.len())),
    };
    let missing = || err!(InputParameter, "auth.identity.{} is missing", method);
    match method {
        "password" => {
            let asked = &identity.password.as_ref().ok_or_else(missing)?.user;
            let user = by_password(state, asked).await?;
            Ok(proved(user, "password"))
        }
        "token" => {
            let token = &identity.token.as_ref().ok_or_else(missing)?.id;
            let claims =
                state.verifier.verify(token.expose()).map_err(|why| err!(Unauthorized, "invalid token; log in again").with_context(why))?;
            let user = state.db.read().one(User::facts(), &claims.caller.user_id).await?.filter(|u| !u.flag("deleted"));
            let user = user.ok_or_else(|| err!(Unauthorized, "invalid token; log in again"))?;
            Ok(Proved {
                chain: claims.audit_ids.clone(),
                // A token made from a token does not live longer: otherwise a stolen one would live for ever.
                until: Some(claims.expires),
                context: Some(AuthContext { source: claims.source.clone(), ip: claims.ip.map(|ip| ip.to_string()).unwrap_or_default() }),
                // What an access key opens is its own project, by whatever detour.
                project: claims.methods.iter().any(|m| m == "aksk").then(|| claims.caller.project_id.clone()),
                ..proved(user, if claims.methods.iter().any(|m| m == "aksk") { "aksk" } else { "token" })
            })
        }
        "aksk" => aksk::prove(state, identity.access_key_secret.as_deref().ok_or_else(missing)?).await,
        other => Err(err!(Unauthorized, "the authentication method {} is not offered here", other)),
    }
}

pub(super) fn proved(user: Row, method: &'static str) -> Proved {
    Proved { user, method, chain: Vec::new(), until: None, project: None, access_key: AccessKey::default(), context: None }
}

async fn by_password(state: &State, asked: &PasswordUser) -> Result<Row> {
    let found = find(state, asked).await?;
    if !acceptable(&asked.password) {
        return Err(wrong_password());
    }
    // A locked account is not tried: its password could be found by asking on.
    if let Some(user) = found.as_ref().filter(|u| locked(state, u)) {
        return Err(err!(UserLocked, "the user {} is locked after too many wrong passwords; an administrator can enable it", user.name()));
    }
    let outcome = passwords::compare(state, found.as_ref(), &asked.password).await?;
    let Some(user) = found else { return Err(wrong_password()) };
    match outcome {
        Outcome::Wrong => Err(note_failure(state, &user).await?),
        Outcome::Right => Ok(user),
        Outcome::RightButOld => {
            let fresh = passwords::rehash(state, &asked.password).await?;
            let (id, old) = (user.id(), user.text("password_hash"));
            state
                .db
                .tx(|tx| {
                    let fresh = fresh.clone();
                    // Not when somebody chose another password meanwhile.
                    let this = Cond::eq("id", id).and(Cond::eq("password_hash", old));
                    work(async move { tx.update("users", this, vec![set("password_hash", fresh)]).await.map(drop) })
                })
                .await?;
            Ok(user)
        }
    }
}

fn locked(state: &State, user: &Row) -> bool {
    let most = state.config.password_error_lock_count;
    most > 0 && !user.flag("enabled") && user.int("failed_auth_count") > most
}

/// The user of a name or id, if there is one.
async fn find(state: &State, asked: &PasswordUser) -> Result<Option<Row>> {
    let mut cond = Cond::eq("deleted", false);
    if !asked.id.is_empty() {
        cond = cond.and(Cond::eq("id", asked.id.as_str()));
    } else if !asked.name.is_empty() {
        cond = cond.and(Cond::eq("name", asked.name.as_str()));
    } else {
        return Err(err!(InputParameter, "auth.identity.{} is missing", "password.user.name"));
    }
    if !asked.domain.is_empty() {
        match domain(state, &asked.domain).await? {
            Some(id) => cond = cond.and(Cond::eq("domain_id", id)),
            None => return Ok(None),
        }
    }
    let mut users = state.db.read().find(User::facts(), cond).await?;
    if users.len() > 1 {
        return Err(err!(Conflict, "duplicate username: {} users are named {}; name the domain as well", users.len(), asked.name));
    }
    Ok(users.pop())
}

/// A domain by id or name.
pub(super) async fn domain(state: &State, which: &Which) -> Result<Option<String>> {
    for again in [false, true] {
        if again {
            state.catch_up().await?;
        }
        let found = if which.id.is_empty() {
            state.directory.domains_named(&which.name).pop()
        } else {
            // Some clients send the name under the key of the id.
            state.directory.find_domain(&which.id).or_else(|| state.directory.domains_named(&which.id).pop())
        };
        if let Some(domain) = found {
            return Ok(Some(domain.domain_id));
        }
    }
    Ok(None)
}

/// Whether the user may work at all, once it is known who it is.
pub(super) fn may_work(state: &State, user: &Row) -> Result<()> {
    if !user.flag("enabled") {
        return Err(err!(UserDisabled, "the user {} is disabled; an administrator can enable it", user.name()));
    }
    if !state.directory.domain_enabled(user.text("domain_id")) {
        return Err(err!(UserDisabled, "the domain of the user {} is disabled", user.name()));
    }
    if matches!(user.get("expired_at"), Value::Time(at) if *at <= state.clock.now()) {
        return Err(err!(Unauthorized, "the account of the user {} has expired", user.name()));
    }
    Ok(())
}
