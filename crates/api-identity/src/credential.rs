//! The credential: a secret of a user that is not the login password (spec 02 §6).

use base::meta::{Enabled, Standalone};
use base::{Resource, Timestamp};

/// An access key, a second factor, a registry login, an encryption key.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "credential", plural = "credentials", service = "identity", level = user)]
pub struct Credential {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub enabled: Enabled,
    /// The user it belongs to.
    #[field(filter, alias = "user_id user", refers = "user")]
    pub owner_id: String,
    /// The project it works in; `default` when it depends on none.
    #[field(create, filter)]
    pub project_id: String,
    /// What it is: `aksk`, `totp`, `recovery_secret`, `oidc`, `enc_key`, `container_image` or `container_secret`.
    #[field(create = required, filter)]
    pub r#type: String,
    /// When it stops to be usable; never when empty.
    #[field(create, update)]
    pub expired_at: Option<Timestamp>,
    /// The secret itself, a JSON text, sealed.
    #[field(hidden)]
    pub sealed_blob: String,
    /// SHA-256 of the secret, for finding it without opening it.
    #[field(hidden)]
    pub key_hash: String,
}

/// Words a credential's type can be.
pub const TYPES: &[&str] = &["aksk", "totp", "recovery_secret", "oidc", "enc_key", "container_image", "container_secret"];
