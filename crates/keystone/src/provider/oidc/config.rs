//! Keys of the driver `oidc`, the presets of its templates, and what is wrong with them before anybody is asked (spec 02 §10).

use super::jose::ALGORITHMS;
use crate::provider::web::check_url;
use api_identity::Secret;
use base::{Json, Result, err};
use resource::Map;
use serde::Deserialize;
use serde_json::json;

pub const TEMPLATES: [&str; 4] = ["dex_oidc", "github_oidc", "azure_oidc", "google_oidc"];

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oidc {
    /// Address of the issuer: the rest is found below `/.well-known/openid-configuration`.
    pub endpoint: String,
    pub client_id: String,
    /// Empty for a public client.
    pub client_secret: Secret,
    /// Instead of `endpoint`: where people log in,
    pub auth_url: String,
    /// where a code is exchanged,
    pub token_url: String,
    /// where it is said who somebody is.
    pub userinfo_url: String,
    /// Where the keys are, and what the tokens name as their issuer: with both, identity tokens are verified for explicit addresses too.
    pub jwks_url: String,
    pub issuer: String,
    pub scopes: Vec<String>,
    /// How long one answer may take, seconds, 1 to 60.
    pub timeout_secs: u64,
    /// Signatures that are believed; of those the issuer announces, all of public keys, when empty.
    pub algorithms: Vec<String>,
    /// Certificates (PEM) beside those of the system.
    pub ca_certificate: String,
    /// Tenant of the template `azure_oidc`.
    pub tenant_id: String,
    /// Its cloud: `global` or `china`.
    pub cloud_env: String,
}

impl Default for Oidc {
    fn default() -> Oidc {
        let text = String::new;
        Oidc {
            endpoint: text(),
            client_id: text(),
            client_secret: Secret::default(),
            auth_url: text(),
            token_url: text(),
            userinfo_url: text(),
            jwks_url: text(),
            issuer: text(),
            scopes: ["openid", "profile", "email"].map(str::to_string).to_vec(),
            timeout_secs: 10,
            algorithms: Vec::new(),
            ca_certificate: text(),
            tenant_id: text(),
            cloud_env: "global".into(),
        }
    }
}

/// What a template presets; without one, the claims of OpenID Connect Core §5.1.
pub fn presets(template: &str) -> Json {
    let mut all = json!({
        "user_name_attribute": "preferred_username", "user_displayname_attribute": "name", "user_email_attribute": "email",
        "user_mobile_attribute": "phone_number",
    });
    let more = match template {
        "dex_oidc" => {
            json!({"scopes": ["openid", "profile", "email", "groups"], "user_name_attribute": "name", "groups_attribute": "groups"})
        }
        "azure_oidc" => json!({}),
        // Google has no name to log in with; the address is the only one that is a person's own.
        "google_oidc" => json!({"endpoint": "https://accounts.google.com", "user_name_attribute": "email"}),
        // GitHub speaks OAuth 2 without identity tokens: who it is, is what its address for users says.
        "github_oidc" => json!({
            "auth_url": "https://github.com/login/oauth/authorize", "token_url": "https://github.com/login/oauth/access_token",
            "userinfo_url": "https://api.github.com/user", "scopes": ["read:user", "user:email"],
            "user_id_attribute": "id", "user_name_attribute": "login",
        }),
        _ => json!({}),
    };
    if let (Json::Object(all), Json::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

impl Oidc {
    /// Reads the keys; says which one is wrong without quoting its value, which may be a secret.
    pub fn read(template: &str, keys: &Map, loopback: bool) -> Result<Oidc> {
        let mut config: Oidc = crate::provider::config::read_keys("oidc", keys)?;
        if template == "azure_oidc" && config.endpoint.is_empty() && !config.tenant_id.is_empty() {
            let host = match config.cloud_env.as_str() {
                "global" => "login.microsoftonline.com",
                "china" => "login.partner.microsoftonline.cn",
                other => return Err(err!(InputParameter, "{}: {} is none of {}", "cloud_env", other, "global, china")),
            };
            config.endpoint = format!("https://{host}/{}/v2.0", http::path::encode(&config.tenant_id));
        }
        config.check(template, loopback)?;
        Ok(config)
    }

    fn check(&self, template: &str, loopback: bool) -> Result<()> {
        let missing = |key: &str| err!(MissingParameter, "{} is missing", format!("config.oidc.{key}"));
        if self.client_id.is_empty() {
            return Err(missing("client_id"));
        }
        if self.endpoint.is_empty() {
            let needed = [("auth_url", &self.auth_url), ("token_url", &self.token_url)];
            if let Some((key, _)) = needed.iter().find(|(_, url)| url.is_empty()) {
                let key = if template == "azure_oidc" {
                    "tenant_id"
                } else if self.auth_url.is_empty() && self.token_url.is_empty() {
                    "endpoint"
                } else {
                    key
                };
                return Err(missing(key));
            }
            if self.userinfo_url.is_empty() && !self.signed() {
                return Err(missing("userinfo_url"));
            }
        }
        for (key, url) in [
            ("endpoint", &self.endpoint),
            ("auth_url", &self.auth_url),
            ("token_url", &self.token_url),
            ("userinfo_url", &self.userinfo_url),
            ("jwks_url", &self.jwks_url),
        ] {
            if !url.is_empty() {
                check_url(key, url, loopback)?;
            }
        }
        if self.jwks_url.is_empty() != self.issuer.is_empty() {
            return Err(err!(InputParameter, "config.oidc: jwks_url and issuer belong together"));
        }
        if let Some(other) = self.algorithms.iter().find(|a| !ALGORITHMS.contains(&a.as_str())) {
            return Err(err!(InputParameter, "{}: {} is none of {}", "algorithms", other, ALGORITHMS.join(", ")));
        }
        if !(1..=60).contains(&self.timeout_secs) {
            return Err(err!(InputParameter, "{}: {} is not between {} and {}", "timeout_secs", self.timeout_secs, 1, 60));
        }
        Ok(())
    }

    /// Whether explicit addresses come with what identity tokens are verified by.
    pub fn signed(&self) -> bool {
        !self.jwks_url.is_empty() && !self.issuer.is_empty()
    }
}
