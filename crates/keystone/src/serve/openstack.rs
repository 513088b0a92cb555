//! What OpenStack's clients ask about themselves and existing clients of this platform do not (spec 02 §12).

use super::{Desk, Visit, on};
use crate::grants;
use base::{Json, Scope, err};
use http::{Method, Reply, Request, Response, Router, StatusCode};
use resource::Params;
use serde_json::json;
use std::sync::Arc;
use store::{Cond, Select};

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router
        .get("/v3/auth/domains", on(desk, |desk, visit| async move { domains(&desk, visit).await }))
        .get("/v3/auth/system", on(desk, |desk, visit| async move { system(&desk, visit).await }))
        .any(&[Method::PUT], "/v3/regions/{region}", on(desk, |desk, visit| async move { region(&desk, visit).await }))
}

/// The parameters of a list, with what clients leave to the service. OpenStack's know neither scopes nor pages of a default size: they ask for
/// all one may see.
pub(super) fn params(request: &Request) -> Json {
    let mut params = request.query.json().clone();
    // Whoever names a user means that user's, and a credential's own breadth is the caller's.
    if request.method == Method::GET
        && let ([plural], Some(map)) = (request.tail(), params.as_object_mut())
        && plural == "credentials"
        && map.contains_key("user_id")
        && !map.contains_key("admin")
    {
        map.entry("scope").or_insert_with(|| "max".into());
    }
    let agent = request.header("user-agent").unwrap_or_default();
    let openstack = ["keystoneauth1", "keystoneclient", "gophercloud"].iter().any(|name| agent.contains(name));
    // Policies are another thing here than there: their list is what this platform's own clients see.
    let theirs = request.tail().first().is_some_and(|plural| plural != "policies");
    if openstack
        && theirs
        && request.method == Method::GET
        && let Some(map) = params.as_object_mut()
    {
        map.entry("scope").or_insert_with(|| "max".into());
        map.entry("limit").or_insert_with(|| "2048".into());
    }
    params
}

/// Domains the caller has a role in.
async fn domains(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let user = visit.ctx.caller.user_id.as_str();
    let actor = Cond::eq("actor_id", user).or(Cond::in_select("actor_id", grants::groups_of(user)));
    let kinds = Cond::is_in("type", [api_identity::USER_DOMAIN, api_identity::GROUP_DOMAIN]);
    let within = Select::from("assignments").column("target_id", base::Kind::Text).filter(actor.and(kinds));
    let params = Params(json!({"scope": "max", "details": "false"}));
    Ok(Response::json_bytes(desk.engine.list_within(&visit.ctx, "domains", &params, Cond::in_select("id", within)).await?.body))
}

/// Whether the caller may work for the whole platform.
async fn system(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let all = desk.allows(&visit, Scope::System, "domains", "list", &[]);
    let rows: Vec<Json> = all.then(|| json!({"all": true})).into_iter().collect();
    Ok(Response::json(&json!({"system": rows, "links": {"self": null, "next": null, "previous": null}})))
}

/// `PUT /v3/regions/{id}`: a region whose id the client chooses; of one that is there, its changed fields.
async fn region(desk: &Desk, mut visit: Visit) -> Reply {
    let id = visit.request.param("region").to_string();
    let body = super::object(&mut visit.request).await?;
    let wish = body.get("region").and_then(Json::as_object).cloned();
    let mut wish = wish.ok_or_else(|| err!(InputParameter, "the body must be an object with the key {}", "region"))?;
    let there = desk.engine.resolve(&visit.ctx, "region", &id).await.is_ok();
    let mut path = vec!["regions".to_string()];
    let method = if there {
        path.push(id);
        resource::Method::Put
    } else {
        wish.insert("id".into(), id.as_str().into());
        wish.entry("name").or_insert_with(|| id.into());
        resource::Method::Post
    };
    let answer = desk.engine.handle(&visit.ctx, method, &path, &Params(json!({})), Some(json!({ "region": wish }))).await?;
    desk.state.catch_up().await?;
    let status = if there { StatusCode::OK } else { StatusCode::CREATED };
    Ok(Response::json_bytes(answer.body).with_status(status))
}
