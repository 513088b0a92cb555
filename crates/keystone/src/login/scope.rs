//! Where to: the scope of a token and the roles the user has there.

use super::{Proved, who};
use crate::{grants, state::State};
use api_identity::{ScopeProject, ScopeWish, domain::DEFAULT, project::SYSTEM};
use base::{Error, Result, Role, Row, err};
use resource::Owner;
use store::{Cond, Read};

/// A scope with the roles in it.
#[derive(Default)]
pub(super) struct Place {
    pub owner: Owner,
    pub is_domain: bool,
    pub roles: Vec<Role>,
}

/// The one answer to a project that does not exist, is disabled, or is none of the user's.
fn no_entry(name: &str) -> Error {
    err!(Unauthorized, "you have no role in {}, or it is disabled", name)
}

pub(super) async fn enter(state: &State, proved: &Proved, wish: Option<&ScopeWish>) -> Result<Place> {
    let user = &proved.user;
    if let Some(project) = &proved.project {
        let mut place = in_project(state, user, &ScopeProject { id: project.clone(), ..ScopeProject::default() }).await?;
        if let Some(only) = &proved.roles {
            place.roles.retain(|r| only.contains(&r.id));
            if place.roles.is_empty() {
                return Err(no_entry(&place.owner.project));
            }
        }
        return Ok(place);
    }
    match wish {
        None | Some(ScopeWish::Unscoped) => Ok(Place::default()),
        Some(ScopeWish::Project(project)) => in_project(state, user, project).await,
        Some(ScopeWish::System) => {
            let domain = api_identity::Which { id: DEFAULT.into(), name: String::new() };
            in_project(state, user, &ScopeProject { id: String::new(), name: SYSTEM.into(), domain }).await
        }
        Some(ScopeWish::Domain(which)) => {
            let name = if which.id.is_empty() { &which.name } else { &which.id };
            let id = who::domain(state, which).await?.ok_or_else(|| no_entry(name))?;
            if !state.directory.domain_enabled(&id) {
                return Err(no_entry(name));
            }
            let owner = state.directory.find_domain(&id).ok_or_else(|| no_entry(name))?;
            let roles = roles(state, user, &id).await?;
            if roles.is_empty() {
                return Err(no_entry(name));
            }
            Ok(Place { owner, is_domain: true, roles })
        }
    }
}

async fn in_project(state: &State, user: &Row, wish: &ScopeProject) -> Result<Place> {
    let name = if wish.id.is_empty() { &wish.name } else { &wish.id };
    let owner = find(state, user, wish).await?.ok_or_else(|| no_entry(name))?;
    if !state.directory.project_enabled(&owner.project_id) {
        return Err(no_entry(name));
    }
    let roles = roles(state, user, &owner.project_id).await?;
    if roles.is_empty() {
        return Err(no_entry(name));
    }
    Ok(Place { owner, is_domain: false, roles })
}

/// The project of a wish. A name without a domain must be the only one, or the only one in the user's own domain.
async fn find(state: &State, user: &Row, wish: &ScopeProject) -> Result<Option<Owner>> {
    let domain = if wish.domain.is_empty() {
        None
    } else {
        match who::domain(state, &wish.domain).await? {
            Some(id) => Some(id),
            None => return Ok(None),
        }
    };
    for again in [false, true] {
        if again {
            state.catch_up().await?;
        }
        if !wish.id.is_empty()
            && let Some(owner) = state.directory.find_project(&wish.id)
        {
            return Ok(Some(owner).filter(|o| domain.as_ref().is_none_or(|d| *d == o.domain_id)));
        }
        // Some clients send the name under the key of the id.
        let name = if wish.id.is_empty() { &wish.name } else { &wish.id };
        let mut named = state.directory.projects_named(name, domain.as_deref());
        if named.len() > 1 {
            named.retain(|o| o.domain_id == user.text("domain_id"));
            if named.len() != 1 {
                return Err(err!(Conflict, "several projects are named {}; name the domain as well", name));
            }
        }
        if let Some(owner) = named.pop() {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

/// The roles of a user in a project or domain, its groups' included, each once.
pub(super) async fn roles(state: &State, user: &Row, target: &str) -> Result<Vec<Role>> {
    let mut db = state.db.read();
    let held = grants::of_user(&mut db, user.id(), Some(target)).await?;
    let mut ids: Vec<&str> = held.iter().map(|a| a.role_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = db.find(<api_identity::Role as base::Resource>::facts(), Cond::is_in("id", ids).and(Cond::eq("deleted", false))).await?;
    let mut roles: Vec<Role> = rows.iter().map(|r| Role { id: r.id().to_string(), name: r.name().to_string() }).collect();
    crate::separation::demand_entry(state, user, &roles)?;
    roles.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.id.cmp(&b.id)));
    Ok(roles)
}
