//! What a console may show (spec 03 §3.3): it asks about a thousand rights at once and hides what is refused. The services decide again.

use super::object;
use crate::{Gateway, catalog::TABLE, door::Visit};
use auth::{Policy, PolicySet};
use base::{Error, Json, Scope, err};
use http::{Method, Reply, Request, Response};
use resource::Ask;
use serde_json::{Map, json};
use std::{collections::BTreeMap, sync::Arc};

/// Questions of one request.
const MOST: usize = 10_000;

/// `{key: [scope, service, resource, action, extra…]}` is answered `{key: [service, resource, action, extra…, "allow" or "deny"]}`. With
/// `?policy=` a policy's own answer follows.
pub async fn permissions(gateway: &Gateway, request: Request) -> Reply {
    let mut visit = gateway.enter(request).await?;
    let questions = object(&mut visit.request).await?;
    if questions.len() > MOST {
        return Err(err!(InputParameter, "ask for at most {} permissions at once", MOST));
    }
    let policy = match visit.request.query.text("policy").filter(|p| !p.is_empty()) {
        Some(id) => Some(read(gateway, &visit, id).await?),
        None => None,
    };
    let mut out = Map::new();
    for (key, question) in &questions {
        let words: Vec<&str> = question.as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        let [scope, service, resource, action, extra @ ..] = &words[..] else {
            return Err(err!(InputParameter, "{}: a permission has scope, service, resource and action", key));
        };
        let scope = Scope::parse(scope).unwrap_or(Scope::Project);
        // Services are named by type in the catalogue and by word in policies.
        let known = service.strip_suffix("_v2").unwrap_or(service);
        let ask = Ask { service: known, resource, action, extra };
        let allowed = gateway.gate.allows(&visit.ctx.caller, visit.ctx.peer, &ask, scope)
            || gateway.gate.conditional(&visit.ctx.caller, visit.ctx.peer, &ask).iter().any(|c| c.scope >= scope);
        let word = |allowed: bool| Json::from(if allowed { "allow" } else { "deny" });
        let mut answer: Vec<Json> = words[1..].iter().map(|w| Json::from(*w)).collect();
        answer.push(word(allowed));
        if let Some(policy) = &policy {
            answer.push(word(policy.allows_plain(scope, known, resource, action, extra)));
        }
        out.insert(key.clone(), Json::Array(answer));
    }
    Ok(Response::json(&Json::Object(out)))
}

/// A policy the caller may look at, as the only one.
async fn read(gateway: &Gateway, visit: &Visit, id: &str) -> base::Result<PolicySet> {
    let call = gateway.services.identity(Method::GET, &format!("/policies/{}", http::path::encode(id))).ctx(&visit.ctx);
    let answer = call.send().await?.json().await?;
    let row = &answer["policy"];
    let document = if row["policy"].is_null() { &row["blob"] } else { &row["policy"] };
    let policy = Policy::parse(row["name"].as_str().unwrap_or_default(), document)?;
    let scope = row["scope"].as_str().and_then(Scope::parse).ok_or_else(|| Error::internal("a policy without a scope"))?;
    Ok(PolicySet::new([(scope, Arc::new(policy))]))
}

/// Resources by whose they are: what a project's view leaves out.
pub async fn scoped(gateway: &Gateway, request: Request) -> Reply {
    gateway.enter(request).await?;
    Ok(Response::json(&json!({"system": of(Scope::System), "domain": of(Scope::Domain), "user": of(Scope::User)})))
}

pub async fn admin(gateway: &Gateway, request: Request) -> Reply {
    gateway.enter(request).await?;
    Ok(Response::json(&json!(of(Scope::System))))
}

fn of(level: Scope) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for module in TABLE.all().iter().filter(|m| m.level == level) {
        out.entry(&module.service).or_default().push(&module.plural);
    }
    out
}
