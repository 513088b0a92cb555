//! The application credential: a secret with which a program works as its owner, in one project, with some of the owner's roles there and,
//! if wished, on some paths only (spec 02 §12).

use base::meta::Standalone;
use base::{Json, Resource, Timestamp};
use serde::{Deserialize, Serialize};

/// What a program logs in with instead of its owner's password.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "application_credential", plural = "application_credentials", service = "identity", level = user)]
pub struct ApplicationCredential {
    #[field(flatten)]
    pub meta: Standalone,
    /// The user it belongs to.
    #[field(filter, alias = "user_id user", refers = "user")]
    pub owner_id: String,
    /// The project it works in: the one it was made in.
    #[field(filter)]
    pub project_id: String,
    /// Roles it has there, by id. A role the owner loses, it loses as well.
    #[field(create)]
    pub roles: Json,
    /// Whether it may make credentials, change the owner's login and the like; not unless it is said.
    #[field(create)]
    pub unrestricted: bool,
    /// Requests it may make: objects with `service`, `method` and `path`; all when empty.
    #[field(create)]
    pub access_rules: Json,
    /// When it stops to be usable; never when empty.
    #[field(create)]
    pub expires_at: Option<Timestamp>,
    /// Hash of the secret.
    #[field(hidden)]
    pub secret_hash: String,
}

/// A request an application credential may make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRule {
    #[serde(default)]
    pub id: String,
    /// Type of the service, such as `compute`.
    pub service: String,
    /// `GET`, `POST` …
    pub method: String,
    /// Path in the service; `*` and `{name}` stand for one segment, `**` for the rest.
    pub path: String,
}
