//! `GET user` (spec 03 §3.2): who is logged in, where, and where else he could work.

use crate::Gateway;
use base::{Json, Result};
use http::{Method, Reply, Request, Response};
use serde_json::{Map, json};
use std::collections::{BTreeMap, HashMap};

/// Of the user's row.
const COPIED: [&str; 24] = [
    "id",
    "name",
    "displayname",
    "email",
    "mobile",
    "enabled",
    "created_at",
    "last_active_at",
    "last_login_ip",
    "last_login_source",
    "allow_web_console",
    "enable_mfa",
    "is_system_account",
    "is_local",
    "password_expires_at",
    "failed_auth_count",
    "failed_auth_at",
    "need_reset_password",
    "password_reset_hint",
    "idps",
    "idp_driver",
    "lang",
    "description",
    "default_project_id",
];
/// Agents that are services in the eyes of a console.
const AGENTS: [(&str, &str); 4] = [
    ("lbagent", "/loadbalanceragents?details=false&limit=1&scope=system"),
    ("bmagent", "/baremetalagents?details=false&limit=1&scope=system"),
    ("hostagent", "/hosts?baremetal=false&details=false&limit=1&scope=system"),
    ("esxiagent", "/baremetalagents?details=false&limit=1&scope=system&filter.0=agent_type.equals%28esxiagent%29"),
];

pub async fn show(gateway: &Gateway, request: Request) -> Reply {
    let visit = gateway.enter(request).await?;
    let caller = &visit.ctx.caller;
    let id = http::path::encode(&caller.user_id);
    let services = &gateway.services;
    let row = format!("/users/{id}");
    let ties = format!("/role_assignments?effective&include_names&include_policies&include_system&limit=0&user.id={id}");
    // Asked at once: every page of a console waits for this answer.
    let (user, assigned, tags, regions, offered, menus, dashboard) = tokio::try_join!(
        services.own(Method::GET, &row, None),
        services.own(Method::GET, &ties, None),
        metadata(gateway, &caller.project_id),
        services.regions(),
        offered(gateway),
        pages(gateway, "console"),
        pages(gateway, "k8s-dashboard"),
    )?;
    let mut data = Map::new();
    for key in COPIED {
        let value = &user["user"][key];
        if !value.is_null() {
            data.insert(key.to_string(), value.clone());
        }
    }
    let projects = projects(&assigned["role_assignments"]);
    let here = projects.iter().find(|p| p["id"] == caller.project_id.as_str());
    for level in ["system", "domain", "project"] {
        let key = format!("{level}_policies");
        if let Some(names) = here.and_then(|p| p.get(&key)) {
            data.insert(key, names.clone());
        }
    }
    let all: Vec<Json> = ["system_policies", "domain_policies", "project_policies"]
        .iter()
        .flat_map(|k| here.and_then(|p| p[*k].as_array()).cloned().unwrap_or_default())
        .collect();
    let admin = here.map(|p| p["system_policies"].clone()).filter(Json::is_array).unwrap_or_else(|| json!([]));
    data.insert("admin_policies".into(), admin);
    data.insert("policies".into(), json!({ "all": all }));
    data.insert("domain".into(), json!({"id": caller.user_domain_id, "name": caller.user_domain}));
    data.insert("projectId".into(), caller.project_id.as_str().into());
    data.insert("projectName".into(), caller.project.as_str().into());
    data.insert("projectDomain".into(), caller.project_domain.as_str().into());
    data.insert("projectDomainId".into(), caller.project_domain_id.as_str().into());
    data.insert("project_meta".into(), tags);
    data.insert("roles".into(), caller.roles.iter().map(|r| Json::from(r.name.as_str())).collect());
    data.insert("projects".into(), projects.into());
    data.insert("regions".into(), json!(regions));
    data.insert("services".into(), offered);
    data.insert("menus".into(), menus);
    data.insert("k8sdashboard".into(), dashboard);
    data.insert("system_totp_on".into(), gateway.options.enable_totp.into());
    data.insert("enable_quota_check".into(), gateway.options.enable_quota_check.into());
    data.insert("non_default_domain_projects".into(), gateway.options.non_default_domain_projects.into());
    Ok(Response::json(&json!({ "data": data })))
}

/// Assignments by project, with what their policies make possible there.
fn projects(assigned: &Json) -> Vec<Json> {
    let mut order = Vec::new();
    let mut by: HashMap<String, Map<String, Json>> = HashMap::new();
    for a in assigned.as_array().into_iter().flatten() {
        let project = &a["scope"]["project"];
        let Some(id) = project["id"].as_str() else { continue };
        let entry = by.entry(id.to_string()).or_insert_with(|| {
            order.push(id.to_string());
            let base = json!({"id": id, "name": project["name"], "domain": project["domain"]["name"], "domain_id": project["domain"]["id"], "roles": []});
            base.as_object().cloned().unwrap_or_default()
        });
        let role = json!({"id": a["role"]["id"], "name": a["role"]["name"]});
        if let Some(roles) = entry.get_mut("roles").and_then(Json::as_array_mut)
            && !roles.contains(&role)
        {
            roles.push(role);
        }
        let told = if a["policies"].is_object() { &a["policies"] } else { &a["role"]["policies"] };
        for level in ["system", "domain", "project"] {
            for name in told[level].as_array().into_iter().flatten() {
                let list = entry.entry(format!("{level}_policies")).or_insert_with(|| json!([]));
                if let Some(list) = list.as_array_mut()
                    && !list.contains(name)
                {
                    list.push(name.clone());
                }
                entry.insert(format!("{level}_capable"), true.into());
                if level == "system" {
                    entry.insert("admin_capable".into(), true.into());
                }
            }
        }
    }
    order.into_iter().filter_map(|id| by.remove(&id)).map(Json::Object).collect()
}

async fn metadata(gateway: &Gateway, project: &str) -> Result<Json> {
    if project.is_empty() {
        return Ok(json!({}));
    }
    let answer = gateway.services.own(Method::GET, &format!("/projects/{}", http::path::encode(project)), None).await?;
    let tags = answer["project"]["metadata"].clone();
    Ok(if tags.is_object() { tags } else { json!({}) })
}

/// Types of the catalogue that can be reached from inside, and agents there are.
async fn offered(gateway: &Gateway) -> Result<Json> {
    let catalogue = gateway.services.catalogue().await?;
    let internal = catalogue.iter().filter(|s| s.endpoints.iter().any(|e| e.interface == "internal"));
    let mut all: BTreeMap<String, bool> = internal.map(|s| (s.r#type.clone(), true)).collect();
    // A region that does not have the agent's kind answers 404: there is none.
    let there = async |(name, path): (&'static str, &'static str)| {
        let found = gateway.services.own_of("compute_v2", path).await.ok();
        let rows = found.as_ref().and_then(Json::as_object).and_then(|o| o.values().find_map(Json::as_array));
        rows.is_some_and(|rows| !rows.is_empty()).then(|| (name.to_string(), true))
    };
    let [a, b, c, d] = AGENTS;
    let found = tokio::join!(there(a), there(b), there(c), there(d));
    all.extend([found.0, found.1, found.2, found.3].into_iter().flatten());
    Ok(all.into_iter().map(|(kind, status)| json!({"type": kind, "status": status})).collect())
}

/// Pages elsewhere that belong to the installation: endpoints of an interface.
async fn pages(gateway: &Gateway, interface: &str) -> Result<Json> {
    let catalogue = gateway.services.catalogue().await?;
    let at = catalogue.iter().flat_map(|s| s.endpoints.iter().map(move |e| (s, e))).filter(|(_, e)| e.interface == interface);
    Ok(at.map(|(s, e)| json!({"url": e.url, "name": e.name, "service": s.r#type})).collect())
}
