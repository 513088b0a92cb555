//! What a create request asks for, checked and understood before anything is written.

use super::foreign;
use crate::{
    Compute,
    task::plan::{DiskPlan, NicPlan},
};
use api_compute::{DiskConfig, NetConfig, parse_size_mb};
use base::{Json, Result, Row, err};
use resource::{Map, Op};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use store::{Cond, Read, Select};

/// The understood request, kept with the row.
#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    pub disks: Vec<DiskPlan>,
    pub nics: Vec<NicPlan>,
    pub prefer_host: String,
    pub prefer_zone: String,
    #[serde(default)]
    pub prefer_zones: Vec<String>,
    pub auto_start: bool,
    /// Often holds passwords, so it lies under the service's seal.
    #[serde(default)]
    pub sealed_user_data: Option<String>,
}

/// The key of [`Plan::sealed_user_data`]. Plans of earlier versions have `user_data`, in clear.
pub(crate) const SEALED_USER_DATA: &str = "sealed_user_data";

/// A plan without what only the guest is told.
pub(crate) fn without_user_data(mut plan: Json) -> Json {
    if let Some(map) = plan.as_object_mut() {
        map.remove("user_data");
        map.remove(SEALED_USER_DATA);
    }
    plan
}

/// Interfaces of one server.
pub(crate) const MOST_NICS: usize = 16;
const USER_DATA_MAX: usize = 64 * 1024;

/// Units and old names, before the facts read the body.
pub(super) fn read(body: &mut Map) -> Result<()> {
    if let Some(Json::String(text)) = body.get("vmem_size") {
        let mb = parse_size_mb(text)
            .ok_or_else(|| err!(InputParameter, "vmem_size: {} is not a size; use a number of MiB or a unit as in 2G", text))?;
        body.insert("vmem_size".into(), Json::from(mb));
    }
    if body.get("baremetal").and_then(Json::as_bool) == Some(true) {
        body.insert("hypervisor".into(), Json::from("baremetal"));
    }
    Ok(())
}

pub(super) async fn create(env: &Compute, op: &Op<'_>, body: &mut Map, row: &mut Row) -> Result<()> {
    if row.text("hypervisor") != "kvm" {
        return Err(err!(InputParameter, "hypervisor: {} is not available here; use kvm", row.text("hypervisor")));
    }
    foreign::refuse(body)?;
    size(op, row).await?;
    let (cpus, sockets) = (row.int("vcpu_count"), row.int("cpu_sockets"));
    if sockets > cpus {
        return Err(err!(
            InputParameter,
            "cpu_sockets: {} is more than the {} processors of the server; give at most as many",
            sockets,
            cpus
        ));
    }
    row.set("vcpu_held", cpus);
    check_words(row, None)?;
    let disks = disks(env, op, body, row).await?;
    let nics = nics(op, body).await?;
    credentials(env, body, row)?;
    let sealed_user_data = user_data(env, body)?;
    if row.text("hostname").chars().any(|c| !(c.is_ascii_alphanumeric() || c == '-' || c == '.')) || row.text("hostname").len() > 60 {
        return Err(err!(InputParameter, "hostname: {} may have letters, digits, - and . only, at most 60", row.text("hostname")));
    }
    let plan = Plan {
        disks,
        nics,
        prefer_host: prefer(op, body, "host", &["prefer_host_id", "prefer_host"]).await?,
        prefer_zone: prefer(op, body, "zone", &["prefer_zone_id", "prefer_zone"]).await?,
        prefer_zones: zones(op, body).await?,
        auto_start: resource::flag(body, "auto_start")?.unwrap_or(false),
        sealed_user_data,
    };
    row.set("planned_mb", plan.disks.iter().map(|d| d.size).sum::<i64>());
    row.set("create_params", serde_json::to_value(&plan).map_err(base::Error::internal)?);
    row.set("stop_timeout", env.settings.stop_timeout);
    Ok(())
}

/// What a server's system is told at its first start, sealed; `None` when the body has nothing.
pub(super) fn user_data(env: &Compute, body: &Map) -> Result<Option<String>> {
    match resource::text(body, &["user_data"]) {
        Some(text) if text.len() > USER_DATA_MAX => {
            Err(err!(InputParameter, "user_data: at most {} bytes, got {}", USER_DATA_MAX, text.len()))
        }
        Some(text) => env.seal.close(&text).map(Some),
        None => Ok(None),
    }
}

/// Puts another sealed one into a plan.
pub(crate) fn with_user_data(plan: Json, sealed: &str) -> Json {
    let mut plan = without_user_data(plan);
    if let Some(map) = plan.as_object_mut() {
        map.insert(SEALED_USER_DATA.into(), sealed.into());
    }
    plan
}

/// Processors and memory: of the SKU when one is named, else as given.
pub(super) async fn size(op: &Op<'_>, row: &mut Row) -> Result<()> {
    if !row.text("instance_type").is_empty() {
        let sku = op.engine.resolve(op.ctx, "serversku", row.text("instance_type")).await?;
        if !sku.flag("enabled") {
            return Err(err!(InputParameter, "instance_type: {} is disabled; choose another", sku.name()));
        }
        row.set("instance_type", sku.name());
        row.set("vcpu_count", sku.int("cpu_core_count") + row.int("extra_cpu_count").max(0));
        row.set("vmem_size", sku.int("memory_size_mb"));
    }
    let (cpu, mem) = (row.int("vcpu_count"), row.int("vmem_size"));
    if mem == 0 {
        return Err(err!(MissingParameter, "vmem_size is missing; give it in MiB, or an instance_type"));
    }
    if !(1..=128).contains(&cpu) {
        return Err(err!(InputParameter, "vcpu_count: {} is out of range 1 to 128", cpu));
    }
    if !(8..=512 * 1024).contains(&mem) {
        return Err(err!(InputParameter, "vmem_size: {} MiB is out of range 8 to 524288", mem));
    }
    // Zero is how existing clients leave it out.
    if row.int("cpu_sockets") < 1 {
        row.set("cpu_sockets", 1);
    }
    Ok(())
}

/// Refuses unknown words; of a row that is there, only where they are new.
pub(super) fn check_words(row: &Row, old: Option<&Row>) -> Result<()> {
    let words: [(&str, &[&str]); 5] = [
        ("bios", &["", "BIOS", "UEFI"]),
        ("machine", &["", "pc", "q35", "virt"]),
        ("vdi", &["", "vnc"]),
        ("vga", &["", "std", "virtio", "qxl", "none"]),
        ("shutdown_behavior", &["", "stop", "terminate", "stop_release_gpu"]),
    ];
    for (field, words) in words {
        if !words.contains(&row.text(field)) && old.is_none_or(|old| old.text(field) != row.text(field)) {
            return Err(err!(InputParameter, "{}: {} is not one of {}", field, row.text(field), words[1..].join(", ")));
        }
    }
    let order = row.text("boot_order");
    if order.chars().any(|c| !matches!(c, 'c' | 'd' | 'n')) || order.len() > 3 {
        return Err(err!(InputParameter, "boot_order: {} may have the letters c, d and n", order));
    }
    Ok(())
}

async fn disks(env: &Compute, op: &Op<'_>, body: &Map, row: &mut Row) -> Result<Vec<DiskPlan>> {
    let configs = DiskConfig::list(body)?;
    if configs.is_empty() {
        return Err(err!(MissingParameter, "disks is missing: a server needs a root disk, as in image:20g"));
    }
    if configs.len() > crate::task::MOST_DISKS {
        return Err(err!(OutOfLimit, "disks: at most {}, got {}", crate::task::MOST_DISKS, configs.len()));
    }
    let mut out = Vec::new();
    for (i, config) in configs.into_iter().enumerate() {
        let plan = disk(env, op, i, config, row).await?;
        if i == 0 {
            system(row, plan.image.as_ref());
        }
        out.push(if i == 0 { DiskPlan { size: plan.size.max(env.settings.root_minimum), disk_type: "sys".into(), ..plan } } else { plan });
    }
    Ok(out)
}

/// One disk that is not the root disk.
pub(super) async fn disk(env: &Compute, op: &Op<'_>, i: usize, config: DiskConfig, row: &Row) -> Result<DiskPlan> {
    if !config.disk_id.is_empty() {
        return Err(err!(InputParameter, "disks.{}.disk_id: make the server first, then attach the disk", i));
    }
    let image =
        if config.image_id.is_empty() { None } else { Some(image(env, op, &format!("disks.{i}.image_id"), &config.image_id, row).await?) };
    let least = image.as_ref().map_or(1, |im| im.min_disk.max(1));
    let storage_id = match config.storage_id.as_str() {
        "" => String::new(),
        which => op.engine.resolve(op.ctx, "storage", which).await?.id().to_string(),
    };
    Ok(DiskPlan {
        size: if config.size < 0 { least } else { config.size.max(least) },
        backend: config.backend,
        storage_id,
        medium: config.medium,
        format: match config.format.as_str() {
            "" | "qcow2" => "qcow2".into(),
            "raw" => "raw".into(),
            other => return Err(err!(InputParameter, "disks.{}.format: {} is not one of {}", i, other, "qcow2, raw")),
        },
        driver: config.driver,
        cache: config.cache,
        disk_type: match config.disk_type.as_str() {
            "" | "sys" => "data".into(),
            other => other.into(),
        },
        boot_index: config.boot_index.unwrap_or(-1),
        auto_delete: config.auto_delete.unwrap_or(true),
        auto_reset: config.auto_reset,
        image,
    })
}

/// An image a disk of a server can be made of.
pub(super) async fn image(env: &Compute, op: &Op<'_>, field: &str, which: &str, row: &Row) -> Result<crate::Image> {
    let image = env.images.find(op.ctx, which).await?;
    if image.status != "active" {
        return Err(err!(InvalidStatus, "{}: image {} is {}; it must be active", field, image.name, image.status));
    }
    if image.disk_format == "iso" {
        return Err(err!(InputParameter, "{}: image {} is an ISO; name an image of an installed system", field, image.name));
    }
    if image.min_ram > row.int("vmem_size") {
        return Err(err!(InputParameter, "vmem_size: image {} needs {} MiB", image.name, image.min_ram));
    }
    Ok(image)
}

/// What the root image says of the guest system.
pub(super) fn system(row: &mut Row, image: Option<&crate::Image>) {
    let property = |name: &str| image.and_then(|i| i.properties.get(name)).cloned().unwrap_or_default();
    if row.text("os_type").is_empty() {
        let os = property("os_type");
        row.set("os_type", if os.is_empty() { "Linux".to_string() } else { os });
    }
    let os = row.text("os_type").to_string();
    row.set("os_name", os);
    if row.text("os_arch").is_empty() {
        row.set("os_arch", image.map(|i| i.os_arch.clone()).unwrap_or_default());
    }
}

pub(super) async fn nics(op: &Op<'_>, body: &Map) -> Result<Vec<NicPlan>> {
    let mut out = Vec::new();
    let configs = NetConfig::list(body)?;
    if configs.len() > MOST_NICS {
        return Err(err!(OutOfLimit, "nets: at most {}, got {}", MOST_NICS, configs.len()));
    }
    let count = resource::int(body, "count")?.unwrap_or(1).max(1) as usize;
    let all_on = prefer(op, body, "wire", &["prefer_wire_id", "prefer_wire"]).await?;
    for (i, config) in configs.into_iter().enumerate() {
        if count > 1 && (!config.address.is_empty() || !config.mac.is_empty()) {
            return Err(err!(
                InputParameter,
                "nets.{}: several servers cannot have one address or MAC; give each its own, with addresses and macs",
                i
            ));
        }
        let network_id = match config.network.as_str() {
            "" => String::new(),
            which => {
                let network = op.engine.resolve(op.ctx, "network", which).await?;
                if network.text("server_type") != "guest" {
                    return Err(err!(
                        InputParameter,
                        "nets.{}: network {} is for {}, not for guests",
                        i,
                        network.name(),
                        network.text("server_type")
                    ));
                }
                if network.text("status") != "available" {
                    return Err(err!(InvalidStatus, "nets.{}: network {} is {}", i, network.name(), network.text("status")));
                }
                let range = region_network::Range::of(&network)?;
                let mut wanted = config.addresses.iter().chain(Some(&config.address).filter(|a| !a.is_empty()));
                if let Some(address) = wanted.find(|a| a.parse().is_ok_and(|a| !range.contains(a))) {
                    return Err(err!(
                        InputParameter,
                        "{}: {} lies outside network {} ({} to {})",
                        format!("nets.{i}.address"),
                        address,
                        network.name(),
                        network.text("guest_ip_start"),
                        network.text("guest_ip_end")
                    ));
                }
                network.id().to_string()
            }
        };
        if !(config.address.is_empty() && config.addresses.is_empty()) && network_id.is_empty() {
            return Err(err!(MissingParameter, "nets.{}: an address needs its network named", i));
        }
        if config.reserved {
            op.engine.demand_of(op.ctx, "network", "perform", &["reserve-ip"], base::Scope::System)?;
        }
        let wire_id = match config.wire.as_str() {
            "" if network_id.is_empty() => all_on.clone(),
            "" => String::new(),
            which => op.engine.resolve(op.ctx, "wire", which).await?.id().to_string(),
        };
        for (field, list) in [("addresses", &config.addresses), ("macs", &config.macs)] {
            let different: HashSet<String> = list.iter().map(|one| one.to_ascii_lowercase()).collect();
            if !list.is_empty() && (list.len() != count || different.len() != count) {
                return Err(err!(
                    InputParameter,
                    "nets.{}.{}: {} different ones for {} servers; give each server its own",
                    i,
                    field,
                    different.len(),
                    count
                ));
            }
        }
        let mut plan = NicPlan {
            network_id,
            wire_id,
            address: config.address,
            mac: config.mac.to_ascii_lowercase(),
            exactly: config.require_designated_ip,
            reserved: config.reserved,
            driver: config.driver,
            bw_limit: if config.bw_limit == 0 { 1000 } else { config.bw_limit },
            is_default: config.is_default,
            exit: config.exit,
            private: config.private,
            addresses: config.addresses,
            macs: config.macs.iter().map(|mac| mac.to_ascii_lowercase()).collect(),
        };
        if count == 1 {
            plan.settle(0);
        }
        out.push(plan);
    }
    Ok(out)
}

async fn prefer(op: &Op<'_>, body: &Map, kind: &str, names: &[&str]) -> Result<String> {
    match resource::text(body, names) {
        None => Ok(String::new()),
        Some(which) => Ok(op.engine.resolve(op.ctx, kind, &which).await?.id().to_string()),
    }
}

/// The zones a server may be in: those named, and those of the region named.
async fn zones(op: &Op<'_>, body: &Map) -> Result<Vec<String>> {
    let mut named = Vec::new();
    for which in resource::text_list(body, "prefer_zones") {
        named.push(op.engine.resolve(op.ctx, "zone", &which).await?.id().to_string());
    }
    let region = prefer(op, body, "cloudregion", &["prefer_region_id", "prefer_region"]).await?;
    if region.is_empty() {
        return Ok(named);
    }
    let mut db = &op.engine.db;
    let within = Select::from("zones").column("id", base::Kind::Text);
    let rows = db.rows(&within.filter(Cond::eq("cloudregion_id", region.as_str()).and(Cond::eq("deleted", false)))).await?;
    let there: Vec<String> = rows.iter().map(|row| row[0].as_str().to_string()).collect();
    let both: Vec<String> = there.iter().filter(|id| named.is_empty() || named.contains(id)).cloned().collect();
    if both.is_empty() {
        return Err(err!(
            InputParameter,
            "prefer_region: none of its zones is among those asked for; name another region, or leave it out"
        ));
    }
    Ok(both)
}

/// The account and password the guest is given.
pub(super) fn credentials(env: &Compute, body: &Map, row: &mut Row) -> Result<()> {
    if row.text("login_account").is_empty() {
        row.set("login_account", if row.text("os_type") == "Windows" { "Administrator" } else { "root" });
    }
    let account = row.text("login_account");
    if account.len() > 32 || account.chars().next().is_some_and(|c| !c.is_ascii_alphabetic()) {
        return Err(err!(InputParameter, "login_account: {} must start with a letter and have at most 32 characters", account));
    }
    let Some(password) = resource::text(body, &["password"]) else { return Ok(()) };
    let has = |f: fn(&char) -> bool| password.chars().any(|c| f(&c));
    let classes =
        [has(|c| c.is_ascii_uppercase()), has(|c| c.is_ascii_lowercase()), has(|c| c.is_ascii_digit()), has(|c| c.is_ascii_punctuation())];
    if password.chars().count() < 12 || classes.contains(&false) {
        return Err(err!(WeakPassword, "password: at least 12 characters with upper and lower case letters, digits and punctuation"));
    }
    if password.chars().any(char::is_control) || password.len() > 128 {
        return Err(err!(InputParameter, "password: at most {} characters without control characters", 128));
    }
    row.set("login_secret", env.seal.close(&password)?);
    Ok(())
}

/// What clients read of a server's metadata: the pattern it was named by, its login account, and what its image says of the system in it.
pub(super) fn tags(body: &Map, row: &Row, image: Option<&crate::Image>) -> Vec<(String, Option<String>)> {
    let several = resource::int(body, "count").ok().flatten().is_some_and(|n| n > 1);
    let pattern = resource::text(body, &["generate_name"]).or_else(|| resource::text(body, &["name"]).filter(|_| several));
    let property = |name: &str| image.and_then(|i| i.properties.get(name)).cloned();
    [
        ("generate_name", pattern),
        ("login_account", Some(row.text("login_account").to_string())),
        ("os_arch", Some(row.text("os_arch").to_string())),
        ("os_name", Some(row.text("os_name").to_string())),
        ("os_distribution", property("os_distribution")),
        ("os_version", property("os_version")),
    ]
    .into_iter()
    .filter_map(|(key, value)| value.filter(|v| !v.is_empty()).map(|v| (key.to_string(), Some(v))))
    .collect()
}

/// A host name made of a server's name: letters, digits, dashes and dots.
pub(super) fn hostname(name: &str, os_type: &str) -> String {
    let most = if os_type == "Windows" { 15 } else { 60 };
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '-' }).take(most).collect();
    let clean = clean.trim_matches(['-', '.']).to_string();
    if clean.len() < 2 { format!("vm-{clean}").trim_end_matches('-').to_string() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames() {
        for (name, os, want) in [
            ("web-1", "Linux", "web-1"),
            ("数据库", "Linux", "vm"),
            ("a", "Linux", "vm-a"),
            ("my server", "Linux", "my-server"),
            ("a-very-long-windows-name", "Windows", "a-very-long-win"),
        ] {
            assert_eq!(hostname(name, os), want);
        }
    }
}
