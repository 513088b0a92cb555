//! The directory of owners, for the other services of this process.

use crate::state::State;
use base::Result;
use resource::{BoxFuture, Owner, Owners, TagSet};
use service::OwnerTags;
use std::sync::Arc;

/// Answers from memory; catches up with the database when a look-up failed.
pub struct LocalOwners(pub Arc<State>);

impl Owners for LocalOwners {
    fn project(&self, id: &str) -> Option<Owner> {
        self.0.directory.find_project(id)
    }
    fn domain(&self, id: &str) -> Option<Owner> {
        self.0.directory.find_domain(id)
    }
    fn projects_named(&self, name: &str, domain_id: Option<&str>) -> Vec<Owner> {
        self.0.directory.projects_named(name, domain_id)
    }
    fn domains_named(&self, name: &str) -> Vec<Owner> {
        self.0.directory.domains_named(name)
    }
    fn refresh(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.0.catch_up())
    }
}

impl OwnerTags for LocalOwners {
    fn projects_with(&self, sets: &[TagSet]) -> Vec<String> {
        self.0.directory.projects_with(sets)
    }
    fn domains_with(&self, sets: &[TagSet]) -> Vec<String> {
        self.0.directory.domains_with(sets)
    }
}
