//! Roles of users and groups in projects, and users in groups: the rows behind every permission (spec 02 §5). Used by the actions of users,
//! groups and projects, by the assignment paths and by logins. Decides nothing: callers have asked the policies before.

use crate::{revoke, separation};
use api_identity::{Assignment, GROUP_DOMAIN, GROUP_PROJECT, Membership, USER_DOMAIN, USER_PROJECT};
use base::{Ctx, Json, Resource, Result, Row, err};
use resource::audit;
use std::collections::BTreeSet;
use store::{Change, ChangeOp, Cond, Read, Select, Tx};

/// Whose role it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    User,
    Group,
}

/// Where it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Project,
    Domain,
}

/// The word of an assignment's type.
pub fn type_of(actor: Actor, target: Target) -> &'static str {
    match (actor, target) {
        (Actor::User, Target::Project) => USER_PROJECT,
        (Actor::Group, Target::Project) => GROUP_PROJECT,
        (Actor::User, Target::Domain) => USER_DOMAIN,
        (Actor::Group, Target::Domain) => GROUP_DOMAIN,
    }
}

/// The most roles one user and one group may have in one project.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub user: usize,
    pub group: usize,
    /// Whether there are three administrators, who must stay three.
    pub apart: bool,
}

/// Gives a role; giving it again changes nothing. `actor` and `target` are the rows of user or group, and project or domain.
pub async fn give(tx: &mut Tx, ctx: &Ctx, limits: Limits, actor: &Row, target: &Row, role: &Row) -> Result<bool> {
    let kind = kind(actor, target);
    let id = Assignment::id_of(actor.id(), target.id(), role.id());
    if tx.one(Assignment::facts(), &id).await?.is_some() {
        return Ok(false);
    }
    if limits.apart {
        separation::demand_role(tx, ctx, actor, role).await?;
    }
    let most = if actor.facts.name == "user" { limits.user } else { limits.group };
    let held = tx.count("assignments", Cond::eq("actor_id", actor.id()).and(Cond::eq("target_id", target.id()))).await?;
    if held >= most as i64 {
        return Err(err!(OutOfLimit, "{} has {} roles in {} already; take one away first", actor.name(), held, target.name()));
    }
    let assignment = Assignment {
        id: id.clone(),
        r#type: kind.to_string(),
        actor_id: actor.id().to_string(),
        target_id: target.id().to_string(),
        role_id: role.id().to_string(),
        created_at: tx.now(),
    };
    tx.insert(&assignment.to_row()).await?;
    told(tx, ctx, actor, target, role, &id, ChangeOp::Create).await?;
    Ok(true)
}

/// Takes a role away; tokens that carry it are void from now on. Taking what is not held changes nothing.
pub async fn take(tx: &mut Tx, ctx: &Ctx, actor: &Row, target: &Row, role: &Row) -> Result<bool> {
    let id = Assignment::id_of(actor.id(), target.id(), role.id());
    if tx.delete("assignments", Cond::eq("id", id.as_str())).await? == 0 {
        return Ok(false);
    }
    let users = match actor.facts.name {
        "user" => vec![actor.id().to_string()],
        _ => members(tx, actor.id()).await?,
    };
    for user in users {
        revoke::grant(tx, &user, target.id()).await?;
    }
    told(tx, ctx, actor, target, role, &id, ChangeOp::Delete).await?;
    Ok(true)
}

async fn told(tx: &mut Tx, ctx: &Ctx, actor: &Row, target: &Row, role: &Row, id: &str, op: ChangeOp) -> Result<()> {
    let word = if op == ChangeOp::Create { "attach" } else { "detach" };
    let notes = serde_json::json!({"actor": actor.name(), "actor_id": actor.id(), "actor_type": actor.facts.name, "target": target.name(),
        "target_id": target.id(), "role": role.name(), "role_id": role.id()});
    audit(tx, ctx, target, word, notes.to_string()).await?;
    audit(tx, ctx, actor, word, notes.to_string()).await?;
    tx.emit(change("assignment", id, op, target.text("domain_id"))).await
}

/// Puts a user into a group; once more changes nothing.
pub async fn enter(tx: &mut Tx, ctx: &Ctx, limits: Limits, group: &Row, user: &Row) -> Result<bool> {
    let id = Membership::id_of(group.id(), user.id());
    if tx.one(Membership::facts(), &id).await?.is_some() {
        return Ok(false);
    }
    if limits.apart {
        separation::demand_member(tx, ctx, group, user).await?;
    }
    let row = Membership { id: id.clone(), group_id: group.id().to_string(), user_id: user.id().to_string(), created_at: tx.now() };
    tx.insert(&row.to_row()).await?;
    moved(tx, ctx, group, user, &id, ChangeOp::Create).await?;
    Ok(true)
}

/// Takes a user out of a group; tokens with roles the group gave are void from now on.
pub async fn leave(tx: &mut Tx, ctx: &Ctx, group: &Row, user: &Row) -> Result<bool> {
    let id = Membership::id_of(group.id(), user.id());
    if tx.delete("memberships", Cond::eq("id", id.as_str())).await? == 0 {
        return Ok(false);
    }
    for target in targets(tx, group.id()).await? {
        revoke::grant(tx, user.id(), &target).await?;
    }
    moved(tx, ctx, group, user, &id, ChangeOp::Delete).await?;
    Ok(true)
}

async fn moved(tx: &mut Tx, ctx: &Ctx, group: &Row, user: &Row, id: &str, op: ChangeOp) -> Result<()> {
    let word = if op == ChangeOp::Create { "attach" } else { "detach" };
    let notes = serde_json::json!({"user": user.name(), "user_id": user.id(), "group": group.name(), "group_id": group.id()}).to_string();
    audit(tx, ctx, group, word, notes).await?;
    tx.emit(change("membership", id, op, group.text("domain_id"))).await
}

/// Everything a user or group that is going away holds. A group's members lose what the group gave them.
pub async fn forget_actor(tx: &mut Tx, actor: &Row) -> Result<()> {
    let id = actor.id();
    if actor.facts.name == "group" {
        let targets = targets(tx, id).await?;
        for user in members(tx, id).await? {
            for target in &targets {
                revoke::grant(tx, &user, target).await?;
            }
        }
        tx.delete("memberships", Cond::eq("group_id", id)).await?;
    } else {
        tx.delete("memberships", Cond::eq("user_id", id)).await?;
    }
    tx.delete("assignments", Cond::eq("actor_id", id)).await?;
    Ok(())
}

async fn members(read: &mut Tx, group: &str) -> Result<Vec<String>> {
    read.texts("memberships", "user_id", Cond::eq("group_id", group)).await
}

async fn targets(read: &mut Tx, actor: &str) -> Result<BTreeSet<String>> {
    Ok(read.texts("assignments", "target_id", Cond::eq("actor_id", actor)).await?.into_iter().collect())
}

/// The assignments of a user, its groups' included; in one target when one is given. Two queries in one.
pub async fn of_user(read: &mut impl Read, user: &str, target: Option<&str>) -> Result<Vec<Assignment>> {
    let mut cond = Cond::eq("actor_id", user).or(Cond::in_select("actor_id", groups_of(user)));
    if let Some(target) = target {
        cond = Cond::eq("target_id", target).and(cond);
    }
    read.list::<Assignment>(cond).await
}

/// The assignments of one user or group itself.
pub async fn of_actor(read: &mut impl Read, actor: &str) -> Result<Vec<Assignment>> {
    read.list::<Assignment>(Cond::eq("actor_id", actor)).await
}

/// The ids of the groups a user is in.
pub fn groups_of(user: &str) -> Select {
    Select::from("memberships").column("group_id", base::Kind::Text).filter(Cond::eq("user_id", user))
}

/// The ids of the projects a user can enter, directly or through a group.
pub fn projects_of(user: &str) -> Select {
    let actor = Cond::eq("actor_id", user).or(Cond::in_select("actor_id", groups_of(user)));
    Select::from("assignments").column("target_id", base::Kind::Text).filter(actor.and(Cond::is_in("type", [USER_PROJECT, GROUP_PROJECT])))
}

/// Users with a role in a project, directly or through a group: a condition on `users`.
pub fn users_in(project: &str) -> Cond {
    let actors = |kind: &'static str| {
        Select::from("assignments").column("actor_id", base::Kind::Text).filter(Cond::eq("target_id", project).and(Cond::eq("type", kind)))
    };
    let members =
        Select::from("memberships").column("user_id", base::Kind::Text).filter(Cond::in_select("group_id", actors(GROUP_PROJECT)));
    Cond::in_select("id", actors(USER_PROJECT)).or(Cond::in_select("id", members))
}

/// Groups with a role in a project: a condition on `groups`.
pub fn groups_in(project: &str) -> Cond {
    let actors = Select::from("assignments").column("actor_id", base::Kind::Text);
    Cond::in_select("id", actors.filter(Cond::eq("target_id", project).and(Cond::eq("type", GROUP_PROJECT))))
}

/// Members of a group: a condition on `users`.
pub fn users_of(group: &str) -> Cond {
    Cond::in_select("id", Select::from("memberships").column("user_id", base::Kind::Text).filter(Cond::eq("group_id", group)))
}

fn kind(actor: &Row, target: &Row) -> &'static str {
    let who = if actor.facts.name == "user" { Actor::User } else { Actor::Group };
    type_of(who, if target.facts.name == "project" { Target::Project } else { Target::Domain })
}

/// A line of the feed about something that is no kind of the engine.
pub fn change(kind: &str, id: &str, op: ChangeOp, domain: &str) -> Change {
    Change {
        kind: kind.to_string(),
        id: id.to_string(),
        op,
        version: 0,
        domain_id: domain.to_string(),
        project_id: String::new(),
        data: Json::Null,
    }
}
