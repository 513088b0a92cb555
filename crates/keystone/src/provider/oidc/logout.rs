//! Back-channel logout (OpenID Connect Back-Channel Logout 1.0): the provider says itself that a login is over, with a token it signed; the tokens
//! that came from that login are void at once, in every service.

use super::{SKEW, audience, issuer, talk};
use crate::provider::{external, pending, sso};
use crate::{state::State, trail};
use api_identity::IdentityProvider;
use base::{Ctx, Json, Resource, Result, Row, err};
use store::{Read, work};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Oldest logout token that is taken, seconds.
const OLDEST: i64 = 300;

/// Ends what the token names: a session, or all logins of a subject.
pub async fn end(state: &State, ctx: &Ctx, provider: &str, token: &str) -> Result<()> {
    let row = state.db.read().one(IdentityProvider::facts(), provider).await?.filter(|r| !r.flag("deleted") && r.text("driver") == "oidc");
    let row = row.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "identity_provider", provider))?;
    let (_, provider) = sso::open(state, row)?;
    let talk = talk(state, &provider).await?;
    let refused = |why: &'static str| {
        tracing::info!(provider = provider.row.name(), why, "a logout token is not believed");
        err!(InvalidCredential, "the logout token of the identity provider {} is not believed", provider.row.name()).with_context(why)
    };
    if talk.issuer.jwks.is_empty() {
        return Err(refused("nothing to verify it by"));
    }
    let claims = issuer::claims(&talk.issuer, &talk.site, &state.clock, token, "")
        .await
        .or_else(|e| if e.class() == base::Class::InvalidCredential { Err(refused("signature")) } else { Err(e) })?;
    audience(&claims, &talk.issuer.issuer, &talk.config.client_id).map_err(refused)?;
    let text = |key: &str| claims[key].as_str().unwrap_or_default();
    let (subject, session, now) = (text("sub"), text("sid"), state.clock.now().micros() / 1_000_000);
    match claims["iat"].as_i64() {
        Some(iat) if iat - SKEW <= now && iat + OLDEST + SKEW > now => {}
        _ => return Err(refused("not of now")),
    }
    if claims["exp"].as_i64().is_some_and(|exp| exp + SKEW <= now) {
        return Err(refused("expired"));
    }
    // An identity token has a nonce and no event: one must never be taken for the other.
    if !claims["events"][EVENT].is_object() || claims.get("nonce").is_some_and(|n| !n.is_null()) {
        return Err(refused("no logout"));
    }
    if subject.is_empty() && session.is_empty() {
        return Err(refused("of nobody"));
    }
    let number = format!("{}:{}", provider.row.id(), text("jti"));
    if text("jti").is_empty() || !pending::first(state, "oidc-logout", &number, OLDEST + 2 * SKEW).await? {
        return Err(refused("used before"));
    }
    over(state, ctx, &provider.row, subject, session).await
}

async fn over(state: &State, ctx: &Ctx, provider: &Row, subject: &str, session: &str) -> Result<()> {
    state
        .db
        .tx(|tx| {
            work(async move {
                external::end(tx, provider.id(), subject, session).await?;
                trail::ended(tx, ctx, provider, subject, session).await
            })
        })
        .await?;
    state.catch_up().await
}

/// What a refusal is answered (§2.8).
pub fn refusal() -> Json {
    serde_json::json!({"error": "invalid_request", "error_description": "the logout token is not believed"})
}
