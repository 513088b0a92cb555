//! Writing what a plan says, some of it at a time, each piece under the lease of the synchronisation.

use super::plan::{GroupRef, Step};
use crate::{access, grants, grants::change, revoke};
use api_identity::{Credential, Group, IdentityLink, Membership};
use base::{Ctx, Resource, Result, Row};
use resource::audit;
use std::{collections::BTreeMap, time::Duration};
use store::{ChangeOp, Cond, Db, Lease, Read, Tx, work};

/// Rows written in one transaction: enough that committing costs little, few enough that other writers hardly wait.
const AT_ONCE: usize = 200;

/// Carries out all steps. When it fails in between, what is written stays: the next synchronisation goes on from there.
pub async fn all(db: &Db, ctx: &Ctx, lease: &Lease, term: Duration, steps: &[Step]) -> Result<()> {
    let mut rest = steps;
    while !rest.is_empty() {
        let (mut n, mut weight) = (0, 0);
        while n < rest.len() && weight < AT_ONCE {
            weight += match &rest[n] {
                Step::Members { enter, leave, .. } => enter.len() + leave.len(),
                _ => 1,
            };
            n += 1;
        }
        let (now, later) = rest.split_at(n);
        db.tx(|tx| {
            work(async move {
                tx.fence(lease).await?;
                for step in now {
                    one(tx, ctx, step).await?;
                }
                Ok(())
            })
        })
        .await?;
        db.leases().renew(lease, term).await?;
        rest = later;
    }
    Ok(())
}

async fn one(tx: &mut Tx, ctx: &Ctx, step: &Step) -> Result<()> {
    match step {
        Step::Put { old, new, link, tags } => put(tx, ctx, old.as_ref(), new, link.as_ref(), tags.as_ref()).await,
        Step::Gone { old, link } => {
            gone(tx, ctx, old).await?;
            let sets = vec![store::set("enabled", false)];
            tx.update("identity_links", Cond::eq("id", link.id.as_str()), sets).await.map(drop)
        }
        Step::Members { group, enter, leave } => members(tx, ctx, group, enter, leave).await,
    }
}

async fn put(
    tx: &mut Tx,
    ctx: &Ctx,
    old: Option<&Row>,
    new: &Row,
    link: Option<&IdentityLink>,
    tags: Option<&BTreeMap<String, String>>,
) -> Result<()> {
    let mut new = new.clone();
    match old {
        None => {
            new.set("created_at", tx.now());
            new.set("updated_at", tx.now());
            tx.insert(&new).await?;
            audit(tx, ctx, &new, "create", String::new()).await?;
            tx.emit(change(new.facts.name, new.id(), ChangeOp::Create, new.text("domain_id"))).await?;
        }
        Some(old) if old.values != new.values => {
            let user = new.facts.name == "user";
            let off = new.facts.has("enabled") && old.flag("enabled") && !new.flag("enabled");
            if user && (off || old.text("domain_id") != new.text("domain_id")) {
                revoke::user(tx, new.id()).await?;
            }
            tx.save(old, &mut new).await?;
            access::record(tx, ctx, &new, if off { "disable" } else { "update" }).await?;
        }
        Some(_) => {}
    }
    if let Some(tags) = tags {
        let pairs: Vec<(String, Option<String>)> = tags.iter().map(|(k, v)| (format!("ext:{k}"), Some(v.clone()))).collect();
        resource::write_tags(tx, &new, &pairs, Some("ext:")).await?;
    }
    if let Some(link) = link {
        let mut row = link.to_row();
        row.set("created_at", tx.now());
        if !tx.try_insert(&row).await? {
            let sets = vec![store::set("enabled", link.enabled), store::set("extra", link.extra.clone())];
            tx.update("identity_links", Cond::eq("id", link.id.as_str()), sets).await?;
        }
    }
    Ok(())
}

/// Takes a user or group away with everything it holds.
pub async fn gone(tx: &mut Tx, ctx: &Ctx, old: &Row) -> Result<()> {
    if old.facts.name == "user" {
        revoke::user(tx, old.id()).await?;
        for credential in tx.find(Credential::facts(), Cond::eq("owner_id", old.id()).and(Cond::eq("deleted", false))).await? {
            access::bury(tx, ctx, &credential).await?;
        }
    }
    grants::forget_actor(tx, old).await?;
    let mut new = old.clone();
    new.set("deleted", true);
    new.set("deleted_at", tx.now());
    tx.save(old, &mut new).await?;
    audit(tx, ctx, &new, "delete", String::new()).await?;
    tx.emit(change(new.facts.name, new.id(), ChangeOp::Delete, new.text("domain_id"))).await
}

async fn members(tx: &mut Tx, ctx: &Ctx, group: &GroupRef, enter: &[String], leave: &[String]) -> Result<()> {
    for user in enter {
        let id = Membership::id_of(&group.id, user);
        let row = Membership { id, group_id: group.id.clone(), user_id: user.clone(), created_at: tx.now() };
        tx.try_insert(&row.to_row()).await?;
    }
    if !leave.is_empty() {
        let targets = tx.texts("assignments", "target_id", Cond::eq("actor_id", group.id.as_str())).await?;
        for user in leave {
            tx.delete("memberships", Cond::eq("id", Membership::id_of(&group.id, user))).await?;
            for target in &targets {
                revoke::grant(tx, user, target).await?;
            }
        }
    }
    let mut row = Group::default().to_row();
    for (column, value) in [("id", &group.id), ("name", &group.name), ("domain_id", &group.domain_id)] {
        row.set(column, value.as_str());
    }
    // One record for all that move at once: a group of thousands would bury everything else.
    let (word, users) = if leave.is_empty() { ("attach", enter) } else { ("detach", leave) };
    audit(tx, ctx, &row, word, serde_json::json!({ "users": users }).to_string()).await?;
    let op = if leave.is_empty() { ChangeOp::Create } else { ChangeOp::Delete };
    tx.emit(change("membership", &group.id, op, &group.domain_id)).await
}
