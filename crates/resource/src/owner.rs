//! Whose things are: the names of projects and domains, known without asking anybody for each row.

use crate::BoxFuture;
use base::{Caller, Result, err};

/// A project with its domain; `project_id` is empty for a domain alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub project_id: String,
    pub project: String,
    pub domain_id: String,
    pub domain: String,
}

impl Owner {
    pub fn of(caller: &Caller) -> Owner {
        Owner {
            project_id: caller.project_id.clone(),
            project: caller.project.clone(),
            domain_id: caller.project_domain_id.clone(),
            domain: caller.project_domain.clone(),
        }
    }
}

/// The directory of projects and domains. Look-ups are answered from memory; the implementation follows the identity service's changes.
pub trait Owners: Send + Sync {
    fn project(&self, id: &str) -> Option<Owner>;
    fn domain(&self, id: &str) -> Option<Owner>;
    /// Projects with this name, inside a domain when one is given.
    fn projects_named(&self, name: &str, domain_id: Option<&str>) -> Vec<Owner>;
    fn domains_named(&self, name: &str) -> Vec<Owner>;
    /// Catches up with the identity service; called once when a look-up failed, before the failure is believed.
    fn refresh(&self) -> BoxFuture<'_, Result<()>>;
}

/// A project by id or name.
pub(crate) async fn find_project(owners: &dyn Owners, which: &str, domain_id: Option<&str>) -> Result<Owner> {
    for again in [false, true] {
        if again {
            owners.refresh().await?;
        }
        if let Some(owner) = owners.project(which) {
            return Ok(owner);
        }
        let mut named = owners.projects_named(which, domain_id);
        match named.len() {
            0 => {}
            1 => return Ok(named.remove(0)),
            _ => return Err(err!(DuplicateResource, "several projects are named {}; give its id or its domain", which)),
        }
    }
    Err(err!(ResourceNotFound, "{} {} not found", "project", which))
}

/// A domain by id or name.
pub(crate) async fn find_domain(owners: &dyn Owners, which: &str) -> Result<Owner> {
    for again in [false, true] {
        if again {
            owners.refresh().await?;
        }
        if let Some(owner) = owners.domain(which).or_else(|| owners.domains_named(which).pop()) {
            return Ok(owner);
        }
    }
    Err(err!(ResourceNotFound, "{} {} not found", "domain", which))
}

/// A directory that never changes: for tests, and for services without projects.
#[derive(Clone, Debug, Default)]
pub struct FixedOwners(pub Vec<Owner>);

impl Owners for FixedOwners {
    fn project(&self, id: &str) -> Option<Owner> {
        self.0.iter().find(|o| o.project_id == id).cloned()
    }
    fn domain(&self, id: &str) -> Option<Owner> {
        self.0.iter().find(|o| o.domain_id == id).map(|o| Owner {
            domain_id: o.domain_id.clone(),
            domain: o.domain.clone(),
            ..Owner::default()
        })
    }
    fn projects_named(&self, name: &str, domain_id: Option<&str>) -> Vec<Owner> {
        self.0.iter().filter(|o| o.project == name && domain_id.is_none_or(|d| d == o.domain_id)).cloned().collect()
    }
    fn domains_named(&self, name: &str) -> Vec<Owner> {
        self.0
            .iter()
            .find(|o| o.domain == name)
            .map(|o| Owner { domain_id: o.domain_id.clone(), domain: o.domain.clone(), ..Owner::default() })
            .into_iter()
            .collect()
    }
    fn refresh(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}
