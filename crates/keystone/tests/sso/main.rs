//! Single sign-on against a real, certified OpenID provider and a real browser: who gets in and as what, and who does not.

mod attacks;
mod door;
#[allow(dead_code, reason = "a part of the suite's kit")]
#[path = "../suite/kit.rs"]
mod kit;
mod node;
mod others;
mod story;

use base::{Clock, Json};
use kit::{Answer, Cloud};
use node::{Node, SECRET};
use serde_json::json;

/// A platform that lets providers be asked on this machine.
async fn cloud() -> Cloud {
    let config = keystone::Config { sso_http_on_loopback: true, ..kit::config() };
    kit::cloud_with(config, Clock::real()).await
}

/// Configuration for a test's provider.
fn config(node: &Node) -> Json {
    json!({"endpoint": node.issuer, "client_id": "wolke", "client_secret": SECRET, "scopes": ["openid", "profile", "email", "groups"],
        "groups_attribute": "groups", "project_attribute": "project", "roles_attribute": "roles",
        "group_projects": [{"group": "devs", "project": "web", "role": "project_viewer"}]})
}

/// Makes the provider `corp`; answers its id.
async fn corp(cloud: &Cloud, admin: &str, config: Json, more: Json) -> String {
    let mut body = json!({"name": "corp", "driver": "oidc", "config": {"oidc": config}});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = cloud.post(admin, "/v3/identity_providers", json!({"identity_provider": body})).await.ok();
    made["identity_provider"]["id"].as_str().expect("an id").to_string()
}

async fn change(cloud: &Cloud, admin: &str, id: &str, what: Json) {
    cloud.put(admin, &format!("/v3/identity_providers/{id}"), json!({"identity_provider": what})).await.ok();
}

/// The address a browser is sent to.
async fn begin(cloud: &Cloud, admin: &str, id: &str, node: &Node, state: &str) -> String {
    let landing = http::path::encode(&node.landing);
    let told = cloud.get(admin, &format!("/v3/identity_providers/{id}/sso-redirect-uri?redirect_uri={landing}&state={state}")).await.ok();
    told["identity_provider"]["uri"].as_str().expect("an address").to_string()
}

/// A parameter of an address.
fn parameter(url: &str, key: &str) -> String {
    let query = url.split_once('?').map_or("", |(_, q)| q);
    http::Query::parse(query).expect("a query").text(key).unwrap_or_default().to_string()
}

/// The token request for what a browser brought back.
fn request(id: &str, code: &str, redirect_uri: &str, state: &str) -> Json {
    json!({"auth": {"identity": {"methods": ["oidc"], "id": id, "oidc_auth": {"code": code, "redirect_uri": redirect_uri, "state": state}}}})
}

async fn ask(cloud: &Cloud, body: Json) -> Answer {
    cloud.send("POST", "/v3/auth/tokens", None, None, Some(body)).await
}

/// A whole login, whatever it comes to.
async fn login(cloud: &Cloud, admin: &str, id: &str, node: &mut Node, user: &str) -> Answer {
    let uri = begin(cloud, admin, id, node, "").await;
    let landing = node.landing.clone();
    let back = node.walk(&uri, &landing, user);
    ask(cloud, request(id, &parameter(&back, "code"), &landing, &parameter(&back, "state"))).await
}

/// Whether a token still counts.
async fn holds(cloud: &Cloud, token: &str) -> bool {
    cloud.send("GET", "/v3/auth/tokens", Some(token), Some(token), None).await.status == 200
}

macro_rules! tests {
    ($run:ident: $($module:ident { $($name:ident)* })*) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::kit::$run(crate::$module::$name()).await;
            })*
        })*
    };
}

mod sqlite {
    tests! {
        on_sqlite:
        story { from_the_first_login_on users_that_are_linked }
        attacks { tokens_that_are_wrong ends_that_are_wrong configurations_that_are_wrong }
        door { a_browser_on_the_same_machine a_device_with_a_code }
        others { a_code_and_an_address a_ticket }
    }
}

mod postgres {
    tests! {
        on_postgres:
        story { from_the_first_login_on }
    }
}
