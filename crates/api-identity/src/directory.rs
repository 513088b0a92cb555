//! What other services keep in memory of the identity service: owners, signing keys, revocations, and word of changes.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A project as the directory of owners knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryProject {
    pub id: String,
    pub name: String,
    pub domain_id: String,
    /// Its tags.
    #[serde(default)]
    pub metadata: HashMap<String, String>,
}

/// A domain as the directory of owners knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryDomain {
    pub id: String,
    pub name: String,
    /// Its tags.
    #[serde(default)]
    pub metadata: HashMap<String, String>,
}

/// A key that tokens are signed with; the public half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Names the key inside a token.
    pub id: String,
    /// `EdDSA`.
    pub alg: String,
    /// 32 bytes, base64url without padding.
    pub public: String,
    /// Unix microseconds after which no valid token can bear its signature.
    pub retires_at: i64,
}

/// Tokens that are void before they expire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What `value` is: `chain` (an audit id: the token and all that come from it), `user`, `project` or `key` (an access key).
    pub kind: String,
    pub value: String,
    /// Unix microseconds: tokens issued up to then are void.
    pub before: i64,
    /// Unix microseconds: after then every such token has expired by itself.
    pub expires_at: i64,
}

/// `GET /v3/auth/revocations`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Revocations {
    pub revocations: Vec<Revocation>,
    /// Where the changes stand that this list includes.
    pub cursor: i64,
}

/// `GET /v3/auth/bindings`: everything needed to decide what a caller may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RuleBook {
    pub policies: Vec<RulePolicy>,
    pub bindings: Vec<RuleBinding>,
}

/// A policy that is enabled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RulePolicy {
    pub id: String,
    pub name: String,
    /// `system`, `domain`, `project` or `user`.
    pub scope: String,
    /// The service map, with tag sets beside it (spec 02 §7.3).
    pub document: base::Json,
}

/// A policy given to a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleBinding {
    pub role_id: String,
    /// Empty for any.
    pub project_id: String,
    pub policy_id: String,
    /// Whether it holds for authenticated callers only.
    pub auth: bool,
    /// Networks; any when empty.
    pub ips: Vec<String>,
    /// Unix microseconds.
    pub valid_since: Option<i64>,
    pub valid_until: Option<i64>,
}

/// `GET /v3/auth/changes`: what became different since a cursor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    pub changes: Vec<Changed>,
    /// Where to go on.
    pub cursor: i64,
    /// Whether changes are missing because the cursor was too old: read everything anew.
    pub lost: bool,
}

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Singular keyword: `project`, `domain`, `assignment`, `policy`, `revocation`…
    pub kind: String,
    pub id: String,
    /// `create`, `update` or `delete`.
    pub op: String,
}
