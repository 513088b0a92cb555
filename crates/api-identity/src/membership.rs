//! Users in groups (spec 02 §4).

use base::{Resource, Timestamp};

/// One user in one group.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "membership", plural = "memberships", service = "identity", level = system)]
pub struct Membership {
    /// `group:user`: a user cannot be in a group twice.
    pub id: String,
    /// The group.
    #[field(refers = "group")]
    pub group_id: String,
    /// The user.
    #[field(refers = "user")]
    pub user_id: String,
    /// When the user joined.
    pub created_at: Timestamp,
}

impl Membership {
    pub fn id_of(group: &str, user: &str) -> String {
        format!("{group}:{user}")
    }
}
