//! From a token request to a token (spec 02 §2).
//!
//! ```text
//! who (password and second factor, token, access key, application credential) ─▶ where (project, domain, nowhere) ─▶ claims ─▶ signed token ─▶ answer
//! ```
//!
//! Nobody learns here who exists: an unknown user and a wrong password cost the same and are answered alike. (Existing services answer 404
//! for an unknown user; their clients only look for 4xx.)

mod aksk;
mod answer;
pub mod application;
mod guard;
mod scope;
pub mod second;
mod who;

pub use aksk::SignedRequest;
pub use answer::{catalogue, subject};
pub use guard::{Throttle, upkeep};
pub(crate) use who::proved;

use crate::state::State;
use api_identity::{AccessKey, Auth, AuthContext, Secret, Subject};
use auth::Claims;
use base::{Caller, Error, Json, Result, Row, Timestamp, err};
use scope::Place;
use std::net::IpAddr;
use std::sync::Arc;
use store::{Cond, add, set, work};

/// A token with its answer.
pub struct Issued {
    pub token: String,
    pub subject: Subject,
    /// What the record of the login says besides.
    pub told: Json,
}

/// Who somebody turned out to be.
pub(crate) struct Proved {
    pub user: Row,
    /// The words of the methods.
    pub methods: Vec<&'static str>,
    /// The chain the new token continues; empty for a new login.
    pub chain: Vec<String>,
    /// Numbers at the head of a new chain: those of whoever vouches for the user, who may end it.
    pub origin: Vec<String>,
    /// What the record of the login says besides: provider and subject.
    pub told: Json,
    /// The new token cannot outlive this.
    pub until: Option<Timestamp>,
    /// The project the proof is tied to, whatever scope was asked for.
    pub project: Option<String>,
    /// The only roles the token may have there; `None` for all the user has.
    pub roles: Option<Vec<String>>,
    pub limits: Option<Arc<auth::Limits>>,
    pub access_key: AccessKey,
    /// Where the first login of the chain came from.
    pub context: Option<AuthContext>,
}

/// Carries out `POST /v3/auth/tokens`. `peer` is the address of the connection.
pub async fn issue(state: &State, auth: &Auth, peer: Option<IpAddr>) -> Result<Issued> {
    let address = said_address(state, &auth.context, peer).or(peer);
    let proved = who::prove(state, &auth.identity, address).await?;
    finish(state, auth, proved, peer).await
}

/// Carries out `POST /v3/ec2tokens` and `/v3/s3tokens`: a token for whoever signed a request that a service received.
pub async fn issue_for_request(state: &State, request: &SignedRequest) -> Result<Issued> {
    let proved = aksk::prove_request(state, request).await?;
    finish(state, &Auth::default(), proved, None).await
}

async fn finish(state: &State, auth: &Auth, proved: Proved, peer: Option<IpAddr>) -> Result<Issued> {
    who::may_work(state, &proved.user)?;
    let place = scope::enter(state, &proved, auth.scope.as_ref()).await?;
    let context = context(state, &auth.context, proved.context.as_ref(), peer);
    let claims = claims(state, &proved, &place, &context)?;
    let token = claims.sign(&*state.keys.signer()?)?;
    let mut subject = subject(state, &claims).await?;
    subject.access_key = proved.access_key.clone();
    if proved.chain.is_empty() {
        note_login(state, &proved.user, &context).await?;
    }
    Ok(Issued { token, subject, told: proved.told })
}

/// Refuses unless the password is the user's: for changes a token alone must not make. Guesses are counted like those at the door.
pub async fn demand_password(state: &State, user: &Row, password: &Secret, peer: Option<IpAddr>) -> Result<()> {
    let attempt = guard::Attempt::new(Some(user), user.name(), "", peer);
    guard::admit(state, &attempt).await?;
    if acceptable(password) && crate::passwords::compare(state, user, password).await?.is_right() {
        return guard::succeeded(state, &attempt).await;
    }
    Err(guard::failed(state, &attempt).await?)
}

/// What the client says of itself, or what is known of the connection; a token made from another keeps the first login's.
fn context(state: &State, said: &AuthContext, first: Option<&AuthContext>, peer: Option<IpAddr>) -> AuthContext {
    let known = |word: &str| matches!(word, "web" | "api" | "cli" | "srv" | "operator");
    let source = match (known(&said.source), first) {
        (true, _) => said.source.clone(),
        (false, Some(first)) => first.source.clone(),
        (false, None) => "api".to_string(),
    };
    let told = said_address(state, said, peer).or_else(|| first.and_then(|f| f.ip.parse().ok()));
    AuthContext { source, ip: told.or(peer).map(|ip| ip.to_string()).unwrap_or_default() }
}

/// The address a gateway gives for its user; nobody else's word is taken.
pub(crate) fn said_address(state: &State, said: &AuthContext, peer: Option<IpAddr>) -> Option<IpAddr> {
    let trusted = peer.is_none_or(|peer| state.config.trusted_gateways.iter().any(|net| net.contains(&peer)));
    said.ip.parse::<IpAddr>().ok().filter(|_| trusted)
}

fn claims(state: &State, proved: &Proved, place: &Place, context: &AuthContext) -> Result<Claims> {
    let user = &proved.user;
    let now = state.clock.now();
    let mut expires = now.plus_secs(state.config.token_expiration_seconds.clamp(60, crate::revoke::LONGEST));
    let account_ends = match user.get("expired_at") {
        base::Value::Time(at) => Some(*at),
        _ => None,
    };
    for end in [proved.until, account_ends].into_iter().flatten() {
        expires = expires.min(end);
    }
    let caller = Caller {
        user_id: user.id().to_string(),
        user: user.name().to_string(),
        user_domain_id: user.text("domain_id").to_string(),
        user_domain: state.directory.domain_name(user.text("domain_id")),
        project_id: place.owner.project_id.clone(),
        project: place.owner.project.clone(),
        project_domain_id: place.owner.domain_id.clone(),
        project_domain: place.owner.domain.clone(),
        roles: place.roles.clone(),
        is_system_account: user.flag("is_system_account"),
    };
    let mut audit_ids = if proved.chain.is_empty() { proved.origin.clone() } else { proved.chain.clone() };
    audit_ids.push(short_id()?);
    Ok(Claims {
        caller: Arc::new(caller),
        methods: proved.methods.iter().map(ToString::to_string).collect(),
        issued: now,
        expires,
        audit_ids,
        source: context.source.clone(),
        ip: context.ip.parse().ok(),
        is_domain: place.is_domain,
        limits: proved.limits.clone(),
        key_id: String::new(),
    })
}

/// A number of a token: 96 random bits.
fn short_id() -> Result<String> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut bytes = [0u8; 12];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// How old the note of a login may become before it is written again: a script that logs in each second shall not write each second.
const NOTE_EVERY_SECS: i64 = 60;

/// Writes down when and from where, and forgets wrong passwords. Not a change of the user in the sense of the feed.
async fn note_login(state: &State, user: &Row, context: &AuthContext) -> Result<()> {
    let now = state.clock.now();
    let recent = matches!(user.get("last_active_at"), base::Value::Time(at) if at.plus_secs(NOTE_EVERY_SECS) > now);
    let same = user.text("last_login_ip") == context.ip && user.text("last_login_source") == context.source;
    if recent && same && user.int("failed_auth_count") == 0 {
        return Ok(());
    }
    let id = user.id();
    state
        .db
        .tx(|tx| {
            let sets = vec![
                set("last_active_at", now),
                set("last_login_ip", context.ip.as_str()),
                set("last_login_source", context.source.as_str()),
                set("failed_auth_count", 0),
            ];
            work(async move { tx.update("users", Cond::eq("id", id), sets).await.map(drop) })
        })
        .await
}

/// Counts a wrong password; the one too many (`most` are allowed, none is any number) locks the user. Gives back the failures now, and whether
/// this one locked.
async fn note_failure(tx: &mut store::Tx, user: &Row, most: i64) -> Result<(i64, bool)> {
    let now = tx.now();
    tx.update("users", Cond::eq("id", user.id()), vec![add("failed_auth_count", 1), set("failed_auth_at", now)]).await?;
    let Some(old) = store::Read::one(tx, user.facts, user.id()).await? else { return Ok((0, false)) };
    let count = old.int("failed_auth_count");
    let locks = most > 0 && count > most && old.flag("enabled") && !user.flag("is_system_account");
    if locks {
        let mut new = old.clone();
        new.set("enabled", false);
        tx.save(&old, &mut new).await?;
        crate::revoke::user(tx, user.id()).await?;
        crate::access::record(tx, &base::Ctx::platform("login"), &new, "disable").await?;
    }
    Ok((count, locks))
}

/// What the attempt that locks a user is answered.
fn too_many() -> Error {
    err!(TooManyFailedAttempts, "too many wrong passwords; the user is locked until an administrator enables it")
}

fn user_locked(name: &str) -> Error {
    err!(UserLocked, "the user {} is locked after too many wrong passwords; an administrator can enable it", name)
}

/// The one answer to an unknown user and to a wrong password.
pub(crate) fn wrong_password() -> Error {
    err!(WrongPassword, "wrong user name or password")
}

/// The same where no domain was named. Also said to somebody whose name others have: he learns what to do, and nobody learns that there are others.
fn wrong_somewhere() -> Error {
    err!(WrongPassword, "wrong user name or password; name the domain as well, for others may have the same name")
}

/// Whether a text can be a password at all; longer ones are wrong without any work.
pub(crate) fn acceptable(password: &Secret) -> bool {
    !password.is_empty() && password.expose().len() <= auth::password::MAX_LEN
}
