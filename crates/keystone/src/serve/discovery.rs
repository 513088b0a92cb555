//! What may be known before a login, and the figures of the service.

use super::{Desk, Visit, on};
use base::{Json, Scope, err};
use http::{Reply, Request, Response, Router};
use serde_json::json;
use std::sync::Arc;
use store::{Cond, Read};

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    let version = |_: Request| async { Ok(Response::text(telemetry::version())) };
    router
        .get("/", |r: Request| async move { Ok(Response::json(&json!({"versions": {"values": [document(&r, "v3/")]}}))) })
        .get("/v3", |r: Request| async move { Ok(Response::json(&json!({"version": document(&r, "")}))) })
        .get("/v3/version", version)
        .get("/v3/usages", on(desk, |desk, visit| async move { usages(&desk, visit).await }))
}

/// The version as OpenStack's clients look for it (spec 02 §12).
fn document(request: &Request, below: &str) -> Json {
    let scheme = if request.secure { "https" } else { "http" };
    let host = request.header("host").unwrap_or("localhost");
    let path = request.path.raw().trim_end_matches('/');
    json!({
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{scheme}://{host}{path}/{below}")}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    })
}

/// `GET /v3/usages`: how many there are of each kind, on the platform or in the caller's domain.
async fn usages(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let asked = match visit.request.query.text("scope").filter(|s| !s.is_empty()) {
        None => None,
        Some(word) => {
            Some(Scope::parse(word).ok_or_else(|| err!(InputParameter, "scope {} is unknown; use system, domain, project or user", word))?)
        }
    };
    // There are no figures of a project.
    let widest = desk.widest(&visit, "usages", "get", &[]);
    let scope = asked.unwrap_or(widest).max(Scope::Domain);
    desk.demand(&visit, scope, "usages", "get", &[])?;
    let domain = visit.ctx.caller.project_domain_id.as_str();
    let mut usage = serde_json::Map::new();
    let mut db = desk.state.db.read();
    for table in ["domains", "projects", "roles", "users", "groups", "policies"] {
        let alive = Cond::eq("deleted", false);
        let cond = match (scope, table) {
            (Scope::System, _) => alive,
            (Scope::Domain, "domains") => alive.and(Cond::eq("id", domain)),
            _ => alive.and(Cond::eq("domain_id", domain)),
        };
        usage.insert(table.to_string(), db.count(table, cond).await?.into());
    }
    Ok(Response::json(&json!({ "usage": usage })))
}
