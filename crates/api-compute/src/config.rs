//! The grammar of disk and network configurations (spec 11 §2): objects, or strings of tokens, under `disks`/`nets` or `disk.0`, `net.0`.

use crate::absent;
use base::{Json, Result, err};
use serde::{Deserialize, Serialize};

type Map = serde_json::Map<String, Json>;

/// One disk of a server to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskConfig {
    pub index: i64,
    /// Image by id or name; empty: an empty disk.
    pub image_id: String,
    /// An existing disk by id or name.
    pub disk_id: String,
    /// MiB; -1: as large as its source.
    pub size: i64,
    /// Storage type: `local`, `nfs`, …
    pub backend: String,
    /// Storage by id or name.
    pub storage_id: String,
    pub medium: String,
    pub fs: String,
    pub mountpoint: String,
    pub format: String,
    pub driver: String,
    pub cache: String,
    /// `sys`, `data`, `swap`
    pub disk_type: String,
    pub boot_index: Option<i64>,
    pub iops: i64,
    pub auto_delete: Option<bool>,
    pub auto_reset: bool,
}

/// One interface of a server to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetConfig {
    pub index: i64,
    /// Network by id or name; empty: the scheduler picks one.
    pub network: String,
    /// Wire by id or name.
    pub wire: String,
    /// Wanted address.
    pub address: String,
    /// Wanted MAC.
    pub mac: String,
    /// One per server of a batch.
    pub addresses: Vec<String>,
    pub macs: Vec<String>,
    /// Fail unless that very address is free.
    pub require_designated_ip: bool,
    /// Take an address that is set aside.
    pub reserved: bool,
    /// Want a network with addresses of the outside.
    pub exit: bool,
    pub private: bool,
    pub driver: String,
    /// Mbit/s; 0: the platform's default.
    pub bw_limit: i64,
    pub is_default: bool,
    pub num_queues: i64,
}

const FILESYSTEMS: &[&str] = &["swap", "ext2", "ext3", "ext4", "xfs", "ntfs", "fat", "hfsplus"];
const FORMATS: &[&str] = &[
    "qcow2",
    "raw",
    "docker",
    "iso",
    "vmdk",
    "vmdkflatver1",
    "vmdkflatver2",
    "vmdkflat",
    "vmdksparse",
    "vmdksparsever1",
    "vmdksparsever2",
    "vhd",
];
const DISK_DRIVERS: &[&str] = &["virtio", "ide", "scsi", "sata", "pvscsi"];
const CACHES: &[&str] = &["none", "writeback", "writethrough"];
const MEDIA: &[&str] = &["rotate", "ssd", "hybrid"];
const BACKENDS: &[&str] = &["local", "rbd", "nfs", "gpfs", "clvm", "slvm", "lvm", "nas", "vsan", "cifs", "nvme"];
/// Devices an interface may be in the guest.
pub const NIC_DRIVERS: &[&str] = &["virtio", "e1000", "vmxnet3"];

/// Size with a unit, in MiB: a bare number is MiB, `10g` GiB, `1t` TiB; letters of either case.
pub fn parse_size_mb(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: i64 = digits.parse().ok().filter(|n| *n >= 0)?;
    match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "m" | "mb" | "mib" => Some(n),
        "g" | "gb" | "gib" => n.checked_mul(1024),
        "t" | "tb" | "tib" => n.checked_mul(1024 * 1024),
        _ => None,
    }
}

/// The entries of a list given as `plural: [..]` or as `one.0`, `one.1`; the plural wins.
fn entries(body: &Map, plural: &str, one: &str) -> Result<Vec<Json>> {
    match body.get(plural) {
        Some(Json::Array(items)) => return Ok(items.clone()),
        Some(Json::Null) | None => {}
        Some(other @ (Json::Object(_) | Json::String(_))) => return Ok(vec![other.clone()]),
        Some(_) => return Err(err!(InputParameter, "{}: expected {}, got {}", plural, "an array", "something else")),
    }
    let mut found: Vec<(usize, Json)> = body
        .iter()
        .filter_map(|(key, value)| {
            let n = key.strip_prefix(one)?.strip_prefix('.')?.parse().ok()?;
            (!value.is_null()).then(|| (n, value.clone()))
        })
        .collect();
    // A nested query-string form arrives as an object or array under the bare word.
    match body.get(one) {
        Some(Json::Array(items)) => found.extend(items.iter().cloned().enumerate()),
        Some(Json::Object(map)) if map.keys().all(|k| k.parse::<usize>().is_ok()) => {
            found.extend(map.iter().filter_map(|(k, v)| Some((k.parse().ok()?, v.clone()))));
        }
        _ => {}
    }
    found.sort_by_key(|(n, _)| *n);
    Ok(found.into_iter().map(|(_, v)| v).collect())
}

/// Objects of existing clients carry numbers as text and nulls; what the struct does not know is passed over.
fn read<T: for<'de> Deserialize<'de> + Serialize + Default>(what: &str, i: usize, map: &Map) -> Result<T> {
    let shape = serde_json::to_value(T::default()).map_err(base::Error::internal)?;
    let mut clean = Map::new();
    for (key, value) in map {
        let Some(model) = shape.get(key) else { continue };
        let fixed = match (model, value) {
            (_, Json::Null) => continue,
            (Json::Number(_), Json::String(s)) if key == "size" => match parse_size_mb(s) {
                Some(n) => Json::from(n),
                None if s == "-1" || s == "autoextend" => Json::from(-1),
                None => {
                    return Err(err!(
                        InputParameter,
                        "{}.{}.{}: {} is not a size; use a number of MiB or a unit as in 10g",
                        what,
                        i,
                        key,
                        s
                    ));
                }
            },
            (Json::Number(_), Json::String(s)) => Json::from(
                s.trim().parse::<i64>().map_err(|_| err!(InputParameter, "{}.{}.{}: expected {}, got {}", what, i, key, "integer", s))?,
            ),
            (Json::Bool(_), Json::String(s)) => Json::Bool(matches!(s.as_str(), "true" | "1" | "yes" | "on")),
            (Json::String(_), Json::Number(n)) => Json::String(n.to_string()),
            (_, v) => v.clone(),
        };
        clean.insert(key.clone(), fixed);
    }
    serde_json::from_value(Json::Object(clean)).map_err(|e| err!(InputParameter, "{}.{}: {}", what, i, e))
}

impl DiskConfig {
    /// All disks of a create body, in order, positions filled in.
    pub fn list(body: &Map) -> Result<Vec<DiskConfig>> {
        let mut out = Vec::new();
        for (i, entry) in entries(body, "disks", "disk")?.iter().enumerate() {
            let mut disk = match entry {
                Json::String(text) => DiskConfig::parse(i, text)?,
                Json::Object(map) => {
                    let mut map = map.clone();
                    for (alias, name) in [("image", "image_id"), ("storage", "storage_id"), ("disk", "disk_id"), ("cache_mode", "cache")] {
                        if let Some(v) = map.remove(alias)
                            && !map.contains_key(name)
                        {
                            map.insert(name.to_string(), v);
                        }
                    }
                    absent::refuse_disk(&format!("disks.{i}."), &map)?;
                    let sized = map.get("size").is_some_and(|s| !s.is_null() && s.as_i64() != Some(0) && s.as_str() != Some(""));
                    let mut disk: DiskConfig = read("disks", i, &map)?;
                    if !sized {
                        disk.size = -1;
                    }
                    disk
                }
                _ => return Err(err!(InputParameter, "disks.{}: expected an object or a string as in image:10g", i)),
            };
            disk.index = i as i64;
            disk.check(i)?;
            out.push(disk);
        }
        Ok(out)
    }

    /// The string form: tokens split by `,`, then `:`; bare tokens are known by what they look like.
    pub fn parse(i: usize, text: &str) -> Result<DiskConfig> {
        let mut disk = DiskConfig { size: -1, ..DiskConfig::default() };
        for token in text.split([',', ':']).map(str::trim).filter(|t| !t.is_empty()) {
            let bad = |what: &str| err!(InputParameter, "disks.{}: {} in {} is not valid", i, what, text);
            if let Some((key, value)) = token.split_once('=') {
                let value = value.to_string();
                match key {
                    "size" => disk.size = parse_size_mb(&value).ok_or_else(|| bad(token))?,
                    "fs" => disk.fs = value,
                    "format" => disk.format = value,
                    "driver" => disk.driver = value,
                    "cache" | "cache_mode" => disk.cache = value,
                    "medium" => disk.medium = value,
                    "type" | "disk_type" => disk.disk_type = value,
                    "mountpoint" => disk.mountpoint = value,
                    "storage_type" | "backend" => disk.backend = value,
                    "disk" | "disk_id" => disk.disk_id = value,
                    "storage" | "storage_id" => disk.storage_id = value,
                    "image" | "image_id" => disk.image_id = value,
                    "boot_index" => disk.boot_index = Some(value.parse().map_err(|_| bad(token))?),
                    "iops" => disk.iops = value.parse().map_err(|_| bad(token))?,
                    "auto_delete" => disk.auto_delete = Some(value == "true"),
                    _ => {
                        return Err(err!(
                            InputParameter,
                            "disks.{}: {} is unknown; known are size, image, disk, storage, backend, format, driver, cache, medium, fs, mountpoint, type",
                            i,
                            key
                        ));
                    }
                }
                continue;
            }
            let word = token.to_ascii_lowercase();
            let is = |list: &[&str]| list.contains(&word.as_str());
            if parse_size_mb(token).is_some() {
                disk.size = parse_size_mb(token).unwrap_or(-1);
            } else if word == "autoextend" {
                disk.size = -1;
            } else if word == "autoreset" {
                disk.auto_reset = true;
            } else if token.starts_with('/') {
                disk.mountpoint = token.to_string();
            } else if is(FILESYSTEMS) {
                disk.fs = word;
            } else if is(FORMATS) {
                disk.format = word;
            } else if is(DISK_DRIVERS) {
                disk.driver = word;
            } else if is(CACHES) {
                disk.cache = word;
            } else if is(MEDIA) {
                disk.medium = word;
            } else if is(BACKENDS) {
                disk.backend = word;
            } else {
                disk.image_id = token.to_string();
            }
        }
        Ok(disk)
    }

    /// Refuses unknown words for how a disk is plugged in; `at` names the disk.
    pub fn check_words(&self, at: &str) -> Result<()> {
        for (field, value, words) in [("driver", &self.driver, DISK_DRIVERS), ("cache", &self.cache, CACHES)] {
            if !value.is_empty() && !words.contains(&value.as_str()) {
                return Err(err!(InputParameter, "{}.{}: {} is not one of {}", at, field, value, words.join(", ")));
            }
        }
        Ok(())
    }

    fn check(&self, i: usize) -> Result<()> {
        let one_of = |field: &str, value: &str, words: &[&str]| {
            if value.is_empty() || words.contains(&value) {
                return Ok(());
            }
            Err(err!(InputParameter, "disks.{}.{}: {} is not one of {}", i, field, value, words.join(", ")))
        };
        one_of("format", &self.format, FORMATS)?;
        one_of("driver", &self.driver, DISK_DRIVERS)?;
        one_of("cache", &self.cache, CACHES)?;
        one_of("medium", &self.medium, MEDIA)?;
        // Of the text form; the object was looked at before it was read.
        let said = serde_json::json!({"fs": self.fs, "mountpoint": self.mountpoint, "iops": self.iops});
        absent::refuse_disk(&format!("disks.{i}."), said.as_object().unwrap_or(&Map::new()))?;
        one_of("disk_type", &self.disk_type, &["sys", "data", "swap", "volume"])?;
        if self.size < -1 || self.size > 64 * 1024 * 1024 {
            return Err(err!(InputParameter, "disks.{}.size: {} MiB is out of range; at most 64 TiB", i, self.size));
        }
        if self.size == 0 || (self.size == -1 && self.image_id.is_empty() && self.disk_id.is_empty()) {
            return Err(err!(MissingParameter, "disks.{}: give a size, or an image to take it from", i));
        }
        Ok(())
    }
}

impl NetConfig {
    /// All interfaces of a create body, in order; none given means one, anywhere.
    pub fn list(body: &Map) -> Result<Vec<NetConfig>> {
        let mut out = Vec::new();
        for (i, entry) in entries(body, "nets", "net")?.iter().enumerate() {
            let mut net = match entry {
                Json::String(text) => NetConfig::parse(i, text)?,
                Json::Object(map) => {
                    let mut map = map.clone();
                    if let Some(v) = map.remove("network_id")
                        && !map.contains_key("network")
                    {
                        map.insert("network".to_string(), v);
                    }
                    absent::refuse_nic(&format!("nets.{i}."), &map)?;
                    read("nets", i, &map)?
                }
                _ => return Err(err!(InputParameter, "nets.{}: expected an object or a string as in network:address", i)),
            };
            net.index = i as i64;
            net.check(i)?;
            out.push(net);
        }
        if out.iter().filter(|n| n.is_default).count() > 1 {
            return Err(err!(InputParameter, "nets: at most one may be the default"));
        }
        if out.is_empty() {
            out.push(NetConfig::default());
        }
        Ok(out)
    }

    /// The string form: tokens split by `:`.
    pub fn parse(i: usize, text: &str) -> Result<NetConfig> {
        let mut net = NetConfig::default();
        for token in text.split(':').map(str::trim).filter(|t| !t.is_empty()) {
            let list = |v: &str| v.split(',').map(str::to_string).collect::<Vec<_>>();
            if let Some((key, value)) = token.split_once('=') {
                match key {
                    "wire" => net.wire = value.to_string(),
                    "ips" => net.addresses = list(value),
                    "macs" => net.macs = value.split(',').map(|mac| compact(mac).unwrap_or_else(|| mac.to_string())).collect(),
                    "num-queues" => {
                        net.num_queues =
                            value.parse().map_err(|_| err!(InputParameter, "nets.{}: {} in {} is not valid", i, token, text))?
                    }
                    _ => return Err(err!(InputParameter, "nets.{}: {} is unknown; known are wire, ips, macs, num-queues", i, key)),
                }
            } else if token.parse::<std::net::Ipv4Addr>().is_ok() {
                net.address = token.to_string();
            } else if let Some(mac) = compact(token) {
                net.mac = mac;
            } else if NIC_DRIVERS.contains(&token) {
                net.driver = token.to_string();
            } else if let Some(limit) = bandwidth(token) {
                net.bw_limit = limit;
            } else {
                match token {
                    "require_designated_ip" => net.require_designated_ip = true,
                    "reserved" => net.reserved = true,
                    "private" => net.private = true,
                    "random" => {}
                    "random_exit" => net.exit = true,
                    "defaultgw" => net.is_default = true,
                    name => net.network = name.to_string(),
                }
            }
        }
        Ok(net)
    }

    fn check(&self, i: usize) -> Result<()> {
        for address in std::iter::once(&self.address).chain(&self.addresses).filter(|a| !a.is_empty()) {
            if address.parse::<std::net::Ipv4Addr>().is_err() {
                return Err(err!(InputParameter, "nets.{}.address: {} is not an IPv4 address", i, address));
            }
        }
        for mac in std::iter::once(&self.mac).chain(&self.macs).filter(|m| !m.is_empty()) {
            let ok = mac.split(':').count() == 6 && mac.split(':').all(|p| p.len() == 2 && u8::from_str_radix(p, 16).is_ok());
            let multicast = ok && u8::from_str_radix(&mac[..2], 16).is_ok_and(|b| b & 1 == 1);
            if !ok || multicast {
                return Err(err!(
                    InputParameter,
                    "nets.{}.mac: {} is not a MAC address of one machine; give six pairs as in 00:22:33:44:55:66",
                    i,
                    mac
                ));
            }
        }
        if !self.driver.is_empty() && !NIC_DRIVERS.contains(&self.driver.as_str()) {
            return Err(err!(InputParameter, "nets.{}.{}: {} is not one of {}", i, "driver", self.driver, NIC_DRIVERS.join(", ")));
        }
        if !(0..=1).contains(&self.num_queues) {
            return Err(err!(InputParameter, "nets.{}.num_queues: {} queues; an interface has one here, leave it out", i, self.num_queues));
        }
        if !(0..=100_000_000).contains(&self.bw_limit) {
            return Err(err!(InputParameter, "nets.{}.bw_limit: {} Mbit/s is out of range", i, self.bw_limit));
        }
        Ok(())
    }
}

/// A MAC address written as twelve digits, as the text form has it.
fn compact(token: &str) -> Option<String> {
    let whole = token.len() == 12 && token.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| token.as_bytes().chunks(2).map(|c| String::from_utf8_lossy(c).to_lowercase()).collect::<Vec<_>>().join(":"))
}

/// `100M`, `1G`: Mbit/s, thousands.
fn bandwidth(token: &str) -> Option<i64> {
    let (digits, unit) = token.split_at(token.len().checked_sub(1)?);
    let n: i64 = digits.parse().ok()?;
    match unit {
        "M" | "m" => Some(n),
        "G" | "g" => n.checked_mul(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(json: Json) -> Map {
        json.as_object().cloned().expect("a test gives an object")
    }

    #[test]
    fn disk_forms_agree() {
        let want = DiskConfig { image_id: "ubuntu".into(), size: 10240, backend: "local".into(), ..DiskConfig::default() };
        for body in [
            json!({"disks": ["ubuntu:10g:local"]}),
            json!({"disk.0": "image=ubuntu,size=10g,backend=local"}),
            json!({"disks": [{"image_id": "ubuntu", "size": 10240, "backend": "local"}]}),
            json!({"disk.0": {"image": "ubuntu", "size": "10240", "backend": "local", "unheard_of": 1}}),
        ] {
            assert_eq!(DiskConfig::list(&map(body.clone())).unwrap(), std::slice::from_ref(&want), "{body}");
        }
    }

    #[test]
    fn disk_mistakes() {
        for body in [
            json!({"disks": [{"size": "ten"}]}),
            json!({"disks": [{}]}),
            json!({"disks": [{"size": 10, "driver": "floppy"}]}),
            json!({"disks": [7]}),
            json!({"disks": 7}),
            json!({"disks": ["colour=red"]}),
            json!({"disks": [{"size": -5}]}),
            json!({"disks": [{"snapshot_id": "s1"}]}),
        ] {
            assert_eq!(DiskConfig::list(&map(body.clone())).map_err(|e| e.class().http()), Err(400), "{body}");
        }
    }

    #[test]
    fn net_forms() {
        let batch = NetConfig::parse(0, "vnet0:ips=10.0.0.5,10.0.0.6:macs=0022ABcdef01,0022abcdef02").unwrap();
        assert_eq!(
            (batch.addresses.join(" "), batch.macs.join(" ")),
            ("10.0.0.5 10.0.0.6".into(), "00:22:ab:cd:ef:01 00:22:ab:cd:ef:02".into())
        );
        let net = NetConfig::parse(0, "vnet0:10.0.0.5:virtio:100M:defaultgw:0022abcdef01").unwrap();
        assert_eq!((net.network.as_str(), net.address.as_str(), net.bw_limit, net.is_default), ("vnet0", "10.0.0.5", 100, true));
        assert_eq!(net.mac, "00:22:ab:cd:ef:01");
        assert_eq!(NetConfig::list(&Map::new()).unwrap(), [NetConfig::default()]);
        assert!(NetConfig::list(&map(json!({"nets": [{"address": "10.0.0.300"}]}))).is_err());
        assert!(NetConfig::list(&map(json!({"nets": [{"mac": "01:00:00:00:00:00"}]}))).is_err());
    }

    /// What is asked for and not there is refused in both forms, by the name of the field and with what to do; what clients send to say nothing is not.
    #[test]
    fn what_is_not_there_is_refused() {
        let disk = |more: Json| DiskConfig::list(&map(json!({ "disks": [more] })));
        let net = |more: Json| NetConfig::list(&map(json!({ "nets": [more] })));
        let quiet = json!({"size": 10, "auto_reset": false, "iops": 0, "throughput": 0, "fs": "", "mountpoint": null, "preallocation": "off", "snapshot_id": ""});
        assert_eq!(disk(quiet).unwrap(), disk(json!("10")).unwrap());
        for field in ["fs", "mountpoint", "iops", "throughput", "fs_features", "preallocation", "snapshot_id", "backup_id", "existing_path"]
        {
            let mut one = json!({"size": 10});
            one[field] = if field == "iops" || field == "throughput" { json!(100) } else { json!("ext4") };
            let why = disk(one).expect_err(field).to_string();
            assert!(why.starts_with(&format!("disks.0.{field}: ")) && (why.contains("leave it out") || why.contains("image_id")), "{why}");
        }
        for text in ["10g:ext4", "10g:/data", "10g,iops=100"] {
            assert!(disk(json!(text)).expect_err(text).to_string().contains("leave it out"), "{text}");
        }
        let quiet = json!({"exit": false, "num_queues": 0, "vip": false, "rx_bw_limit": 0, "require_ipv6": false, "secgroups": [], "standby_port_count": 0});
        assert_eq!(net(quiet).unwrap(), [NetConfig::default()]);
        for (field, value) in [
            ("num_queues", json!(4)),
            ("secgroups", json!(["web"])),
            ("address6", json!("fd00::1")),
            ("require_ipv6", json!(true)),
            ("tx_bw_limit", json!("10")),
            ("vip", json!(true)),
        ] {
            let why = net(json!({ field: value })).expect_err(field).to_string();
            assert!(why.starts_with(&format!("nets.0.{field}: ")) && why.contains("leave it out"), "{why}");
        }
    }

    #[test]
    fn sizes() {
        for (text, want) in
            [("10", Some(10)), ("10g", Some(10240)), ("1T", Some(1 << 20)), ("512M", Some(512)), ("g", None), ("1x", None), ("-5", None)]
        {
            assert_eq!(parse_size_mb(text), want, "{text}");
        }
    }
}
