//! Column groups that resources share (spec 01 §7). A resource flattens the groups it has.

use crate::{Columns, Timestamp};

/// What every named object has.
#[derive(Clone, Debug, Default, Columns)]
pub struct Standalone {
    /// Identifier.
    pub id: String,
    /// Name, unique among its owner's objects of this kind.
    #[field(create, update, search)]
    pub name: String,
    /// Free text.
    #[field(create, update, search)]
    pub description: String,
    /// Whether this is a placeholder that the platform made for itself.
    pub is_emulated: bool,
    /// When the object was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Rises by one with every change; writes name the version they saw.
    pub update_version: i64,
    /// Whether it is deleted for good and kept only for the record.
    pub deleted: bool,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// Status and progress.
#[derive(Clone, Debug, Default, Columns)]
pub struct Status {
    /// State word; the resource's page lists the words.
    #[field(filter)]
    pub status: String,
    /// Progress of the running operation, percent.
    #[field(default = "100")]
    pub progress: i64,
}

/// An enable switch.
#[derive(Clone, Debug, Default, Columns)]
pub struct Enabled {
    /// Whether it takes new work.
    #[field(create, update, filter)]
    pub enabled: bool,
}

/// Owned by a domain.
#[derive(Clone, Debug, Default, Columns)]
pub struct DomainOwned {
    /// Identifier of the owning domain.
    pub domain_id: String,
    /// Where the ownership was last set: `local` or `cloud`.
    #[field(default = "local")]
    pub domain_src: String,
}

/// Owned by a project, with the marks of a project's object.
#[derive(Clone, Debug, Default, Columns)]
pub struct ProjectOwned {
    /// Identifier of the project's domain.
    pub domain_id: String,
    /// Identifier of the owning project.
    pub tenant_id: String,
    /// Where the ownership was last set: `local` or `cloud`.
    #[field(default = "local")]
    pub project_src: String,
    /// Whether the platform made it for its own use; hidden from ordinary lists.
    #[field(create)]
    pub is_system: bool,
    /// Whether it lies in the recycle bin.
    pub pending_deleted: bool,
    /// When it was put into the recycle bin.
    pub pending_deleted_at: Option<Timestamp>,
    /// Whether it is frozen: every change but unfreeze is refused.
    pub freezed: bool,
}

/// Visible to others than its owner.
#[derive(Clone, Debug, Default, Columns)]
pub struct Shared {
    /// Whether others than the owner can see and use it.
    #[field(filter)]
    pub is_public: bool,
    /// How far it is shared: `none`, `project`, `domain` or `system`.
    #[field(filter, default = "none")]
    pub public_scope: String,
    /// Where sharing was last set: `local` or `cloud`.
    #[field(default = "local")]
    pub public_src: String,
    /// Projects it is shared with, when the scope is `project`.
    #[field(hidden)]
    pub shared_project_ids: crate::Json,
    /// Domains it is shared with, when the scope is `domain`.
    #[field(hidden)]
    pub shared_domain_ids: crate::Json,
}

/// Known to an outside cloud.
#[derive(Clone, Debug, Default, Columns)]
pub struct External {
    /// Identifier in the outside cloud.
    #[field(filter)]
    pub external_id: String,
    /// When it was first seen there.
    pub imported_at: Option<Timestamp>,
    /// `local` or `cloud`.
    #[field(default = "local")]
    pub source: String,
}

/// How it is paid for.
#[derive(Clone, Debug, Default, Columns)]
pub struct Billing {
    /// `postpaid` or `prepaid`.
    #[field(create, filter, default = "postpaid")]
    pub billing_type: String,
    /// Paid period, for example `1M`.
    pub billing_cycle: String,
    /// End of the paid period.
    pub expired_at: Option<Timestamp>,
    /// Whether the period renews itself.
    #[field(create)]
    pub auto_renew: bool,
    /// When it is released.
    pub release_at: Option<Timestamp>,
}

/// Guarded against deletion.
#[derive(Clone, Debug, Default, Columns)]
pub struct Guarded {
    /// Whether deletion is refused until this is cleared.
    #[field(create, update, default = "true")]
    pub disable_delete: bool,
}

/// What a joint row has: it ties two objects together and has no name of its own.
#[derive(Clone, Debug, Default, Columns)]
pub struct Joint {
    /// Key of the row inside the platform.
    #[field(hidden)]
    pub id: String,
    /// Number of the row.
    pub row_id: i64,
    /// When the two were tied together.
    pub created_at: Timestamp,
    /// When the row was last changed.
    pub updated_at: Timestamp,
    /// Rises by one with every change.
    pub update_version: i64,
    /// Whether the tie is undone and the row kept only for the record.
    pub deleted: bool,
    /// When it was undone.
    pub deleted_at: Option<Timestamp>,
}
