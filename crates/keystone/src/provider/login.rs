//! Passwords of users that a directory knows: it decides, by a bind with the name it gives for the user. No password is kept here.

use super::{USER, config::Ldap as Config, entries, wire};
use crate::state::State;
use api_identity::{IdentityLink, IdentityProvider, Secret};
use auth::password::Outcome;
use base::{Class, Error, Json, Resource, Result, Row, err};
use futures_util::future::join_all;
use resource::Map;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use store::{Cond, Db, Read};
use wire::{Bound, Closed, Directory};

/// The link of a user to a directory, with the directory's row; `None` for users of the platform's own.
pub async fn home(state: &State, user: &Row) -> Result<Option<(IdentityLink, Row)>> {
    // Whoever has a password here is not looked for elsewhere: one question less for most logins.
    if !user.text("password_hash").is_empty() {
        return Ok(None);
    }
    let mut db = state.db.read();
    let cond = Cond::eq("object_id", user.id()).and(Cond::eq("entity", USER));
    let Some(link) = db.list::<IdentityLink>(cond).await?.pop() else { return Ok(None) };
    let provider = db.one(IdentityProvider::facts(), &link.identity_provider_id).await?.filter(|p| !p.flag("deleted"));
    Ok(provider.map(|p| (link, p)))
}

/// Heads the chain of a token that a password opened: the directory's number, so that its tokens end with it; nothing for users of the platform's own.
pub async fn origin(state: &State, user: &Row) -> Result<Vec<String>> {
    Ok(home(state, user).await?.map(|(_, provider)| super::external::audit_id(provider.id(), "provider", "")).into_iter().collect())
}

/// Where the users of a page come from, by user, as lists show it (spec 02 §10.2). Two queries.
pub async fn homes(mut db: &Db, ids: &[String]) -> Result<HashMap<String, Vec<Json>>> {
    let cond = Cond::is_in("object_id", ids.iter().map(String::as_str)).and(Cond::eq("entity", USER));
    let links = db.list::<IdentityLink>(cond).await?;
    let mut out: HashMap<String, Vec<Json>> = HashMap::new();
    if links.is_empty() {
        return Ok(out);
    }
    let wanted = Cond::is_in("id", links.iter().map(|l| l.identity_provider_id.as_str()).collect::<BTreeSet<_>>());
    let providers = db.find(IdentityProvider::facts(), wanted.and(Cond::eq("deleted", false))).await?;
    for link in links {
        let Some(provider) = providers.iter().find(|p| p.id() == link.identity_provider_id) else { continue };
        out.entry(link.object_id)
            .or_default()
            .push(json!({"idp_id": provider.id(), "idp": provider.name(), "idp_entity_id": link.local_id,
            "idp_driver": provider.text("driver"), "template": provider.text("template"), "is_sso": provider.flag("is_sso")}));
    }
    Ok(out)
}

/// Names of the providers that groups come from, by group; for groups of the platform's own nothing.
pub async fn names_of_groups(state: &State, ids: BTreeSet<&str>) -> Result<HashMap<String, String>> {
    let mut db = state.db.read();
    let links = db.list::<IdentityLink>(Cond::is_in("object_id", ids).and(Cond::eq("entity", super::GROUP))).await?;
    if links.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted = Cond::is_in("id", links.iter().map(|l| l.identity_provider_id.as_str()).collect::<BTreeSet<_>>());
    let providers = db.find(IdentityProvider::facts(), wanted.and(Cond::eq("deleted", false))).await?;
    let name = |id: &str| providers.iter().find(|p| p.id() == id).map(|p| p.name().to_string());
    Ok(links.into_iter().filter_map(|l| Some((l.object_id, name(&l.identity_provider_id)?))).collect())
}

/// The configuration of a row, secrets opened.
pub fn config_of(state: &State, provider: &Row) -> Result<Config> {
    Config::read(provider.text("template"), &stored(state, provider)?)
}

/// What is stored for the row's driver, secrets opened.
pub fn stored(state: &State, provider: &Row) -> Result<Map> {
    let mut all = group(&provider.get("config").to_json(), provider.text("driver"));
    let sealed = provider.text("sealed_config");
    if !sealed.is_empty() {
        let opened = serde_json::from_str(&state.seal.open(sealed)?).map_err(Error::internal)?;
        all.extend(group(&opened, provider.text("driver")));
    }
    Ok(all)
}

fn group(config: &Json, driver: &str) -> Map {
    config.get(driver).and_then(Json::as_object).cloned().unwrap_or_default()
}

/// Asks the user's directory about a password; `None` when the user is not a directory's.
pub async fn compare(state: &State, user: &Row, password: &Secret) -> Result<Option<Outcome>> {
    let home = home(state, user).await?.filter(|(_, provider)| provider.text("driver") == "ldap");
    let Some((link, provider)) = home else { return Ok(None) };
    if password.is_empty() {
        return Ok(Some(Outcome::Wrong));
    }
    told(state, user, &link, &provider, password).await.map(Some)
}

/// What the directory of a link says of a password.
async fn told(state: &State, user: &Row, link: &IdentityLink, provider: &Row, password: &Secret) -> Result<Outcome> {
    let asked = Asked { provider, local_id: &link.local_id };
    let (bound, enabled) = asked.answer(state, password).await?;
    let told = |why: Closed| match why {
        Closed::Disabled => err!(UserDisabled, "the user {} is disabled in the directory {}", user.name(), provider.name()),
        Closed::Expired => err!(UserDisabled, "the account of the user {} has expired in the directory {}", user.name(), provider.name()),
        Closed::PasswordExpired => {
            err!(UserDisabled, "the password of the user {} has expired; change it in the directory {}", user.name(), provider.name())
        }
        Closed::Locked => err!(UserLocked, "the user {} is locked in the directory {}", user.name(), provider.name()),
        Closed::Other => {
            err!(UserDisabled, "the directory {} does not let the user {} log in; ask its administrators", provider.name(), user.name())
        }
    };
    match bound {
        Bound::Wrong => Ok(Outcome::Wrong),
        Bound::Closed(why) => Err(told(why)),
        Bound::Right if !enabled => Err(told(Closed::Disabled)),
        Bound::Right => Ok(Outcome::Right),
    }
}

/// Asks the directory of a domain about somebody it does not have: as long as for those it has, or the time would tell whom it has. A directory
/// that is away or off says so here as it does of its users.
pub async fn compare_nobody(state: &State, domain: &str, password: &Secret) -> Result<()> {
    if password.is_empty() {
        return Ok(());
    }
    let mut db = state.db.read();
    let mut all = directories(state).await?;
    // Some make their domains themselves.
    let links = db.list::<IdentityLink>(Cond::eq("object_id", domain).and(Cond::eq("entity", super::DOMAIN))).await?;
    all.retain(|p| p.text("target_domain_id") == domain || links.iter().any(|l| l.identity_provider_id == p.id()));
    all.sort_by_key(|p| (!p.flag("enabled"), p.id().to_string()));
    let Some(provider) = all.first() else { return Ok(()) };
    let asked = Asked { provider, local_id: &base::new_id() };
    asked.answer(state, password).await.map(drop)
}

async fn directories(state: &State) -> Result<Vec<Row>> {
    state.db.read().find(IdentityProvider::facts(), Cond::eq("driver", "ldap").and(Cond::eq("deleted", false))).await
}

/// Asks every directory there is, at the same time, about somebody whose domain nobody named: his own about him, if `user` has one, the others about
/// nobody. So the slowest sets the time, whoever it is. Only the right password does not wait for the others.
///
/// # Errors
/// What his own says of an account that is closed; `BadGateway`, the same for everybody, when some directory cannot be asked: then nobody knows
/// whether the password is wrong.
pub async fn compare_anywhere(state: &State, user: Option<&Row>, password: &Secret) -> Result<Outcome> {
    if password.is_empty() {
        return Ok(Outcome::Wrong);
    }
    let home = match user {
        Some(user) => home(state, user).await?.filter(|(_, provider)| provider.text("driver") == "ldap"),
        None => None,
    };
    let own = home.as_ref().map(|(_, provider)| provider.id());
    let (all, nobody) = (directories(state).await?, base::new_id());
    let nobody = nobody.as_str();
    // Those that are off let nobody in and are not asked, not even about their own users: the answer would tell who these are.
    let mut others = Vec::new();
    for provider in all.iter().filter(|p| p.flag("enabled") && Some(p.id()) != own) {
        others.push(async move { Asked { provider, local_id: nobody }.answer(state, password).await.map(drop) });
    }
    let mine = async {
        match (user, &home) {
            (Some(user), Some((link, provider))) if provider.flag("enabled") => told(state, user, link, provider, password).await,
            _ => Ok(Outcome::Wrong),
        }
    };
    let (mut others, mut mine) = (std::pin::pin!(join_all(others)), std::pin::pin!(mine));
    let (told, asked) = tokio::select! {
        biased;
        told = &mut mine => match told {
            Ok(outcome) if outcome.is_right() => return Ok(outcome),
            told => (told, others.await),
        },
        asked = &mut others => (mine.await, asked),
    };
    let away = |e: &Error| e.class() == Class::BadGateway;
    match told {
        Ok(outcome) if outcome.is_right() => Ok(outcome),
        Err(e) if !away(&e) => Err(e),
        Ok(_) if !asked.iter().any(|a| a.as_ref().is_err_and(away)) => Ok(Outcome::Wrong),
        _ => Err(err!(
            BadGateway,
            "not every directory can be asked now, and this login may have failed for that; name the domain of the user, or try again later"
        )),
    }
}

/// A question about a password.
struct Asked<'a> {
    provider: &'a Row,
    local_id: &'a str,
}

impl Asked<'_> {
    async fn answer(&self, state: &State, password: &Secret) -> Result<(Bound, bool)> {
        let provider = self.provider;
        if !provider.flag("enabled") {
            return Err(err!(UserDisabled, "the identity provider {} is disabled, so its users cannot log in", provider.name()));
        }
        let config = config_of(state, provider)?;
        let (local_id, password) = (self.local_id.to_string(), password.clone());
        // A task of its own: what a directory sends can make the client library fall over, and that must not be more than a failed login.
        let answer = tokio::spawn(async move { ask(&config, &local_id, &password).await }).await.map_err(Error::internal)?;
        answer.map_err(|e| {
            tracing::info!(provider = provider.name(), error = %e, cause = e.context(), "a directory cannot be asked for a password");
            let told = err!(
                BadGateway,
                "the directory {} cannot be asked now, so its users cannot log in; users of the platform itself can",
                provider.name()
            );
            told.with_context(e)
        })
    }
}

/// How the directory takes the password, and whether it has the user enabled. Whom it does not have it is asked about as well, so that it takes as
/// long.
async fn ask(config: &Config, local_id: &str, password: &Secret) -> Result<(Bound, bool)> {
    let mut directory = Directory::enter(config).await?;
    let found = entries::find(config, &mut directory, local_id).await?;
    let nobody = || format!("{}={},{}", config.user_name_attribute, base::new_id(), config.user_tree());
    let dn = found.as_ref().map_or_else(nobody, |(dn, _)| dn.clone());
    let bound = directory.bind(&dn, password).await?;
    directory.leave().await;
    Ok(found.map_or((Bound::Wrong, false), |(_, person)| (bound, person.enabled)))
}

/// Refuses to keep a password for a user whose directory has it.
pub async fn demand_own(state: &State, user: &Row) -> Result<()> {
    if user.id().is_empty() {
        return Ok(());
    }
    match home(state, user).await? {
        None => Ok(()),
        // Of his own, and linked by an administrator.
        Some((link, provider)) if provider.flag("is_sso") && link.object_id != link.id => Ok(()),
        Some((_, provider)) if provider.flag("is_sso") => Err(err!(
            NotAcceptable,
            "the user {} logs in at the identity provider {} and has no password here",
            user.name(),
            provider.name()
        )),
        Some((_, provider)) => Err(err!(
            NotAcceptable,
            "the password of the user {} is kept by the directory {}; change it there",
            user.name(),
            provider.name()
        )),
    }
}
