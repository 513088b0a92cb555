//! What a console asks before and around a login: regions, domains, providers, counts, its own customisation.

use crate::Gateway;
use base::{Class, Json, Result};
use http::{Method, Reply, Request, Response};
use serde_json::json;

/// Directories whose users log in with their passwords here; the others are gone to.
const DIRECTORIES: [&str; 2] = ["sql", "ldap"];

/// `GET regions`: all that a login page shows. Needs no login.
pub async fn regions(gateway: &Gateway, request: Request) -> Reply {
    let services = &gateway.services;
    let mut domains = Vec::new();
    if gateway.options.return_full_domain_list {
        let answer = services.own(Method::GET, "/domains?limit=1000&details=false", None).await?;
        domains = names(&answer["domains"]);
    } else if let Some(asked) = request.query.text("domain").filter(|d| !d.is_empty()) {
        let answer = services.own(Method::GET, &format!("/domains?limit=1&details=false&name={}", http::path::encode(asked)), None).await?;
        domains = names(&answer["domains"]);
    }
    let providers = services.own(Method::GET, "/identity_providers?enabled=true&limit=1000&scope=system", None).await?;
    let providers: Vec<Json> = providers["identity_providers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|p| !DIRECTORIES.contains(&p["driver"].as_str().unwrap_or_default()))
        .map(|p| {
            let text = |key: &str| p[key].as_str().unwrap_or_default().to_string();
            json!({"id": text("id"), "name": text("name"), "driver": text("driver"), "template": text("template"), "icon_url": text("icon_url"),
                "is_default": p["is_default"].as_bool().unwrap_or(false)})
        })
        .collect();
    Ok(Response::json(&json!({
        "regions": services.regions().await?,
        "domains": domains,
        "return_full_domains": gateway.options.return_full_domain_list,
        "idps": providers,
        "encrypt_passwd": true,
        "captcha": crate::captcha::wanted(gateway, &request),
        "api_server": gateway.url,
    })))
}

fn names(rows: &Json) -> Vec<String> {
    rows.as_array().into_iter().flatten().filter_map(|r| r["name"].as_str().map(str::to_string)).collect()
}

/// `GET stats`: whether there is anything yet.
pub async fn stats(gateway: &Gateway, request: Request) -> Reply {
    let visit = gateway.enter(request).await?;
    let call = gateway.services.for_user(&visit.ctx, Method::GET, "compute_v2", "", "/cloudaccounts").await?;
    let call = call.query("limit", "1").query("details", "false");
    let call = match visit.request.query.text("scope") {
        Some(scope) => call.query("scope", scope),
        None => call,
    };
    let count = match call.send().await {
        Ok(answer) => {
            let answer = answer.json().await?;
            answer["total"].as_i64().unwrap_or_else(|| answer["cloudaccounts"].as_array().map_or(0, |rows| rows.len() as i64))
        }
        // A platform without outside clouds, or a user who may not see them.
        Err(e) if matches!(e.class(), Class::NotFound | Class::ResourceNotFound | Class::Forbidden | Class::NotSufficientPrivilege) => 0,
        Err(e) => return Err(e),
    };
    Ok(Response::json(&json!({"data": {"cloudaccounts": count}})))
}

/// `GET scopedpolicybindings`: what an administrator hides in pages, where a service keeps it.
pub async fn customisation(gateway: &Gateway, request: Request) -> Reply {
    let visit = gateway.enter(request).await?;
    rows(gateway, &visit.ctx, "yunionconf", "/scopedpolicybindings", visit.request.path.raw_query()).await.map(|rows| Response::json(&rows))
}

/// `GET subscriptions` of the user, where a service keeps them.
pub async fn subscriptions(gateway: &Gateway, request: Request) -> Reply {
    let visit = gateway.enter(request).await?;
    rows(gateway, &visit.ctx, "notify", "/subscribers", "").await.map(|rows| Response::json(&rows))
}

/// A list of a service that may not be there; then it is empty.
async fn rows(gateway: &Gateway, ctx: &base::Ctx, kind: &str, path: &str, query: &str) -> Result<Json> {
    let nothing = json!({"data": [], "total": 0});
    let call = match gateway.services.for_user(ctx, Method::GET, kind, "", &format!("{path}?{query}")).await {
        Ok(call) => call,
        Err(e) if e.class() == Class::BadRequest => return Ok(nothing),
        Err(e) => return Err(e),
    };
    let mut answer = call.send().await?.json().await?;
    let found = answer.as_object_mut().and_then(|o| o.values_mut().find(|v| v.is_array()).map(Json::take));
    Ok(found.map_or(nothing, |rows| json!({"total": rows.as_array().map_or(0, Vec::len), "data": rows})))
}
