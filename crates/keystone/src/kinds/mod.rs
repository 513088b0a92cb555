//! The resources of the service, one file each: what their facts cannot say.

mod application_credential;
mod credential;
mod domain;
mod endpoint;
mod group;
mod identity_provider;
mod policy;
mod project;
mod region;
mod role;
mod rolepolicy;
mod service;
mod user;

use crate::state::State;
use base::{Json, Result, Row};
use resource::{Extra, Kind, Map};
use std::{collections::HashMap, sync::Arc};
use store::{Cond, Db, Pick, Read, Select};

/// Whose it is to be, for kinds that a domain owns.
const DOMAIN: Extra = Extra::create("domain_id", base::Kind::Text, "Owning domain, by id or name; that of the token when left out.");

/// Every kind of the service.
pub fn kinds(state: &Arc<State>) -> Vec<Kind> {
    vec![
        domain::kind(state),
        project::kind(state),
        user::kind(state),
        group::kind(state),
        role::kind(state),
        policy::kind(state),
        rolepolicy::kind(state),
        service::kind(state),
        endpoint::kind(state),
        region::kind(),
        credential::kind(state),
        application_credential::kind(state),
        identity_provider::kind(state),
    ]
}

/// Rows of a table by the value of a column: one query for a whole page.
async fn counts(mut db: &Db, table: &'static str, column: &'static str, ids: &[String], cond: Cond) -> Result<HashMap<String, i64>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let select = Select::from(table)
        .column(column, base::Kind::Text)
        .pick(Pick::Count)
        .filter(Cond::is_in(column, ids.iter().map(String::as_str)).and(cond))
        .group_by(column);
    Ok(db.rows(&select).await?.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_int().unwrap_or(0))).collect())
}

/// Distinct values of `what` by the value of `column`, counted: how many users a project has, however many roles each holds.
async fn distinct(
    mut db: &Db,
    table: &'static str,
    column: &'static str,
    what: &'static str,
    ids: &[String],
    cond: Cond,
) -> Result<HashMap<String, i64>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mut select = Select::from(table)
        .column(column, base::Kind::Text)
        .column(what, base::Kind::Text)
        .filter(Cond::is_in(column, ids.iter().map(String::as_str)).and(cond));
    select.distinct = true;
    let mut out = HashMap::new();
    for row in db.rows(&select).await? {
        *out.entry(row[0].as_str().to_string()).or_default() += 1;
    }
    Ok(out)
}

fn count_of(counts: &HashMap<String, i64>, id: &str) -> i64 {
    counts.get(id).copied().unwrap_or(0)
}

/// What is made takes part unless its maker says otherwise.
fn enabled_unless_said(body: &Map, row: &mut Row) {
    if body.get("enabled").is_none_or(Json::is_null) {
        row.set("enabled", true);
    }
}

/// What other services keep for a project or domain, and when that was asked.
fn ext_resources(state: &State, page: &mut resource::Page, i: usize, holds: crate::counters::Numbers) {
    if let Some(at) = state.counters.at() {
        page.add(i, "ext_resource", Json::from_iter(holds.into_iter().map(|(k, n)| (k, Json::from(n)))));
        page.add(i, "ext_resources_last_update", at.to_string());
    }
}

/// The ids of a page.
fn ids(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|r| r.id().to_string()).collect()
}

/// Rows that live.
fn alive() -> Cond {
    Cond::eq("deleted", false)
}
