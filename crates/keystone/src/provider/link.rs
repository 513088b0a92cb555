//! Linking a subject of an identity provider to a user that exists, and taking that back (spec 02 §10.2). Called by the actions of users.

use super::{USER, external, public_id};
use crate::{access, revoke};
use api_identity::IdentityLink;
use base::{Ctx, Resource, Result, Row, err};
use store::{Cond, Read, Tx};

/// Longest subject, bytes.
const LONGEST: usize = 255;

/// From now on the subject logs in as this user. `provider` is of single sign-on.
pub async fn link(tx: &mut Tx, ctx: &Ctx, user: &Row, provider: &Row, subject: &str) -> Result<()> {
    if !provider.flag("is_sso") {
        return Err(err!(
            NotAcceptable,
            "the identity provider {} brings its users over by itself; nobody is linked to it",
            provider.name()
        ));
    }
    if subject.is_empty() || subject.len() > LONGEST {
        return Err(err!(InputParameter, "idp_entity_id: the provider's identifier of the user, at most {} bytes", LONGEST));
    }
    let id = public_id(provider.id(), USER, subject);
    if let Some(link) = tx.get::<IdentityLink>(&id).await? {
        if link.object_id == user.id() {
            return Ok(());
        }
        let holder = tx.one(user.facts, &link.object_id).await?.filter(|u| !u.flag("deleted"));
        if let Some(holder) = holder {
            return Err(err!(
                Conflict,
                "{} of the identity provider {} is the user {} already; unlink it there first",
                subject,
                provider.name(),
                holder.name()
            ));
        }
        tx.delete("identity_links", Cond::eq("id", id.as_str())).await?;
    }
    tx.insert(&external::new_link(provider, USER, subject, user.id(), tx.now()).to_row()).await?;
    access::record(tx, ctx, user, "link_idp").await
}

/// No longer; tokens of the user are void, whichever way he came.
pub async fn unlink(tx: &mut Tx, ctx: &Ctx, user: &Row, provider: &Row, subject: &str) -> Result<()> {
    let mut this = Cond::eq("identity_provider_id", provider.id()).and(Cond::eq("entity", USER)).and(Cond::eq("object_id", user.id()));
    if !subject.is_empty() {
        this = this.and(Cond::eq("local_id", subject));
    }
    let links = tx.list::<IdentityLink>(this.clone()).await?;
    if links.is_empty() {
        return Err(err!(ResourceNotFound, "the user {} is not linked to the identity provider {}", user.name(), provider.name()));
    }
    if !provider.flag("is_sso") || links.iter().any(|l| l.id == l.object_id) {
        return Err(err!(
            NotAcceptable,
            "the user {} was made by the identity provider {}; delete the user instead of unlinking it",
            user.name(),
            provider.name()
        ));
    }
    tx.delete("identity_links", this).await?;
    revoke::user(tx, user.id()).await?;
    access::record(tx, ctx, user, "unlink_idp").await
}

/// Links a user at its creation, when that was asked for.
pub async fn at_creation(tx: &mut Tx, ctx: &Ctx, user: &Row, which: &str, subject: &str) -> Result<()> {
    let named = Cond::eq("id", which).or(Cond::eq("name", which)).and(Cond::eq("deleted", false));
    let provider = tx.find(api_identity::IdentityProvider::facts(), named).await?.pop();
    let provider = provider.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "identity_provider", which))?;
    link(tx, ctx, user, &provider, subject).await
}
