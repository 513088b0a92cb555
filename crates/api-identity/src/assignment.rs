//! Roles held by users and groups in projects (spec 02 §5).

use base::{Resource, Timestamp};

/// One role of one user or group in one project.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "assignment", plural = "assignments", service = "identity", level = system)]
pub struct Assignment {
    /// `actor:target:role`: the same role cannot be held twice.
    pub id: String,
    /// Who and where: `UserProject`, `GroupProject`, `UserDomain` or `GroupDomain`.
    pub r#type: String,
    /// The user or group.
    pub actor_id: String,
    /// The project or domain.
    pub target_id: String,
    /// The role.
    #[field(refers = "role")]
    pub role_id: String,
    /// When it was given.
    pub created_at: Timestamp,
}

/// A user's role in a project.
pub const USER_PROJECT: &str = "UserProject";
/// A group's role in a project.
pub const GROUP_PROJECT: &str = "GroupProject";
/// A user's role in a domain: kept for OpenStack clients, it opens no project.
pub const USER_DOMAIN: &str = "UserDomain";
/// A group's role in a domain.
pub const GROUP_DOMAIN: &str = "GroupDomain";

impl Assignment {
    pub fn id_of(actor: &str, target: &str, role: &str) -> String {
        format!("{actor}:{target}:{role}")
    }
}
