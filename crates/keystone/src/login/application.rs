//! Login by an application credential (OpenStack's method `application_credential`): its own project, its own roles, its own bounds.

use super::{Proved, guard, who};
use crate::{passwords, state::State};
use api_identity::{AccessRule, ApplicationCredential, ApplicationCredentialMethod, PasswordUser, User};
use auth::Limits;
use base::{Error, Json, Resource, Result, Row, Value, err};
use std::{net::IpAddr, sync::Arc};
use store::{Cond, Read};

/// The word of the method, also in the tokens.
pub const METHOD: &str = "application_credential";

fn refused() -> Error {
    err!(Unauthorized, "the application credential or its secret is not valid")
}

pub(super) async fn prove(state: &State, asked: &ApplicationCredentialMethod, peer: Option<IpAddr>) -> Result<Proved> {
    let found = find(state, asked).await?;
    let name = if asked.id.is_empty() { &asked.name } else { &asked.id };
    let attempt = guard::Attempt::new(found.as_ref(), name, METHOD, peer);
    guard::admit(state, &attempt).await?;
    let hash = found.as_ref().map(|row| row.text("secret_hash"));
    if !super::acceptable(&asked.secret) || !passwords::compare_with(state, hash, &asked.secret).await?.is_right() {
        return Err(match guard::failed(state, &attempt).await? {
            wrong if wrong.class() == base::Class::WrongPassword => refused(),
            locked => locked,
        });
    }
    guard::succeeded(state, &attempt).await?;
    let row = found.ok_or_else(refused)?;
    let ends = match row.get("expires_at") {
        Value::Time(at) => Some(*at),
        _ => None,
    };
    if ends.is_some_and(|at| at <= state.clock.now()) {
        return Err(err!(Unauthorized, "the application credential has expired"));
    }
    let user = state.db.read().one(User::facts(), row.text("owner_id")).await?.filter(|u| !u.flag("deleted")).ok_or_else(refused)?;
    Ok(Proved {
        chain: vec![row.id().to_string()],
        until: ends,
        project: Some(row.text("project_id").to_string()),
        roles: Some(role_ids(&row)),
        limits: Some(Arc::new(limits(&row))),
        ..who::proved(user, METHOD)
    })
}

/// By id, or by name and user. The user of a wrong name looks like a wrong secret.
async fn find(state: &State, asked: &ApplicationCredentialMethod) -> Result<Option<Row>> {
    let alive = Cond::eq("deleted", false);
    let cond = match (&asked.id, &asked.name, &asked.user) {
        (id, ..) if !id.is_empty() => alive.and(Cond::eq("id", id.as_str())),
        (_, name, Some(user)) if !name.is_empty() => {
            let user = PasswordUser { password: Default::default(), ..user.clone() };
            let Some(owner) = who::find(state, &user).await? else { return Ok(None) };
            alive.and(Cond::eq("name", name.as_str())).and(Cond::eq("owner_id", owner.id()))
        }
        _ => return Err(err!(InputParameter, "auth.identity.{} is missing", "application_credential.id")),
    };
    Ok(state.db.read().find(ApplicationCredential::facts(), cond).await?.pop())
}

/// Ids of the roles a credential has.
pub fn role_ids(row: &Row) -> Vec<String> {
    match row.get("roles") {
        Value::Json(Json::Array(all)) => all.iter().filter_map(|r| r["id"].as_str().map(str::to_string)).collect(),
        _ => Vec::new(),
    }
}

/// The rules of a credential.
pub fn rules(row: &Row) -> Vec<AccessRule> {
    match row.get("access_rules") {
        Value::Json(json) => serde_json::from_value(json.clone()).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// What its tokens are kept from.
pub fn limits(row: &Row) -> Limits {
    let rules = rules(row).into_iter().map(|r| (r.service, r.method, r.path)).collect();
    Limits { restricted: !row.flag("unrestricted"), rules }
}
