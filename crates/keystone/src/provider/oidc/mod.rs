//! OpenID Connect: the authorization code flow with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636), from the address a browser is sent to, to claims
//! that are verified. Knows nothing of users here: that is `external`.
//!
//! State, nonce and verifier lie in the database (`pending`), for minutes, and are used once, so that any replica goes on. A gateway that makes and
//! compares a state of its own need not send it along: then the nonce inside the identity token finds the login that was begun.

mod config;
mod issuer;
pub mod jose;
pub mod logout;

use super::external::External;
use super::sso::{Begin, Driver, Provider};
use super::{pending, web};
use crate::state::State;
use api_identity::{CodeMethod, Identity};
use base::{Error, Json, Result, err};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use config::Oidc;
use issuer::Issuer;
use resource::{BoxFuture, Map};
use ring::digest::{SHA256, digest};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use web::Site;

/// How far clocks may differ, seconds.
const SKEW: i64 = 60;
/// Oldest identity token that is taken, seconds: it was made for this very exchange.
const OLDEST: i64 = 600;

pub struct OpenId;

/// A provider with what it takes to speak to it.
struct Talk {
    config: Oidc,
    site: Arc<Site>,
    issuer: Issuer,
}

async fn talk(state: &State, provider: &Provider) -> Result<Talk> {
    let loopback = state.config.sso_http_on_loopback;
    let config = Oidc::read(provider.row.text("template"), &provider.keys, loopback)?;
    let site = state.sites.of(provider.row.id(), provider.row.int("config_version"), || site(provider.row.name(), &config, loopback))?;
    let issuer = Issuer::of(&config, &site, &state.clock, loopback).await?;
    Ok(Talk { config, site, issuer })
}

fn site(name: &str, config: &Oidc, loopback: bool) -> Result<Site> {
    Site::new(name, &config.ca_certificate, Duration::from_secs(config.timeout_secs), loopback)
}

impl Driver for OpenId {
    fn name(&self) -> &'static str {
        "oidc"
    }

    fn templates(&self) -> &'static [&'static str] {
        &config::TEMPLATES
    }

    fn presets(&self, template: &str) -> Json {
        config::presets(template)
    }

    fn check(&self, state: &State, template: &str, keys: &Map) -> Result<()> {
        Oidc::read(template, keys, state.config.sso_http_on_loopback).map(drop)
    }

    fn probe<'a>(&'a self, state: &'a State, template: &'a str, keys: &'a Map) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let loopback = state.config.sso_http_on_loopback;
            let config = Oidc::read(template, keys, loopback)?;
            let site = site(&config.client_id, &config, loopback)?;
            let issuer = Issuer::of(&config, &site, &state.clock, loopback).await?;
            if !issuer.jwks.is_empty() {
                site.get_json(&issuer.jwks, &[]).await?;
            }
            Ok(())
        })
    }

    fn begin<'a>(&'a self, state: &'a State, provider: &'a Provider, wish: &'a Begin) -> BoxFuture<'a, Result<String>> {
        Box::pin(begin(state, provider, wish))
    }

    fn prove<'a>(&'a self, state: &'a State, provider: &'a Provider, identity: &'a Identity) -> BoxFuture<'a, Result<External>> {
        Box::pin(async move {
            let said = identity.oidc_auth.as_ref().ok_or_else(|| err!(InputParameter, "auth.identity.{} is missing", "oidc_auth"))?;
            prove(state, provider, said).await
        })
    }
}

/// The verifier of logins whose state a gateway keeps: nothing it sends back would find another one.
fn fixed_verifier(state: &State, provider: &str, redirect_uri: &str) -> String {
    state.seal.fingerprint(&format!("pkce:{provider}:{redirect_uri}"))
}

async fn begin(state: &State, provider: &Provider, wish: &Begin) -> Result<String> {
    let talk = talk(state, provider).await?;
    let (id, nonce) = (provider.row.id(), web::random(24)?);
    let own = wish.bound || wish.state.is_empty();
    let word = if wish.state.is_empty() { web::random(24)? } else { wish.state.clone() };
    let verifier = if own { web::random(32)? } else { fixed_verifier(state, id, &wish.redirect_uri) };
    let data = json!({"redirect_uri": wish.redirect_uri, "nonce": nonce, "verifier": verifier});
    pending::put(state, "oidc-state", &format!("{id}:{word}"), &data, pending::PATIENCE).await?;
    if !own {
        pending::put(state, "oidc-nonce", &format!("{id}:{nonce}"), &data, pending::PATIENCE).await?;
    }
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let scopes = talk.config.scopes.join(" ");
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", talk.config.client_id.as_str()),
        ("redirect_uri", wish.redirect_uri.as_str()),
        ("scope", scopes.as_str()),
        ("state", word.as_str()),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    if !talk.issuer.jwks.is_empty() {
        pairs.push(("nonce", nonce.as_str()));
    }
    Ok(web::with_query(&talk.issuer.auth, &pairs))
}

/// The one answer to a state that was never given out, was used, or is too old.
pub fn not_begun() -> Error {
    err!(InvalidCredential, "this login was not begun here, is finished already, or took too long; begin it again")
}

async fn prove(state: &State, provider: &Provider, said: &CodeMethod) -> Result<External> {
    let talk = talk(state, provider).await?;
    let id = provider.row.id();
    if said.code.is_empty() {
        return Err(err!(InputParameter, "auth.identity.{} is missing", "oidc_auth.code"));
    }
    let begun = match said.state.as_str() {
        "" => None,
        word => Some(pending::take(state, "oidc-state", &format!("{id}:{word}")).await?.ok_or_else(not_begun)?),
    };
    let text = |json: &Json, key: &str| json[key].as_str().unwrap_or_default().to_string();
    let redirect_uri = match &begun {
        Some(begun) if !said.redirect_uri.is_empty() && said.redirect_uri != begun["redirect_uri"] => return Err(not_begun()),
        Some(begun) => text(begun, "redirect_uri"),
        None => said.redirect_uri.clone(),
    };
    let verifier = begun.as_ref().map_or_else(|| fixed_verifier(state, id, &redirect_uri), |b| text(b, "verifier"));
    let tokens = exchange(&talk, &[("code", said.code.expose()), ("redirect_uri", &redirect_uri), ("code_verifier", &verifier)]).await?;
    let mut claims = match (tokens["id_token"].as_str(), talk.issuer.jwks.is_empty()) {
        (Some(token), false) => issuer::claims(&talk.issuer, &talk.site, &state.clock, token, "logout+jwt").await?,
        (None, false) => return Err(unfit(provider, "there is no identity token")),
        // Nothing to verify by: who it is, is what the provider's own address says to the bearer of its token.
        (_, true) => json!({}),
    };
    if !talk.issuer.jwks.is_empty() {
        let nonce = text(&claims, "nonce");
        let begun = match begun {
            Some(begun) => begun,
            None => pending::take(state, "oidc-nonce", &format!("{id}:{nonce}")).await?.ok_or_else(not_begun)?,
        };
        if nonce.is_empty() || text(&begun, "nonce") != nonce || text(&begun, "redirect_uri") != redirect_uri {
            return Err(unfit(provider, "another nonce"));
        }
        pending::take(state, "oidc-nonce", &format!("{id}:{nonce}")).await?;
        if let Err(why) = fit(&claims, &talk.issuer.issuer, &talk.config.client_id, state.clock.now().micros() / 1_000_000) {
            return Err(unfit(provider, why));
        }
    } else if begun.is_none() && !pending::first(state, "oidc-code", &format!("{id}:{}", said.code.expose()), pending::PATIENCE).await? {
        return Err(not_begun());
    }
    if !talk.issuer.userinfo.is_empty() {
        let more = userinfo(&talk, &tokens).await?;
        if !talk.issuer.jwks.is_empty() && more["sub"] != claims["sub"] {
            return Err(unfit(provider, "userinfo is of somebody else"));
        }
        if let (Json::Object(claims), Json::Object(more)) = (&mut claims, more) {
            // What was signed is not written over.
            for (key, value) in more {
                claims.entry(key).or_insert(value);
            }
        }
    }
    let attributes = match claims {
        Json::Object(map) => map,
        _ => Map::new(),
    };
    let text = |key: &str| attributes.get(key).and_then(Json::as_str).unwrap_or_default().to_string();
    Ok(External { subject: text("sub"), session: text("sid"), attributes })
}

fn unfit(provider: &Provider, why: &str) -> Error {
    tracing::info!(provider = provider.row.name(), why, "a token of an identity provider is not believed");
    err!(InvalidCredential, "the token of the identity provider {} is not believed; begin the login again", provider.row.name())
        .with_context(why)
}

/// Claims of an identity token against who asked for it and when (OpenID Connect Core §3.1.3.7). `now` in seconds.
fn fit(claims: &Json, issuer: &str, client: &str, now: i64) -> Result<(), &'static str> {
    audience(claims, issuer, client)?;
    let at = |key: &str| claims[key].as_i64().or_else(|| claims[key].as_f64().map(|f| f as i64));
    match at("exp") {
        Some(exp) if exp + SKEW > now => {}
        _ => return Err("expired"),
    }
    match at("iat") {
        Some(iat) if iat - SKEW <= now && iat + OLDEST + SKEW > now => {}
        _ => return Err("not of now"),
    }
    if at("nbf").is_some_and(|nbf| nbf - SKEW > now) {
        return Err("not yet");
    }
    if claims["sub"].as_str().is_none_or(str::is_empty) {
        return Err("no subject");
    }
    Ok(())
}

/// Issuer, audience and authorised party.
fn audience(claims: &Json, issuer: &str, client: &str) -> Result<(), &'static str> {
    if issuer.is_empty() || claims["iss"] != issuer {
        return Err("another issuer");
    }
    let several = match &claims["aud"] {
        Json::String(one) if one == client => false,
        Json::Array(all) if all.iter().any(|a| a == client) => all.len() > 1,
        _ => return Err("another audience"),
    };
    match &claims["azp"] {
        Json::Null if several => Err("several audiences and no azp"),
        Json::Null => Ok(()),
        azp if azp == client => Ok(()),
        _ => Err("another azp"),
    }
}

/// A code for tokens (RFC 6749 §4.1.3).
async fn exchange(talk: &Talk, more: &[(&str, &str)]) -> Result<Json> {
    let (client, secret) = (talk.config.client_id.as_str(), talk.config.client_secret.expose());
    let mut form = vec![("grant_type", "authorization_code")];
    form.extend(more);
    let mut headers = Vec::new();
    let basic;
    if secret.is_empty() || talk.issuer.secret_in_form {
        form.push(("client_id", client));
        if !secret.is_empty() {
            form.push(("client_secret", secret));
        }
    } else {
        use base64::engine::general_purpose::STANDARD;
        basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", http::path::encode(client), http::path::encode(secret))));
        headers.push(("authorization", basic.as_str()));
    }
    let answer = talk.site.post(&talk.issuer.token, &headers, &form).await?;
    let json = answer.json();
    // Some answer 200 with an error inside.
    if answer.status == 200 && json["access_token"].is_string() && json.get("error").is_none_or(Json::is_null) {
        return Ok(json);
    }
    let why: String = json["error"].as_str().unwrap_or("no token").chars().take(100).collect();
    let told = err!(InvalidCredential, "the identity provider {} refuses the login: {}; begin it again", talk.site.name(), why);
    Err(told.with_context(format!("status {}: {}", answer.status, json["error_description"].as_str().unwrap_or_default())))
}

async fn userinfo(talk: &Talk, tokens: &Json) -> Result<Json> {
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap_or_default());
    talk.site.get_json(&talk.issuer.userinfo, &[("authorization", &bearer)]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_identity_token_must_say() {
        let good = json!({"iss": "https://i", "aud": "c", "sub": "7", "iat": 1000, "exp": 1300});
        let with = |key: &str, value: Json| {
            let mut claims = good.clone();
            claims[key] = value;
            fit(&claims, "https://i", "c", 1010)
        };
        assert_eq!(with("x", json!(1)), Ok(()));
        assert_eq!(with("aud", json!(["c"])), Ok(()));
        assert_eq!(with("azp", json!("c")), Ok(()));
        for (key, value, why) in [
            ("iss", json!("https://i/"), "another issuer"),
            ("iss", Json::Null, "another issuer"),
            ("aud", json!("d"), "another audience"),
            ("aud", json!([]), "another audience"),
            ("aud", json!(["c", "d"]), "several audiences and no azp"),
            ("azp", json!("d"), "another azp"),
            ("exp", json!(900), "expired"),
            ("exp", json!("1300"), "expired"),
            ("iat", json!(100), "not of now"),
            ("iat", json!(2000), "not of now"),
            ("nbf", json!(2000), "not yet"),
            ("sub", json!(""), "no subject"),
            ("sub", json!(7), "no subject"),
        ] {
            assert_eq!(with(key, value.clone()), Err(why), "{key} {value}");
        }
        assert!(fit(&good, "", "c", 1010).is_err());
    }
}
