//! The domain: the widest room that users, groups, projects, roles and policies live in (spec 02 §4).

use base::Resource;
use base::meta::{Enabled, Standalone};

/// A closed organisation: its users, groups and projects have names of their own.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "domain", plural = "domains", service = "identity", level = system)]
pub struct Domain {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub enabled: Enabled,
    /// Name for people.
    #[field(create, update, search)]
    pub displayname: String,
}

/// The identifier of the domain every platform begins with.
pub const DEFAULT: &str = "default";
