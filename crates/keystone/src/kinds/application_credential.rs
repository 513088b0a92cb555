//! Application credentials: made by their owner, in the project of the token, with no more roles than the token has.

use crate::{passwords, revoke, state::State};
use api_identity::{AccessRule, ApplicationCredential, Secret};
use base::{Json, Kind as Cell, Result, Role, Row, Timestamp, Value, err};
use resource::{BoxFuture, Deleted, Extra, Hooks, Kind, Map, Op, Page, Removal, flag};
use std::sync::Arc;
use store::Tx;

struct ApplicationCredentialHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<ApplicationCredential, _>(&Arc::new(ApplicationCredentialHooks { state: state.clone() })).extras(EXTRAS).done()
}

const EXTRAS: &[Extra] = &[Extra::create("secret", Cell::Text, "Secret; left out: a good one is made, and answered this once.").secret()];

/// Rules travel in every token: more bytes of them do not fit.
const MAX_RULES: usize = 800;
/// Shortest secret somebody may choose himself, characters.
const MIN_SECRET: usize = 16;

impl Hooks for ApplicationCredentialHooks {
    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let caller = &op.ctx.caller;
            if caller.project_id.is_empty() {
                return Err(err!(InvalidStatus, "log in to a project first: an application credential works in the project it is made in"));
            }
            row.set("project_id", caller.project_id.as_str());
            row.set("roles", roles(&self.state, body, &caller.roles)?);
            row.set("access_rules", rules(body)?);
            row.set("unrestricted", flag(body, "unrestricted")?.unwrap_or(false));
            if matches!(row.get("expires_at"), Value::Time(at) if *at <= self.state.clock.now() || *at == Timestamp::ZERO) {
                return Err(err!(InputParameter, "{}: the time is past", "expires_at"));
            }
            let secret = Secret::new(resource::text(body, &["secret"]).unwrap_or_default());
            if secret.expose().chars().count() < MIN_SECRET || secret.expose().len() > auth::password::MAX_LEN {
                return Err(err!(WeakPassword, "the secret needs {} to {} characters", MIN_SECRET, auth::password::MAX_LEN));
            }
            row.set("secret_hash", passwords::rehash(&self.state, &secret).await?);
            Ok(())
        })
    }

    fn update<'a>(&'a self, _op: &'a Op<'a>, _old: &'a Row, _body: &'a mut Map, _row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(err!(UnsupportedOperation, "an application credential cannot be changed; make a new one")) })
    }

    fn delete<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, _how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            revoke::access_key(tx, row.id()).await?;
            row.set("secret_hash", "");
            Ok(Deleted::Now)
        })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for i in 0..page.rows.len() {
                let owner = page.rows[i].text("owner_id").to_string();
                page.add(i, "user_id", owner);
                page.add(i, "system", Json::Null);
            }
            Ok(())
        })
    }
}

/// The wanted roles with their names: all of the token's when none are named.
fn roles(state: &State, body: &Map, held: &[Role]) -> Result<Json> {
    let mut wanted: Vec<&Role> = Vec::new();
    match body.get("roles") {
        None | Some(Json::Null) => wanted.extend(held),
        Some(Json::Array(items)) if items.is_empty() => wanted.extend(held),
        Some(Json::Array(items)) => {
            for item in items {
                let text = |key: &str| item.get(key).and_then(Json::as_str).or_else(|| item.as_str());
                let is = |role: &&Role| {
                    text("id").is_some_and(|id| id == role.id)
                        || text("name").is_some_and(|name| name == state.directory.role_name(&role.id))
                };
                let Some(role) = held.iter().find(is) else {
                    return Err(err!(Forbidden, "your token does not have the role {}", text("name").or(text("id")).unwrap_or_default()));
                };
                if !wanted.iter().any(|w| w.id == role.id) {
                    wanted.push(role);
                }
            }
        }
        Some(other) => return Err(err!(InputParameter, "{}: expected {}, got {}", "roles", "a list of objects", other)),
    }
    let told = |role: &&Role| serde_json::json!({"id": role.id, "name": state.directory.role_name(&role.id), "domain_id": state.directory.role_domain(&role.id)});
    Ok(Json::Array(wanted.iter().map(told).collect()))
}

/// The rules, each with an id.
fn rules(body: &Map) -> Result<Json> {
    let items = match body.get("access_rules") {
        None | Some(Json::Null) => return Ok(Json::Null),
        Some(Json::Array(items)) if items.is_empty() => return Ok(Json::Null),
        Some(Json::Array(items)) => items,
        Some(other) => return Err(err!(InputParameter, "{}: expected {}, got {}", "access_rules", "a list of objects", other)),
    };
    let mut out = Vec::new();
    for item in items {
        let mut rule: AccessRule = serde_json::from_value(item.clone())
            .map_err(|e| err!(InputParameter, "an access rule needs service, method and path, all texts").with_context(e))?;
        rule.method = rule.method.to_ascii_uppercase();
        if !matches!(rule.method.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE") {
            return Err(err!(InputParameter, "{}: {} is none of {}", "method", rule.method, "GET, HEAD, POST, PUT, PATCH, DELETE"));
        }
        if !rule.path.starts_with('/') || rule.service.is_empty() {
            return Err(err!(InputParameter, "an access rule needs service, method and path, all texts"));
        }
        rule.id = base::hex_id();
        out.push(rule);
    }
    let bytes: usize = out.iter().map(|r| r.service.len() + r.method.len() + r.path.len() + 12).sum();
    if bytes > MAX_RULES {
        return Err(err!(
            OutOfLimit,
            "the access rules take {} bytes in every token, more than {}; use * and ** in paths",
            bytes,
            MAX_RULES
        ));
    }
    serde_json::to_value(out).map_err(base::Error::internal)
}
