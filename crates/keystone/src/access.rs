//! Who may hand out what: nobody gives, takes or writes powers he does not hold himself (spec 02 §7.1), and small steps several resources
//! share. Without this the administrator of one project could make himself the administrator of all.

use crate::{grants::change, revoke, separation, state::State};
use api_identity::Role;
use auth::Policy;
use auth::policy::excess;
use base::{Ctx, Error, Json, Lang, Resource, Result, Row, Scope, err};
use resource::{Engine, Map, Op, Page, audit};
use store::{ChangeOp, Read, Tx};

/// The document of a policy row with its tag sets, compiled.
pub fn compile(row: &Row) -> Result<Policy> {
    let mut document = match row.get("blob").to_json() {
        Json::Object(map) => map,
        Json::Null => return Err(err!(MissingParameter, "{} is missing", "blob")),
        _ => return Err(err!(InputParameter, "{}: expected {}, got {}", "blob", "an object", "something else")),
    };
    for name in ["domain_tags", "project_tags", "object_tags"] {
        document.insert(name.to_string(), row.get(name).to_json());
    }
    Policy::parse(row.name(), &Json::Object(document))
}

/// Refuses a policy that grants at its scope what the caller is not allowed at that scope.
pub fn demand_within(state: &State, ctx: &Ctx, scope: Scope, policy: &Policy) -> Result<()> {
    if state.config.no_policy_violation_check {
        return Ok(());
    }
    let set = state.rules.of(&ctx.caller, ctx.peer);
    let held: Vec<&Policy> = set.all().filter(|(s, p)| *s >= scope && p.filter.is_empty()).map(|(_, p)| p).collect();
    match excess(policy, &held) {
        None => Ok(()),
        Some(path) => Err(err!(Forbidden, "{} allows {} at scope {}, which you may not do yourself", policy.name, path, scope.name())),
    }
}

/// The same for a policy in use, about to be bound, changed or switched.
pub fn demand_policy(state: &State, ctx: &Ctx, id: &str) -> Result<()> {
    match state.rules.compiled(id) {
        Some((scope, policy)) => demand_within(state, ctx, scope, &policy),
        // Disabled: what it would allow once enabled is asked then.
        None => Ok(()),
    }
}

/// Only who may everything may open a door to everybody.
pub fn demand_everything(state: &State, ctx: &Ctx) -> Result<()> {
    let everything = Policy::parse("everything", &Json::from("allow"))?;
    demand_within(state, ctx, Scope::System, &everything)
}

/// Refuses unless the caller holds everything a role gives in a project (or domain).
pub fn demand_role(state: &State, ctx: &Ctx, role: &Row, target: &Row) -> Result<()> {
    if separation::may_hand_out(state, &ctx.caller, role.id(), target.id())? {
        return Ok(());
    }
    state.rules.given_by(role.id(), target.id()).iter().try_for_each(|(scope, policy)| demand_within(state, ctx, *scope, policy))
}

/// The roles of a request, each one the caller may hand out in the target.
pub async fn roles_to_give(state: &State, engine: &Engine, ctx: &Ctx, names: &[String], target: &Row) -> Result<Vec<Row>> {
    let mut roles = Vec::new();
    for name in names {
        let role = engine.resolve(ctx, Role::facts().name, name).await?;
        demand_role(state, ctx, &role, target)?;
        roles.push(role);
    }
    if roles.is_empty() {
        return Err(err!(MissingParameter, "{} is missing", "roles"));
    }
    Ok(roles)
}

/// Refuses to take away what one could not have given, and the administrator's own role.
pub fn may_take(state: &State, ctx: &Ctx, actor: &Row, target: &Row, role: &Row) -> Result<()> {
    use api_identity::{domain::DEFAULT, project::SYSTEM, role::ADMIN, user::SYSADMIN};
    let built_in = actor.facts.name == "user" && actor.name() == SYSADMIN && actor.text("domain_id") == DEFAULT;
    if built_in && target.name() == SYSTEM && role.name() == ADMIN {
        return Err(err!(ProtectedResource, "the user {} keeps the role {} in the project {}", SYSADMIN, ADMIN, SYSTEM));
    }
    demand_role(state, ctx, role, target)
}

/// Refuses to put users into a group that holds more than the caller.
pub async fn may_enter(state: &State, ctx: &Ctx, group: &Row) -> Result<()> {
    let held = crate::grants::of_actor(&mut &state.db, group.id()).await?;
    for assignment in held {
        if separation::may_hand_out(state, &ctx.caller, &assignment.role_id, &assignment.target_id)? {
            continue;
        }
        for (scope, policy) in state.rules.given_by(&assignment.role_id, &assignment.target_id) {
            demand_within(state, ctx, scope, &policy)?;
        }
    }
    Ok(())
}

/// What everybody on the platform uses is changed by the platform's administrators, whatever domain it happens to be in: the administrator of
/// that domain would otherwise change what people of other domains may do.
pub fn demand_reach(op: &Op<'_>, row: &Row) -> Result<()> {
    let kind = op.engine.kind_named(row.facts.name).ok_or_else(|| Error::internal(format!("no kind {}", row.facts.name)))?;
    let shared = row.flag("is_public") && row.text("public_scope") == Scope::System.name();
    if shared && op.engine.widest(op.ctx, kind, "update", &[]) < Scope::System {
        return Err(err!(Forbidden, "{} is shared with the whole platform; only its administrators change it", row.name()));
    }
    Ok(())
}

/// Asks the policies about a row of another kind than the operation's own.
pub async fn demand(op: &Op<'_>, row: &Row, action: &str, extra: &[&str]) -> Result<()> {
    let kind = op.engine.kind_named(row.facts.name).ok_or_else(|| Error::internal(format!("no kind {}", row.facts.name)))?;
    op.engine.demand(op.ctx, kind, row, action, extra).await.map(drop)
}

/// Pairs of a request, such as `[{"user": .., "role": ..}]`; each member under its own name or with `_id`.
pub fn pairs(body: &Map, key: &str, first: &str, second: &str) -> Result<Vec<(String, String)>> {
    let Some(Json::Array(items)) = body.get(key) else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for item in items {
        let map = item.as_object().ok_or_else(|| err!(InputParameter, "{}: expected {}, got {}", key, "a list of objects", item))?;
        let member = |name: &str| {
            let id = format!("{name}_id");
            resource::text(map, &[name, &id]).ok_or_else(|| err!(MissingParameter, "{} is missing", format!("{key}.{name}")))
        };
        out.push((member(first)?, member(second)?));
    }
    Ok(out)
}

/// Enables a user and forgets its wrong passwords.
pub async fn enable_user(tx: &mut Tx, ctx: &Ctx, id: &str) -> Result<()> {
    let Some(old) = tx.one(api_identity::User::facts(), id).await? else {
        return Err(err!(ResourceNotFound, "{} {} not found", "user", id));
    };
    let mut new = old.clone();
    new.set("enabled", true);
    new.set("failed_auth_count", 0);
    tx.save(&old, &mut new).await?;
    record(tx, ctx, &new, "enable").await
}

/// Deletes a credential for good, its tokens with it.
pub async fn bury(tx: &mut Tx, ctx: &Ctx, old: &Row) -> Result<()> {
    let mut new = old.clone();
    new.set("deleted", true);
    new.set("deleted_at", tx.now());
    new.set("sealed_blob", "");
    tx.save(old, &mut new).await?;
    revoke::access_key(tx, old.id()).await?;
    audit(tx, ctx, &new, "delete", String::new()).await?;
    tx.emit(change(new.facts.name, new.id(), ChangeOp::Delete, "")).await
}

/// Writes down what was done to a row, and tells followers.
pub async fn record(tx: &mut Tx, ctx: &Ctx, row: &Row, action: &str) -> Result<()> {
    audit(tx, ctx, row, action, String::new()).await?;
    let mut line = change(row.facts.name, row.id(), ChangeOp::Update, row.text("domain_id"));
    line.version = row.int("update_version");
    tx.emit(line).await
}

/// What roles and policies answer besides their columns: their description in the caller's language.
pub fn describe(op: &Op<'_>, page: &mut Page) {
    for i in 0..page.rows.len() {
        page.add(i, "pending_deleted", false);
        let text = page.rows[i].text("description").to_string();
        if !text.is_empty() {
            let told = match op.ctx.lang {
                Lang::En => None,
                lang => http::i18n::translate(lang, &text),
            };
            page.add(i, "_i18n", serde_json::json!({"description": told.unwrap_or(&text)}));
        }
    }
}
