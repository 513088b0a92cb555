//! Quotas (spec 10 §12.2): how much of the platform a project or a domain may have.

use base::{Resource, Timestamp};

/// Limits of one project, or of all projects of a domain together. Without a row there are none. What lies in the recycle bin does not count.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "quota", plural = "quotas", service = "compute", level = project)]
pub struct Quota {
    /// Identifier: the project's, or the domain's.
    pub id: String,
    /// Domain of the project.
    pub domain_id: String,
    /// The project; empty: the whole domain.
    pub tenant_id: String,
    /// Servers; -1: unlimited.
    #[field(create, update, default = "-1")]
    pub count: i64,
    /// Virtual processors of servers; -1: unlimited.
    #[field(create, update, default = "-1")]
    pub cpu: i64,
    /// MiB of memory of servers; -1: unlimited.
    #[field(create, update, default = "-1")]
    pub memory: i64,
    /// MiB of disks; -1: unlimited.
    #[field(create, update, default = "-1")]
    pub storage: i64,
    /// Rises with every check: whoever takes something of the project queues up here.
    #[field(hidden)]
    pub checks: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Whether it is gone: the project has no limits.
    pub deleted: bool,
    /// When it went.
    pub deleted_at: Option<Timestamp>,
    /// Rises with every change.
    pub update_version: i64,
}
