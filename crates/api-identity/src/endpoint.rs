//! The endpoint: where a service is (spec 02 §8).

use base::Resource;
use base::meta::{Enabled, Standalone};

/// An address of a service in a region, for one kind of caller.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "endpoint", plural = "endpoints", service = "identity", level = system)]
pub struct Endpoint {
    #[field(flatten)]
    pub meta: Standalone,
    #[field(flatten)]
    pub enabled: Enabled,
    /// Who calls it: `public`, `internal`, `admin`, `slave`, `console` or `apigateway`.
    #[field(create = required, update, filter)]
    pub interface: String,
    /// The service.
    #[field(create = required, filter, refers = "service")]
    pub service_id: String,
    /// The address, with the version where the service has one in its paths.
    #[field(create, update, search)]
    pub url: String,
    /// The region it serves.
    #[field(create, filter, alias = "region")]
    pub region_id: String,
    /// Certificate of the address.
    #[field(create, update)]
    pub service_certificate_id: String,
}

/// Words an interface can be.
pub const INTERFACES: &[&str] = &["public", "internal", "admin", "slave", "console", "apigateway"];
