//! First contents: what every region has from its first start, and on request a place ready for servers.

use crate::Region;
use api_compute::{CloudRegion, Network, Vpc, Wire, Zone};
use base::{Resource, Result, meta, new_id};
use store::{Change, ChangeOp, Cond, Db, Read, Tx, work};

/// A zone with one wire and one network, made by `wolke up` on an empty region.
#[derive(Clone, Debug)]
pub struct Place {
    pub zone: String,
    pub wire: String,
    pub network: String,
    /// Subnet as in `192.168.222.0/24`; the gateway is its first address.
    pub cidr: (String, i64),
    pub gateway: String,
    pub first: String,
    pub last: String,
    /// Owner of the network.
    pub domain_id: String,
    pub project_id: String,
}

fn standalone(tx: &Tx, id: &str, name: &str) -> meta::Standalone {
    meta::Standalone { id: id.into(), name: name.into(), created_at: tx.now(), updated_at: tx.now(), ..Default::default() }
}

fn status(word: &str) -> meta::Status {
    meta::Status { status: word.into(), progress: 100 }
}

fn local(tx: &Tx) -> meta::External {
    meta::External { source: "local".into(), imported_at: Some(tx.now()), ..Default::default() }
}

fn everybody() -> meta::Shared {
    meta::Shared { is_public: true, public_scope: "system".into(), public_src: "local".into(), ..Default::default() }
}

async fn put<R: Resource>(tx: &mut Tx, row: &R) -> Result<()> {
    let row = row.to_row();
    tx.insert(&row).await?;
    tx.emit(Change { op: ChangeOp::Create, ..resource::changed(&row) }).await
}

/// The region and the classic network: `default` both.
pub(crate) async fn builtins(db: &Db) -> Result<()> {
    db.tx(|tx| {
        work(async move {
            if tx.exists("cloudregions", Cond::eq("id", "default")).await? {
                return Ok(());
            }
            let region = CloudRegion {
                meta: standalone(tx, "default", "Default"),
                status: status("inservice"),
                enabled: meta::Enabled { enabled: true },
                external: local(tx),
                provider: "OneCloud".into(),
                ..Default::default()
            };
            put(tx, &region).await?;
            let vpc = Vpc {
                meta: standalone(tx, "default", "Default"),
                status: status("available"),
                enabled: meta::Enabled { enabled: true },
                domain: meta::DomainOwned { domain_id: "default".into(), domain_src: "local".into() },
                shared: everybody(),
                external: local(tx),
                cloudregion_id: "default".into(),
                is_default: true,
                external_access_mode: "eip-distgw".into(),
                ..Default::default()
            };
            put(tx, &vpc).await
        })
    })
    .await
}

impl Region {
    /// Makes a place where servers can run, unless the region has a zone already.
    pub async fn seed(&self, place: &Place) -> Result<()> {
        self.engine
            .db
            .tx(|tx| {
                work(async move {
                    if tx.exists("zones", Cond::eq("deleted", false)).await? {
                        return Ok(());
                    }
                    let zone = Zone {
                        meta: standalone(tx, &new_id(), &place.zone),
                        status: status("enable"),
                        external: local(tx),
                        cloudregion_id: "default".into(),
                        ..Default::default()
                    };
                    put(tx, &zone).await?;
                    let wire = Wire {
                        meta: standalone(tx, &new_id(), &place.wire),
                        status: status("available"),
                        domain: meta::DomainOwned { domain_id: place.domain_id.clone(), domain_src: "local".into() },
                        shared: everybody(),
                        external: local(tx),
                        vpc_id: "default".into(),
                        zone_id: zone.meta.id.clone(),
                        bandwidth: 10_000,
                        mtu: 1500,
                        ..Default::default()
                    };
                    put(tx, &wire).await?;
                    let mut network = Network {
                        meta: standalone(tx, &new_id(), &place.network),
                        status: status("available"),
                        owned: meta::ProjectOwned {
                            domain_id: place.domain_id.clone(),
                            tenant_id: place.project_id.clone(),
                            project_src: "local".into(),
                            ..Default::default()
                        },
                        shared: everybody(),
                        external: local(tx),
                        wire_id: wire.meta.id.clone(),
                        guest_ip_start: place.first.clone(),
                        guest_ip_end: place.last.clone(),
                        guest_ip_mask: place.cidr.1,
                        guest_gateway: place.gateway.clone(),
                        vlan_id: 1,
                        server_type: "guest".into(),
                        alloc_policy: "stepup".into(),
                        is_auto_alloc: Some(true),
                        ifname_hint: "vnet".into(),
                        host_nat: true,
                        ..Default::default()
                    };
                    network.size = region_network::Range::of(&network.to_row())?.size();
                    put(tx, &network).await
                })
            })
            .await
    }
}

/// A subnet taken apart the way the first network uses it: gateway first, guests from the tenth address to the last but one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub network: String,
    pub mask: i64,
    pub gateway: String,
    pub first: String,
    pub last: String,
}

/// Reads `192.168.222.0/24`; `None` when it is no IPv4 subnet between /12 and /27.
pub fn subnet(text: &str) -> Option<Subnet> {
    let (address, mask) = text.split_once('/')?;
    let (address, mask): (std::net::Ipv4Addr, u32) = (address.parse().ok()?, mask.parse().ok()?);
    if !(12..=27).contains(&mask) {
        return None;
    }
    let size = 1u32 << (32 - mask);
    let start = u32::from(address) & !(size - 1);
    let at = |n: u32| std::net::Ipv4Addr::from(start + n).to_string();
    Some(Subnet { network: at(0), mask: i64::from(mask), gateway: at(1), first: at(10), last: at(size - 2) })
}
