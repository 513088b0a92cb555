//! `/api/{ver}/rpc/…`: what consoles call as functions of their library (spec 03 §4.3). Each is a call or two of a service.

use super::{envelope, version};
use crate::{Gateway, catalog::TABLE, door::Visit};
use base::{Class, Json, Result, Scope, err};
use http::{Method, Reply, Request, Response};
use serde_json::json;

pub async fn call(gateway: &Gateway, request: Request) -> Reply {
    version(&request)?;
    let mut visit = gateway.enter(request).await?;
    let body = visit.request.json().await?.unwrap_or_else(|| json!({}));
    let owned: Vec<String> = visit.request.tail().to_vec();
    let path: Vec<&str> = owned.iter().map(String::as_str).collect();
    let posted = visit.request.method == Method::POST;
    let (g, v) = (gateway, &visit);
    let done = match (posted, &path[..]) {
        (false, ["usages", "general-usage"]) => usages(g, v).await,
        (true, ["access", word @ ("can" | "who-can")]) => access(g, v, word, body).await,
        (true, ["schedulers", word @ ("forecast" | "test" | "history-show" | "history-list")]) => schedule(g, v, word, body).await,
        (false, ["servers", id, "login-info"]) => login_info(g, v, id).await,
        (true, ["users", "join-groups"]) => join_groups(g, v, &body).await,
        (true, ["users", "create-user"]) => {
            send(g, v, Method::POST, "identity", "/users", json!({ "user": body })).await.map(|a| a["user"].clone())
        }
        (true, ["projects", id, word @ ("join-project" | "leave-project")]) => membership(g, v, id, word, &body).await,
        (true, ["projects", word @ ("join-project" | "leave-project")]) => {
            let id = body["project"].as_str().or_else(|| body["id"].as_str()).unwrap_or_default().to_string();
            membership(g, v, &id, word, &body).await
        }
        (true, ["projects", "project-batch-join"]) => batch_join(g, v, &body).await,
        (false, ["role_assignments", id, word @ ("project-role" | "project-users")]) => assignments(g, v, id, word).await,
        (true, ["credentials", word @ ("create-access-key-secret" | "create-oidc-secret")]) => credential(g, v, word, &body).await,
        (true, ["networks", "batch-release-reserved-ips"]) => release(g, v, &body).await,
        (false, ["hosts", id, "ipmi-info"]) => property(g, v, &format!("/hosts/{}/ipmi", http::path::encode(id)), "host").await,
        (false, ["cloudregions", word @ ("region-cities" | "region-providers")]) => places(g, v, word).await,
        (false, ["servers", "limits"]) => ask(g, v, "compute_v2", "/limits").await.map(|mut a| a["limits"].take()),
        (false, ["quotas", "quota"]) => {
            let answer = ask(g, v, "compute_v2", &format!("/quotas?{}", v.request.path.raw_query())).await?;
            Ok(envelope::list(TABLE.find("quotas").ok_or_else(|| base::Error::internal("no quotas"))?, answer))
        }
        _ => Err(err!(ActionNotFound, "there is no function {} here", path.join("/"))),
    };
    done.map(|json| Response::json(&json))
}

async fn ask(gateway: &Gateway, visit: &Visit, kind: &str, path: &str) -> Result<Json> {
    gateway.services.for_user(&visit.ctx, Method::GET, kind, "", path).await?.send().await?.json().await
}

async fn send(gateway: &Gateway, visit: &Visit, method: Method, kind: &str, path: &str, body: Json) -> Result<Json> {
    gateway.services.for_user(&visit.ctx, method, kind, "", path).await?.json(&body).send().await?.json().await
}

async fn property(gateway: &Gateway, visit: &Visit, path: &str, name: &str) -> Result<Json> {
    ask(gateway, visit, "compute_v2", path).await.map(|a| a[name].clone())
}

/// Counters of all services that count, in one object.
async fn usages(gateway: &Gateway, visit: &Visit) -> Result<Json> {
    let query = visit.request.path.raw_query();
    let path = format!("/usages?{query}");
    let of = |kind: &'static str| ask(gateway, visit, kind, &path);
    let (all, image, identity) = tokio::join!(of("compute_v2"), of("image"), of("identity"));
    let mut all = all?["usage"].take();
    // Only numbers are added, and what one service cannot count is left out.
    for more in [image, identity] {
        let more = match more {
            Ok(more) => more,
            Err(e) if matches!(e.class(), Class::Forbidden | Class::NotFound | Class::NotSufficientPrivilege | Class::BadRequest) => {
                continue;
            }
            Err(e) => return Err(e),
        };
        let inner = more.get("usage").unwrap_or(&more);
        if let (Some(into), Some(from)) = (all.as_object_mut(), inner.as_object()) {
            for (key, value) in from {
                into.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    Ok(all)
}

async fn access(gateway: &Gateway, visit: &Visit, word: &str, body: Json) -> Result<Json> {
    send(gateway, visit, Method::POST, "identity", &format!("/access/{word}"), body).await.map(|mut a| a["access"].take())
}

/// Where servers would go, and why not elsewhere.
async fn schedule(gateway: &Gateway, visit: &Visit, word: &str, body: Json) -> Result<Json> {
    let endpoint = gateway.services.endpoint("scheduler", "").await?;
    let url = format!("{endpoint}/scheduler/{word}");
    let call = gateway.services.call(Method::POST, &url).ctx(&visit.ctx).json(&body);
    match call.send().await {
        Ok(answer) => answer.json().await,
        Err(e) if word == "forecast" && matches!(e.class(), Class::Forbidden | Class::NotSufficientPrivilege) => {
            outlook(gateway, visit, &url, body).await
        }
        Err(e) => Err(e),
    }
}

/// A forecast for somebody who may make servers and may not look at hosts: whether there is room and why not, without saying on which.
async fn outlook(gateway: &Gateway, visit: &Visit, url: &str, mut body: Json) -> Result<Json> {
    let ask_for = resource::Ask { service: "compute", resource: "servers", action: "create", extra: &[] };
    resource::demand(gateway.gate.as_ref(), &visit.ctx, &ask_for, Scope::Project)?;
    let Some(wish) = body.as_object_mut() else { return Err(err!(InputParameter, "the body must be an object")) };
    let caller = &visit.ctx.caller;
    wish.retain(|key, _| !key.starts_with("prefer_"));
    wish.insert("project_id".into(), caller.project_id.as_str().into());
    wish.insert("domain_id".into(), caller.project_domain_id.as_str().into());
    // Of networks and storages only those that he sees himself.
    for (list, key, plural) in [("nets", "network", "networks"), ("disks", "storage_id", "storages")] {
        for item in wish.get(list).and_then(Json::as_array).into_iter().flatten() {
            if let Some(which) = item[key].as_str().filter(|w| !w.is_empty()) {
                ask(gateway, visit, "compute_v2", &format!("/{plural}/{}", http::path::encode(which))).await?;
            }
        }
    }
    let told = gateway.services.own_post(&visit.ctx, url, &body).await?;
    let refused: Vec<Json> = told["filtered_candidates"].as_array().into_iter().flatten().map(|c| c["reasons"].clone()).collect();
    let mut reasons: Vec<&str> = refused.iter().flat_map(|r| r.as_array().into_iter().flatten()).filter_map(Json::as_str).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let reasons = match (&told["can_create"], refused.is_empty()) {
        (Json::Bool(true), _) => json!([]),
        // None was looked at: there are no hosts at all.
        (_, true) => told["not_allow_reasons"].clone(),
        _ => json!(reasons),
    };
    let filtered: Vec<Json> = refused.iter().map(|r| json!({"id": "", "name": "", "filter_name": "placement", "reasons": r})).collect();
    Ok(json!({"candidates": [], "can_create": told["can_create"], "req_count": told["req_count"], "allow_count": told["allow_count"],
        "filtered_candidates": filtered, "not_allow_reasons": reasons}))
}

/// `{username, password, keypair, updated}`, as the service tells whoever may know.
async fn login_info(gateway: &Gateway, visit: &Visit, id: &str) -> Result<Json> {
    let path = format!("/servers/{}/login-info", http::path::encode(id));
    send(gateway, visit, Method::POST, "compute_v2", &path, json!({})).await.map(|mut a| a["server"].take())
}

fn words(body: &Json, key: &str) -> Vec<String> {
    match &body[key] {
        Json::String(one) => vec![one.clone()],
        Json::Array(all) => all.iter().filter_map(|w| w.as_str().or_else(|| w["id"].as_str()).map(str::to_string)).collect(),
        _ => Vec::new(),
    }
}

/// `{uid or user, gid or groups}`
async fn join_groups(gateway: &Gateway, visit: &Visit, body: &Json) -> Result<Json> {
    let users = [words(body, "uid"), words(body, "user"), words(body, "users")].concat();
    let groups = [words(body, "gid"), words(body, "group"), words(body, "groups")].concat();
    for group in &groups {
        let path = format!("/groups/{}/add-users", http::path::encode(group));
        send(gateway, visit, Method::POST, "identity", &path, json!({"group": {"user": users, "users": users}})).await?;
    }
    Ok(json!({}))
}

/// `{users, groups, roles}` or, to leave, `{user_roles, group_roles}`: as the action of the project takes them.
async fn membership(gateway: &Gateway, visit: &Visit, project: &str, word: &str, body: &Json) -> Result<Json> {
    let action = word.trim_end_matches("-project");
    let path = format!("/projects/{}/{action}", http::path::encode(project));
    send(gateway, visit, Method::POST, "identity", &path, json!({ "project": body })).await.map(|mut a| a["project"].take())
}

async fn batch_join(gateway: &Gateway, visit: &Visit, body: &Json) -> Result<Json> {
    for project in [words(body, "projects"), words(body, "ids")].concat() {
        membership(gateway, visit, &project, "join-project", body).await?;
    }
    Ok(json!({}))
}

/// The roles of a user in a project, or the users of a project.
async fn assignments(gateway: &Gateway, visit: &Visit, id: &str, word: &str) -> Result<Json> {
    let key = if word == "project-role" { "user.id" } else { "scope.project.id" };
    let path = format!("/role_assignments?effective&include_names&include_policies&limit=0&{key}={}", http::path::encode(id));
    let found = ask(gateway, visit, "identity", &path).await?;
    Ok(json!({"data": found["role_assignments"], "total": found["total"]}))
}

/// A new key, its secret shown once.
async fn credential(gateway: &Gateway, visit: &Visit, word: &str, body: &Json) -> Result<Json> {
    let kind = if word == "create-oidc-secret" { "oidc" } else { "aksk" };
    let mut bytes = [0u8; 24];
    getrandom::fill(&mut bytes).map_err(base::Error::internal)?;
    let secret = hex::encode(bytes);
    let expire = body["expire_at"].as_i64().unwrap_or(0);
    let mut blob = json!({"secret": secret, "expire": expire});
    if kind == "oidc" {
        blob["redirect_uri"] = body["redirect_uri"].clone();
    }
    let project = if visit.ctx.caller.project_id.is_empty() { "default" } else { visit.ctx.caller.project_id.as_str() };
    let row = json!({"credential": {
        "type": kind, "blob": blob.to_string(), "user_id": visit.ctx.caller.user_id, "project_id": project,
        "name": body["name"].as_str().map_or_else(|| format!("{kind}-{}-{}", project, gateway.clock.now().micros()), str::to_string),
    }});
    let made = send(gateway, visit, Method::POST, "identity", "/credentials", row).await?;
    Ok(json!({"key_id": made["credential"]["id"], "client_id": made["credential"]["id"], "secret": secret, "expire": expire,
        "project_id": project, "project_name": visit.ctx.caller.project}))
}

/// `{network_ips: [{network_id, ip}…]}` or `{network_id, ips}`
async fn release(gateway: &Gateway, visit: &Visit, body: &Json) -> Result<Json> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for item in body["network_ips"].as_array().into_iter().flatten() {
        if let (Some(network), Some(ip)) = (item["network_id"].as_str(), item["ip"].as_str().or_else(|| item["ip_addr"].as_str())) {
            pairs.push((network.into(), ip.into()));
        }
    }
    if let Some(network) = body["network_id"].as_str() {
        pairs.extend(words(body, "ips").into_iter().map(|ip| (network.to_string(), ip)));
    }
    if pairs.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", "network_ips"));
    }
    for (network, ip) in pairs {
        let path = format!("/networks/{}/release-reserved-ip", http::path::encode(&network));
        send(gateway, visit, Method::POST, "compute_v2", &path, json!({"network": {"ip": ip}})).await?;
    }
    Ok(json!({}))
}

/// Cities or providers of the regions, with how often each is there.
async fn places(gateway: &Gateway, visit: &Visit, word: &str) -> Result<Json> {
    let rows = ask(gateway, visit, "compute_v2", "/cloudregions?limit=2048").await?;
    let key = if word == "region-cities" { "city" } else { "provider" };
    let mut counts: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for row in rows["cloudregions"].as_array().into_iter().flatten() {
        *counts.entry(row[key].as_str().unwrap_or_default().to_string()).or_default() += 1;
    }
    let rows: Vec<Json> = counts.into_iter().map(|(name, count)| json!({"id": name, "name": name, "count": count})).collect();
    Ok(json!({"total": rows.len(), "data": rows}))
}
