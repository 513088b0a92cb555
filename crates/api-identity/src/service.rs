//! The service: an entry of the catalogue, and the holder of its configuration (spec 02 §8).

use base::meta::{Enabled, Standalone};
use base::{Json, Resource};

/// A service of the platform, or one outside it that has an address here.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "service", plural = "services", service = "identity", level = system)]
pub struct Service {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub enabled: Enabled,
    /// What clients look for: `identity`, `compute_v2`, `image`…
    #[field(create = required, update, filter, search)]
    pub r#type: String,
    /// Anything an operator wants to keep with it.
    #[field(create, update)]
    pub extra: Json,
    /// Rises by one with every change of its configuration.
    pub config_version: i64,
    /// Its configuration: groups of keys and values.
    #[field(hidden)]
    pub config: Json,
    /// The sensitive part of its configuration, sealed.
    #[field(hidden)]
    pub sealed_config: String,
}
