//! Keeping what is in memory in step with the database: by the change feed, which tells of this process's writes and of its replicas' alike.

use crate::{directory::What, revoke, state::State};
use api_identity::{CatalogEndpoint, CatalogService, GROUP_PROJECT, USER_PROJECT};
use api_identity::{Endpoint, Region, Revocation, Service};
use auth::Revoked;
use base::{Resource, Result, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};
use store::{Cond, Order, Read, Select};

/// What has to be read again.
#[derive(Default)]
struct Stale {
    directory: HashMap<What, HashSet<String>>,
    rules: bool,
    catalogue: bool,
    revocations: bool,
    keys: bool,
    mighty: bool,
}

impl State {
    /// Reads everything: at start, and after a gap in the feed.
    pub async fn load(&self) -> Result<()> {
        let _held = self.followed.lock().await;
        self.reload().await
    }

    async fn reload(&self) -> Result<()> {
        // First the mark, then the reading: what changes in between is read twice, not missed.
        let head = self.db.feed().head().await?;
        for what in [What::Domains, What::Projects, What::Roles] {
            self.directory.load(&self.db, what, None).await?;
        }
        self.keys.load(self).await?;
        self.rules.load(&self.db).await?;
        self.load_catalogue().await?;
        self.load_revocations().await?;
        self.load_mighty().await?;
        self.cursor.store(head, SeqCst);
        Ok(())
    }

    /// Catches up with all that is committed. Requests that change something call it before they answer, so that whoever made a change
    /// meets it in his next request.
    pub async fn catch_up(&self) -> Result<()> {
        let _held = self.followed.lock().await;
        let head = self.db.feed().settle().await?;
        loop {
            let from = self.cursor.load(SeqCst);
            if from == head {
                return Ok(());
            }
            let batch = self.db.feed().after(from, 500).await?;
            if batch.lost {
                return self.reload().await;
            }
            if batch.changes.is_empty() {
                return Ok(());
            }
            let mut stale = Stale::default();
            for (_, _, change) in &batch.changes {
                stale.add(&change.kind, &change.id);
            }
            self.refresh(stale).await?;
            self.cursor.store(batch.cursor, SeqCst);
            if batch.cursor >= head {
                return Ok(());
            }
        }
    }

    async fn refresh(&self, stale: Stale) -> Result<()> {
        for (what, ids) in stale.directory {
            let ids: Vec<String> = ids.into_iter().collect();
            // A great many at once are read whole: a list of ids has its limits.
            self.directory.load(&self.db, what, (ids.len() <= 200).then_some(&ids)).await?;
        }
        if stale.keys {
            self.keys.load(self).await?;
        }
        if stale.rules {
            self.rules.load(&self.db).await?;
        }
        if stale.catalogue {
            self.load_catalogue().await?;
        }
        if stale.revocations {
            self.load_revocations().await?;
        }
        if stale.mighty {
            self.load_mighty().await?;
        }
        Ok(())
    }

    /// Services with their endpoints, the disabled ones left out.
    async fn load_catalogue(&self) -> Result<()> {
        let mut db = self.db.read();
        let on = || Cond::eq("deleted", false).and(Cond::eq("enabled", true));
        let order = || vec![Order::asc("created_at"), Order::asc("id")];
        let endpoints = db.page(Endpoint::facts(), on(), order(), 100_000, 0).await?;
        let services = db.page(Service::facts(), on(), order(), 100_000, 0).await?;
        let regions: HashSet<String> =
            db.find(Region::facts(), Cond::eq("deleted", false)).await?.iter().map(|r| r.id().to_string()).collect();
        let mut of: HashMap<String, Vec<CatalogEndpoint>> = HashMap::new();
        for row in endpoints.iter().filter(|e| regions.contains(e.text("region_id")) && !e.text("url").is_empty()) {
            of.entry(row.text("service_id").to_string()).or_default().push(CatalogEndpoint {
                id: row.id().to_string(),
                interface: row.text("interface").to_string(),
                name: row.name().to_string(),
                region: row.text("region_id").to_string(),
                region_id: row.text("region_id").to_string(),
                url: row.text("url").to_string(),
            });
        }
        let listed = services.iter().filter_map(|s| {
            let endpoints = of.remove(s.id())?;
            Some(CatalogService { endpoints, id: s.id().to_string(), name: s.name().to_string(), r#type: s.text("type").to_string() })
        });
        self.catalogue.store(Arc::new(listed.collect()));
        Ok(())
    }

    async fn load_revocations(&self) -> Result<()> {
        let all = revoke::all(&mut self.db.read(), self.clock.now()).await?;
        self.verifier.set_revocations(all.iter().filter_map(to_auth));
        Ok(())
    }

    async fn load_mighty(&self) -> Result<()> {
        let mut db = self.db.read();
        let system = self.directory.projects_named(api_identity::project::SYSTEM, Some(api_identity::domain::DEFAULT));
        let mut mighty = HashSet::new();
        for project in system {
            let held = |kind: &'static str| Cond::eq("target_id", project.project_id.as_str()).and(Cond::eq("type", kind));
            mighty.extend(db.texts("assignments", "actor_id", held(USER_PROJECT)).await?);
            let groups = Select::from("assignments").column("actor_id", base::Kind::Text).filter(held(GROUP_PROJECT));
            mighty.extend(db.texts("memberships", "user_id", Cond::in_select("group_id", groups)).await?);
        }
        self.mighty.store(Arc::new(mighty));
        Ok(())
    }

    /// Follows until dropped. A database that does not answer is asked again; meanwhile what is in memory serves.
    pub async fn run(self: Arc<State>) {
        loop {
            let outcome = async {
                self.db.feed().wait(self.cursor.load(SeqCst), Duration::from_secs(30)).await?;
                self.catch_up().await
            };
            if let Err(e) = outcome.await {
                tracing::warn!(error = %e, cause = e.context(), "cannot follow the changes of the identity database; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

impl Stale {
    fn add(&mut self, kind: &str, id: &str) {
        match kind {
            "domain" => drop(self.directory.entry(What::Domains).or_default().insert(id.into())),
            "project" => drop(self.directory.entry(What::Projects).or_default().insert(id.into())),
            "role" => drop(self.directory.entry(What::Roles).or_default().insert(id.into())),
            "policy" | "rolepolicy" => self.rules = true,
            "service" | "endpoint" | "region" => self.catalogue = true,
            "revocation" => self.revocations = true,
            "signing_key" => self.keys = true,
            "assignment" | "membership" => self.mighty = true,
            _ => {}
        }
    }
}

/// A revocation as the verifier knows it; one of a kind from a newer version is passed over.
pub fn to_auth(r: &Revocation) -> Option<auth::Revocation> {
    let value = || r.value.clone();
    let what = match r.kind.as_str() {
        "chain" | "key" => Revoked::Chain(value()),
        "user" => Revoked::User(value()),
        "project" => Revoked::Project(value()),
        "domain" => Revoked::Domain(value()),
        "grant" => {
            let (user, target) = r.value.split_once(':')?;
            Revoked::Grant(user.to_string(), target.to_string())
        }
        _ => return None,
    };
    Some(auth::Revocation { what, before: Timestamp(r.before), expires: Timestamp(r.expires_at) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_we_write_reaches_the_verifier() {
        for (kind, value) in [("chain", "a"), ("key", "k"), ("user", "u"), ("project", "p"), ("domain", "d"), ("grant", "u:p")] {
            let r = Revocation { kind: kind.into(), value: value.into(), before: 1, expires_at: 2 };
            assert!(to_auth(&r).is_some(), "{kind}");
        }
        assert!(to_auth(&Revocation { kind: "newer".into(), ..Revocation::default() }).is_none());
    }
}
