//! The group of users (spec 02 §4).

use base::Resource;
use base::meta::{DomainOwned, Standalone};

/// Users that get roles together.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "group", plural = "groups", service = "identity", level = domain)]
pub struct Group {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub owned: DomainOwned,
    /// Name for people.
    #[field(create, update, search)]
    pub displayname: String,
}
