//! OAuth 2 without OpenID: a code, a token, and an address that says who its bearer is (RFC 6749 §4.1). What differs between services is a table,
//! [`RECIPES`], with places `{name}` that are filled in; there is no code for any of them.

use super::external::External;
use super::sso::{Begin, Driver, Provider};
use super::{config::read_keys, oidc::not_begun, pending, web};
use crate::state::State;
use api_identity::{Identity, Secret};
use base::{Json, Result, err};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use resource::{BoxFuture, Map};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use web::Site;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Keys {
    app_id: String,
    secret: Secret,
    /// Where people log in, where a code is exchanged, where it is said who somebody is: those of the template, unless set.
    auth_url: String,
    token_url: String,
    userinfo_url: String,
    scopes: Vec<String>,
    /// Number of the application inside the company, where there is one.
    agent_id: String,
    /// How long one answer may take, seconds, 1 to 60.
    timeout_secs: u64,
    /// Certificates (PEM) beside those of the system.
    ca_certificate: String,
}

impl Default for Keys {
    fn default() -> Keys {
        let text = String::new;
        Keys {
            app_id: text(),
            secret: Secret::default(),
            auth_url: text(),
            token_url: text(),
            userinfo_url: text(),
            scopes: Vec::new(),
            agent_id: text(),
            timeout_secs: 10,
            ca_certificate: text(),
        }
    }
}

/// How a step is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Query,
    Form,
    Json,
}

/// One service.
struct Recipe {
    template: &'static str,
    auth: (&'static str, &'static [(&'static str, &'static str)]),
    token: (How, &'static str, &'static [(&'static str, &'static str)]),
    /// Where the token is in the answer.
    access: &'static str,
    user: (&'static str, &'static [(&'static str, &'static str)]),
    /// Header the token goes into, with what stands before it; none when it is a parameter.
    header: Option<(&'static str, &'static str)>,
    /// Member of the last answer with the attributes; the answer itself when empty.
    inside: &'static str,
    id: &'static str,
    name: &'static str,
    /// Whether the token request takes a verifier (RFC 7636).
    pkce: bool,
}

const CODE: &[(&str, &str)] = &[
    ("grant_type", "authorization_code"),
    ("code", "{code}"),
    ("redirect_uri", "{redirect_uri}"),
    ("client_id", "{app_id}"),
    ("client_secret", "{secret}"),
    ("code_verifier", "{verifier}"),
];
const AUTH: &[(&str, &str)] = &[
    ("response_type", "code"),
    ("client_id", "{app_id}"),
    ("redirect_uri", "{redirect_uri}"),
    ("scope", "{scope}"),
    ("state", "{state}"),
    ("code_challenge", "{challenge}"),
    ("code_challenge_method", "S256"),
];
const PLAIN: Recipe = Recipe {
    template: "",
    auth: ("", AUTH),
    token: (How::Form, "", CODE),
    access: "access_token",
    user: ("", &[]),
    header: Some(("authorization", "Bearer ")),
    inside: "",
    id: "sub",
    name: "preferred_username",
    pkce: true,
};

static RECIPES: [Recipe; 6] = [
    PLAIN,
    // A product whose addresses are those of its installation: all three are set by hand.
    Recipe { template: "bingoiam_oauth2", id: "id", name: "username", ..PLAIN },
    Recipe {
        template: "feishu_oauth2",
        auth: (
            "https://accounts.feishu.cn/open-apis/authen/v1/authorize",
            &[
                ("response_type", "code"),
                ("client_id", "{app_id}"),
                ("redirect_uri", "{redirect_uri}"),
                ("scope", "{scope}"),
                ("state", "{state}"),
            ],
        ),
        token: (
            How::Json,
            "https://open.feishu.cn/open-apis/authen/v2/oauth/token",
            &[
                ("grant_type", "authorization_code"),
                ("client_id", "{app_id}"),
                ("client_secret", "{secret}"),
                ("code", "{code}"),
                ("redirect_uri", "{redirect_uri}"),
            ],
        ),
        user: ("https://open.feishu.cn/open-apis/authen/v1/user_info", &[]),
        inside: "data",
        id: "union_id",
        name: "name",
        pkce: false,
        ..PLAIN
    },
    Recipe {
        template: "dingtalk_oauth2",
        auth: (
            "https://login.dingtalk.com/oauth2/auth",
            &[
                ("response_type", "code"),
                ("client_id", "{app_id}"),
                ("redirect_uri", "{redirect_uri}"),
                ("scope", "openid"),
                ("state", "{state}"),
                ("prompt", "consent"),
            ],
        ),
        token: (
            How::Json,
            "https://api.dingtalk.com/v1.0/oauth2/userAccessToken",
            &[("clientId", "{app_id}"), ("clientSecret", "{secret}"), ("code", "{code}"), ("grantType", "authorization_code")],
        ),
        access: "accessToken",
        user: ("https://api.dingtalk.com/v1.0/contact/users/me", &[]),
        header: Some(("x-acs-dingtalk-access-token", "")),
        id: "unionId",
        name: "nick",
        pkce: false,
        ..PLAIN
    },
    Recipe {
        template: "wechat_oauth2",
        auth: (
            "https://open.weixin.qq.com/connect/qrconnect",
            &[
                ("appid", "{app_id}"),
                ("redirect_uri", "{redirect_uri}"),
                ("response_type", "code"),
                ("scope", "snsapi_login"),
                ("state", "{state}"),
            ],
        ),
        token: (
            How::Query,
            "https://api.weixin.qq.com/sns/oauth2/access_token",
            &[("appid", "{app_id}"), ("secret", "{secret}"), ("code", "{code}"), ("grant_type", "authorization_code")],
        ),
        user: ("https://api.weixin.qq.com/sns/userinfo", &[("access_token", "{access}"), ("openid", "{openid}")]),
        header: None,
        id: "unionid",
        name: "nickname",
        pkce: false,
        ..PLAIN
    },
    Recipe {
        template: "qywechat_oauth2",
        auth: (
            "https://login.work.weixin.qq.com/wwlogin/sso/login",
            &[
                ("login_type", "CorpApp"),
                ("appid", "{app_id}"),
                ("agentid", "{agent_id}"),
                ("redirect_uri", "{redirect_uri}"),
                ("state", "{state}"),
            ],
        ),
        // The token is the application's; the code says who it is only in the next step.
        token: (How::Query, "https://qyapi.weixin.qq.com/cgi-bin/gettoken", &[("corpid", "{app_id}"), ("corpsecret", "{secret}")]),
        user: ("https://qyapi.weixin.qq.com/cgi-bin/auth/getuserinfo", &[("access_token", "{access}"), ("code", "{code}")]),
        header: None,
        id: "userid",
        name: "userid",
        pkce: false,
        ..PLAIN
    },
];

const TEMPLATES: [&str; 5] = ["feishu_oauth2", "dingtalk_oauth2", "wechat_oauth2", "qywechat_oauth2", "bingoiam_oauth2"];

fn recipe(template: &str) -> &'static Recipe {
    RECIPES.iter().find(|r| r.template == template).unwrap_or(&RECIPES[0])
}

impl Keys {
    fn read(state: &State, template: &str, keys: &Map) -> Result<Keys> {
        let mut keys: Keys = read_keys("oauth2", keys)?;
        let recipe = recipe(template);
        for (key, url, preset) in [
            ("auth_url", &mut keys.auth_url, recipe.auth.0),
            ("token_url", &mut keys.token_url, recipe.token.1),
            ("userinfo_url", &mut keys.userinfo_url, recipe.user.0),
        ] {
            if url.is_empty() {
                *url = preset.to_string();
            }
            if url.is_empty() {
                return Err(err!(MissingParameter, "{} is missing", format!("config.oauth2.{key}")));
            }
            web::check_url(key, url, state.config.sso_http_on_loopback)?;
        }
        for (key, empty) in [("app_id", keys.app_id.is_empty()), ("secret", keys.secret.is_empty())] {
            if empty {
                return Err(err!(MissingParameter, "{} is missing", format!("config.oauth2.{key}")));
            }
        }
        if !(1..=60).contains(&keys.timeout_secs) {
            return Err(err!(InputParameter, "{}: {} is not between {} and {}", "timeout_secs", keys.timeout_secs, 1, 60));
        }
        Ok(keys)
    }
}

/// Pairs with their places filled in; those that come out empty are left out.
fn filled<'a>(pairs: &[(&'a str, &str)], values: &[(&str, &str)]) -> Vec<(&'a str, String)> {
    let fill = |text: &str| match text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        Some(place) => values.iter().find(|(name, _)| *name == place).map(|(_, v)| (*v).to_string()).unwrap_or_default(),
        None => text.to_string(),
    };
    pairs.iter().map(|(k, v)| (*k, fill(v))).filter(|(_, v)| !v.is_empty()).collect()
}

fn borrowed<'a>(pairs: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    pairs.iter().map(|(k, v)| (*k, v.as_str())).collect()
}

pub struct OAuth2;

impl Driver for OAuth2 {
    fn name(&self) -> &'static str {
        "oauth2"
    }

    fn templates(&self) -> &'static [&'static str] {
        &TEMPLATES
    }

    fn presets(&self, template: &str) -> Json {
        let recipe = recipe(template);
        json!({"user_id_attribute": recipe.id, "user_name_attribute": recipe.name, "user_displayname_attribute": "name", "user_email_attribute": "email", "user_mobile_attribute": "mobile"})
    }

    fn check(&self, state: &State, template: &str, keys: &Map) -> Result<()> {
        Keys::read(state, template, keys).map(drop)
    }

    fn probe<'a>(&'a self, _state: &'a State, _template: &'a str, _keys: &'a Map) -> BoxFuture<'a, Result<()>> {
        // There is nothing to ask without a code: the first login tells.
        Box::pin(async { Ok(()) })
    }

    fn begin<'a>(&'a self, state: &'a State, provider: &'a Provider, wish: &'a Begin) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let template = provider.row.text("template");
            let (keys, recipe, id) = (Keys::read(state, template, &provider.keys)?, recipe(template), provider.row.id());
            let own = wish.bound || wish.state.is_empty();
            let word = if wish.state.is_empty() { web::random(24)? } else { wish.state.clone() };
            // A gateway that keeps its own state sends the code alone: no verifier would be found for it.
            let verifier = if own && recipe.pkce { web::random(32)? } else { String::new() };
            let data = json!({"redirect_uri": wish.redirect_uri, "verifier": verifier});
            pending::put(state, "oauth2-state", &format!("{id}:{word}"), &data, pending::PATIENCE).await?;
            let challenge = if verifier.is_empty() { String::new() } else { URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) };
            let scope = keys.scopes.join(" ");
            let values = [
                ("app_id", keys.app_id.as_str()),
                ("agent_id", &keys.agent_id),
                ("redirect_uri", &wish.redirect_uri),
                ("scope", &scope),
                ("state", &word),
                ("challenge", &challenge),
            ];
            let mut pairs = filled(recipe.auth.1, &values);
            pairs.retain(|(key, _)| *key != "code_challenge_method" || !challenge.is_empty());
            Ok(web::with_query(&keys.auth_url, &borrowed(&pairs)))
        })
    }

    fn prove<'a>(&'a self, state: &'a State, provider: &'a Provider, identity: &'a Identity) -> BoxFuture<'a, Result<External>> {
        Box::pin(prove(state, provider, identity))
    }
}

async fn prove(state: &State, provider: &Provider, identity: &Identity) -> Result<External> {
    let said = identity.oauth2.as_ref().ok_or_else(|| err!(InputParameter, "auth.identity.{} is missing", "oauth2"))?;
    let (template, id) = (provider.row.text("template"), provider.row.id());
    let (keys, recipe) = (Keys::read(state, template, &provider.keys)?, recipe(template));
    if said.code.is_empty() {
        return Err(err!(InputParameter, "auth.identity.{} is missing", "oauth2.code"));
    }
    let begun = match said.state.as_str() {
        "" => Json::Null,
        word => pending::take(state, "oauth2-state", &format!("{id}:{word}")).await?.ok_or_else(not_begun)?,
    };
    if !pending::first(state, "oauth2-code", &format!("{id}:{}", said.code.expose()), pending::PATIENCE).await? {
        return Err(not_begun());
    }
    let loopback = state.config.sso_http_on_loopback;
    let site = state.sites.of(id, provider.row.int("config_version"), || {
        Site::new(provider.row.name(), &keys.ca_certificate, Duration::from_secs(keys.timeout_secs), loopback)
    })?;
    let redirect_uri = begun["redirect_uri"].as_str().unwrap_or(&said.redirect_uri).to_string();
    let refused = |answer: &Json, status: u16| {
        let why =
            ["error", "error_description", "errmsg", "message", "msg"].iter().find_map(|key| answer[*key].as_str()).unwrap_or("no token");
        let why: String = why.chars().take(100).collect();
        err!(InvalidCredential, "the identity provider {} refuses the login: {}; begin it again", site.name(), why)
            .with_context(format!("status {status}"))
    };
    let first = [
        ("app_id", keys.app_id.as_str()),
        ("secret", keys.secret.expose()),
        ("code", said.code.expose()),
        ("redirect_uri", &redirect_uri),
        ("verifier", begun["verifier"].as_str().unwrap_or_default()),
    ];
    let pairs = filled(recipe.token.2, &first);
    let answer = match recipe.token.0 {
        How::Query => site.get(&web::with_query(&keys.token_url, &borrowed(&pairs)), &[]).await?,
        How::Form => site.post(&keys.token_url, &[], &borrowed(&pairs)).await?,
        How::Json => {
            site.post_json(&keys.token_url, &[], &Json::from_iter(pairs.into_iter().map(|(k, v)| (k.to_string(), Json::from(v))))).await?
        }
    };
    let tokens = answer.json();
    let Some(access) = tokens[recipe.access].as_str().filter(|t| !t.is_empty()) else { return Err(refused(&tokens, answer.status)) };
    let second = [("access", access), ("code", said.code.expose()), ("openid", tokens["openid"].as_str().unwrap_or_default())];
    let pairs = filled(recipe.user.1, &second);
    let url = if pairs.is_empty() { keys.userinfo_url.clone() } else { web::with_query(&keys.userinfo_url, &borrowed(&pairs)) };
    let bearer = recipe.header.map(|(name, before)| (name, format!("{before}{access}")));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = site.get(&url, &headers).await?;
    let all = answer.json();
    let person = if recipe.inside.is_empty() { &all } else { &all[recipe.inside] };
    match person {
        Json::Object(attributes) if answer.status == 200 => Ok(External { attributes: attributes.clone(), ..External::default() }),
        _ => Err(refused(&all, answer.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_complete() {
        for template in TEMPLATES {
            let recipe = recipe(template);
            assert_eq!(recipe.template, template);
            let places: Vec<&str> = recipe.auth.1.iter().chain(recipe.token.2).chain(recipe.user.1).map(|(_, v)| *v).collect();
            assert!(places.contains(&"{state}") && places.contains(&"{code}") && places.contains(&"{redirect_uri}"), "{template}");
            for url in [recipe.auth.0, recipe.token.1, recipe.user.0] {
                assert!(url.is_empty() && template.starts_with("bingo") || web::check_url("u", url, false).is_ok(), "{template} {url}");
            }
        }
        let pairs = filled(&[("a", "{x}"), ("b", "fixed"), ("c", "{y}")], &[("x", "{y}"), ("y", "")]);
        assert_eq!(pairs, [("a", "{y}".to_string()), ("b", "fixed".to_string())], "filled in once");
    }
}
