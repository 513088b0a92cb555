//! The role (spec 02 §4, §7).

use base::Resource;
use base::meta::{DomainOwned, Shared, Standalone};

/// A word that users and groups hold in a project; policies are bound to it.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "role", plural = "roles", service = "identity", level = domain)]
pub struct Role {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub owned: DomainOwned,
    #[field(flatten)]
    pub shared: Shared,
}

/// The name of the role that, held in the project `system`, is all-powerful.
pub const ADMIN: &str = "admin";
