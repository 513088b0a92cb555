//! A host's document, built from rows: everything that lies on the host, in a handful of queries.

use super::work;
use crate::server::SEALED_USER_DATA;
use crate::{Compute, Image};
use api_agent::{Desired, DiskSpec, Existence, GuestDisk as DiskLink, GuestMeta, GuestNic, GuestSpec, ImageSpec, NetworkSpec, Power};
use api_compute::{Disk, GuestDisk, GuestNetwork, Host, HostStorage, Keypair, NetInterface, Network, Server};
use base::{Resource, Result, Row, err};
use std::collections::{BTreeMap, HashMap};
use store::{Cond, Db, Read, Select};

pub(super) async fn build(mut db: &Db, env: &Compute, host_id: &str) -> Result<Desired> {
    let here = || Cond::eq("host_id", host_id).and(Cond::eq("deleted", false));
    // The version is read first: rows read later may be newer, never older, and then the next version brings them again.
    let asks = [
        Select::of(Host::facts(), &["desired_version"]).filter(Cond::eq("id", host_id)),
        Select::of(HostStorage::facts(), &["storage_id", "mount_point"]).filter(here()),
        Select::of(NetInterface::facts(), &["wire_id", "bridge"]).filter(here()),
    ];
    let answers = db.together(&asks).await?;
    let pairs = |n: usize| answers[n].iter().map(|row| (row[0].as_str(), row[1].as_str())).collect::<HashMap<_, _>>();
    let version = answers[0].first().and_then(|row| row[0].as_int());
    let version = version.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "host", host_id))?;
    let (mounts, wires) = (pairs(1), pairs(2));
    let disks: Vec<Disk> = db.list(here().and(Cond::ne("existence", ""))).await?;
    let servers = db.find(Server::facts(), here().and(Cond::ne("existence", ""))).await?;
    let of_guests = |column: &'static str| Cond::is_in(column, servers.iter().map(|s| s.id())).and(Cond::eq("deleted", false));
    let mut ties: Vec<GuestDisk> = db.list(of_guests("guest_id")).await?;
    ties.sort_by_key(|t| t.index);
    let mut nics: Vec<GuestNetwork> = db.list(of_guests("guest_id").and(Cond::eq("leaving", false))).await?;
    nics.sort_by_key(|n| n.index);
    let networks: Vec<Network> = {
        let mut ids: Vec<&str> = nics.iter().map(|n| n.network_id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        db.list(Cond::is_in("id", ids)).await?
    };
    let keys: HashMap<String, String> = {
        let ids: Vec<&str> = servers.iter().map(|s| s.text("keypair_id")).filter(|k| !k.is_empty()).collect();
        db.list::<Keypair>(Cond::is_in("id", ids)).await?.into_iter().map(|k| (k.meta.id, k.public_key)).collect()
    };

    // Last: what a task has made, it made while it held it.
    let at_work = work::Work::of(db.together(&work::asks(host_id)).await?);

    let mut images: BTreeMap<String, ImageSpec> = BTreeMap::new();
    let mut specs = Vec::new();
    for disk in &disks {
        let image: Image = serde_json::from_value(disk.image.clone()).unwrap_or_default();
        let present = disk.existence == "present";
        if present && !image.id.is_empty() {
            let url = format!("/agent/images/{}", image.id);
            images.insert(
                image.id.clone(),
                ImageSpec { id: image.id.clone(), format: image.disk_format, size: image.size, checksum: image.checksum, url },
            );
        }
        specs.push(DiskSpec {
            id: disk.meta.id.clone(),
            generation: disk.generation,
            existence: if present { Existence::Present } else { Existence::Absent },
            storage_id: disk.storage_id.clone(),
            storage_path: mounts.get(disk.storage_id.as_str()).copied().unwrap_or_default().into(),
            size_mb: disk.disk_size,
            format: disk.disk_format.clone(),
            image_id: image.id,
            request_id: at_work.request_on(&disk.meta.id).unwrap_or_default().into(),
        });
    }
    specs.sort_by(|a, b| a.id.cmp(&b.id));
    let mut guests: Vec<GuestSpec> = servers
        .iter()
        .map(|row| {
            let server = Server::from_row(row);
            let disks = ties.iter().filter(|t| t.guest_id == server.meta.id).map(link).collect();
            let nics = nics.iter().filter(|n| n.guest_id == server.meta.id).map(|n| nic(n, &server)).collect();
            let password = open(env, row, &server.login_secret);
            let user_data = match server.create_params[SEALED_USER_DATA].as_str() {
                Some(sealed) => open(env, row, sealed),
                None => server.create_params["user_data"].as_str().unwrap_or_default().to_string(),
            };
            let request_id = at_work.request_on(&server.meta.id).unwrap_or_default().to_string();
            guest(server, disks, nics, &keys, [password, user_data, request_id])
        })
        .collect();
    guests.sort_by(|a, b| a.id.cmp(&b.id));
    let mut networks: Vec<NetworkSpec> = networks.iter().map(|n| network(n, &wires, env)).collect::<Result<_>>()?;
    networks.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Desired {
        version,
        host_id: host_id.into(),
        images: images.into_values().collect(),
        disks: specs,
        networks,
        guests,
        jobs: at_work.jobs(&servers),
    })
}

/// A secret in clear. One that cannot be opened must not keep all the other guests of the host from being looked after.
fn open(env: &Compute, server: &Row, sealed: &str) -> String {
    if sealed.is_empty() {
        return String::new();
    }
    env.seal.open(sealed).unwrap_or_else(|e| {
        tracing::error!(server = server.id(), error = %e, cause = e.context(), "a guest goes without its secret");
        String::new()
    })
}

fn link(tie: &GuestDisk) -> DiskLink {
    DiskLink {
        disk_id: tie.disk_id.clone(),
        index: tie.index,
        driver: tie.driver.clone(),
        cache_mode: tie.cache_mode.clone(),
        boot_index: tie.boot_index,
    }
}

fn nic(n: &GuestNetwork, server: &Server) -> GuestNic {
    GuestNic {
        index: n.index,
        mac: n.mac_addr.clone(),
        network_id: n.network_id.clone(),
        ip_addr: n.ip_addr.clone(),
        ifname: n.ifname.clone(),
        driver: n.driver.clone(),
        bw_limit: n.bw_limit,
        is_default: n.is_default,
        src_mac_check: server.src_mac_check,
        src_ip_check: server.src_ip_check,
    }
}

fn guest(
    server: Server,
    disks: Vec<DiskLink>,
    nics: Vec<GuestNic>,
    keys: &HashMap<String, String>,
    [password, user_data, request_id]: [String; 3],
) -> GuestSpec {
    GuestSpec {
        request_id,
        generation: server.generation,
        existence: if server.existence == "absent" { Existence::Absent } else { Existence::Present },
        power: if server.power == "on" { Power::On } else { Power::Off },
        restarts: server.restarts,
        starts: server.starts,
        force_stop: server.force_stop,
        stop_timeout_secs: server.stop_timeout.clamp(0, 3600) as u32,
        vcpu_count: server.vcpu_count,
        cpu_sockets: server.cpu_sockets,
        vmem_size: server.vmem_size,
        meta: GuestMeta {
            hostname: server.hostname.clone(),
            instance_type: server.instance_type.clone(),
            project_id: server.owned.tenant_id.clone(),
            ssh_keys: keys.get(&server.keypair_id).cloned().into_iter().collect(),
            login_account: server.login_account.clone(),
            password,
            password_generation: server.login_generation,
            user_data,
            ..GuestMeta::default()
        },
        machine: server.machine,
        bios: server.bios,
        boot_order: server.boot_order,
        vga: server.vga,
        id: server.meta.id,
        name: server.meta.name,
        disks,
        nics,
    }
}

fn network(n: &Network, wires: &HashMap<&str, &str>, env: &Compute) -> Result<NetworkSpec> {
    let list = |text: &str| text.split(',').map(|t| t.trim().to_string()).filter(|t| !t.is_empty()).collect::<Vec<_>>();
    let dns = list(&n.guest_dns);
    Ok(NetworkSpec {
        id: n.meta.id.clone(),
        name: n.meta.name.clone(),
        bridge: wires.get(n.wire_id.as_str()).copied().unwrap_or_default().into(),
        vlan_id: n.vlan_id,
        cidr: region_network::cidr(&n.to_row())?,
        gateway: n.guest_gateway.clone(),
        dns: if dns.is_empty() { env.settings.dns.clone() } else { dns },
        ntp: list(&n.guest_ntp),
        domain: n.guest_domain.clone(),
        mtu: env.settings.mtu,
        routes: Vec::new(),
        nat: n.host_nat,
        lease_secs: 3600,
    })
}
