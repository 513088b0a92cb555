//! What an issuer says of itself: its addresses (OpenID Connect Discovery 1.0) and its keys, both remembered for a while.

use super::config::Oidc;
use super::jose::{self, ALGORITHMS, Refused};
use crate::provider::web::{Site, check_url};
use base::{Clock, Json, Result, err};
use serde_json::json;
use std::sync::{Arc, PoisonError};

/// How long the addresses are remembered, and how long the keys, seconds.
const DOCUMENT: i64 = 3600;
const KEYS: i64 = 3600;
/// How often keys may be asked for because a token names one that is not known: times in a span of seconds. Strangers can send such tokens.
const ASKED: (usize, i64) = (6, 60);

/// The addresses of an issuer.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// What tokens must name; empty when there are no signed tokens.
    pub issuer: String,
    pub auth: String,
    pub token: String,
    /// Empty when there is none.
    pub userinfo: String,
    pub jwks: String,
    pub algorithms: Vec<String>,
    /// Whether the client's secret goes into the form instead of a header.
    pub secret_in_form: bool,
}

impl Issuer {
    /// From the configuration, or from what the issuer publishes.
    pub async fn of(config: &Oidc, site: &Site, clock: &Clock, loopback: bool) -> Result<Issuer> {
        if config.endpoint.is_empty() {
            return Ok(Issuer {
                issuer: config.issuer.clone(),
                auth: config.auth_url.clone(),
                token: config.token_url.clone(),
                userinfo: config.userinfo_url.clone(),
                jwks: config.jwks_url.clone(),
                algorithms: agreed(config, &Json::Null),
                secret_in_form: true,
            });
        }
        let document = document(config, site, clock).await?;
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_string();
        let instead = |own: &String, key: &str| if own.is_empty() { text(key) } else { own.clone() };
        let ways = document["token_endpoint_auth_methods_supported"].as_array();
        let issuer = Issuer {
            issuer: text("issuer"),
            auth: instead(&config.auth_url, "authorization_endpoint"),
            token: instead(&config.token_url, "token_endpoint"),
            userinfo: instead(&config.userinfo_url, "userinfo_endpoint"),
            jwks: instead(&config.jwks_url, "jwks_uri"),
            algorithms: agreed(config, &document["id_token_signing_alg_values_supported"]),
            // client_secret_basic is what is meant when nothing is said.
            secret_in_form: ways.is_some_and(|ways| !ways.contains(&json!("client_secret_basic"))),
        };
        let same = |a: &str, b: &str| a.trim_end_matches('/') == b.trim_end_matches('/');
        if issuer.issuer.is_empty() || !same(&issuer.issuer, &config.endpoint) {
            return Err(err!(
                InputParameter,
                "endpoint: the document there is of the issuer {}, not of {}",
                issuer.issuer,
                config.endpoint
            ));
        }
        for (key, url, needed) in [
            ("authorization_endpoint", &issuer.auth, true),
            ("token_endpoint", &issuer.token, true),
            ("jwks_uri", &issuer.jwks, true),
            ("userinfo_endpoint", &issuer.userinfo, false),
        ] {
            if needed || !url.is_empty() {
                check_url(key, url, loopback)?;
            }
        }
        Ok(issuer)
    }
}

/// Signatures that are believed: those configured, else those announced, else RS256, which every issuer must be able to make.
fn agreed(config: &Oidc, announced: &Json) -> Vec<String> {
    if !config.algorithms.is_empty() {
        return config.algorithms.clone();
    }
    let announced = announced.as_array().into_iter().flatten().filter_map(Json::as_str);
    let mut all: Vec<String> = announced.filter(|a| ALGORITHMS.contains(a)).map(str::to_string).collect();
    if all.is_empty() {
        all.push("RS256".into());
    }
    all
}

async fn document(config: &Oidc, site: &Site, clock: &Clock) -> Result<Arc<Json>> {
    let now = clock.now();
    let kept = site.known.lock().unwrap_or_else(PoisonError::into_inner).document.clone();
    if let Some((at, document)) = kept.filter(|(at, _)| at.plus_secs(DOCUMENT) > now) {
        let _fresh = at;
        return Ok(document);
    }
    let url = format!("{}/.well-known/openid-configuration", config.endpoint.trim_end_matches('/'));
    let document = Arc::new(site.get_json(&url, &[]).await?);
    site.known.lock().unwrap_or_else(PoisonError::into_inner).document = Some((now, document.clone()));
    Ok(document)
}

async fn fetch(issuer: &Issuer, site: &Site, clock: &Clock) -> Result<Arc<Json>> {
    let keys = Arc::new(site.get_json(&issuer.jwks, &[]).await?);
    site.known.lock().unwrap_or_else(PoisonError::into_inner).keys = Some((clock.now(), keys.clone()));
    Ok(keys)
}

/// The claims of a token the issuer has signed. A key that is not known is asked for once.
pub async fn claims(issuer: &Issuer, site: &Site, clock: &Clock, text: &str, not: &str) -> Result<Json> {
    let refused = |why: Refused| {
        tracing::info!(provider = site.name(), ?why, "a token of an identity provider is not believed");
        err!(InvalidCredential, "the token of the identity provider {} is not believed; begin the login again", site.name())
            .with_context(format!("{why:?}"))
    };
    let now = clock.now();
    let kept = site.known.lock().unwrap_or_else(PoisonError::into_inner).keys.clone().filter(|(at, _)| at.plus_secs(KEYS) > now);
    let (keys, fresh) = match kept {
        Some((_, keys)) => (keys, false),
        None => (fetch(issuer, site, clock).await?, true),
    };
    let token = jose::parse(text).map_err(refused)?;
    if token.kind() == not {
        return Err(refused(Refused::Malformed("a token for something else")));
    }
    match token.verify(&keys, &issuer.algorithms) {
        Ok(claims) => Ok(claims),
        Err(Refused::NoKey) if !fresh && may_ask(site, clock) => {
            let keys = fetch(issuer, site, clock).await?;
            jose::parse(text).and_then(|token| token.verify(&keys, &issuer.algorithms)).map_err(refused)
        }
        Err(why) => Err(refused(why)),
    }
}

fn may_ask(site: &Site, clock: &Clock) -> bool {
    let now = clock.now();
    let mut known = site.known.lock().unwrap_or_else(PoisonError::into_inner);
    known.asked.retain(|at| at.plus_secs(ASKED.1) > now);
    let may = known.asked.len() < ASKED.0;
    if may {
        known.asked.push(now);
    }
    may
}
