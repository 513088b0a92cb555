//! What the installation may have. Without a licence it is the community edition, which has no limits. A licence that is not valid, by time or
//! by what it covers, stops nothing that is there: everything can be read, servers run, start, stop and go away; only new things are refused,
//! with 402. It is taken in and shown here; it is kept by the services themselves (`resource::Allowance`), so that no other way leads around it.

pub mod text;

pub use text::{Limits, Terms};

use crate::{Gateway, door::Visit, multipart::Multipart, on, proxy};
use base::{Json, Kind, Result, Scope, Timestamp, err, hex_id};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{Reply, Request, Response, Router};
use resource::Ask;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use store::{Cond, Db, Order, Read, Select, work};

const TABLE: &str = "licences";
/// Public keys of those who may sign, as the makers of this build set them: base64, commas between.
const BUILT_IN: Option<&str> = option_env!("WOLKE_LICENCE_SIGNERS");
/// How long what was read of the database is believed, microseconds: another process may have taken in a licence.
const FRESH: i64 = 5_000_000;

/// How a licence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Valid,
    NotYet,
    Expired,
    /// It was taken in once and is not believed any more: its signer is not trusted now, or its text was damaged.
    Invalid,
}

impl Standing {
    pub fn word(self) -> &'static str {
        match self {
            Standing::Valid => "valid",
            Standing::NotYet => "not_yet",
            Standing::Expired => "expired",
            Standing::Invalid => "invalid",
        }
    }
}

/// The licence of everybody.
pub fn community() -> Terms {
    Terms { id: "community".into(), edition: "community".into(), ..Terms::default() }
}

/// How terms stand at a time. A time that cannot be read is over.
pub fn standing(terms: &Terms, now: Timestamp) -> Standing {
    let time = |text: &str, otherwise: i64| {
        if text.is_empty() { Timestamp(otherwise) } else { Timestamp::parse(text).unwrap_or(Timestamp(i64::MIN)) }
    };
    if now >= time(&terms.not_after, i64::MAX) {
        Standing::Expired
    } else if now < time(&terms.not_before, i64::MIN) {
        Standing::NotYet
    } else {
        Standing::Valid
    }
}

/// Whether terms allow anything new in a service. How much of it, the service counts.
pub fn judge(terms: &Terms, how: Standing, kind: &str) -> Result<()> {
    match how {
        Standing::Valid => {}
        Standing::NotYet => {
            return Err(err!(RequireLicense, "the licence begins at {}; until then nothing new can be made", terms.not_before));
        }
        Standing::Expired => {
            return Err(err!(
                RequireLicense,
                "the licence ended at {}; what there is runs on, for new things take in a new licence",
                terms.not_after
            ));
        }
        Standing::Invalid => return Err(err!(RequireLicense, "the licence is not valid here; take in another, or remove it")),
    }
    if !terms.services.is_empty() && !terms.services.iter().any(|s| s == kind) {
        return Err(err!(RequireLicense, "the licence does not cover the service {}", kind));
    }
    Ok(())
}

pub struct Licence {
    db: Db,
    signers: Vec<Vec<u8>>,
    known: Mutex<Option<Known>>,
}

/// What was read of the database.
#[derive(Clone)]
struct Known {
    at: Timestamp,
    terms: Terms,
    /// Whether its signature is one that counts.
    believed: bool,
    /// Of the row that holds it.
    mark: Arc<str>,
}

impl Licence {
    /// Errors when a configured signer is no key.
    pub fn new(db: Db, configured: &[String]) -> Result<Licence> {
        let built_in = BUILT_IN.unwrap_or_default().split(',').map(str::trim).filter(|t| !t.is_empty()).map(String::from);
        let key = |text: String| {
            let bytes =
                URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).or_else(|_| STANDARD.decode(&text)).ok().filter(|b| b.len() == 32);
            bytes.ok_or_else(|| err!(InputParameter, "licence_signers: {} is not a key of 32 bytes in base64", text))
        };
        let signers = built_in.chain(configured.iter().cloned()).map(key).collect::<Result<_>>()?;
        Ok(Licence { db, signers, known: Mutex::default() })
    }

    /// The terms in force, and how they stand.
    pub async fn terms(&self, now: Timestamp) -> Result<(Terms, Standing)> {
        self.in_force(now).await.map(|(terms, how, _)| (terms, how))
    }

    /// The same, with a word that is another whenever something else was taken in.
    pub async fn in_force(&self, now: Timestamp) -> Result<(Terms, Standing, Arc<str>)> {
        let known = self.known().filter(|k| now.since(k.at).abs() < FRESH);
        let known = match known {
            Some(known) => known,
            None => match self.look(now).await {
                Ok(known) => {
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
                    known
                }
                // What was in force a moment ago is better than none of the services being able to work.
                Err(e) => match self.known().filter(|k| k.believed) {
                    Some(known) => {
                        tracing::warn!(error = %e, cause = e.context(), "the licence could not be read; the last one counts");
                        known
                    }
                    None => return Err(e),
                },
            },
        };
        let how = if known.believed { standing(&known.terms, now) } else { Standing::Invalid };
        Ok((known.terms, how, known.mark))
    }

    fn known(&self) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn look(&self, now: Timestamp) -> Result<Known> {
        let select = Select::from(TABLE).column("id", Kind::Text).column("text", Kind::Text).order(Order::desc("taken_at")).page(1, 0);
        let rows = self.db.read().rows(&select).await?;
        let (mark, text) = rows.first().map_or(("", ""), |r| (r[0].as_str(), r[1].as_str()));
        let (terms, believed) = match text {
            "" => (community(), true),
            text => match text::read(text, &self.signers) {
                Ok(terms) => (terms, true),
                Err(e) => {
                    tracing::warn!(error = %e, cause = e.context(), "the licence in force is not believed");
                    (Terms { edition: "unknown".into(), ..Terms::default() }, false)
                }
            },
        };
        Ok(Known { at: now, terms, believed, mark: mark.into() })
    }

    /// Takes a licence in: it is in force from now on.
    async fn take(&self, text: &str, by: &str, now: Timestamp) -> Result<Terms> {
        let terms = text::read(text, &self.signers)?;
        self.put(text.trim(), by, now).await?;
        Ok(terms)
    }

    async fn put(&self, text: &str, by: &str, now: Timestamp) -> Result<()> {
        self.db
            .tx(|tx| {
                work(async move {
                    let columns = vec![
                        ("id".into(), hex_id().into()),
                        ("text".into(), text.into()),
                        ("taken_by".into(), by.into()),
                        ("taken_at".into(), now.micros().into()),
                    ];
                    tx.insert_into(TABLE, columns).await?;
                    // The record of earlier ones has an end.
                    let old = Select::from(TABLE).column("id", Kind::Text).order(Order::desc("taken_at")).page(100, 50);
                    let old: Vec<String> = tx.rows(&old).await?.iter().map(|r| r[0].as_str().to_string()).collect();
                    if !old.is_empty() {
                        tx.delete(TABLE, Cond::is_in("id", old)).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

/// What there is, of all owners.
async fn used(gateway: &Gateway) -> Result<Limits> {
    let answer = gateway.services.own_of("compute_v2", "/usages?scope=system").await?;
    let count = |key: &str| answer["usage"][key].as_i64().unwrap_or(0);
    // What lies in the recycle bin can come back, and counts.
    Ok(Limits {
        hosts: count("hosts"),
        cpus: count("all.servers.cpu") + count("all.pending_delete_servers.cpu"),
        servers: count("all.servers") + count("all.pending_delete_servers"),
    })
}

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router
        .get("/api/{ver}/licenses", on(gateway, |g, r| async move { show(&g, r).await }))
        .post("/api/{ver}/licenses", on(gateway, |g, r| async move { take(&g, r).await }))
        .delete("/api/{ver}/licenses", on(gateway, |g, r| async move { remove(&g, r).await }))
}

async fn told(gateway: &Gateway) -> Result<Json> {
    let (terms, how) = gateway.licence.terms(gateway.clock.now()).await?;
    let used = used(gateway).await?;
    Ok(json!({
        "edition": terms.edition, "status": how.word(), "issued_to": terms.issued_to, "not_before": terms.not_before,
        "not_after": terms.not_after, "limits": terms.limits, "used": used, "services": terms.services, "features": terms.features,
    }))
}

async fn show(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    gateway.enter(request).await?;
    Ok(Response::json(&told(gateway).await?))
}

/// Administrators of the platform, by the right to change its services.
pub fn demand_administrator(gateway: &Gateway, visit: &Visit) -> Result<()> {
    let ask = Ask { service: api_identity::SERVICE, resource: "services", action: "update", extra: &[] };
    if gateway.gate.allows(&visit.ctx.caller, visit.ctx.peer, &ask, Scope::System) {
        return Ok(());
    }
    Err(resource::denied(&visit.ctx, &ask, Scope::System))
}

async fn take(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let mut visit = gateway.enter(request).await?;
    demand_administrator(gateway, &visit)?;
    let text = match Multipart::begin(&mut visit.request) {
        Some(mut form) => loop {
            match form.next().await? {
                Some(part) if part.name == "license" || part.name == "licence" => {
                    let bytes = form.bytes(64 << 10).await?;
                    break String::from_utf8(bytes)
                        .map_err(|_| err!(InputParameter, "this is no licence, or it was damaged on its way; ask for it again"))?;
                }
                Some(_) => continue,
                None => return Err(err!(MissingParameter, "{} is missing", "license")),
            }
        },
        None => {
            let body = visit.request.json().await?.unwrap_or(Json::Null);
            body["license"].as_str().map(str::to_string).ok_or_else(|| err!(MissingParameter, "{} is missing", "license"))?
        }
    };
    let terms = gateway.licence.take(&text, &visit.ctx.caller.user_id, gateway.clock.now()).await?;
    tracing::info!(edition = terms.edition, id = terms.id, by = visit.ctx.caller.user, "a licence was taken in");
    Ok(Response::json(&told(gateway).await?))
}

/// Back to the community edition.
async fn remove(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    demand_administrator(gateway, &visit)?;
    gateway.licence.put("", &visit.ctx.caller.user_id, gateway.clock.now()).await?;
    tracing::info!(by = visit.ctx.caller.user, "the licence was removed");
    Ok(Response::json(&told(gateway).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Class;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn before_during_and_after() {
        let terms = Terms { not_before: "2026-01-01T00:00:00Z".into(), not_after: "2027-01-01T00:00:00Z".into(), ..Terms::default() };
        let check = |now: &str, want: Standing| assert_eq!(standing(&terms, at(now)), want, "{now}");
        check("2025-12-31T23:59:59Z", Standing::NotYet);
        check("2026-01-01T00:00:00Z", Standing::Valid);
        check("2026-12-31T23:59:59Z", Standing::Valid);
        check("2027-01-01T00:00:00Z", Standing::Expired);
        assert_eq!(standing(&community(), at("2099-01-01T00:00:00Z")), Standing::Valid, "the community's has no end");
        let odd = Terms { not_after: "soon".into(), ..Terms::default() };
        assert_eq!(standing(&odd, at("2026-01-01T00:00:00Z")), Standing::Expired, "an end nobody can read is over");
        for how in [Standing::NotYet, Standing::Expired, Standing::Invalid] {
            let e = judge(&terms, how, "compute_v2").expect_err("refused");
            assert!(e.class() == Class::RequireLicense && e.class().http() == 402, "{e}");
        }
        judge(&terms, Standing::Valid, "compute_v2").expect("allowed");
    }

    #[test]
    fn services_it_covers() {
        let terms = Terms { services: vec!["compute_v2".into()], ..Terms::default() };
        judge(&terms, Standing::Valid, "compute_v2").expect("covered");
        let e = judge(&terms, Standing::Valid, "image").expect_err("not covered");
        assert!(e.class() == Class::RequireLicense && e.to_string().contains("image"), "{e}");
        judge(&community(), Standing::Valid, "image").expect("the community's covers all");
    }
}
