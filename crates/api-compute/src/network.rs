//! Networks: address ranges on wires (spec 10 §3.5).

use base::{Resource, Timestamp, meta};

/// A network: a range of addresses on a wire that guests get theirs from.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "network", plural = "networks", service = "compute", level = project)]
pub struct Network {
    #[field(flatten)]
    pub meta: meta::Standalone,
    #[field(flatten)]
    pub status: meta::Status,
    #[field(flatten)]
    pub owned: meta::ProjectOwned,
    #[field(flatten)]
    pub shared: meta::Shared,
    #[field(flatten)]
    pub external: meta::External,
    /// Wire it lies on.
    #[field(create, filter, refers = "wire")]
    pub wire_id: String,
    /// First address guests may get.
    #[field(create, update, filter)]
    pub guest_ip_start: String,
    /// Last address guests may get.
    #[field(create, update, filter)]
    pub guest_ip_end: String,
    /// Prefix length, 12 to 30.
    #[field(create, update, filter)]
    pub guest_ip_mask: i64,
    /// Gateway; empty: no way out.
    #[field(create, update, filter)]
    pub guest_gateway: String,
    /// Name servers, comma separated; empty: the platform's.
    #[field(create, update, filter)]
    pub guest_dns: String,
    /// DHCP servers to relay to, comma separated; empty: the host answers.
    #[field(create, update, filter)]
    pub guest_dhcp: String,
    /// Time servers, comma separated.
    #[field(create, update, filter)]
    pub guest_ntp: String,
    /// Domain name guests get.
    #[field(create, update, show)]
    pub guest_domain: String,
    /// First IPv6 address.
    #[field(create, filter)]
    pub guest_ip6_start: String,
    /// Last IPv6 address.
    #[field(create, filter)]
    pub guest_ip6_end: String,
    /// IPv6 prefix length.
    #[field(create)]
    pub guest_ip6_mask: i64,
    /// IPv6 gateway.
    #[field(create)]
    pub guest_gateway6: String,
    /// VLAN on the wire, 1 to 4095; 1 is untagged.
    #[field(create, update, filter, alias = "vlan", default = "1")]
    pub vlan_id: i64,
    /// For whom: `guest`, `baremetal`, `container`, `pxe`, `ipmi`, `eip`, `hostlocal`.
    #[field(create, update, filter, default = "guest")]
    pub server_type: String,
    /// Which free address comes first: `stepdown`, `stepup`, `random`.
    #[field(create, update, filter, default = "stepdown")]
    pub alloc_policy: String,
    /// Whether servers that name no network may land here.
    #[field(create, update, filter)]
    pub is_auto_alloc: Option<bool>,
    /// Start of tap device names, at most 11 characters.
    #[field(create, filter)]
    pub ifname_hint: String,
    /// Kind of outside line; only for `eip` networks.
    #[field(create, update, filter)]
    pub bgp_type: String,
    /// Seconds an address stays taken after release.
    pub alloc_timout_seconds: i64,
    /// Whether hosts answer for the gateway and translate guests' traffic to their own address.
    #[field(create, admin)]
    pub host_nat: bool,
    /// Addresses in use; kept by conditional updates so that the range is never overdrawn.
    #[field(hidden)]
    pub used: i64,
    /// Addresses in the range.
    #[field(hidden)]
    pub size: i64,
}

/// An address set aside.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "reservedip", plural = "reservedips", service = "compute", level = system)]
pub struct ReservedIp {
    /// Identifier.
    pub id: String,
    /// Network it is of.
    #[field(filter, refers = "network")]
    pub network_id: String,
    /// The address.
    #[field(filter, search)]
    pub ip_addr: String,
    /// Why.
    #[field(update, search)]
    pub notes: String,
    /// When it is free again.
    pub expired_at: Option<Timestamp>,
    /// When it was set aside.
    pub created_at: Timestamp,
}
