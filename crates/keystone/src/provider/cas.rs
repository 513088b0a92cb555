//! CAS: a ticket in the browser's address, and the server asked what it is worth (CAS Protocol 3.0 §2.5 `serviceValidate`). One room: its keys, its
//! way out, its answer. Knows nothing of users here.

use super::external::External;
use super::sso::{Begin, Driver, Provider};
use super::{config::read_keys, pending, web};
use crate::state::State;
use api_identity::Identity;
use base::{Json, Result, err};
use resource::{BoxFuture, Map};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use web::Site;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    /// Address of the server, such as `https://cas.example.org/cas`.
    cas_server_url: String,
    /// How long one answer may take, seconds, 1 to 60.
    timeout_secs: u64,
    /// Certificates (PEM) beside those of the system.
    ca_certificate: String,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys { cas_server_url: String::new(), timeout_secs: 10, ca_certificate: String::new() }
    }
}

impl Keys {
    fn read(state: &State, keys: &Map) -> Result<Keys> {
        let keys: Keys = read_keys("cas", keys)?;
        if keys.cas_server_url.is_empty() {
            return Err(err!(MissingParameter, "{} is missing", "config.cas.cas_server_url"));
        }
        web::check_url("cas_server_url", &keys.cas_server_url, state.config.sso_http_on_loopback)?;
        if !(1..=60).contains(&keys.timeout_secs) {
            return Err(err!(InputParameter, "{}: {} is not between {} and {}", "timeout_secs", keys.timeout_secs, 1, 60));
        }
        Ok(keys)
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.cas_server_url.trim_end_matches('/'))
    }

    fn site(&self, state: &State, name: &str) -> Result<Site> {
        Site::new(name, &self.ca_certificate, Duration::from_secs(self.timeout_secs), state.config.sso_http_on_loopback)
    }
}

/// Longest ticket, bytes (§3.1.1 asks for 256 at most).
const LONGEST: usize = 512;

pub struct Cas;

impl Driver for Cas {
    fn name(&self) -> &'static str {
        "cas"
    }

    fn templates(&self) -> &'static [&'static str] {
        &[]
    }

    fn presets(&self, _template: &str) -> Json {
        json!({"user_name_attribute": "user", "user_displayname_attribute": "displayName", "user_email_attribute": "mail"})
    }

    fn check(&self, state: &State, _template: &str, keys: &Map) -> Result<()> {
        Keys::read(state, keys).map(drop)
    }

    fn probe<'a>(&'a self, state: &'a State, _template: &'a str, keys: &'a Map) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let keys = Keys::read(state, keys)?;
            let site = keys.site(state, &keys.cas_server_url)?;
            // A ticket nobody has: what matters is that it is refused in the words of CAS.
            let url = web::with_query(&keys.at("serviceValidate"), &[("service", "https://probe.invalid/"), ("ticket", "ST-probe")]);
            let answer = site.get(&url, &[]).await?;
            read(&String::from_utf8_lossy(&answer.body)).map(drop).ok_or_else(|| odd(site.name(), "no answer of CAS"))
        })
    }

    fn begin<'a>(&'a self, state: &'a State, provider: &'a Provider, wish: &'a Begin) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let keys = Keys::read(state, &provider.keys)?;
            // CAS has no state of its own: whoever keeps one puts it into the address.
            let own = wish.state.is_empty() || wish.bound;
            let service = if own { wish.redirect_uri.clone() } else { web::with_query(&wish.redirect_uri, &[("state", &wish.state)]) };
            Ok(web::with_query(&keys.at("login"), &[("service", &service)]))
        })
    }

    fn prove<'a>(&'a self, state: &'a State, provider: &'a Provider, identity: &'a Identity) -> BoxFuture<'a, Result<External>> {
        Box::pin(async move {
            let said = identity.cas_ticket.as_ref().ok_or_else(|| err!(InputParameter, "auth.identity.{} is missing", "cas_ticket"))?;
            let ticket = said.id.expose();
            if ticket.is_empty() || ticket.len() > LONGEST || said.service.is_empty() {
                return Err(err!(InputParameter, "auth.identity.{} is missing", "cas_ticket.id"));
            }
            let keys = Keys::read(state, &provider.keys)?;
            let site = state.sites.of(provider.row.id(), provider.row.int("config_version"), || keys.site(state, provider.row.name()))?;
            // The server takes a ticket once; asked again by us it would not be asked at all.
            if !pending::first(state, "cas-ticket", &format!("{}:{ticket}", provider.row.id()), pending::PATIENCE).await? {
                return Err(super::oidc::not_begun());
            }
            let url = web::with_query(&keys.at("serviceValidate"), &[("service", &said.service), ("ticket", ticket)]);
            let answer = site.get(&url, &[]).await?;
            match read(&String::from_utf8_lossy(&answer.body)) {
                Some(Ok(said)) => Ok(said),
                Some(Err(code)) => {
                    Err(err!(InvalidCredential, "the identity provider {} refuses the login: {}; begin it again", site.name(), code))
                }
                None => Err(odd(site.name(), "no answer of CAS")),
            }
        })
    }
}

fn odd(name: &str, why: &str) -> base::Error {
    err!(BadGateway, "the identity provider {} answers something else than was asked for at {}", name, "serviceValidate").with_context(why)
}

/// What `serviceValidate` answers: who it is, or the code of the refusal; `None` when it is neither. No document type is read, so that no entity
/// can be declared, and names count by their namespace.
fn read(text: &str) -> Option<std::result::Result<External, String>> {
    const CAS: &str = "http://www.yale.edu/tp/cas";
    let document = roxmltree::Document::parse(text).ok()?;
    let root = document.root_element();
    let named = |node: &roxmltree::Node<'_, '_>, name: &str| node.has_tag_name((CAS, name));
    if !named(&root, "serviceResponse") {
        return None;
    }
    let inside = |name: &'static str| root.children().find(|n| named(n, name));
    if let Some(failure) = inside("authenticationFailure") {
        return Some(Err(failure.attribute("code").unwrap_or("refused").chars().take(64).collect()));
    }
    let success = inside("authenticationSuccess")?;
    let value = |node: roxmltree::Node<'_, '_>| node.text().unwrap_or_default().trim().to_string();
    let user = value(success.children().find(|n| named(n, "user"))?);
    let mut attributes = Map::new();
    for attribute in
        success.children().filter(|n| named(n, "attributes")).flat_map(|n| n.children().collect::<Vec<_>>()).filter(|n| n.is_element())
    {
        let name = attribute.tag_name().name().to_string();
        if let Some(Json::Array(all)) = Some(attributes.entry(name).or_insert_with(|| json!([]))) {
            all.push(value(attribute).into());
        }
    }
    attributes.insert("user".into(), user.clone().into());
    Some(Ok(External { subject: user, session: String::new(), attributes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationSuccess><cas:user> ann </cas:user>
        <cas:attributes><cas:mail>ann@example.org</cas:mail><cas:memberOf>devs</cas:memberOf><cas:memberOf>all</cas:memberOf></cas:attributes>
        </cas:authenticationSuccess></cas:serviceResponse>"#;

    #[test]
    fn answers() {
        let said = read(GOOD).expect("an answer").expect("somebody");
        assert_eq!((said.subject.as_str(), &said.attributes["memberOf"]), ("ann", &json!(["devs", "all"])));
        let failure = r#"<cas:serviceResponse xmlns:cas="http://www.yale.edu/tp/cas"><cas:authenticationFailure code="INVALID_TICKET">no</cas:authenticationFailure></cas:serviceResponse>"#;
        assert_eq!(read(failure).expect("an answer").expect_err("refused"), "INVALID_TICKET");
        for bad in [
            "",
            "<html/>",
            &GOOD.replace("http://www.yale.edu/tp/cas", "http://evil.example"),
            &GOOD.replace("<cas:user> ann </cas:user>", ""),
            &format!("<!DOCTYPE a [<!ENTITY x \"admin\">]>{}", GOOD.replace(" ann ", "&x;")),
            &GOOD[..GOOD.len() - 5],
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
        // A user in a comment, or two in one element, is not somebody else.
        let split = GOOD.replace(" ann ", "admin<!-- -->.ann");
        assert_ne!(read(&split).and_then(std::result::Result::ok).map(|s| s.subject), Some("ann".to_string()));
    }
}
