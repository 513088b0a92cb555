//! Whether a body says anything about a field that the platform does not keep. Left out, empty, zero and false are how existing clients say nothing.

use base::{Error, Json, Result, err};

type Map = serde_json::Map<String, Json>;

/// Whether a value says anything.
fn says(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(yes) => *yes,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(text) => !matches!(text.trim(), "" | "0" | "false" | "off" | "none"),
        Json::Array(items) => items.iter().any(says),
        Json::Object(fields) => fields.values().any(says),
    }
}

/// What one of the fields says, with the key it stands under: alone or by position as in `deploy.0.path`.
pub fn wishes<'a>(body: &'a Map, fields: &[&str]) -> impl Iterator<Item = (&'a str, &'a Json)> {
    let names = |key: &str| fields.iter().any(|field| key.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')));
    body.iter().filter(move |(key, value)| names(key) && says(value)).map(|(key, value)| (key.as_str(), value))
}

/// The first key under which one of the fields says something.
pub fn asked<'a>(body: &'a Map, fields: &[&str]) -> Option<&'a str> {
    wishes(body, fields).next().map(|(key, _)| key)
}

fn filesystem(at: &str, field: &str) -> Error {
    err!(
        InputParameter,
        "{}{}: no file systems are made or mounted here; leave it out, and let user_data do it at the first boot",
        at,
        field
    )
}

fn throttled(at: &str, field: &str) -> Error {
    err!(InputParameter, "{}{}: disks are not throttled here; leave it out", at, field)
}

/// Refuses what may be asked of a disk and is not there; `at` is what comes before the field's name in a message.
pub fn refuse_disk(at: &str, disk: &Map) -> Result<()> {
    if let Some(field) = asked(disk, &["fs", "fs_format", "fs_features", "mountpoint"]) {
        return Err(filesystem(at, field));
    }
    if let Some(field) = asked(disk, &["iops", "throughput", "bps"]) {
        return Err(throttled(at, field));
    }
    if let Some(field) = asked(disk, &["snapshot_id", "snapshot", "backup_id", "existing_path", "nvme_device"]) {
        return Err(err!(
            InputParameter,
            "{}{}: disks are not made of snapshots, backups or paths here; give image_id or size instead",
            at,
            field
        ));
    }
    match asked(disk, &["preallocation", "schedtags"]) {
        Some(field) => {
            Err(err!(InputParameter, "{}{}: it is not kept here; leave it out, and choose a storage with storage_id", at, field))
        }
        None => Ok(()),
    }
}

/// Refuses what may be asked of an interface and is not there.
pub(crate) fn refuse_nic(at: &str, nic: &Map) -> Result<()> {
    if let Some(field) = asked(nic, &["secgroups"]) {
        return Err(err!(
            InputParameter,
            "{}{}: there are no security groups here, nothing would be filtered; leave it out, and filter inside the guest",
            at,
            field
        ));
    }
    if let Some(field) = asked(nic, &["address6", "addresses6", "require_ipv6", "strict_ipv6"]) {
        return Err(err!(InputParameter, "{}{}: interfaces have IPv4 addresses only; leave it out, and give address", at, field));
    }
    if let Some(field) = asked(nic, &["rx_bw_limit", "tx_bw_limit", "rx_traffic_limit", "tx_traffic_limit"]) {
        return Err(err!(
            InputParameter,
            "{}{}: an interface has one limit for both directions; leave it out, and give bw_limit",
            at,
            field
        ));
    }
    let others = ["require_teaming", "port_mappings", "sriov_device", "vip", "schedtags"];
    match asked(nic, &others) {
        Some(field) => Err(err!(InputParameter, "{}{}: interfaces have no such thing here; leave it out", at, field)),
        None => Ok(()),
    }
}
