//! The identity provider: where users come from (spec 02 §10), and what ties its users and groups to rows here.

use base::meta::{Enabled, Standalone};
use base::{Json, Resource, Timestamp};

/// An authority that knows users: the platform's own tables, or a directory.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "identity_provider", plural = "identity_providers", service = "identity", level = system)]
pub struct IdentityProvider {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub enabled: Enabled,
    /// How users are known: `sql` or `ldap`. A template says it as well.
    #[field(create, filter)]
    pub driver: String,
    /// Presets of the configuration: `openldap_one_domain`, `msad_one_domain`, `msad_multi_domain`.
    #[field(create, filter)]
    pub template: String,
    /// `connected`, or `disconnected` when the authority could not be asked the last time.
    #[field(filter)]
    pub status: String,
    /// Whether users log in on the authority's own pages.
    #[field(filter)]
    pub is_sso: bool,
    /// Whether the login page goes there by itself.
    #[field(filter)]
    pub is_default: bool,
    /// Picture for the login page.
    #[field(create, update)]
    pub icon_uri: String,
    /// Domain its users and groups come into; one of the provider's name is made when a directory of one domain names none.
    #[field(create, filter, refers = "domain", alias = "target_domain")]
    pub target_domain_id: String,
    /// Whether projects that the mapping of groups names are made when they are missing.
    #[field(create, update)]
    pub auto_create_project: bool,
    /// Whether users that log in for the first time are made.
    #[field(create, update)]
    pub auto_create_user: bool,
    /// `idle`, or `syncing` while users are brought over.
    #[field(filter, default = "idle")]
    pub sync_status: String,
    /// How often users are brought over, seconds; 300 at least.
    #[field(create, update, default = "900")]
    pub sync_interval_seconds: i64,
    /// When the last synchronisation began.
    pub last_sync: Option<Timestamp>,
    /// When it ended.
    pub last_sync_end_at: Option<Timestamp>,
    /// Failed synchronisations since the last good one.
    pub error_count: i64,
    /// Why the last one failed; empty when it did not.
    pub last_error: String,
    /// Rises by one with every change of its configuration.
    pub config_version: i64,
    /// What the last synchronisation changed.
    #[field(hidden)]
    pub sync_result: Json,
    /// Its configuration, without secrets.
    #[field(hidden)]
    pub config: Json,
    /// The sensitive part of its configuration, sealed.
    #[field(hidden)]
    pub sealed_config: String,
}

/// The provider every platform begins with: users of its own tables.
pub const SQL: &str = "sql";
/// Its identifier.
pub const SQL_ID: &str = "default";

/// One object of an authority and the row that stands for it here.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "identity_link", plural = "identity_links", service = "identity", level = system)]
pub struct IdentityLink {
    /// 64 hex digits, made of the provider, the kind and the authority's own identifier: the same for ever.
    pub id: String,
    /// The authority.
    #[field(refers = "identity_provider")]
    pub identity_provider_id: String,
    /// `user`, `group` or `domain`.
    pub entity: String,
    /// The authority's own identifier: what its identifying attribute says.
    pub local_id: String,
    /// The row here.
    pub object_id: String,
    /// Whether the authority had it and had it enabled when it was last looked at.
    pub enabled: bool,
    /// Further attributes, as they were last written.
    pub extra: Json,
    /// When it was first seen.
    pub created_at: Timestamp,
}
