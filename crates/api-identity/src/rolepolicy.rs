//! The tie between a role and a policy (spec 02 §7.2).

use base::{Json, Resource, Timestamp};

/// Gives a policy to whoever holds the role: in one project or any, from some addresses or all, for some time or for ever.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "rolepolicy", plural = "rolepolicies", service = "identity", level = system)]
pub struct RolePolicy {
    /// `role:project:policy`, each an identifier; the project is empty for any.
    pub id: String,
    /// Free text.
    pub description: String,
    /// The role.
    #[field(refers = "role")]
    pub role_id: String,
    /// The project in which it holds; empty for any.
    #[field(refers = "project")]
    pub project_id: String,
    /// The policy.
    #[field(refers = "policy")]
    pub policy_id: String,
    /// Whether it holds for authenticated callers; otherwise for anybody.
    #[field(default = "true")]
    pub auth: bool,
    /// Networks in CIDR form the caller must come from; any when empty.
    pub ips: Json,
    /// From when it holds.
    pub valid_since: Option<Timestamp>,
    /// Until when it holds.
    pub valid_until: Option<Timestamp>,
    /// When the two were tied together.
    pub created_at: Timestamp,
    /// When the tie was last changed.
    pub updated_at: Timestamp,
    /// Rises by one with every change.
    pub update_version: i64,
    /// Whether the tie is undone and the row kept only for the record.
    pub deleted: bool,
    /// When it was undone.
    pub deleted_at: Option<Timestamp>,
}

impl RolePolicy {
    /// The identifier of a tie.
    pub fn id_of(role: &str, project: &str, policy: &str) -> String {
        format!("{role}:{project}:{policy}")
    }
}
