//! Places and layer 2: cloud regions, zones, VPCs, wires (spec 10 §3).

use base::{Resource, meta};

/// A region: the widest place; the private cloud has one, `default`.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "cloudregion", plural = "cloudregions", service = "compute", level = system)]
pub struct CloudRegion {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub enabled: meta::Enabled,
    #[field(flatten)]
    pub external: meta::External,
    /// Whose cloud it is: `OneCloud` for our own.
    #[field(filter, default = "OneCloud")]
    pub provider: String,
    /// Environment word of a public cloud.
    pub environment: String,
    /// City it stands in.
    #[field(create, update, filter)]
    pub city: String,
    /// Two-letter country code.
    #[field(create, update)]
    pub country_code: String,
    /// Degrees north.
    #[field(create, update)]
    pub latitude: f64,
    /// Degrees east.
    #[field(create, update)]
    pub longitude: f64,
}

/// A zone: hosts that share power and network, inside a region.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "zone", plural = "zones", service = "compute", level = system)]
pub struct Zone {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub external: meta::External,
    /// Region it lies in.
    #[field(create, filter, refers = "cloudregion", alias = "region region_id", default = "default")]
    pub cloudregion_id: String,
    /// Where it stands.
    #[field(create, update, filter)]
    pub location: String,
    /// Whom to call.
    #[field(create, update, show)]
    pub contacts: String,
    /// Name in Chinese.
    #[field(create, update)]
    pub name_cn: String,
    /// Maker of its name in a public cloud.
    pub manager_uri: String,
}

/// A VPC: an address space of its own; `default` is the classic network.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "vpc", plural = "vpcs", service = "compute", level = domain)]
pub struct Vpc {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub enabled: meta::Enabled,
    #[field(flatten)]
    pub domain: meta::DomainOwned,
    #[field(flatten)]
    pub shared: meta::Shared,
    #[field(flatten)]
    pub external: meta::External,
    /// Region it lies in.
    #[field(create, filter, refers = "cloudregion", alias = "region region_id", default = "default")]
    pub cloudregion_id: String,
    /// Whether it is the classic network of its region.
    #[field(filter)]
    pub is_default: bool,
    /// Address range, as `192.168.0.0/16`; one of the private ranges.
    #[field(create, filter)]
    pub cidr_block: String,
    /// IPv6 range; must start with `fd`.
    #[field(create)]
    pub cidr_block6: String,
    /// How guests reach the outside: `none`, `eip`, `eip-distgw`.
    #[field(create, update, filter, default = "eip-distgw")]
    pub external_access_mode: String,
    /// Whether instances may be reached without an address of the outside.
    #[field(update)]
    pub direct: bool,
}

/// A wire: one layer-2 broadcast domain of a zone.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "wire", plural = "wires", service = "compute", level = domain)]
pub struct Wire {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub domain: meta::DomainOwned,
    #[field(flatten)]
    pub shared: meta::Shared,
    #[field(flatten)]
    pub external: meta::External,
    /// VPC it belongs to.
    #[field(create, filter, refers = "vpc", default = "default")]
    pub vpc_id: String,
    /// Zone it lies in.
    #[field(create = required, filter, refers = "zone")]
    pub zone_id: String,
    /// Mbit/s.
    #[field(create = required, update, filter, alias = "bw")]
    pub bandwidth: i64,
    /// Bytes of the largest frame's payload.
    #[field(create, update, default = "1500")]
    pub mtu: i64,
    /// Higher is preferred when placing.
    #[field(update)]
    pub schedule_rank: i64,
}
