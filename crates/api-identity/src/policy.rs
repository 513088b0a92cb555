//! The policy: what is allowed, at which breadth (spec 02 §7).

use base::meta::{DomainOwned, Enabled, Shared, Standalone};
use base::{Json, Resource};

/// A document of permissions.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "policy", plural = "policies", service = "identity", level = domain)]
pub struct Policy {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub owned: DomainOwned,
    #[field(flatten)]
    pub enabled: Enabled,
    #[field(flatten)]
    pub shared: Shared,
    /// The document: `{"policy": {service: {resource: {action: {extra: "allow" or "deny"}}}}}`.
    #[field(create, update)]
    pub blob: Json,
    /// Breadth of what it allows: `system`, `domain`, `project` or `user`.
    #[field(create, update, filter, default = "project")]
    pub scope: String,
    /// Whether it came with the platform and cannot be changed or deleted; answered as `is_system`.
    // Not under that word: a column of that name hides its rows from ordinary lists.
    #[field(hidden)]
    pub builtin: bool,
    /// Allows only what belongs to projects with one of these tags.
    #[field(create, update)]
    pub project_tags: Json,
    /// Allows only what belongs to domains with one of these tags.
    #[field(create, update)]
    pub domain_tags: Json,
    /// Allows only what has one of these tags itself.
    #[field(create, update)]
    pub object_tags: Json,
}
