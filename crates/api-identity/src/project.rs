//! The project: what owns servers, disks and images, and what a token is scoped to (spec 02 §4).

use base::Resource;
use base::meta::{DomainOwned, Enabled, Standalone};

/// A tenant. Its members have roles in it; its objects belong to nobody else.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "project", plural = "projects", service = "identity", level = domain)]
pub struct Project {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub owned: DomainOwned,
    #[field(flatten)]
    pub enabled: Enabled,
    /// The object above it: always its domain, projects do not nest.
    pub parent_id: String,
    /// Name for people.
    #[field(create, update, search)]
    pub displayname: String,
    /// The user who answers for the project.
    // Not marked as referring to a user: lists would then take clients' `admin=true`, which asks for a scope, for a user of that name.
    #[field(create, filter)]
    pub admin_id: String,
}

/// The name of the project that the platform's own accounts work in.
pub const SYSTEM: &str = "system";
