//! `image_quotas` (spec 01 §14): limits of the own project, of all projects, of domains.

use super::{Desk, params};
use crate::quota::{self, Key, RESOURCE, TYPES};
use base::{Ctx, Json, Result, Scope, err};
use http::{Reply, Request, Response};
use resource::{Map, Owner};
use serde_json::json;

pub async fn mine(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let domain = params(&request).text("scope").is_some_and(|s| s == "domain");
    let mut owner = Owner::of(&ctx.caller);
    if domain {
        (owner.project_id, owner.project) = (String::new(), String::new());
    }
    desk.demand(&ctx, RESOURCE, "get", reach(&ctx, &owner))?;
    answer(desk, &[owner]).await
}

pub async fn set_mine(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let owner = Owner::of(&ctx.caller);
    set(desk, request, &ctx, owner).await
}

/// `/image_quotas/projects`, `/image_quotas/domains`, or `/image_quotas/{project}`.
pub async fn owners(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let word = request.param("owners");
    if !matches!(word, "projects" | "domains") {
        let owner = project(desk, word).await?;
        desk.demand(&ctx, RESOURCE, "get", reach(&ctx, &owner))?;
        return answer(desk, &[owner]).await;
    }
    let only = params(&request).text("project_domain");
    let scope =
        if word == "projects" && only.as_deref() == Some(ctx.caller.project_domain_id.as_str()) { Scope::Domain } else { Scope::System };
    desk.demand(&ctx, RESOURCE, "list", scope)?;
    let mut found = Vec::new();
    for (domain_id, project_id) in quota::owners(&desk.glance.engine.db, word == "projects").await? {
        if only.as_ref().is_none_or(|d| *d == domain_id) {
            let known = if project_id.is_empty() {
                desk.glance.engine.owners.domain(&domain_id)
            } else {
                desk.glance.engine.owners.project(&project_id)
            };
            found.push(known.unwrap_or(Owner { domain_id, project_id, ..Owner::default() }));
        }
    }
    answer(desk, &found).await
}

/// `/image_quotas/projects/{p}`, `/image_quotas/domains/{d}`
pub async fn one(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let owner = named(desk, request.param("owners"), request.param("owner")).await?;
    desk.demand(&ctx, RESOURCE, "get", reach(&ctx, &owner))?;
    answer(desk, &[owner]).await
}

pub async fn set_one(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let owner = named(desk, request.param("owners"), request.param("owner")).await?;
    set(desk, request, &ctx, owner).await
}

pub async fn set_project(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let owner = project(desk, request.param("owner")).await?;
    set(desk, request, &ctx, owner).await
}

async fn set(desk: &Desk, mut request: Request, ctx: &Ctx, owner: Owner) -> Reply {
    // A project cannot raise its own limit: whoever sets one acts for the domain, or for the platform.
    let scope = if owner.project_id.is_empty() || owner.domain_id != ctx.caller.project_domain_id { Scope::System } else { Scope::Domain };
    desk.demand(ctx, RESOURCE, "update", scope)?;
    let body = match request.json().await? {
        Some(Json::Object(mut outer)) => match outer.remove(RESOURCE) {
            Some(Json::Object(inner)) => inner,
            _ => outer,
        },
        _ => Map::new(),
    };
    quota::apply(&desk.glance.engine.db, &owner.domain_id, &owner.project_id, &body, desk.glance.options.default_quota).await?;
    answer(desk, &[owner]).await
}

async fn answer(desk: &Desk, owners: &[Owner]) -> Reply {
    let (db, options) = (&desk.glance.engine.db, &desk.glance.options);
    let mut rows = Vec::new();
    for owner in owners {
        for kind in TYPES {
            let key = Key { domain_id: owner.domain_id.clone(), project_id: owner.project_id.clone(), kind };
            let limit = quota::limit(&mut &*db, &key, options.default_quota).await?;
            let mut row =
                json!({"domain_id": owner.domain_id, "domain": owner.domain, "project_domain": owner.domain, "type": kind, "image": limit});
            if !owner.project_id.is_empty() {
                for (name, value) in [
                    ("project_id", &owner.project_id),
                    ("tenant_id", &owner.project_id),
                    ("project", &owner.project),
                    ("tenant", &owner.project),
                ] {
                    row[name] = value.as_str().into();
                }
            }
            if options.check_quota {
                row["usage.image"] = quota::usage(db, &key).await?.into();
            }
            rows.push(row);
        }
    }
    Ok(Response::json(&json!({ RESOURCE: rows })))
}

fn reach(ctx: &Ctx, owner: &Owner) -> Scope {
    if !owner.project_id.is_empty() && owner.project_id == ctx.caller.project_id {
        Scope::Project
    } else if owner.domain_id == ctx.caller.project_domain_id {
        Scope::Domain
    } else {
        Scope::System
    }
}

async fn named(desk: &Desk, owners: &str, which: &str) -> Result<Owner> {
    match owners {
        "projects" => project(desk, which).await,
        "domains" => domain(desk, which).await,
        other => Err(err!(NotFound, "there is no {} here; use projects or domains", other)),
    }
}

async fn project(desk: &Desk, which: &str) -> Result<Owner> {
    let owners = &desk.glance.engine.owners;
    let find = || owners.project(which).or_else(|| owners.projects_named(which, None).pop());
    if let Some(owner) = find() {
        return Ok(owner);
    }
    owners.refresh().await?;
    find().ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "project", which))
}

async fn domain(desk: &Desk, which: &str) -> Result<Owner> {
    let owners = &desk.glance.engine.owners;
    let find = || owners.domain(which).or_else(|| owners.domains_named(which).pop());
    if let Some(owner) = find() {
        return Ok(owner);
    }
    owners.refresh().await?;
    find().ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "domain", which))
}
