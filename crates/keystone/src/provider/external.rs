//! Somebody an external authority vouches for, let in: `{provider, subject, attributes}` becomes a user with groups, projects and roles
//! (spec 02 §10.2). Called by `sso` with what a driver has verified; decides nothing about signatures, and asks no authority anything.
//!
//! ```text
//! driver (oidc, oauth2, cas, saml) ─▶ External ─▶ mapping: Person ─▶ one transaction: user, groups, projects, roles ─▶ Proved
//! ```
//!
//! A subject is the same row for ever. Nobody is ever taken for an existing user because of a name or a mail address: an administrator links
//! them, or they stay strangers.

use super::mapping::{Mapping, Person};
use super::{DOMAIN, GROUP, USER, public_id};
use crate::{access, grants, login::Proved, revoke, state::State};
use api_identity::{Domain, Group, IdentityLink, IdentityProvider, Membership, Project, Role, User, domain::DEFAULT, project::SYSTEM};
use base::meta::{DomainOwned, Enabled, Standalone};
use base::{Class, Ctx, Json, Resource, Result, Row, err};
use resource::{Map, audit};
use ring::digest::{Context, SHA256};
use serde_json::json;
use std::collections::BTreeSet;
use store::{ChangeOp, Cond, Read, Tx, set, work};

/// What an authority said of somebody, verified by its driver.
#[derive(Clone, Debug, Default)]
pub struct External {
    /// Identifies the person at the authority and never changes: `sub`, a NameID. At most 255 bytes.
    pub subject: String,
    /// The authority's own number of the login, by which it may end it later (`sid`, `SessionIndex`); empty when it has none.
    pub session: String,
    /// Everything else it said: texts, or lists of texts.
    pub attributes: Map,
}

/// Why an attempt is tried again: somebody else made the same user, group or project at the same moment.
const TRIES: usize = 4;
/// Longest subject, bytes: that of OpenID Connect.
const LONGEST: usize = 255;
/// Groups, projects and roles of one login that are looked at.
const MOST: usize = 200;

/// Finds or makes the user, brings it into step with what was said, and answers who it is. `provider` is an enabled row of `identity_providers`.
///
/// # Errors
/// `UserNotFound` for a stranger when the provider makes no users; `Conflict` when the name is somebody else's.
pub async fn admit(state: &State, provider: &Row, mapping: &Mapping, method: &'static str, said: &External) -> Result<Proved> {
    let person = mapping.read(said)?;
    if person.subject.is_empty() || person.subject.len() > LONGEST {
        return Err(err!(InvalidCredential, "the identity provider {} does not say who logged in", provider.name()));
    }
    let mut tries = 1;
    let done = loop {
        let (person, mapping) = (&person, mapping);
        match state.db.tx(|tx| work(async move { step(state, tx, provider, mapping, person).await })).await {
            Err(e) if tries < TRIES && matches!(e.class(), Class::DuplicateName | Class::DuplicateId | Class::DuplicateResource) => {
                tries += 1
            }
            outcome => break outcome?,
        }
    };
    if done.changed {
        state.catch_up().await?;
    }
    let mut chain = vec![audit_id(provider.id(), "provider", ""), audit_id(provider.id(), "subject", &person.subject)];
    if !said.session.is_empty() {
        chain.push(audit_id(provider.id(), "session", &said.session));
    }
    tracing::info!(provider = provider.name(), user = done.user.name(), groups = ?done.groups, roles = ?done.roles, "let in by an identity provider");
    Ok(Proved {
        origin: chain,
        told: json!({"provider": provider.name(), "provider_id": provider.id(), "subject": person.subject, "groups": done.groups, "roles": done.roles}),
        ..crate::login::proved(done.user, method)
    })
}

/// Number in the chain of every token that a provider, a subject or a session of it vouches for: revoking it ends them all, wherever they are.
pub fn audit_id(provider: &str, what: &str, which: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut hash = Context::new(&SHA256);
    for part in [provider, what, which] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(&hash.finish().as_ref()[..12])
}

/// Ends every token that a provider vouched for.
pub async fn end_all(tx: &mut Tx, provider: &str) -> Result<()> {
    revoke::chain(tx, &audit_id(provider, "provider", ""), "").await
}

/// Ends the tokens of one login at a provider; of all logins of a subject when the provider names no session.
pub async fn end(tx: &mut Tx, provider: &str, subject: &str, session: &str) -> Result<()> {
    let which = if session.is_empty() { audit_id(provider, "subject", subject) } else { audit_id(provider, "session", session) };
    revoke::chain(tx, &which, "").await
}

/// What a login came to.
struct Done {
    user: Row,
    /// Whether anything was written that other parts of the service keep in memory.
    changed: bool,
    groups: Vec<String>,
    /// `role in project`, for the record.
    roles: Vec<String>,
}

async fn step(state: &State, tx: &mut Tx, provider: &Row, mapping: &Mapping, person: &Person) -> Result<Done> {
    let ctx = &Ctx::platform("identity-provider");
    let id = public_id(provider.id(), USER, &person.subject);
    let link = tx.get::<IdentityLink>(&id).await?;
    let object = link.as_ref().map_or(id.as_str(), |l| l.object_id.as_str()).to_string();
    let row = tx.one(User::facts(), &object).await?;
    let mut changed = false;
    // A user an administrator linked is his own: what the provider says of its name is not written over it.
    let own = object == id;
    let user = match row {
        Some(row) if !row.flag("deleted") => {
            if own {
                refresh(tx, ctx, row, person).await?
            } else {
                row
            }
        }
        old => {
            if !provider.flag("auto_create_user") || !own {
                return Err(stranger(provider, person));
            }
            changed = true;
            newcomer(state, tx, ctx, provider, person, &id, old).await?
        }
    };
    if link.is_none() {
        let link = new_link(provider, USER, &person.subject, user.id(), tx.now());
        tx.insert(&link.to_row()).await?;
    }
    let groups = enter_groups(state, tx, ctx, provider, mapping, person, &user, &mut changed).await?;
    let roles = give_roles(state, tx, ctx, provider, mapping, person, &user, &id, &mut changed).await?;
    Ok(Done { user, changed, groups, roles })
}

fn stranger(provider: &Row, person: &Person) -> base::Error {
    err!(
        UserNotFound,
        "{} is not known here: let an administrator link a user to {} (link-idp), or set auto_create_user of the identity provider {}",
        if person.name.is_empty() { &person.subject } else { &person.name },
        person.subject,
        provider.name()
    )
}

pub fn new_link(provider: &Row, entity: &str, local_id: &str, object: &str, now: base::Timestamp) -> IdentityLink {
    IdentityLink {
        id: public_id(provider.id(), entity, local_id),
        identity_provider_id: provider.id().to_string(),
        entity: entity.to_string(),
        local_id: local_id.to_string(),
        object_id: object.to_string(),
        enabled: true,
        extra: Json::Null,
        created_at: now,
    }
}

/// What the provider says of a user it made, where it says something new.
async fn refresh(tx: &mut Tx, ctx: &Ctx, old: Row, person: &Person) -> Result<Row> {
    let mut new = old.clone();
    for (column, value) in [("displayname", &person.displayname), ("email", &person.email), ("mobile", &person.mobile)] {
        if !value.is_empty() && old.text(column) != value {
            new.set(column, value.as_str());
        }
    }
    if new.values != old.values {
        tx.save(&old, &mut new).await?;
        access::record(tx, ctx, &new, "update").await?;
    }
    Ok(new)
}

async fn newcomer(state: &State, tx: &mut Tx, ctx: &Ctx, provider: &Row, person: &Person, id: &str, old: Option<Row>) -> Result<Row> {
    let domain = home(tx, ctx, provider, person).await?;
    let name = if person.name.is_empty() { &person.subject } else { &person.name };
    let taken = Cond::eq("name", name.as_str()).and(Cond::eq("domain_id", domain.as_str())).and(Cond::eq("deleted", false));
    if tx.exists("users", taken).await? {
        return Err(err!(
            Conflict,
            "the domain has another user named {}: let an administrator link it to {} of the identity provider {} (link-idp), or rename it",
            name,
            person.subject,
            provider.name()
        ));
    }
    let mut new = old.clone().unwrap_or_else(|| {
        let lang = state.config.default_user_language.clone();
        User { lang, allow_web_console: true, enabled: Enabled { enabled: true }, ..User::default() }.to_row()
    });
    for (column, value) in [
        ("id", id),
        ("name", name),
        ("domain_id", &domain),
        ("domain_src", "local"),
        ("displayname", &person.displayname),
        ("email", &person.email),
        ("mobile", &person.mobile),
    ] {
        new.set(column, value);
    }
    match &old {
        // Somebody deleted it, and the provider still vouches for it: the same row again, with nothing of what it held.
        Some(old) => {
            new.set("deleted", false);
            new.set("deleted_at", base::Value::Null);
            new.set("enabled", true);
            tx.save(old, &mut new).await?;
        }
        None => {
            new.set("created_at", tx.now());
            new.set("updated_at", tx.now());
            tx.insert(&new).await?;
        }
    }
    crate::quota::demand(state, tx, &new).await?;
    told_new(tx, ctx, &new).await?;
    Ok(new)
}

async fn told_new(tx: &mut Tx, ctx: &Ctx, row: &Row) -> Result<()> {
    audit(tx, ctx, row, "create", String::new()).await?;
    tx.emit(grants::change(row.facts.name, row.id(), ChangeOp::Create, row.text("domain_id"))).await
}

/// The domain a new user comes into: the provider's, or the one the provider names.
async fn home(tx: &mut Tx, ctx: &Ctx, provider: &Row, person: &Person) -> Result<String> {
    let target = provider.text("target_domain_id");
    if !target.is_empty() {
        return Ok(target.to_string());
    }
    let Some((local_id, name)) = &person.domain else {
        return Err(err!(
            NotAcceptable,
            "the identity provider {} names no domain for {}, and has no target_domain",
            provider.name(),
            person.subject
        ));
    };
    let id = public_id(provider.id(), DOMAIN, local_id);
    if tx.one(Domain::facts(), &id).await?.is_some_and(|d| !d.flag("deleted")) {
        return Ok(id);
    }
    let alive = Cond::eq("name", name.as_str()).and(Cond::eq("deleted", false));
    if tx.exists("domains", alive).await? {
        return Err(err!(
            DuplicateName,
            "a domain named {} exists already, and it is not of the identity provider {}",
            name,
            provider.name()
        ));
    }
    let now = tx.now();
    let description = format!("Users of the identity provider {}.", provider.name());
    let meta = Standalone { id: id.clone(), name: name.clone(), description, created_at: now, updated_at: now, ..Standalone::default() };
    let row = Domain { meta, enabled: Enabled { enabled: true }, ..Domain::default() }.to_row();
    tx.insert(&row).await?;
    tx.try_insert(&new_link(provider, DOMAIN, local_id, &id, now).to_row()).await?;
    audit(tx, ctx, &row, "create", String::new()).await?;
    tx.emit(grants::change("domain", &id, ChangeOp::Create, "")).await?;
    Ok(id)
}

fn owned(domain: &str) -> DomainOwned {
    DomainOwned { domain_id: domain.to_string(), domain_src: "local".into() }
}

/// Puts the user into the groups the provider says, makes those that are missing, and takes the user out of the provider's others.
#[allow(clippy::too_many_arguments, reason = "one step of one transaction")]
async fn enter_groups(
    state: &State,
    tx: &mut Tx,
    ctx: &Ctx,
    provider: &Row,
    mapping: &Mapping,
    person: &Person,
    user: &Row,
    changed: &mut bool,
) -> Result<Vec<String>> {
    if mapping.groups_attribute.is_empty() {
        return Ok(Vec::new());
    }
    let (limits, mut wanted, mut names) = (state.config.limits(), BTreeSet::new(), Vec::new());
    for name in person.groups.iter().take(MOST) {
        let id = public_id(provider.id(), GROUP, name);
        let group = match tx.one(Group::facts(), &id).await? {
            Some(row) if !row.flag("deleted") => row,
            old => match new_group(state, tx, ctx, provider, name, &id, user.text("domain_id"), old).await? {
                Some(row) => row,
                None => continue,
            },
        };
        *changed |= unless_refused(grants::enter(tx, ctx, limits, &group, user).await, provider, name)?.unwrap_or(false);
        wanted.insert(id);
        names.push(name.clone());
        for line in mapping.group_projects.iter().filter(|line| line.group == *name) {
            let domain = group.text("domain_id");
            let Some(project) = project(state, tx, ctx, provider, &line.project, domain, changed).await? else { continue };
            let Some(role) = role(tx, &line.role, domain).await? else { continue };
            *changed |= unless_refused(grants::give(tx, ctx, limits, &group, &project, &role).await, provider, name)?.unwrap_or(false);
        }
    }
    let ours = store::Select::from("identity_links")
        .column("object_id", base::Kind::Text)
        .filter(Cond::eq("identity_provider_id", provider.id()).and(Cond::eq("entity", GROUP)));
    let held = Cond::eq("user_id", user.id()).and(Cond::in_select("group_id", ours));
    for membership in tx.list::<Membership>(held).await? {
        if !wanted.contains(&membership.group_id)
            && let Some(group) = tx.one(Group::facts(), &membership.group_id).await?
        {
            *changed |= grants::leave(tx, ctx, &group, user).await?;
        }
    }
    Ok(names)
}

/// A rule of the platform that forbids one line of the mapping does not forbid the login.
fn unless_refused<T>(done: Result<T>, provider: &Row, what: &str) -> Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(e) if matches!(e.class(), Class::OutOfLimit | Class::Forbidden | Class::NotAcceptable | Class::Conflict) => {
            tracing::info!(provider = provider.name(), what, error = %e, "a line of the mapping is passed over");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

#[allow(clippy::too_many_arguments, reason = "one step of one transaction")]
async fn new_group(
    state: &State,
    tx: &mut Tx,
    ctx: &Ctx,
    provider: &Row,
    name: &str,
    id: &str,
    domain: &str,
    old: Option<Row>,
) -> Result<Option<Row>> {
    let taken = Cond::eq("name", name).and(Cond::eq("domain_id", domain)).and(Cond::eq("deleted", false));
    if tx.exists("groups", taken).await? {
        tracing::info!(provider = provider.name(), group = name, "a group of this name is not the provider's; it is left alone");
        return Ok(None);
    }
    let description = format!("A group of the identity provider {}.", provider.name());
    let mut new = match &old {
        Some(old) => old.clone(),
        None => Group { meta: Standalone { description, ..Standalone::default() }, ..Group::default() }.to_row(),
    };
    new.set("id", id);
    new.set("name", name);
    new.set("domain_id", domain);
    new.set("domain_src", "local");
    match &old {
        Some(old) => {
            new.set("deleted", false);
            new.set("deleted_at", base::Value::Null);
            tx.save(old, &mut new).await?;
        }
        None => {
            new.set("created_at", tx.now());
            new.set("updated_at", tx.now());
            tx.insert(&new).await?;
        }
    }
    crate::quota::demand(state, tx, &new).await?;
    tx.try_insert(&new_link(provider, GROUP, name, id, tx.now()).to_row()).await?;
    told_new(tx, ctx, &new).await?;
    Ok(Some(new))
}

/// A project by name in a domain; made when the provider makes projects. Never the platform's own: no authority elsewhere hands out that.
async fn project(
    state: &State,
    tx: &mut Tx,
    ctx: &Ctx,
    provider: &Row,
    name: &str,
    domain: &str,
    changed: &mut bool,
) -> Result<Option<Row>> {
    if name == SYSTEM && domain == DEFAULT {
        tracing::info!(provider = provider.name(), "the project system is not given by an attribute; name it as default_project_id");
        return Ok(None);
    }
    let alive = Cond::eq("name", name).and(Cond::eq("domain_id", domain)).and(Cond::eq("deleted", false));
    if let Some(row) = tx.find(Project::facts(), alive).await?.pop() {
        return Ok(Some(row));
    }
    if !provider.flag("auto_create_project") {
        tracing::info!(provider = provider.name(), project = name, "no project of this name; auto_create_project would make it");
        return Ok(None);
    }
    let now = tx.now();
    let description = format!("For users of the identity provider {}.", provider.name());
    let made = Project {
        meta: Standalone {
            id: base::hex_id(),
            name: name.to_string(),
            description,
            created_at: now,
            updated_at: now,
            ..Standalone::default()
        },
        owned: owned(domain),
        enabled: Enabled { enabled: true },
        parent_id: domain.to_string(),
        ..Project::default()
    };
    let row = made.to_row();
    tx.insert(&row).await?;
    crate::quota::demand(state, tx, &row).await?;
    told_new(tx, ctx, &row).await?;
    *changed = true;
    Ok(Some(row))
}

/// A role by name, of the domain itself first, then of the domain everybody shares.
async fn role(tx: &mut Tx, name: &str, domain: &str) -> Result<Option<Row>> {
    let cond = Cond::eq("name", name).and(Cond::eq("deleted", false)).and(Cond::is_in("domain_id", [domain, DEFAULT]));
    let roles = tx.find(Role::facts(), cond).await?;
    Ok(roles.iter().find(|r| r.text("domain_id") == domain).or(roles.first()).cloned())
}

/// Roles in projects by attribute, or the defaults. What the provider gave before and no longer says is taken back; the link remembers it.
#[allow(clippy::too_many_arguments, reason = "one step of one transaction")]
async fn give_roles(
    state: &State,
    tx: &mut Tx,
    ctx: &Ctx,
    provider: &Row,
    mapping: &Mapping,
    person: &Person,
    user: &Row,
    link: &str,
    changed: &mut bool,
) -> Result<Vec<String>> {
    let domain = user.text("domain_id");
    let mut projects = Vec::new();
    for name in person.projects.iter().take(MOST) {
        projects.extend(project(state, tx, ctx, provider, name, domain, changed).await?);
    }
    if projects.is_empty() && !mapping.default_project_id.is_empty() {
        projects.extend(tx.one(Project::facts(), &mapping.default_project_id).await?.filter(|p| !p.flag("deleted")));
    }
    let mut roles = Vec::new();
    for name in person.roles.iter().take(MOST) {
        roles.extend(role(tx, name, domain).await?);
    }
    if roles.is_empty() && !mapping.default_role_id.is_empty() {
        roles.extend(tx.one(Role::facts(), &mapping.default_role_id).await?.filter(|r| !r.flag("deleted")));
    }
    let mut named = Vec::new();
    let mut given = BTreeSet::new();
    for project in &projects {
        for role in &roles {
            let done = grants::give(tx, ctx, state.config.limits(), user, project, role).await;
            if let Some(new) = unless_refused(done, provider, role.name())? {
                *changed |= new;
                named.push(format!("{} in {}", role.name(), project.name()));
                // What an administrator has given stays his to take.
                if new || remembered(tx, link).await?.contains(&(project.id().to_string(), role.id().to_string())) {
                    given.insert((project.id().to_string(), role.id().to_string()));
                }
            }
        }
    }
    let before = remembered(tx, link).await?;
    for (project, role) in before.difference(&given) {
        let (project, role) = (tx.one(Project::facts(), project).await?, tx.one(Role::facts(), role).await?);
        if let (Some(project), Some(role)) = (project, role) {
            *changed |= grants::take(tx, ctx, user, &project, &role).await?;
        }
    }
    if before != given {
        let pairs: Vec<Json> = given.iter().map(|(project, role)| json!([project, role])).collect();
        tx.update("identity_links", Cond::eq("id", link), vec![set("extra", json!({ "roles": pairs }))]).await?;
    }
    Ok(named)
}

/// Pairs of project and role the provider has given to a user.
async fn remembered(tx: &mut Tx, link: &str) -> Result<BTreeSet<(String, String)>> {
    let extra = tx.get::<IdentityLink>(link).await?.map(|l| l.extra).unwrap_or_default();
    let text = |j: &Json| j.as_str().unwrap_or_default().to_string();
    Ok(extra["roles"].as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect())
}

/// The provider's row, usable for a login by one of its methods.
pub async fn usable(state: &State, which: &str, method: &str) -> Result<Row> {
    if which.is_empty() {
        return Err(err!(InputParameter, "auth.identity.{} is missing", "id"));
    }
    let named = Cond::eq("id", which).or(Cond::eq("name", which)).and(Cond::eq("deleted", false));
    let row = state.db.read().find(IdentityProvider::facts(), named).await?.pop();
    let row = row.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "identity_provider", which))?;
    let row = enabled(row)?;
    if row.text("driver") != method {
        return Err(err!(
            InputParameter,
            "the identity provider {} is of driver {}; log in by that method",
            row.name(),
            row.text("driver")
        ));
    }
    Ok(row)
}

/// Refuses a provider that is switched off.
pub fn enabled(row: Row) -> Result<Row> {
    if !row.flag("enabled") {
        return Err(err!(InvalidIdpStatus, "the identity provider {} is disabled, so its users cannot log in", row.name()));
    }
    Ok(row)
}
