//! What `POST /v3/auth/tokens` is asked (spec 02 §2.1). Unknown keys are passed over, as existing clients send many.

use crate::Secret;
use base::Json;
use serde::{Deserialize, Serialize};

/// The body.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AuthRequest {
    pub auth: Auth,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Auth {
    #[serde(default)]
    pub identity: Identity,
    /// What the token is for; none for an unscoped one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeWish>,
    #[serde(default, skip_serializing_if = "AuthContext::is_empty")]
    pub context: AuthContext,
}

/// Who it is, and how that is shown: one method, or a password with a second factor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Identity {
    #[serde(default)]
    pub methods: Vec<String>,
    /// Identity provider, for logins by another authority.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenMethod>,
    /// The signed request of an access key, a JSON text (spec 02 §2.6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume: Option<AssumeMethod>,
    /// The second factor beside a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<TotpMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application_credential: Option<ApplicationCredentialMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc_auth: Option<CodeMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2: Option<CodeMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cas_ticket: Option<CasMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saml_auth: Option<SamlMethod>,
}

/// What an OpenID or OAuth 2 provider gave the browser.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CodeMethod {
    #[serde(default)]
    pub code: Secret,
    /// The address the browser came back to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub redirect_uri: String,
    /// The state the browser brought back. Needed when the state was made here; older gateways, which make and compare their own, leave it out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
}

/// A ticket of CAS.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CasMethod {
    /// The ticket.
    #[serde(default)]
    pub id: Secret,
    /// The address the browser came back to.
    #[serde(default)]
    pub service: String,
}

/// The answer of a SAML provider.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SamlMethod {
    /// `SAMLResponse` as it was posted.
    #[serde(default)]
    pub response: Secret,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PasswordMethod {
    #[serde(default)]
    pub user: PasswordUser,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PasswordUser {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default)]
    pub password: Secret,
    /// Where the name is looked for; everywhere when empty, and then it must be the only one.
    #[serde(default, skip_serializing_if = "Which::is_empty")]
    pub domain: Which,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TokenMethod {
    #[serde(default)]
    pub id: Secret,
}

/// Entering as another user, for those who may.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AssumeMethod {
    #[serde(default)]
    pub user: PasswordUser,
}

/// A one-time password, as OpenStack sends it beside the password: `methods` is then `["password", "totp"]`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TotpMethod {
    #[serde(default)]
    pub user: TotpUser,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TotpUser {
    /// May be left out: then it is the user of the password.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Which::is_empty")]
    pub domain: Which,
    /// Six digits of the user's generator, or one of his recovery codes.
    #[serde(default)]
    pub passcode: Secret,
}

/// An application credential by id, or by name and user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ApplicationCredentialMethod {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<PasswordUser>,
    #[serde(default)]
    pub secret: Secret,
}

/// A domain by id or name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

impl Which {
    pub fn named(name: &str) -> Which {
        Which { name: name.to_string(), ..Which::default() }
    }
    pub fn is_empty(&self) -> bool {
        self.id.is_empty() && self.name.is_empty()
    }
}

/// What the token shall be scoped to. OpenStack's further forms are read: the text `unscoped`, and `{"system": {"all": true}}`, which means the
/// project `system` (spec 02 §12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeWish {
    Unscoped,
    Project(ScopeProject),
    Domain(Which),
    System,
}

/// A project by id, or by name inside a domain; a name without a domain must be the only one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeProject {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Which::is_empty")]
    pub domain: Which,
}

impl Serialize for ScopeWish {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            ScopeWish::Unscoped => s.serialize_str("unscoped"),
            ScopeWish::Project(p) => serde_json::json!({ "project": p }).serialize(s),
            ScopeWish::Domain(d) => serde_json::json!({ "domain": d }).serialize(s),
            ScopeWish::System => serde_json::json!({"system": {"all": true}}).serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for ScopeWish {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let json = Json::deserialize(d)?;
        let part = |key: &str| json.get(key).filter(|j| !j.is_null());
        if let Some(project) = part("project") {
            let project: ScopeProject = serde_json::from_value(project.clone()).map_err(D::Error::custom)?;
            // Some clients always send the key, empty when they want no scope.
            let empty = project.id.is_empty() && project.name.is_empty();
            return Ok(if empty { ScopeWish::Unscoped } else { ScopeWish::Project(project) });
        }
        if let Some(domain) = part("domain") {
            let domain: Which = serde_json::from_value(domain.clone()).map_err(D::Error::custom)?;
            return Ok(if domain.is_empty() { ScopeWish::Unscoped } else { ScopeWish::Domain(domain) });
        }
        if part("system").is_some() {
            return Ok(ScopeWish::System);
        }
        match &json {
            Json::String(word) if word == "unscoped" => Ok(ScopeWish::Unscoped),
            Json::Null => Ok(ScopeWish::Unscoped),
            Json::Object(o) if o.is_empty() => Ok(ScopeWish::Unscoped),
            _ => Err(D::Error::custom("scope names neither a project nor a domain")),
        }
    }
}

/// Through which door the login came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthContext {
    /// `web`, `api`, `cli`, `srv` or `operator`; `api` when it is not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Address of the user; that of the connection when it is not said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ip: String,
}

impl AuthContext {
    pub fn is_empty(&self) -> bool {
        self.source.is_empty() && self.ip.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scopes_of_clients() {
        let check =
            |json: Json, want: Option<ScopeWish>| assert_eq!(serde_json::from_value::<ScopeWish>(json.clone()).ok(), want, "{json}");
        let project =
            |id: &str, name: &str, domain: Which| Some(ScopeWish::Project(ScopeProject { id: id.into(), name: name.into(), domain }));
        check(json!({"project": {"name": "system"}}), project("", "system", Which::default()));
        check(
            json!({"project": {"id": "p", "domain": {"id": "default"}}}),
            project("p", "", Which { id: "default".into(), name: String::new() }),
        );
        check(json!({"project": {}}), Some(ScopeWish::Unscoped));
        check(json!({"domain": {"name": "Default"}}), Some(ScopeWish::Domain(Which::named("Default"))));
        check(json!({"system": {"all": true}}), Some(ScopeWish::System));
        check(json!("unscoped"), Some(ScopeWish::Unscoped));
        check(json!({}), Some(ScopeWish::Unscoped));
        check(json!({"trust": 1}), None);
        check(json!(5), None);
    }

    #[test]
    fn a_recorded_login() {
        let body = json!({"auth": {"context": {"source": "cli"}, "identity": {"methods": ["password"], "password": {"user":
            {"domain": {"name": "Default"}, "name": "sysadmin", "password": "p"}}}, "scope": {"project": {"name": "system"}}}});
        let request: AuthRequest = serde_json::from_value(body.clone()).expect("a login");
        assert_eq!(request.auth.identity.password.as_ref().map(|p| p.user.password.expose()), Some("p"));
        assert_eq!(serde_json::to_value(&request).expect("json"), body);
    }
}
