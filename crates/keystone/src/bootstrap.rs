//! The state every platform begins with (spec 02 §9), brought about at each start: what is there stays, what is missing comes.
//!
//! Two processes may start at once: names and identifiers are unique in the database, and the one that comes second finds everything there.

use crate::{binding, config::ServiceEntry, grants, grants::change, passwords, passwords::Chosen, state::State};
use api_identity::{
    Domain, Endpoint, Policy, Project, Region, Role, RolePolicy, Secret, Service, User, domain::DEFAULT, project::SYSTEM, role::ADMIN,
    user::SYSADMIN,
};
use auth::defaults;
use base::meta::{DomainOwned, Enabled, Shared, Standalone};
use base::{Ctx, Error, Resource, Result, Row, Scope, Timestamp};
use resource::audit;
use store::{ChangeOp, Cond, Read, Tx, work};

/// What the start found and made.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Whether the platform was born just now.
    pub fresh: bool,
    /// The administrator's password, if it was made up just now: to be told once.
    pub admin_password: Option<Secret>,
}

/// Services that have no address: they hold configuration, or stand for addresses outside.
const WITHOUT_ENDPOINTS: [&str; 3] = ["common", "external-service", "yunionagent"];

/// An account the platform needs.
struct Account {
    name: String,
    description: &'static str,
    password: Secret,
    web: bool,
    /// Whether the configuration's password counts at every start, or only when the account is made.
    reset: bool,
    row: Option<Row>,
}

pub async fn ensure(state: &State) -> Result<Outcome> {
    let (mut accounts, admin_password) = accounts(state)?;
    let mut fresh = false;
    for account in &mut accounts {
        let row = prepare(state, account).await?;
        fresh |= account.name == SYSADMIN && row.as_ref().is_some_and(|r| r.id().is_empty());
        account.row = row;
    }
    // These are the platform's own, or somebody's who cannot enter with the role any more.
    let limits = grants::Limits { apart: false, ..state.config.limits() };
    let (ctx, accounts) = (&Ctx::platform("bootstrap"), &accounts);
    state
        .db
        .tx(|tx| {
            work(async move {
                domain_and_project(tx, ctx).await?;
                own_provider(tx, ctx).await?;
                let project =
                    one(tx, Project::facts(), Some(DEFAULT), SYSTEM).await?.ok_or_else(|| Error::internal("no project system"))?;
                roles_and_policies(tx, ctx, &project).await?;
                catalogue(tx, ctx, state).await?;
                let admin = one(tx, Role::facts(), Some(DEFAULT), ADMIN).await?.ok_or_else(|| Error::internal("no role admin"))?;
                for account in accounts {
                    let user = ensure_account(tx, ctx, account).await?;
                    grants::give(tx, ctx, limits, &user, &project, &admin).await?;
                }
                Ok(())
            })
        })
        .await?;
    state.keys.rotate(state).await?;
    Ok(Outcome { fresh, admin_password: admin_password.filter(|_| fresh) })
}

/// The accounts of the configuration; the administrator's password is made up when none is given.
fn accounts(state: &State) -> Result<(Vec<Account>, Option<Secret>)> {
    let config = &state.config;
    let mut made_up = None;
    let password = if config.bootstrap_admin_user_password.is_empty() {
        let password = random_password()?;
        made_up = Some(password.clone());
        password
    } else {
        config.bootstrap_admin_user_password.clone()
    };
    let reset = config.reset_admin_user_password && made_up.is_none();
    let mut out =
        vec![Account { name: SYSADMIN.into(), description: "The platform's first administrator.", password, web: false, reset, row: None }];
    if !config.bootstrap_console_user.is_empty() && !config.bootstrap_console_password.is_empty() {
        out.push(Account {
            name: config.bootstrap_console_user.clone(),
            description: "The first administrator of the web console.",
            password: config.bootstrap_console_password.clone(),
            web: true,
            reset: false,
            row: None,
        });
    }
    for service in config.services.iter().filter(|s| !s.account.is_empty() && !s.account_password.is_empty()) {
        // Several services may share an account.
        if !out.iter().any(|a| a.name == service.account) {
            out.push(Account {
                name: service.account.clone(),
                description: "Account of a service of the platform.",
                password: service.account_password.clone(),
                web: false,
                reset: true,
                row: None,
            });
        }
    }
    Ok((out, made_up))
}

/// The row an account shall have: a new one without an identifier, the present one with another password, or none when nothing is to do.
/// Passwords are hashed here, before the transaction.
async fn prepare(state: &State, account: &Account) -> Result<Option<Row>> {
    let mut db = state.db.read();
    let present = db.find(User::facts(), Cond::eq("domain_id", DEFAULT).and(named(&account.name))).await.map(|mut r| r.pop());
    let Some(mut row) = present? else {
        let user = User {
            meta: Standalone { name: account.name.clone(), description: account.description.into(), ..Standalone::default() },
            owned: in_default(),
            enabled: Enabled { enabled: true },
            lang: state.config.default_user_language.clone(),
            is_system_account: !account.web,
            allow_web_console: account.web,
            ..User::default()
        };
        let mut row = user.to_row();
        passwords::set(state, &mut row, account.password.expose(), Chosen::ByAdministrator { any_shape: true }).await?;
        row.set("need_reset_password", false);
        row.set("password_reset_hint", "");
        return Ok(Some(row));
    };
    if !account.reset || passwords::compare(state, &row, &account.password).await?.is_right() {
        return Ok(None);
    }
    passwords::set(state, &mut row, account.password.expose(), Chosen::ByAdministrator { any_shape: true }).await?;
    row.set("need_reset_password", false);
    row.set("password_reset_hint", "");
    Ok(Some(row))
}

async fn ensure_account(tx: &mut Tx, ctx: &Ctx, account: &Account) -> Result<Row> {
    let present = one(tx, User::facts(), Some(DEFAULT), &account.name).await?;
    match (present, &account.row) {
        (Some(old), Some(row)) if !row.id().is_empty() => {
            let mut new = old.clone();
            for column in ["password_hash", "password_history", "password_changed_at", "password_expires_at"] {
                new.set(column, row.get(column).clone());
            }
            crate::revoke::user(tx, old.id()).await?;
            tx.save(&old, &mut new).await?;
            audit(tx, ctx, &new, "update", "password set by configuration".into()).await?;
            Ok(new)
        }
        (Some(old), _) => Ok(old),
        (None, Some(row)) => put(tx, ctx, row.clone()).await,
        (None, None) => Err(Error::internal(format!("the account {} went away while the service started", account.name))),
    }
}

async fn domain_and_project(tx: &mut Tx, ctx: &Ctx) -> Result<()> {
    if tx.one(Domain::facts(), DEFAULT).await?.is_none() {
        let meta = Standalone {
            id: DEFAULT.into(),
            name: "Default".into(),
            description: "The domain the platform begins with.".into(),
            ..Standalone::default()
        };
        put(tx, ctx, Domain { meta, enabled: Enabled { enabled: true }, ..Domain::default() }.to_row()).await?;
    }
    if one(tx, Project::facts(), Some(DEFAULT), SYSTEM).await?.is_none() {
        let meta = Standalone { name: SYSTEM.into(), description: "The project of the platform itself.".into(), ..Standalone::default() };
        let project =
            Project { meta, owned: in_default(), enabled: Enabled { enabled: true }, parent_id: DEFAULT.into(), ..Project::default() };
        put(tx, ctx, project.to_row()).await?;
    }
    Ok(())
}

/// The platform's own tables, as an identity provider among others.
async fn own_provider(tx: &mut Tx, ctx: &Ctx) -> Result<()> {
    use api_identity::identity_provider::{IdentityProvider, SQL, SQL_ID};
    if tx.one(IdentityProvider::facts(), SQL_ID).await?.is_some() {
        return Ok(());
    }
    let meta =
        Standalone { id: SQL_ID.into(), name: SQL.into(), description: "Users of the platform itself.".into(), ..Standalone::default() };
    let provider = IdentityProvider {
        meta,
        enabled: Enabled { enabled: true },
        driver: SQL.into(),
        status: "connected".into(),
        sync_status: "idle".into(),
        sync_interval_seconds: 900,
        ..IdentityProvider::default()
    };
    put(tx, ctx, provider.to_row()).await.map(drop)
}

/// Built-in policies follow the program: nobody else can change them. Built-in roles get their policies when they are made; what an operator
/// binds or unbinds later stays.
async fn roles_and_policies(tx: &mut Tx, ctx: &Ctx, system: &Row) -> Result<()> {
    for built_in in defaults::policies() {
        match one(tx, Policy::facts(), Some(DEFAULT), &built_in.name).await? {
            None => {
                let policy = Policy {
                    meta: Standalone { name: built_in.name.clone(), description: built_in.description.clone(), ..Standalone::default() },
                    owned: in_default(),
                    enabled: Enabled { enabled: true },
                    shared: with_everybody(true),
                    blob: built_in.blob.clone(),
                    scope: built_in.scope.name().into(),
                    builtin: true,
                    ..Policy::default()
                };
                put(tx, ctx, policy.to_row()).await?;
            }
            Some(old)
                if old.flag("builtin") && (old.get("blob").to_json() != built_in.blob || old.text("scope") != built_in.scope.name()) =>
            {
                let mut new = old.clone();
                new.set("blob", built_in.blob.clone());
                new.set("scope", built_in.scope.name());
                tx.save(&old, &mut new).await?;
                crate::access::record(tx, ctx, &new, "update").await?;
            }
            Some(_) => {}
        }
    }
    for built_in in defaults::roles() {
        let (role, made) = match one(tx, Role::facts(), Some(DEFAULT), &built_in.name).await? {
            Some(role) => (role, false),
            None => {
                let meta = Standalone { name: built_in.name.clone(), description: describe(built_in), ..Standalone::default() };
                let role = Role { meta, owned: in_default(), shared: with_everybody(built_in.public) };
                (put(tx, ctx, role.to_row()).await?, true)
            }
        };
        if !made && role.name() != ADMIN {
            continue;
        }
        for name in &built_in.policies {
            let policy =
                one(tx, Policy::facts(), Some(DEFAULT), name).await?.ok_or_else(|| Error::internal(format!("no policy {name}")))?;
            let project = if built_in.project.as_deref() == Some(SYSTEM) { system.id() } else { "" };
            let id = RolePolicy::id_of(role.id(), project, policy.id());
            if tx.one(RolePolicy::facts(), &id).await?.is_none_or(|t| t.flag("deleted")) {
                binding::bind(tx, ctx, &role, &binding::Wish::plain(policy, project)).await?;
            }
        }
    }
    Ok(())
}

fn describe(role: &defaults::DefaultRole) -> String {
    let scope = role.policies.iter().filter_map(|name| defaults::policies().iter().find(|p| p.name == *name)).map(|p| p.scope).max();
    format!("Built-in role {} at {} scope.", role.name, scope.unwrap_or(Scope::None).name())
}

async fn catalogue(tx: &mut Tx, ctx: &Ctx, state: &State) -> Result<()> {
    let region = state.config.region.as_str();
    if tx.one(Region::facts(), region).await?.is_none_or(|r| r.flag("deleted")) {
        tx.delete("regions", Cond::eq("id", region)).await?;
        let meta = Standalone { id: region.into(), name: region.into(), ..Standalone::default() };
        put(tx, ctx, Region { meta, ..Region::default() }.to_row()).await?;
    }
    let bare = WITHOUT_ENDPOINTS.map(|name| ServiceEntry { name: name.into(), r#type: name.into(), ..ServiceEntry::default() });
    for entry in state.config.services.iter().chain(&bare) {
        let service = match one(tx, Service::facts(), None, &entry.name).await? {
            Some(service) => service,
            None => {
                let meta = Standalone { name: entry.name.clone(), ..Standalone::default() };
                let service = Service { meta, enabled: Enabled { enabled: true }, r#type: entry.r#type.clone(), ..Service::default() };
                put(tx, ctx, service.to_row()).await?
            }
        };
        let internal = if entry.internal_url.is_empty() { &entry.public_url } else { &entry.internal_url };
        for (interface, url) in [("internal", internal), ("public", &entry.public_url), ("admin", &entry.admin_url)] {
            if !url.is_empty() {
                endpoint(tx, ctx, &service, region, interface, url).await?;
            }
        }
    }
    Ok(())
}

/// The configuration's address counts: a service that moved is found again.
async fn endpoint(tx: &mut Tx, ctx: &Ctx, service: &Row, region: &str, interface: &str, url: &str) -> Result<()> {
    let this = Cond::eq("service_id", service.id()).and(Cond::eq("region_id", region)).and(Cond::eq("interface", interface));
    let name = format!("{}-{interface}", service.text("type"));
    match tx.find(Endpoint::facts(), this.and(named(&name))).await?.pop() {
        Some(old) if old.text("url") == url => Ok(()),
        Some(old) => {
            let mut new = old.clone();
            new.set("url", url);
            tx.save(&old, &mut new).await?;
            crate::access::record(tx, ctx, &new, "update").await
        }
        None => {
            let endpoint = Endpoint {
                meta: Standalone { name, ..Standalone::default() },
                enabled: Enabled { enabled: true },
                interface: interface.into(),
                service_id: service.id().into(),
                url: url.into(),
                region_id: region.into(),
                ..Endpoint::default()
            };
            put(tx, ctx, endpoint.to_row()).await.map(drop)
        }
    }
}

fn named(name: &str) -> Cond {
    Cond::eq("name", name).and(Cond::eq("deleted", false))
}

async fn one(tx: &mut Tx, facts: &'static base::Facts, domain: Option<&str>, name: &str) -> Result<Option<Row>> {
    let cond = domain.map_or(Cond::True, |d| Cond::eq("domain_id", d)).and(named(name));
    Ok(tx.find(facts, cond).await?.pop())
}

/// Inserts a row with its identity, times, record and word to followers.
async fn put(tx: &mut Tx, ctx: &Ctx, mut row: Row) -> Result<Row> {
    let now: Timestamp = tx.now();
    if row.id().is_empty() {
        row.set("id", base::hex_id());
    }
    row.set("created_at", now);
    row.set("updated_at", now);
    tx.insert(&row).await?;
    audit(tx, ctx, &row, "create", String::new()).await?;
    tx.emit(change(row.facts.name, row.id(), ChangeOp::Create, row.text("domain_id"))).await?;
    Ok(row)
}

fn in_default() -> DomainOwned {
    DomainOwned { domain_id: DEFAULT.into(), domain_src: "local".into() }
}

fn with_everybody(public: bool) -> Shared {
    let scope = if public { "system" } else { "none" };
    Shared { is_public: public, public_scope: scope.into(), public_src: "local".into(), ..Shared::default() }
}

/// A password for an account that nobody chose one for: 20 characters, 120 bits. No command line takes it for an option.
pub fn random_password() -> Result<Secret> {
    Ok(Secret::new(crate::provider::web::random(15)?))
}
