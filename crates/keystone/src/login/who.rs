//! Who is it: the methods of a token request.

use super::{Proved, acceptable, aksk, application, guard, guard::Attempt, second, user_locked};
use crate::{passwords, provider::login as directory, provider::sso, state::State};
use api_identity::{AccessKey, AuthContext, Identity, PasswordUser, Secret, TotpUser, User, Which};
use auth::password::Outcome;
use base::{Class, Resource, Result, Row, Value, err};
use std::net::IpAddr;
use store::{Cond, Read, set, work};

pub(super) async fn prove(state: &State, identity: &Identity, peer: Option<IpAddr>) -> Result<Proved> {
    let mut methods: Vec<&str> = identity.methods.iter().map(String::as_str).collect();
    methods.sort_unstable();
    let method = match methods.as_slice() {
        [one] => *one,
        ["password", "totp"] => "password",
        _ => return Err(err!(Unauthorized, "name exactly one authentication method, got {}", identity.methods.len())),
    };
    let missing = || err!(InputParameter, "auth.identity.{} is missing", method);
    match method {
        "password" => {
            let asked = &identity.password.as_ref().ok_or_else(missing)?.user;
            let code = match methods.len() {
                1 => None,
                _ => Some(identity.totp.as_ref().ok_or_else(|| err!(InputParameter, "auth.identity.{} is missing", "totp"))?),
            };
            by_password(state, asked, code.map(|t| &t.user), peer).await
        }
        "token" => {
            let token = &identity.token.as_ref().ok_or_else(missing)?.id;
            let claims =
                state.verifier.verify(token.expose()).map_err(|why| err!(Unauthorized, "invalid token; log in again").with_context(why))?;
            let user = state.db.read().one(User::facts(), &claims.caller.user_id).await?.filter(|u| !u.flag("deleted"));
            let user = user.ok_or_else(|| err!(Unauthorized, "invalid token; log in again"))?;
            // What an access key or an application credential opens is its own project, by whatever detour.
            let tied = claims.methods.iter().find_map(|m| ["aksk", application::METHOD].into_iter().find(|t| t == m));
            Ok(Proved {
                chain: claims.audit_ids.clone(),
                // A token made from a token does not live longer: otherwise a stolen one would live for ever.
                until: Some(claims.expires),
                context: Some(AuthContext { source: claims.source.clone(), ip: claims.ip.map(|ip| ip.to_string()).unwrap_or_default() }),
                project: tied.map(|_| claims.caller.project_id.clone()),
                roles: claims.limits.as_ref().map(|_| claims.caller.roles.iter().map(|r| r.id.clone()).collect()),
                limits: claims.limits.clone(),
                ..proved(user, tied.unwrap_or("token"))
            })
        }
        "aksk" => aksk::prove(state, identity.access_key_secret.as_deref().ok_or_else(missing)?).await,
        application::METHOD => application::prove(state, identity.application_credential.as_ref().ok_or_else(missing)?, peer).await,
        "oidc" => sso::prove(state, "oidc", identity).await,
        "oauth2" => sso::prove(state, "oauth2", identity).await,
        "cas" => sso::prove(state, "cas", identity).await,
        "saml" => sso::prove(state, "saml", identity).await,
        other => Err(err!(Unauthorized, "the authentication method {} is not offered here", other)),
    }
}

pub(crate) fn proved(user: Row, method: &'static str) -> Proved {
    Proved {
        user,
        methods: vec![method],
        chain: Vec::new(),
        origin: Vec::new(),
        told: base::Json::Null,
        until: None,
        project: None,
        roles: None,
        limits: None,
        access_key: AccessKey::default(),
        context: None,
    }
}

async fn by_password(state: &State, asked: &PasswordUser, code: Option<&TotpUser>, peer: Option<IpAddr>) -> Result<Proved> {
    let home = if asked.domain.is_empty() { None } else { Some(domain(state, &asked.domain).await?) };
    let found = find_in(state, asked, home.as_ref().map(Option::as_deref)).await?;
    let name = if asked.id.is_empty() { &asked.name } else { &asked.id };
    let known = matches!(home, Some(Some(_)));
    let place = home.clone().map(|domain| domain.unwrap_or_else(|| NO_DOMAIN.to_string()));
    let domain = home.flatten().unwrap_or_else(|| asked.domain.name.to_lowercase());
    let attempt = Attempt::new(found.as_ref(), name, &domain, peer);
    guard::admit(state, &attempt).await?;
    // A locked account is not tried: its password could be found by asking on.
    if found.as_ref().is_some_and(|u| locked(state, u)) {
        return Err(user_locked(name));
    }
    let outcome = if acceptable(&asked.password) {
        match passwords::compare_at_door(state, found.as_ref(), place.as_deref(), &asked.password).await {
            // Nobody knows whether it is wrong. Counted all the same, of everybody alike, but held against no account.
            Err(away) if place.is_none() && away.class() == Class::BadGateway => {
                return Err(guard::undecided(state, &attempt).await?.unwrap_or(away));
            }
            told => told?,
        }
    } else {
        Outcome::Wrong
    };
    let user = match (found, outcome.is_right()) {
        (Some(user), true) => user,
        (found, _) => {
            // A domain that is not known has been looked for once more; that takes its time.
            if known {
                state.catch_up().await?;
            }
            // One transaction, of as many steps for a name nobody has.
            let refused = guard::failed_password(state, &attempt, found.as_ref()).await?;
            let open = place.is_none() && refused.class() == Class::WrongPassword;
            return Err(if open { super::wrong_somewhere() } else { refused });
        }
    };
    if outcome == Outcome::RightButOld {
        renew_hash(state, &user, &asked.password).await?;
    }
    let factor = second::of(state, user.id()).await?;
    let methods = match (&factor, code) {
        (None, None) => vec!["password"],
        (Some(_), None) => {
            guard::passed_over(state, &attempt);
            // A disabled account is told so first: there is no use in looking for the generator.
            may_work(state, &user)?;
            return Err(err!(SecondFactorRequired, "a one-time password is needed as well: send the methods password and totp"));
        }
        (None, Some(_)) => {
            guard::passed_over(state, &attempt);
            return Err(err!(InvalidCredential, "the user {} has no second factor; log in with the password alone", user.name()));
        }
        (Some(factor), Some(code)) => {
            let other = (!code.id.is_empty() && code.id != user.id()) || (!code.name.is_empty() && code.name != user.name());
            if other {
                guard::passed_over(state, &attempt);
                return Err(err!(InvalidCredential, "password and one-time password are of different users"));
            }
            second::check(state, &user, factor, &code.passcode).await?;
            vec!["password", "totp"]
        }
    };
    guard::succeeded(state, &attempt).await?;
    let origin = directory::origin(state, &user).await?;
    Ok(Proved { methods, origin, ..proved(user, "password") })
}

/// The password under a hash of today, now that it is at hand.
async fn renew_hash(state: &State, user: &Row, password: &Secret) -> Result<()> {
    let fresh = passwords::rehash(state, password).await?;
    let (id, old) = (user.id(), user.text("password_hash"));
    state
        .db
        .tx(|tx| {
            let fresh = fresh.clone();
            // Not when somebody chose another password meanwhile.
            let this = Cond::eq("id", id).and(Cond::eq("password_hash", old));
            work(async move { tx.update("users", this, vec![set("password_hash", fresh)]).await.map(drop) })
        })
        .await
}

fn locked(state: &State, user: &Row) -> bool {
    let most = state.config.password_error_lock_count;
    most > 0 && !user.flag("enabled") && user.int("failed_auth_count") > most
}

/// The user of a name or id, if there is one.
pub(super) async fn find(state: &State, asked: &PasswordUser) -> Result<Option<Row>> {
    let home = if asked.domain.is_empty() { None } else { Some(domain(state, &asked.domain).await?) };
    find_in(state, asked, home.as_ref().map(Option::as_deref)).await
}

/// The same when the domain is known: `Some(None)` is one that does not exist. It is asked for all the same, as the time would tell.
async fn find_in(state: &State, asked: &PasswordUser, home: Option<Option<&str>>) -> Result<Option<Row>> {
    let mut cond = Cond::eq("deleted", false);
    if !asked.id.is_empty() {
        cond = cond.and(Cond::eq("id", asked.id.as_str()));
    } else if !asked.name.is_empty() {
        cond = cond.and(Cond::eq("name", asked.name.as_str()));
    } else {
        return Err(err!(InputParameter, "auth.identity.{} is missing", "password.user.name"));
    }
    if let Some(home) = home {
        cond = cond.and(Cond::eq("domain_id", home.unwrap_or(NO_DOMAIN)));
    }
    let mut users = state.db.read().find(User::facts(), cond).await?;
    // A name of several is nobody's until a domain goes with it: saying that there are several would tell strangers which names there are, and
    // counting a failure against one of them would let strangers lock the others' doors.
    if users.len() > 1 {
        tracing::info!(user = asked.name, users = users.len(), "a name that several users have is nobody's without its domain");
        return Ok(None);
    }
    Ok(users.pop())
}

/// No domain's id.
const NO_DOMAIN: &str = " ";

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
