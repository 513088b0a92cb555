//! SAML 2.0, web browser single sign-on: a request by redirect or by form, a response by form (SAML 2.0 profiles, section 4.1). Knows nothing of
//! users here: that is `external`; and reads no XML: that is the program `wolke-saml`, asked through `judge` (docs/decisions/0008).
//!
//! ```text
//! begin ─▶ request id, kept in `pending` ─▶ browser ─▶ provider ─▶ browser ─▶ prove: claim? ─▶ the request kept ─▶ judge ─▶ taken once
//! ```
//!
//! A request is answered once, an assertion is used once, on whichever replica it comes back.

mod config;
mod judge;
mod words;

use super::external::External;
use super::sso::{Begin, Driver, Provider};
use super::{mapping::Mapping, pending};
use crate::state::State;
use api_identity::Identity;
use api_identity::saml::{Login, LoginQuestion};
use base::{Error, Json, Result, err};
use config::Saml;
use resource::{BoxFuture, Map};
use serde_json::json;

/// Names that are new at each login.
const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";

pub struct SamlProvider;

impl Driver for SamlProvider {
    fn name(&self) -> &'static str {
        "saml"
    }

    fn templates(&self) -> &'static [&'static str] {
        &config::TEMPLATES
    }

    fn presets(&self, template: &str) -> Json {
        config::presets(template)
    }

    fn check(&self, _state: &State, template: &str, keys: &Map) -> Result<()> {
        Saml::read(template, keys).map(drop)
    }

    fn probe<'a>(&'a self, state: &'a State, template: &'a str, keys: &'a Map) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let config = judge::complete(state, Saml::read(template, keys)?).await?;
            judge::certificates(state, &config).await
        })
    }

    fn begin<'a>(&'a self, state: &'a State, provider: &'a Provider, wish: &'a Begin) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let config = open(state, provider).await?;
            if config.redirect_sso_url.is_empty() {
                return Err(err!(
                    InvalidIdpStatus,
                    "the identity provider {} takes requests by form only: ask for saml-request instead of sso-redirect-uri",
                    provider.row.name()
                ));
            }
            let (_, xml) = request(state, provider, &config, &config.redirect_sso_url, wish).await?;
            let mut pairs = vec![("SAMLRequest", words::deflated(&xml))];
            if !wish.state.is_empty() {
                pairs.push(("RelayState", wish.state.clone()));
            }
            Ok(words::with_query(&config.redirect_sso_url, &pairs))
        })
    }

    fn prove<'a>(&'a self, state: &'a State, provider: &'a Provider, identity: &'a Identity) -> BoxFuture<'a, Result<External>> {
        Box::pin(async move {
            let said = identity.saml_auth.as_ref().ok_or_else(|| err!(InputParameter, "auth.identity.{} is missing", "saml_auth"))?;
            prove(state, provider, said.response.expose()).await
        })
    }
}

async fn open(state: &State, provider: &Provider) -> Result<Saml> {
    judge::complete(state, Saml::read(provider.row.text("template"), &provider.keys)?).await
}

/// A new request, remembered; its number and its XML.
async fn request(state: &State, provider: &Provider, config: &Saml, to: &str, wish: &Begin) -> Result<(String, String)> {
    // An identifier in XML does not begin with a digit.
    let id = format!("_{}", base::hex_id());
    let data = json!({"acs_url": wish.redirect_uri});
    pending::put(state, "saml-request", &format!("{}:{id}", provider.row.id()), &data, pending::PATIENCE).await?;
    let ask = words::Ask {
        id: &id,
        at: state.clock.now(),
        destination: to,
        acs_url: &wish.redirect_uri,
        sp_entity_id: config.own_entity_id(&wish.redirect_uri),
        name_id_format: &config.name_id_format,
    };
    let xml = words::authn_request(&ask);
    Ok((id, xml))
}

/// A request for a login page that posts it (HTTP-POST binding): where to, the form's fields, and a page that does it by itself.
pub async fn form(state: &State, provider: &Provider, wish: &Begin) -> Result<Json> {
    let config = open(state, provider).await?;
    if config.post_sso_url.is_empty() {
        return Err(err!(
            InvalidIdpStatus,
            "the identity provider {} takes no requests by form: use sso-redirect-uri",
            provider.row.name()
        ));
    }
    let (_, xml) = request(state, provider, &config, &config.post_sso_url, wish).await?;
    let request = words::packed(xml.as_bytes());
    let html = words::page(&config.post_sso_url, &request, &wish.state);
    Ok(json!({"url": config.post_sso_url, "saml_request": request, "relay_state": wish.state, "html": html}))
}

/// What to register at the identity provider.
pub fn metadata(provider: &Provider, redirect_uri: &str, pretty: bool) -> Result<String> {
    let config = Saml::read(provider.row.text("template"), &provider.keys)?;
    let acs = if redirect_uri.is_empty() { config.callback_url.as_str() } else { redirect_uri };
    if acs.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", "redirect_uri"));
    }
    Ok(words::metadata(config.own_entity_id(acs), acs, &config.name_id_format, pretty))
}

async fn prove(state: &State, provider: &Provider, response: &str) -> Result<External> {
    if response.is_empty() {
        return Err(err!(InputParameter, "auth.identity.{} is missing", "saml_auth.response"));
    }
    let (id, name) = (provider.row.id(), provider.row.name());
    let config = open(state, provider).await?;
    let request_id = judge::claim(state, name, response).await?;
    let key = format!("{id}:{request_id}");
    let acs_url = if request_id.is_empty() {
        if !config.allow_idp_init {
            return Err(not_begun());
        }
        config.callback_url.clone()
    } else {
        let kept = pending::look(state, "saml-request", &key).await?.ok_or_else(not_begun)?;
        kept["acs_url"].as_str().unwrap_or_default().to_string()
    };
    let now = state.clock.now().micros().div_euclid(1_000_000);
    let question = LoginQuestion {
        response: response.to_string(),
        idp_entity_id: config.entity_id.clone(),
        certificates: config.certificates(),
        sp_entity_id: config.own_entity_id(&acs_url).to_string(),
        acs_url,
        now,
        clock_skew_secs: config.clock_skew_secs,
        request_id,
    };
    let login = judge::login(state, name, &question).await?;
    // Only now: a forgery does not use up somebody's request.
    if !question.request_id.is_empty() && pending::take(state, "saml-request", &key).await?.is_none() {
        return Err(not_begun());
    }
    // One second more, because a second has parts.
    let life = login.not_on_or_after.saturating_sub(now).saturating_add(1);
    if login.assertion_id.is_empty() || !pending::first(state, "saml-assertion", &format!("{id}:{}", login.assertion_id), life).await? {
        tracing::info!(provider = name, assertion = login.assertion_id, "an assertion came a second time");
        return Err(not_begun());
    }
    external(name, &provider.mapping, login)
}

/// The one answer to a request that was never made, was answered, or is too old.
fn not_begun() -> Error {
    err!(InvalidCredential, "this login was not begun here, is finished already, or took too long; begin it again")
}

fn external(provider: &str, mapping: &Mapping, login: Login) -> Result<External> {
    if login.subject_format == TRANSIENT && mapping.user_id_attribute.is_empty() {
        return Err(err!(
            InvalidCredential,
            "the identity provider {} names people anew at each login: set user_id_attribute to an attribute that stays, or let it send a persistent name",
            provider
        ));
    }
    let mut attributes: Map = login.attributes.into_iter().map(|(name, values)| (name, values.into())).collect();
    // So that the mapping can use the name itself.
    attributes.entry("NameID").or_insert_with(|| login.subject.clone().into());
    Ok(External { subject: login.subject, session: login.session, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_changes_is_nobody() {
        let login = |format: &str| Login { subject: "x".into(), subject_format: format.into(), ..Login::default() };
        assert!(external("p", &Mapping::default(), login(TRANSIENT)).unwrap_err().to_string().contains("user_id_attribute"));
        let mapped = Mapping { user_id_attribute: "uid".into(), ..Mapping::default() };
        assert_eq!(external("p", &mapped, login(TRANSIENT)).unwrap().attributes["NameID"], "x");
        assert_eq!(external("p", &Mapping::default(), login("")).unwrap().subject, "x");
    }
}
