//! A database as a platform of some years has it: hosts with storages, networks, and servers with disks, interfaces and tags, of a hundred projects.
//!
//! Written through the store while the platform is stopped. The hosts are full, so that what the platform places afterwards goes elsewhere.

use crate::{
    Plan,
    platform::{Database, Platform},
};
use anyhow::{Context, Result};
use api_compute::{Disk, GuestDisk, GuestNetwork, Host, HostStorage, NetInterface, Network, Server, Storage, Wire};
use base::{Resource, Timestamp, meta, new_id};
use std::{net::Ipv4Addr, sync::Arc, time::Instant};
use store::{Cond, Db, Read, Tx, work};

/// What was made.
pub struct Filled {
    pub servers: Vec<String>,
    /// An empty network that has room for all servers a benchmark makes.
    pub network: String,
}

const PROJECTS: usize = 100;
const NETWORKS: usize = 64;
/// Servers written by one transaction.
const CHUNK: usize = 250;

/// What the platform made at its first start, and the host and networks of each server.
struct Ground {
    zone: String,
    wire: String,
    projects: Vec<String>,
    networks: Vec<String>,
    hosts: Vec<(String, String)>,
    began: Timestamp,
}

/// A platform on SQLite that runs and is full.
pub async fn filled(plan: &Plan) -> Result<Platform> {
    let mut platform = Platform::new(plan, Database::Sqlite).await?;
    // The first start makes the tables.
    platform.start().await?;
    platform.stop().await?;
    fill(&platform, plan).await?;
    platform.start().await?;
    Ok(platform)
}

pub async fn fill(platform: &Platform, plan: &Plan) -> Result<Filled> {
    let began = Instant::now();
    let db = Db::open(&platform.compute_url()).await?;
    let mut read = &db;
    let wire = read.list::<Wire>(Cond::True).await?.pop().context("no wire")?;
    let seeded = read.list::<Network>(Cond::True).await?.pop().context("no network")?;
    let mut ground = Ground {
        zone: wire.zone_id.clone(),
        wire: wire.meta.id.clone(),
        projects: (1..PROJECTS).map(|_| base::hex_id()).collect(),
        networks: Vec::new(),
        hosts: Vec::new(),
        began: db.clock().now(),
    };
    ground.projects.insert(0, seeded.owned.tenant_id.clone());
    let each = plan.servers.div_ceil(NETWORKS) as i64;
    let mut networks: Vec<Network> = (0..NETWORKS).map(|n| network(&seeded, &format!("net-{n}"), n, each)).collect();
    let room = network(&seeded, "room", NETWORKS, 0);
    networks.push(room.clone());
    ground.networks = networks.iter().map(|n| n.meta.id.clone()).collect();
    ground.hosts = (0..plan.hosts).map(|_| (new_id(), new_id())).collect();

    let ground = Arc::new(ground);
    let per_host = plan.servers.div_ceil(plan.hosts) as i64;
    db.tx(|tx| {
        let networks = networks.clone();
        let ground = ground.clone();
        work(async move {
            for network in &networks {
                tx.insert(&network.to_row()).await?;
            }
            for n in 0..ground.hosts.len() {
                host(tx, &ground, n, per_host).await?;
            }
            Ok(())
        })
    })
    .await?;

    let ids: Vec<String> = (0..plan.servers).map(|_| new_id()).collect();
    // SQLite has one writer.
    let writers = if platform.compute_url().starts_with("sqlite") { 1 } else { 4 };
    let mut tasks = tokio::task::JoinSet::new();
    for (n, chunk) in ids.chunks(CHUNK).enumerate() {
        if tasks.len() == writers {
            tasks.join_next().await.context("no task")???;
        }
        let (db, ground, chunk) = (db.clone(), ground.clone(), chunk.to_vec());
        tasks.spawn(async move { write(&db, &ground, n * CHUNK, &chunk).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    platform.analyse()?;
    println!("filled in {:.0} s", began.elapsed().as_secs_f64());
    Ok(Filled { servers: ids, network: room.meta.id })
}

async fn write(db: &Db, ground: &Arc<Ground>, first: usize, ids: &[String]) -> Result<()> {
    db.tx(|tx| {
        work(async move {
            for (i, id) in ids.iter().enumerate() {
                server(tx, ground, first + i, id).await?;
            }
            Ok(())
        })
    })
    .await?;
    Ok(())
}

fn standalone(id: String, name: String, at: Timestamp) -> meta::Standalone {
    meta::Standalone { id, name, created_at: at, updated_at: at, ..Default::default() }
}

fn status(word: &str) -> meta::Status {
    meta::Status { status: word.into(), progress: 100 }
}

fn joint(at: Timestamp) -> meta::Joint {
    meta::Joint { id: new_id(), created_at: at, updated_at: at, ..Default::default() }
}

/// Address `i` of network `n`: each is a /16.
fn address(n: usize, i: usize) -> String {
    Ipv4Addr::from(0x0a00_0000 + ((n as u32) << 16) + 16 + i as u32).to_string()
}

fn network(like: &Network, name: &str, n: usize, used: i64) -> Network {
    Network {
        meta: standalone(new_id(), name.into(), like.meta.created_at),
        guest_ip_start: address(n, 0),
        guest_ip_end: address(n, 60_000),
        guest_ip_mask: 16,
        guest_gateway: address(n, 60_001),
        is_auto_alloc: Some(false),
        size: 60_001,
        used,
        ..like.clone()
    }
}

async fn host(tx: &mut Tx, ground: &Ground, n: usize, servers: i64) -> base::Result<()> {
    let (id, storage) = ground.hosts[n].clone();
    let shared = || meta::Shared { is_public: true, public_scope: "system".into(), public_src: "local".into(), ..Default::default() };
    let domain = || meta::DomainOwned { domain_id: "default".into(), domain_src: "local".into() };
    let at = ground.began;
    let host = Host {
        meta: standalone(id.clone(), format!("host-{n:04}"), at),
        status: status("running"),
        enabled: meta::Enabled { enabled: true },
        domain: domain(),
        shared: shared(),
        zone_id: ground.zone.clone(),
        access_ip: format!("172.16.{}.{}", n / 256, n % 256),
        cpu_count: 64,
        cpu_capacity: 512,
        cpu_commit: 512,
        mem_size: 524_288,
        mem_capacity: 524_288,
        mem_commit: servers * 2048,
        cpu_architecture: "x86_64".into(),
        host_type: "hypervisor".into(),
        host_status: "online".into(),
        resource_type: "shared".into(),
        // They have no agents; what they never said is not missed before.
        last_ping_at: Some(at.plus_secs(86_400)),
        ..Default::default()
    };
    tx.insert(&host.to_row()).await?;
    let row = Storage {
        meta: standalone(storage.clone(), format!("host-{n:04}-local"), at),
        status: status("online"),
        enabled: meta::Enabled { enabled: true },
        domain: domain(),
        shared: shared(),
        zone_id: ground.zone.clone(),
        storage_type: "local".into(),
        medium_type: "ssd".into(),
        capacity: 4 << 20,
        virtual_limit: 4 << 20,
        used_capacity: servers * 40_960,
        ..Default::default()
    };
    tx.insert(&row.to_row()).await?;
    let tie = HostStorage {
        joint: joint(at),
        host_id: id.clone(),
        storage_id: storage,
        mount_point: "/opt/wolke".into(),
        real_capacity: 4 << 20,
        ..Default::default()
    };
    tx.insert(&tie.to_row()).await?;
    let nic = NetInterface { joint: joint(at), host_id: id, wire_id: ground.wire.clone(), bridge: "wolke0".into(), ..Default::default() };
    tx.insert(&nic.to_row()).await
}

async fn server(tx: &mut Tx, ground: &Ground, n: usize, id: &str) -> base::Result<()> {
    let at = ground.began.plus_secs(n as i64 - 10_000_000);
    let (host_id, storage_id) = ground.hosts[n % ground.hosts.len()].clone();
    let owned = || meta::ProjectOwned {
        domain_id: "default".into(),
        tenant_id: ground.projects[n % PROJECTS].clone(),
        project_src: "local".into(),
        ..Default::default()
    };
    let external = || meta::External { source: "local".into(), imported_at: Some(at), ..Default::default() };
    let billing = || meta::Billing { billing_type: "postpaid".into(), ..Default::default() };
    let server = Server {
        meta: standalone(id.into(), format!("web-{n}"), at),
        status: status(if n.is_multiple_of(10) { "ready" } else { "running" }),
        owned: owned(),
        external: external(),
        billing: billing(),
        vcpu_count: 2,
        vmem_size: 2048,
        cpu_sockets: 1,
        hypervisor: "kvm".into(),
        os_type: "Linux".into(),
        os_name: "Debian GNU/Linux 12".into(),
        os_arch: "x86_64".into(),
        bios: "BIOS".into(),
        vga: "std".into(),
        vdi: "vnc".into(),
        boot_order: "cdn".into(),
        hostname: format!("web-{n}"),
        host_id: host_id.clone(),
        secgrp_id: "default".into(),
        power_states: "on".into(),
        power: "on".into(),
        generation: 3,
        existence: "present".into(),
        create_params: serde_json::json!({"disks": [{"size": 40_960}], "nics": [{}], "auto_start": true}),
        observed: serde_json::json!({"state": "running", "generation": 3}),
        ..Default::default()
    };
    tx.insert(&server.to_row()).await?;
    // A root disk, and every fourth has one for data.
    for index in 0..1 + i64::from(n.is_multiple_of(4)) {
        let disk = Disk {
            meta: standalone(new_id(), format!("web-{n}-disk-{index}"), at),
            status: status("ready"),
            owned: owned(),
            external: external(),
            billing: billing(),
            storage_id: storage_id.clone(),
            disk_size: 20_480,
            disk_format: "qcow2".into(),
            disk_type: if index == 0 { "sys" } else { "data" }.into(),
            auto_delete: true,
            template_name: "debian-12".into(),
            host_id: host_id.clone(),
            ..Default::default()
        };
        tx.insert(&disk.to_row()).await?;
        let tie = GuestDisk {
            joint: joint(at),
            guest_id: id.into(),
            disk_id: disk.meta.id,
            index,
            boot_index: -1,
            driver: "scsi".into(),
            cache_mode: "none".into(),
            aio_mode: "native".into(),
            ..Default::default()
        };
        tx.insert(&tie.to_row()).await?;
    }
    let nic = GuestNetwork {
        joint: joint(at),
        guest_id: id.into(),
        network_id: ground.networks[n % NETWORKS].clone(),
        mac_addr: format!("00:24:{:02x}:{:02x}:{:02x}:{:02x}", n >> 24 & 255, n >> 16 & 255, n >> 8 & 255, n & 255),
        ip_addr: address(n % NETWORKS, n / NETWORKS),
        driver: "virtio".into(),
        bw_limit: 1000,
        ifname: format!("vnet-{n}"),
        num_queues: 1,
        is_default: true,
        ..Default::default()
    };
    tx.insert(&nic.to_row()).await?;
    for (key, value) in
        [("user:team", format!("team-{}", n % 50)), ("user:stage", "production".into()), ("sys:os_distribution", "Debian".into())]
    {
        let pair = vec![
            ("obj_type".into(), "server".into()),
            ("obj_id".into(), id.into()),
            ("key".into(), key.into()),
            ("value".into(), value.into()),
            ("updated_at".into(), at.into()),
        ];
        tx.insert_into("metadata", pair).await?;
    }
    Ok(())
}
