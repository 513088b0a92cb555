//! Three administrators instead of one: who runs the platform, who says who may do what, and who reads what both did (spec 02 §7.4). An operator switches
//! it on; from then on nobody is all three, nobody is two of them, and nobody works as the administrator who may everything. Only the accounts of the
//! platform's services keep that role. Whoever holds the machine can switch it off again: there is no other way back.

use crate::state::State;
use api_identity::{Group, Role as RoleRow, domain::DEFAULT, role::ADMIN};
use auth::{Policy, policy::excess};
use base::{Caller, Ctx, Json, Resource, Result, Role, Row, Scope, err};
use std::collections::BTreeSet;
use store::{Cond, Read, Select, Tx};

/// The three offices, with the built-in roles of each.
pub const OFFICES: [(&str, [&str; 2]); 3] = [
    ("operations", ["sys_opsadmin", "domain_opsadmin"]),
    ("security", ["sys_secadmin", "domain_secadmin"]),
    ("audit", ["sys_adtadmin", "domain_adtadmin"]),
];

/// The office a built-in role belongs to.
fn office(name: &str) -> Option<&'static str> {
    OFFICES.iter().find(|(_, roles)| roles.contains(&name)).map(|(office, _)| *office)
}

fn built_in(role: &Row) -> bool {
    role.text("domain_id") == DEFAULT
}

/// Whether the caller says who may do what on the whole platform: he gives roles whose powers he does not hold himself.
pub fn may_hand_out(state: &State, caller: &Caller, role: &str, target: &str) -> Result<bool> {
    let security = |r: &Role| r.name == OFFICES[1].1[0] && state.directory.role_domain(&r.id) == DEFAULT;
    if !state.config.three_administrators || !caller.roles.iter().any(security) {
        return Ok(false);
    }
    let everything = Policy::parse("everything", &Json::from("allow"))?;
    let given = state.rules.given_by(role, target);
    Ok(!given.iter().any(|(scope, policy)| *scope == Scope::System && excess(&everything, &[policy]).is_none()))
}

/// Refuses a role that would put two offices into one hand, the role of the one administrator, and what somebody gives himself. `actor` is a user or group.
pub async fn demand_role(tx: &mut Tx, ctx: &Ctx, actor: &Row, role: &Row) -> Result<()> {
    if built_in(role) && role.name() == ADMIN {
        return Err(err!(Forbidden, "with three administrators nobody is given the role {}", ADMIN));
    }
    let users = match actor.facts.name {
        "user" => vec![actor.id().to_string()],
        _ => tx.texts("memberships", "user_id", Cond::eq("group_id", actor.id())).await?,
    };
    if users.contains(&ctx.caller.user_id) {
        return Err(err!(Forbidden, "with three administrators nobody gives himself a role; ask another security administrator"));
    }
    let Some(new) = office(role.name()).filter(|_| built_in(role)) else { return Ok(()) };
    for user in users {
        demand_single(tx, &user, new).await?;
    }
    Ok(())
}

/// The same of a user who enters a group.
pub async fn demand_member(tx: &mut Tx, ctx: &Ctx, group: &Row, user: &Row) -> Result<()> {
    let offices = offices(tx, Cond::eq("actor_id", group.id())).await?;
    let roles = tx.count("assignments", Cond::eq("actor_id", group.id())).await?;
    if user.id() == ctx.caller.user_id && roles > 0 {
        return Err(err!(Forbidden, "with three administrators nobody gives himself a role; ask another security administrator"));
    }
    for office in offices {
        demand_single(tx, user.id(), office).await?;
    }
    Ok(())
}

async fn demand_single(tx: &mut Tx, user: &str, new: &'static str) -> Result<()> {
    // Two requests that would each see only the other office free come after each other.
    tx.update("users", Cond::eq("id", user), vec![store::set("id", user)]).await?;
    let held = Cond::eq("actor_id", user).or(Cond::in_select("actor_id", crate::grants::groups_of(user)));
    if let Some(old) = offices(tx, held).await?.into_iter().find(|old| *old != new) {
        return Err(err!(Forbidden, "{} is an administrator of {} already and cannot be one of {} as well", user, old, new));
    }
    Ok(())
}

/// The offices among some assignments.
async fn offices(read: &mut impl Read, cond: Cond) -> Result<BTreeSet<&'static str>> {
    let ids = Select::from("assignments").column("role_id", base::Kind::Text).filter(cond);
    let roles = read.find(RoleRow::facts(), Cond::in_select("id", ids).and(Cond::eq("domain_id", DEFAULT))).await?;
    Ok(roles.iter().filter_map(|r| office(r.name())).collect())
}

/// Refuses to let somebody work as the one administrator. The services of the platform do.
pub fn demand_entry(state: &State, user: &Row, roles: &[Role]) -> Result<()> {
    let one = roles.iter().any(|r| r.name == ADMIN && state.directory.role_domain(&r.id) == DEFAULT);
    if !state.config.three_administrators || !one {
        return Ok(());
    }
    let service =
        user.text("domain_id") == DEFAULT && state.config.services.iter().any(|s| !s.account.is_empty() && s.account == user.name());
    if service {
        return Ok(());
    }
    Err(err!(
        UserDisabled,
        "with three administrators nobody works as {}; log in as the administrator of operations, security or audit",
        ADMIN
    ))
}

/// At start: each office must have its holder, or nobody could ever fill it; and whoever was the one administrator is so no longer.
pub async fn begin(state: &State) -> Result<()> {
    if !state.config.three_administrators {
        return Ok(());
    }
    let mut db = state.db.read();
    for (name, roles) in OFFICES {
        let role = Cond::eq("name", roles[0]).and(Cond::eq("domain_id", DEFAULT)).and(Cond::eq("deleted", false));
        let ids = db.texts("roles", "id", role).await?;
        let held = Cond::is_in("role_id", ids.iter().map(String::as_str));
        let actors = Select::from("assignments").column("actor_id", base::Kind::Text).filter(held);
        let members = Select::from("memberships").column("user_id", base::Kind::Text).filter(Cond::in_select("group_id", actors.clone()));
        let alive = Cond::eq("deleted", false).and(Cond::eq("enabled", true));
        let somebody = alive.and(Cond::in_select("id", actors).or(Cond::in_select("id", members)));
        if !db.exists("users", somebody).await? {
            return Err(err!(
                InvalidStatus,
                "three_administrators is set, but nobody is the administrator of {}: start without it, give somebody the role {}, then set it",
                name,
                roles[0]
            ));
        }
    }
    let admin = Cond::eq("name", ADMIN).and(Cond::eq("domain_id", DEFAULT));
    let ids = db.texts("roles", "id", admin).await?;
    let held = db.list::<api_identity::Assignment>(Cond::is_in("role_id", ids.iter().map(String::as_str))).await?;
    let accounts: Vec<&str> = state.config.services.iter().map(|s| s.account.as_str()).filter(|a| !a.is_empty()).collect();
    let services = db.texts("users", "id", Cond::is_in("name", accounts).and(Cond::eq("domain_id", DEFAULT))).await?;
    let mut void: BTreeSet<(String, String)> = BTreeSet::new();
    for a in held {
        let users = match db.exists(Group::facts().table, Cond::eq("id", a.actor_id.as_str())).await? {
            true => db.texts("memberships", "user_id", Cond::eq("group_id", a.actor_id.as_str())).await?,
            false => vec![a.actor_id.clone()],
        };
        void.extend(users.into_iter().filter(|u| !services.contains(u)).map(|u| (u, a.target_id.clone())));
    }
    let void = &void;
    state
        .db
        .tx(|tx| {
            store::work(async move {
                for (user, target) in void {
                    crate::revoke::grant(tx, user, target).await?;
                }
                Ok(())
            })
        })
        .await
}
