//! Quotas as existing clients set and read them (spec 10 §12.2), over the resource of that name.

use crate::Region;
use base::{Ctx, Json, Result, err};
use resource::{Map, Method, Params};
use serde_json::json;

const KEYS: [&str; 4] = ["count", "cpu", "memory", "storage"];
/// Counters of existing clients that nothing here is counted by; they may say that these are unlimited, and nothing else.
const UNCOUNTED: [&str; 2] = ["group", "isolated_device"];

impl Region {
    async fn ask(&self, ctx: &Ctx, method: Method, path: &[&str], body: Option<Json>) -> Result<Json> {
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        let answer = self.engine.handle(ctx, method, &path, &Params::default(), body).await?;
        serde_json::from_slice(&answer.body).map_err(base::Error::internal)
    }

    /// The quotas of a project, by id or name, as a list of at most one.
    pub async fn quotas_of(&self, ctx: &Ctx, project: &str) -> Result<Json> {
        self.quotas_at(ctx, &self.project_id(ctx, project)).await
    }

    async fn quotas_at(&self, ctx: &Ctx, id: &str) -> Result<Json> {
        match self.ask(ctx, Method::Get, &["quotas", id], None).await {
            Ok(found) => Ok(json!({"quotas": [found["quota"]]})),
            Err(e) if e.class().http() == 404 => Ok(json!({"quotas": []})),
            Err(e) => Err(e),
        }
    }

    /// The quotas of a domain, by id or name, as a list of at most one.
    pub async fn quotas_of_domain(&self, ctx: &Ctx, domain: &str) -> Result<Json> {
        self.quotas_at(ctx, &self.domain_id(domain)).await
    }

    fn domain_id(&self, which: &str) -> String {
        let owners = &self.engine.owners;
        let found = owners.domain(which).or_else(|| owners.domains_named(which).pop());
        found.map_or_else(|| which.to_string(), |o| o.domain_id)
    }

    fn project_id(&self, ctx: &Ctx, which: &str) -> String {
        match which {
            "" => ctx.caller.project_id.clone(),
            which => {
                let owners = &self.engine.owners;
                let found = owners.project(which).or_else(|| owners.projects_named(which, None).pop());
                found.map_or_else(|| which.to_string(), |o| o.project_id)
            }
        }
    }

    /// `{<keys>, <numbers>, "action": "update|replace|add|sub|reset|delete"}`; answers the quotas as they are then.
    pub async fn set_quotas(&self, ctx: &Ctx, project: &str, wanted: Map) -> Result<Json> {
        let named = resource::text(&wanted, &["project_id", "project", "tenant"]).unwrap_or_default();
        let project = self.project_id(ctx, if project.is_empty() { &named } else { project });
        self.set(ctx, &project, "project", wanted).await
    }

    /// [`Region::set_quotas`] of a domain.
    pub async fn set_quotas_of_domain(&self, ctx: &Ctx, domain: &str, wanted: Map) -> Result<Json> {
        self.set(ctx, &self.domain_id(domain), "for_domain", wanted).await
    }

    async fn set(&self, ctx: &Ctx, id: &str, whose: &str, wanted: Map) -> Result<Json> {
        for key in UNCOUNTED {
            if resource::int(&wanted, key)?.is_some_and(|n| n >= 0) {
                return Err(err!(InputParameter, "{}: this platform has no limit of that name; known are {}", key, KEYS.join(", ")));
            }
        }
        let now = self.quotas_at(ctx, id).await?["quotas"][0].clone();
        let action = resource::text(&wanted, &["action"]).unwrap_or_else(|| "update".into());
        let mut limits = Map::new();
        for key in KEYS {
            let Some(n) = resource::int(&wanted, key)? else { continue };
            let had = now[key].as_i64().unwrap_or(-1);
            let n = match action.as_str() {
                "update" | "replace" => n,
                // What is unlimited stays so.
                "add" | "sub" if had < 0 => had,
                "add" => had.saturating_add(n),
                "sub" => had.saturating_sub(n).max(0),
                _ => continue,
            };
            limits.insert(key.into(), n.into());
        }
        match action.as_str() {
            "update" | "replace" | "add" | "sub" if now.is_null() => {
                limits.insert(whose.into(), id.into());
                self.ask(ctx, Method::Post, &["quotas"], Some(json!({ "quota": limits }))).await?;
            }
            "update" | "replace" | "add" | "sub" => {
                self.ask(ctx, Method::Put, &["quotas", id], Some(json!({ "quota": limits }))).await?;
            }
            "reset" | "delete" if now.is_null() => {}
            "reset" | "delete" => {
                self.ask(ctx, Method::Delete, &["quotas", id], None).await?;
            }
            other => return Err(err!(InputParameter, "action: {} is not one of {}", other, "update, replace, add, sub, reset, delete")),
        }
        self.quotas_at(ctx, id).await
    }
}
