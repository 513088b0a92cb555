//! One synchronisation: asks the directory for everything, plans, guards, writes. One replica at a time does it for a provider, under a lease.
//!
//! Whatever fails before the writing leaves everything as it was: a directory that does not answer, or answers half, removes nobody.

use super::entries::{self, Snapshot};
use super::plan::{Known, Plan, Present, Source, plan};
use super::report::{Report, Skip};
use super::{DOMAIN, GROUP, USER, apply, config, login, public_id, wire::Directory};
use crate::{grants, state::State};
use api_identity::{Assignment, Domain, Group, IdentityLink, IdentityProvider, Project, Role, User, domain::DEFAULT};
use base::meta::{DomainOwned, Enabled, Standalone};
use base::{Ctx, Error, Facts, Json, Kind, Resource, Result, Row, Timestamp, Value, err};
use resource::audit;
use std::{collections::HashMap, sync::Arc, time::Duration};
use store::{ChangeOp, Cond, Lease, Read, Select, add, set, work};

/// How it is to be done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// Only tell what would change.
    pub dry_run: bool,
    /// Go on although more than half is gone.
    pub force: bool,
    /// Only when the interval is over.
    pub if_due: bool,
}

/// Longer than one transaction or one search can take; renewed between them.
const TERM: Duration = Duration::from_secs(900);

/// Synchronises a provider. `None` when another replica is at it or has just been, and [`Wish::if_due`] was said.
pub async fn run(state: Arc<State>, ctx: Ctx, id: String, wish: Wish) -> Result<Option<Report>> {
    // A task of its own: it ends well when its caller is gone, and what a directory sends takes nobody else down.
    tokio::spawn(async move { alone(&state, &ctx, &id, wish).await }).await.map_err(Error::internal)?
}

/// Synchronises all providers whose time has come; answers how many.
pub async fn due(state: &Arc<State>) -> Result<usize> {
    let cond = Cond::eq("driver", "ldap").and(Cond::eq("deleted", false)).and(Cond::eq("enabled", true));
    let mut done = 0;
    for row in state.db.read().find(IdentityProvider::facts(), cond).await?.iter().filter(|row| is_due(state, row)) {
        let wish = Wish { if_due: true, ..Wish::default() };
        match run(state.clone(), Ctx::platform("identity-sync"), row.id().to_string(), wish).await {
            Ok(report) => done += usize::from(report.is_some()),
            Err(e) => {
                tracing::warn!(provider = row.name(), error = %e, cause = e.context(), "users of a directory could not be brought over")
            }
        }
    }
    Ok(done)
}

fn is_due(state: &State, row: &Row) -> bool {
    match row.get("last_sync") {
        Value::Time(at) => at.plus_secs(row.int("sync_interval_seconds")) <= state.clock.now(),
        _ => true,
    }
}

async fn alone(state: &State, ctx: &Ctx, id: &str, wish: Wish) -> Result<Option<Report>> {
    if wish.dry_run {
        let row = provider(state, id).await?;
        let (plan, config) = prepare(state, &row).await?;
        let mut report = Report { dry_run: true, ..plan.report };
        // Of groups that are here already; those to come are mapped once they are.
        map(state, ctx, &row, &config, &mut report, false).await?;
        return Ok(Some(report));
    }
    let name = format!("identity-provider-{id}");
    let Some(lease) = state.db.leases().acquire(&name, &base::hex_id(), TERM).await? else {
        if wish.if_due {
            return Ok(None);
        }
        return Err(err!(ResourceBusy, "the identity provider {} is being synchronised already; wait until it is done", id));
    };
    // Read again under the lease: another replica may just have finished.
    let outcome = match provider(state, id).await {
        Ok(row) if wish.if_due && !is_due(state, &row) => Ok(None),
        Ok(row) => under_lease(state, ctx, &row, wish, &lease).await.map(Some),
        Err(e) => Err(e),
    };
    state.db.leases().release(lease).await?;
    outcome
}

async fn provider(state: &State, id: &str) -> Result<Row> {
    let row = state.db.read().one(IdentityProvider::facts(), id).await?.filter(|r| !r.flag("deleted"));
    let row = row.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "identity_provider", id))?;
    if row.text("driver") != "ldap" {
        return Err(err!(UnsupportedOperation, "the identity provider {} is no directory; there is nothing to synchronise", row.name()));
    }
    if !row.flag("enabled") {
        return Err(err!(InvalidStatus, "the identity provider {} is disabled; enable it first", row.name()));
    }
    Ok(row)
}

async fn under_lease(state: &State, ctx: &Ctx, row: &Row, wish: Wish, lease: &Lease) -> Result<Report> {
    let begun = state.clock.now();
    note(state, row.id(), vec![set("sync_status", "syncing"), set("last_sync", begun)]).await?;
    let outcome = bring_over(state, ctx, row, wish, lease).await;
    let ended: Timestamp = state.clock.now();
    let mut sets = vec![set("sync_status", "idle"), set("last_sync_end_at", ended)];
    match &outcome {
        Ok(report) => {
            let told = serde_json::to_value(report).map_err(Error::internal)?;
            sets.extend([set("status", "connected"), set("error_count", 0), set("last_error", ""), set("sync_result", told)]);
            tracing::info!(provider = row.name(), changes = report.changes(), millis = ended.since(begun) / 1000, "directory synchronised");
        }
        Err(e) => {
            let reached = matches!(e.class(), base::Class::NotAcceptable);
            sets.extend([set("status", if reached { "connected" } else { "disconnected" }), add("error_count", 1)]);
            sets.push(set("last_error", e.to_string()));
        }
    }
    note(state, row.id(), sets).await?;
    outcome
}

/// Writes how it stands; no change of the provider in the sense of the feed.
async fn note(state: &State, id: &str, sets: store::Sets) -> Result<()> {
    state
        .db
        .tx(|tx| {
            let sets = sets.clone();
            work(async move { tx.update("identity_providers", Cond::eq("id", id), sets).await.map(drop) })
        })
        .await
}

async fn bring_over(state: &State, ctx: &Ctx, row: &Row, wish: Wish, lease: &Lease) -> Result<Report> {
    let (plan, config) = prepare(state, row).await?;
    if let (Some((what, gone, had)), false) = (plan.implausible(), wish.force) {
        return Err(err!(
            NotAcceptable,
            "{} of {} {} are gone from the directory {}; nothing was changed. If that is right, synchronise once with force",
            gone,
            had,
            what,
            row.name()
        ));
    }
    apply::all(&state.db, ctx, lease, TERM, &plan.steps).await?;
    state.catch_up().await?;
    let mut report = plan.report;
    map(state, ctx, row, &config, &mut report, true).await?;
    state.catch_up().await?;
    Ok(report)
}

/// Asks the directory and the database, and plans.
async fn prepare(state: &State, row: &Row) -> Result<(Plan, config::Ldap)> {
    let config = login::config_of(state, row)?;
    let mut directory = Directory::enter(&config).await?;
    let snapshot = entries::read(&config, row.text("template"), &mut directory).await?;
    directory.leave().await;
    let domain = row.text("target_domain_id");
    let source = Source { id: row.id(), name: row.name(), domain, config: &config, language: &state.config.default_user_language };
    let present = present(state, row, &snapshot).await?;
    Ok((plan(&source, &snapshot, &present), config))
}

/// The ids of rows a provider's links speak of.
fn linked(provider: &str, entity: &str) -> Select {
    let cond = Cond::eq("identity_provider_id", provider).and(Cond::eq("entity", entity));
    Select::from("identity_links").column("object_id", Kind::Text).filter(cond)
}

async fn known(state: &State, provider: &str, entity: &str, facts: &'static Facts) -> Result<HashMap<String, Known>> {
    let mut db = state.db.read();
    let links = db.list::<IdentityLink>(Cond::eq("identity_provider_id", provider).and(Cond::eq("entity", entity))).await?;
    let rows = db.find(facts, Cond::in_select("id", linked(provider, entity))).await?;
    let mut rows: HashMap<String, Row> = rows.into_iter().map(|r| (r.id().to_string(), r)).collect();
    Ok(links.into_iter().map(|link| (link.id.clone(), Known { row: rows.remove(&link.object_id), link })).collect())
}

async fn present(state: &State, row: &Row, snapshot: &Snapshot) -> Result<Present> {
    let id = row.id();
    let mut out = Present {
        users: known(state, id, USER, User::facts()).await?,
        groups: known(state, id, GROUP, Group::facts()).await?,
        domains: known(state, id, DOMAIN, Domain::facts()).await?,
        ..Present::default()
    };
    let mut db = state.db.read();
    let ours = Cond::in_select("group_id", linked(id, GROUP)).and(Cond::in_select("user_id", linked(id, USER)));
    let members = Select::from("memberships").column("group_id", Kind::Text).column("user_id", Kind::Text).filter(ours);
    for pair in db.rows(&members).await? {
        out.members.entry(pair[0].as_str().to_string()).or_default().insert(pair[1].as_str().to_string());
    }
    let homes: Vec<String> = match &snapshot.realms {
        None => vec![row.text("target_domain_id").to_string()],
        Some(realms) => realms.iter().map(|r| public_id(id, DOMAIN, &r.local_id)).collect(),
    };
    let living = || Cond::eq("deleted", false);
    for (table, names) in [("users", &mut out.user_names), ("groups", &mut out.group_names)] {
        let q = ["domain_id", "name", "id"].iter().fold(Select::from(table), |q, c| q.column(*c, Kind::Text));
        for row in db.rows(&q.filter(living().and(Cond::is_in("domain_id", homes.iter().map(String::as_str))))).await? {
            names.insert((row[0].as_str().to_string(), row[1].as_str().to_string()), row[2].as_str().to_string());
        }
    }
    if snapshot.realms.is_some() {
        let q = Select::from("domains").column("name", Kind::Text).column("id", Kind::Text).filter(living());
        let rows = db.rows(&q).await?;
        out.domain_names = rows.iter().map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string())).collect();
    }
    Ok(out)
}

/// Gives groups the roles that the mapping says. What it no longer says stays, until an administrator takes it away.
async fn map(state: &State, ctx: &Ctx, row: &Row, config: &config::Ldap, report: &mut Report, give: bool) -> Result<()> {
    let living = |name: &str| Cond::eq("name", name).and(Cond::eq("deleted", false));
    let mut db = state.db.read();
    for line in &config.group_projects {
        let told = format!("{}: {} in {}", line.group, line.role, line.project);
        let mut missing = |reason: &str| report.unmapped.push(Skip { name: told.clone(), reason: reason.to_string() });
        let found = db.find(Group::facts(), living(&line.group).and(Cond::in_select("id", linked(row.id(), GROUP)))).await?;
        let [group] = found.as_slice() else {
            missing(if found.is_empty() { "no group of the directory has this name" } else { "several groups have this name" });
            continue;
        };
        let domain = group.text("domain_id");
        let roles = db.find(Role::facts(), living(&line.role).and(Cond::is_in("domain_id", [domain, DEFAULT]))).await?;
        let Some(role) = roles.iter().find(|r| r.text("domain_id") == domain).or(roles.first()) else {
            missing("no role has this name");
            continue;
        };
        let project = db.find(Project::facts(), living(&line.project).and(Cond::eq("domain_id", domain))).await?.pop();
        let make = project.is_none();
        if make && !row.flag("auto_create_project") {
            missing("the group's domain has no project of this name; make it, or set auto_create_project");
            continue;
        }
        let project = project.unwrap_or_else(|| new_project(row, &line.project, domain));
        let held = Assignment::id_of(group.id(), project.id(), role.id());
        if !make && db.one(Assignment::facts(), &held).await?.is_some() {
            continue;
        }
        report.grants.add(&told);
        if !give {
            continue;
        }
        let (project, limits) = (&project, state.config.limits());
        state
            .db
            .tx(|tx| {
                work(async move {
                    if make {
                        let mut row = project.clone();
                        row.set("created_at", tx.now());
                        row.set("updated_at", tx.now());
                        tx.insert(&row).await?;
                        audit(tx, ctx, &row, "create", String::new()).await?;
                        tx.emit(grants::change("project", row.id(), ChangeOp::Create, row.text("domain_id"))).await?;
                    }
                    grants::give(tx, ctx, limits, group, project, role).await.map(drop)
                })
            })
            .await?;
    }
    Ok(())
}

fn new_project(provider: &Row, name: &str, domain: &str) -> Row {
    let description = format!("For a group of the directory {}.", provider.name());
    let project = Project {
        meta: Standalone { id: base::hex_id(), name: name.to_string(), description, ..Standalone::default() },
        owned: DomainOwned { domain_id: domain.to_string(), domain_src: "local".into() },
        enabled: Enabled { enabled: true },
        parent_id: domain.to_string(),
        ..Project::default()
    };
    project.to_row()
}

/// The last result of a provider.
pub fn last(row: &Row) -> Json {
    row.get("sync_result").to_json()
}
