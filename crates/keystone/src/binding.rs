//! Ties between roles and policies (spec 02 §7.2): who may make and undo them, and how.

use crate::{access, state::State};
use api_identity::{RolePolicy, role::ADMIN};
use base::{Ctx, Json, Resource, Result, Row, Timestamp, err};
use resource::{Map, Op, audit};
use store::{ChangeOp, Read, Tx};

/// A tie somebody asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub policy: Row,
    pub project_id: String,
    ips: Vec<String>,
    auth: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Wish {
    /// Reads one of a request's body; references are resolved among what the caller may see.
    pub async fn read(op: &Op<'_>, body: &Map) -> Result<Wish> {
        let policy = resource::text(body, &["policy_id", "policy"]).ok_or_else(|| err!(MissingParameter, "{} is missing", "policy_id"))?;
        let policy = op.engine.resolve(op.ctx, "policy", &policy).await?;
        Wish::about(op, body, policy).await
    }

    /// The same for a policy that is known already.
    pub async fn about(op: &Op<'_>, body: &Map, policy: Row) -> Result<Wish> {
        let project_id = match resource::text(body, &["project_id", "project", "tenant_id"]) {
            Some(which) => op.engine.resolve(op.ctx, "project", &which).await?.id().to_string(),
            None => String::new(),
        };
        let ips = resource::text_list(body, "ips");
        for ip in &ips {
            if ip.parse::<ipnet::IpNet>().is_err() && ip.parse::<std::net::IpAddr>().is_err() {
                return Err(err!(InputParameter, "ips: {} is not a network; use the form 10.0.0.0/8", ip));
            }
        }
        let time = |key: &str| match resource::text(body, &[key]) {
            None => Ok(None),
            Some(text) => Timestamp::parse(&text)
                .map(Some)
                .ok_or_else(|| err!(InputParameter, "{}: {} is not a time; use the form 2026-02-03T04:05:06Z", key, text)),
        };
        let (since, until) = (time("valid_since")?, time("valid_until")?);
        if since.zip(until).is_some_and(|(a, b)| a >= b) {
            return Err(err!(InputParameter, "valid_until must be later than valid_since"));
        }
        Ok(Wish { policy, project_id, ips, auth: resource::flag(body, "auth")?.unwrap_or(true), since, until })
    }

    /// A tie without conditions; the project is empty for any.
    pub fn plain(policy: Row, project: &str) -> Wish {
        Wish { policy, project_id: project.to_string(), ips: Vec::new(), auth: true, since: None, until: None }
    }

    /// The identifier of the tie with a role.
    pub fn id(&self, role: &str) -> String {
        RolePolicy::id_of(role, &self.project_id, self.policy.id())
    }
}

/// Nobody hands out more than he holds.
pub fn may_bind(state: &State, op: &Op<'_>, role: &Row, wishes: &[Wish]) -> Result<()> {
    access::demand_reach(op, role)?;
    for wish in wishes {
        access::demand_policy(state, op.ctx, wish.policy.id())?;
        if !wish.auth {
            access::demand_everything(state, op.ctx)?;
        }
    }
    Ok(())
}

/// The role `admin` without its policy would lock everybody out.
pub fn may_unbind(op: &Op<'_>, role: &Row, ties: &[Row]) -> Result<()> {
    access::demand_reach(op, role)?;
    if role.name() == ADMIN && role.text("domain_id") == api_identity::domain::DEFAULT && !ties.is_empty() {
        return Err(err!(ProtectedResource, "the policies of the role {} came with the platform and cannot be unbound", role.name()));
    }
    Ok(())
}

/// Makes the tie, or brings an existing one to what is asked.
pub async fn bind(tx: &mut Tx, ctx: &Ctx, role: &Row, wish: &Wish) -> Result<()> {
    let id = wish.id(role.id());
    let now = tx.now();
    let old = tx.one(RolePolicy::facts(), &id).await?;
    let mut tie = old.as_ref().map(RolePolicy::from_row).unwrap_or_else(|| RolePolicy {
        id,
        description: wish.policy.name().to_string(),
        role_id: role.id().to_string(),
        project_id: wish.project_id.clone(),
        policy_id: wish.policy.id().to_string(),
        created_at: now,
        updated_at: now,
        ..RolePolicy::default()
    });
    (tie.deleted, tie.deleted_at, tie.auth) = (false, None, wish.auth);
    (tie.valid_since, tie.valid_until) = (wish.since, wish.until);
    tie.ips = if wish.ips.is_empty() { Json::Null } else { Json::from(wish.ips.clone()) };
    let mut new = tie.to_row();
    match old {
        Some(old) => tx.save(&old, &mut new).await?,
        None => tx.insert(&new).await?,
    }
    told(tx, ctx, role, &new, wish.policy.name(), ChangeOp::Create).await
}

/// Undoes the tie.
pub async fn unbind(tx: &mut Tx, ctx: &Ctx, role: &Row, tie: &Row) -> Result<()> {
    let Some(old) = tx.one(RolePolicy::facts(), tie.id()).await?.filter(|t| !t.flag("deleted")) else { return Ok(()) };
    let mut new = old.clone();
    new.set("deleted", true);
    new.set("deleted_at", tx.now());
    tx.save(&old, &mut new).await?;
    told(tx, ctx, role, &new, tie.text("description"), ChangeOp::Delete).await
}

async fn told(tx: &mut Tx, ctx: &Ctx, role: &Row, tie: &Row, policy: &str, op: ChangeOp) -> Result<()> {
    let notes = serde_json::json!({"policy": policy, "policy_id": tie.text("policy_id"), "project_id": tie.text("project_id")}).to_string();
    audit(tx, ctx, role, if op == ChangeOp::Create { "attach" } else { "detach" }, notes).await?;
    tx.emit(crate::grants::change("rolepolicy", tie.id(), op, role.text("domain_id"))).await
}
