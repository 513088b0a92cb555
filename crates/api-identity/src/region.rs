//! The region of the catalogue (spec 02 §8).

use base::Resource;
use base::meta::Standalone;

/// A place that has its own set of services.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "region", plural = "regions", service = "identity", level = system)]
pub struct Region {
    #[field(flatten)]
    pub meta: Standalone,
    /// The region around it.
    #[field(create, update, filter, refers = "region")]
    pub parent_region_id: String,
}
