//! `GET /v3/role_assignments` (spec 02 §5.2).

use super::{Desk, Visit, on};
use crate::{grants, state::State};
use api_identity::{
    Assigned, AssignedScope, Assignment, GROUP_DOMAIN, GROUP_PROJECT, Group, Named, ProjectRef, Role as RoleRow, USER_DOMAIN, User,
};
use base::{Caller, Error, Json, Kind, Resource, Result, Role, Scope};
use http::{Query, Reply, Response, Router};
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use store::{Cond, Order, Read, Select};

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router.get("/v3/role_assignments", on(desk, |desk, visit| async move { list(&desk, visit).await }))
}

/// Rows looked at, at most: a question for more wants a filter.
const MOST: u64 = 100_000;

async fn list(desk: &Desk, visit: Visit) -> Reply {
    visit.who.required()?;
    let query = &visit.request.query;
    let state = &desk.state;
    let effective = query.has("effective");
    let mut cond = visible(desk, &visit)?;
    let user = ids(state, query, &["user.id", "users"], "users").await?;
    cond = cond.and(actors(state, query, user.as_deref(), effective).await?);
    for (keys, table, column) in [
        (&["role.id", "roles"][..], "roles", "role_id"),
        (&["scope.project.id", "projects"], "projects", "target_id"),
        (&["scope.domain.id", "domains"], "domains", "target_id"),
    ] {
        if let Some(ids) = ids(state, query, keys, table).await? {
            cond = cond.and(Cond::is_in(column, ids.iter().map(String::as_str)));
        }
    }
    if let Some(domains) = ids(state, query, &["project_domain_id"], "domains").await? {
        let projects =
            Select::from("projects").column("id", Kind::Text).filter(Cond::is_in("domain_id", domains.iter().map(String::as_str)));
        cond = cond.and(Cond::in_select("target_id", projects));
    }
    let mut db = state.db.read();
    let found = db.page(Assignment::facts(), cond, vec![Order::asc("id")], MOST, 0).await?;
    let mut rows: Vec<Assignment> = found.iter().map(Assignment::from_row).collect();
    if effective {
        rows = spread(state, rows, user.as_deref()).await?;
    }
    if !query.has("include_system") {
        let system: BTreeSet<String> = db.texts("users", "id", Cond::eq("is_system_account", true)).await?.into_iter().collect();
        rows.retain(|a| !system.contains(&a.actor_id));
    }
    let total = rows.len();
    let (limit, offset) = (query.int("limit")?.unwrap_or(0).max(0), query.int("offset")?.unwrap_or(0).max(0));
    let most = if limit > 0 { limit as usize } else { usize::MAX };
    let page: Vec<Assignment> = rows.into_iter().skip(offset as usize).take(most).collect();
    let told = tell(state, &page, query.has("include_names"), query.has("include_policies")).await?;
    Ok(Response::json(&json!({"role_assignments": told, "total": total, "limit": limit, "offset": offset})))
}

/// What the caller may see: everything, its domain's projects, its project, itself.
pub(super) fn visible(desk: &Desk, visit: &Visit) -> Result<Cond> {
    let caller = &visit.ctx.caller;
    let set = desk.state.rules.of(caller, visit.ctx.peer);
    let own = Cond::eq("actor_id", caller.user_id.as_str()).or(Cond::in_select("actor_id", grants::groups_of(&caller.user_id)));
    Ok(match set.decide_plain(api_identity::SERVICE, "role_assignments", "list", &[]) {
        Some(Scope::System) => Cond::True,
        Some(Scope::Domain) if !caller.project_domain_id.is_empty() => {
            let projects =
                Select::from("projects").column("id", Kind::Text).filter(Cond::eq("domain_id", caller.project_domain_id.as_str()));
            Cond::in_select("target_id", projects).or(Cond::eq("target_id", caller.project_domain_id.as_str())).or(own)
        }
        Some(Scope::Project) if !caller.project_id.is_empty() => Cond::eq("target_id", caller.project_id.as_str()).or(own),
        Some(_) => own,
        None => {
            let ask = resource::Ask { service: api_identity::SERVICE, resource: "role_assignments", action: "list", extra: &[] };
            return Err(resource::denied(&visit.ctx, &ask, Scope::Project));
        }
    })
}

/// The ids behind parameters that hold ids or names; `None` when there is no such parameter.
async fn ids(state: &State, query: &Query, keys: &[&str], table: &'static str) -> Result<Option<Vec<String>>> {
    let wanted: Vec<String> = keys.iter().flat_map(|k| query.all(k)).filter(|v| !v.is_empty()).map(str::to_string).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let these = || wanted.iter().map(String::as_str);
    let cond = Cond::is_in("id", these()).or(Cond::is_in("name", these())).and(Cond::eq("deleted", false));
    state.db.read().texts(table, "id", cond).await.map(Some)
}

/// Whose assignments: of users, of groups, or of both; the groups of a user count where rows are spread over members.
async fn actors(state: &State, query: &Query, users: Option<&[String]>, effective: bool) -> Result<Cond> {
    let groups = ids(state, query, &["group.id", "groups"], "groups").await?;
    let mut any = Cond::False;
    if let Some(users) = users {
        any = any.or(Cond::is_in("actor_id", users.iter().map(String::as_str)));
        if effective {
            for user in users {
                any = any.or(Cond::in_select("actor_id", grants::groups_of(user)));
            }
        }
    }
    if let Some(groups) = &groups {
        any = any.or(Cond::is_in("actor_id", groups.iter().map(String::as_str)));
    }
    Ok(if users.is_none() && groups.is_none() { Cond::True } else { any })
}

/// Group rows become rows of their members.
async fn spread(state: &State, rows: Vec<Assignment>, only: Option<&[String]>) -> Result<Vec<Assignment>> {
    let groups: BTreeSet<&str> = rows.iter().filter(|a| is_group(a)).map(|a| a.actor_id.as_str()).collect();
    let select =
        Select::from("memberships").column("group_id", Kind::Text).column("user_id", Kind::Text).filter(Cond::is_in("group_id", groups));
    let mut members: HashMap<String, Vec<String>> = HashMap::new();
    for row in state.db.read().rows(&select).await? {
        members.entry(row[0].as_str().to_string()).or_default().push(row[1].as_str().to_string());
    }
    let wanted = |user: &str| only.is_none_or(|only| only.iter().any(|o| o == user));
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for a in rows {
        let users = if is_group(&a) { members.get(&a.actor_id).cloned().unwrap_or_default() } else { vec![a.actor_id.clone()] };
        let kind = if a.r#type == GROUP_DOMAIN || a.r#type == USER_DOMAIN { USER_DOMAIN } else { api_identity::USER_PROJECT };
        for user in users.into_iter().filter(|u| wanted(u)) {
            if seen.insert((user.clone(), a.target_id.clone(), a.role_id.clone())) {
                out.push(Assignment { actor_id: user, r#type: kind.to_string(), ..a.clone() });
            }
        }
    }
    Ok(out)
}

fn is_group(a: &Assignment) -> bool {
    a.r#type == GROUP_PROJECT || a.r#type == GROUP_DOMAIN
}

/// A page of rows in the wire's form, with names in three queries.
async fn tell(state: &State, page: &[Assignment], names: bool, policies: bool) -> Result<Json> {
    let actors: BTreeSet<&str> = page.iter().map(|a| a.actor_id.as_str()).collect();
    let roles: BTreeSet<&str> = page.iter().map(|a| a.role_id.as_str()).collect();
    let mut known: HashMap<String, ProjectRef> = HashMap::new();
    if names {
        let mut db = state.db.read();
        for (facts, ids) in [(User::facts(), &actors), (Group::facts(), &actors), (RoleRow::facts(), &roles)] {
            for row in db.find(facts, Cond::is_in("id", ids.iter().copied())).await? {
                let domain = row.text("domain_id").to_string();
                let domain = Named { name: state.directory.domain_name(&domain), id: domain };
                known.insert(row.id().to_string(), ProjectRef { domain, id: row.id().to_string(), name: row.name().to_string() });
            }
        }
    }
    let named = |id: &str| known.get(id).cloned().unwrap_or_else(|| ProjectRef { id: id.to_string(), ..ProjectRef::default() });
    let mut out = Vec::with_capacity(page.len());
    for a in page {
        let domain = a.r#type == USER_DOMAIN || a.r#type == GROUP_DOMAIN;
        let scope = if domain {
            AssignedScope {
                project: None,
                domain: Some(Named { name: state.directory.domain_name(&a.target_id), id: a.target_id.clone() }),
            }
        } else {
            let owner = state.directory.find_project(&a.target_id).unwrap_or_default();
            let domain = Named { id: owner.domain_id, name: owner.domain };
            AssignedScope { project: Some(ProjectRef { domain, id: a.target_id.clone(), name: owner.project }), domain: None }
        };
        let held = policies.then(|| {
            let role = Role { id: a.role_id.clone(), name: String::new() };
            let project = if domain { String::new() } else { a.target_id.clone() };
            state.rules.names(&Caller { user_id: a.actor_id.clone(), project_id: project, roles: vec![role], ..Caller::default() }, None)
        });
        let (user, group) = if is_group(a) { (None, Some(named(&a.actor_id))) } else { (Some(named(&a.actor_id)), None) };
        let mut row =
            serde_json::to_value(Assigned { policies: held, role: named(&a.role_id), scope, user, group }).map_err(Error::internal)?;
        if !names {
            bare(&mut row);
        }
        out.push(row);
    }
    Ok(Json::Array(out))
}

/// Without names there are only identifiers.
fn bare(row: &mut Json) {
    let Some(map) = row.as_object_mut() else { return };
    let strip = |value: &mut Json| {
        if let Some(map) = value.as_object_mut() {
            map.retain(|key, _| key == "id");
        }
    };
    for key in ["user", "group", "role"] {
        if let Some(value) = map.get_mut(key) {
            strip(value);
        }
    }
    if let Some(scope) = map.get_mut("scope").and_then(Json::as_object_mut) {
        scope.values_mut().for_each(strip);
    }
}
