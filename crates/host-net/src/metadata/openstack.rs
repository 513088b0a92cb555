//! Paths in the manner of OpenStack: `/openstack/latest/{meta_data.json,user_data,vendor_data.json,network_data.json}`.

use super::ec2::is_date;
use super::http::Response;
use crate::view::Subject;
use base64::Engine;
use serde_json::{Map, Value, json};

/// Versions clients look for. Any other date is accepted too.
const VERSIONS: [&str; 8] = ["2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2017-02-22", "2018-08-27", "latest"];
const FILES: [&str; 5] = ["meta_data.json", "network_data.json", "user_data", "vendor_data.json", "vendor_data2.json"];

/// The answer to a path below `/openstack`, given as its segments.
pub(super) fn answer(subject: &Subject, path: &[&str]) -> Option<Response> {
    let (version, rest) = match path {
        [] => return Some(Response::text(200, VERSIONS.join("\n"))),
        [version, rest @ ..] => (*version, rest),
    };
    if version != "latest" && !is_date(version) {
        return None;
    }
    let user_data = &subject.nic.guest.meta.user_data;
    match rest {
        [] => {
            let files = FILES.iter().filter(|f| **f != "user_data" || !user_data.is_empty());
            Some(Response::text(200, files.copied().collect::<Vec<_>>().join("\n")))
        }
        ["meta_data.json"] => Some(Response::json(&meta_data(subject))),
        ["network_data.json"] => Some(Response::json(&network_data(subject))),
        ["user_data"] if user_data.is_empty() => None,
        ["user_data"] => Some(Response::bytes(user_data.as_bytes())),
        ["vendor_data.json"] => Some(Response::json(&vendor_data(subject))),
        ["vendor_data2.json"] => Some(Response::json(&json!({}))),
        _ => None,
    }
}

/// The host name, or the guest's name when it has none.
pub(super) fn host_name(subject: &Subject) -> String {
    let guest = &subject.nic.guest;
    if guest.meta.hostname.is_empty() { guest.name.clone() } else { guest.meta.hostname.clone() }
}

fn meta_data(subject: &Subject) -> Value {
    let (guest, meta) = (&subject.nic.guest, &subject.nic.guest.meta);
    let name = |index: usize| if index == 0 { "my-public-key".to_string() } else { format!("my-public-key-{index}") };
    let keys: Vec<(String, &String)> = meta.ssh_keys.iter().enumerate().map(|(i, k)| (name(i), k)).collect();
    let mut out = json!({
        "uuid": guest.id,
        "name": guest.name,
        "hostname": host_name(subject),
        "availability_zone": meta.zone,
        "project_id": meta.project_id,
        "launch_index": 0,
        "meta": meta.tags,
        "devices": [],
        "public_keys": keys.iter().map(|(n, k)| (n.clone(), json!(k))).collect::<Map<_, _>>(),
        "keys": keys.iter().map(|(n, k)| json!({"name": n, "type": "ssh", "data": k})).collect::<Vec<_>>(),
    });
    if !meta.password.is_empty() {
        out["admin_pass"] = json!(meta.password);
    }
    let mut seed = [0; 512];
    // The guest's own entropy; another at each request.
    if getrandom::fill(&mut seed).is_ok() {
        out["random_seed"] = json!(base64::engine::general_purpose::STANDARD.encode(seed));
    }
    out
}

/// Names the links; addresses come by DHCP, so that both always say the same.
fn network_data(subject: &Subject) -> Value {
    let (mut links, mut networks, mut services) = (Vec::new(), Vec::new(), Vec::new());
    for nic in &subject.nic.guest.nics {
        let Some(network) = subject.document.networks.get(&nic.network_id) else { continue };
        let mtu = if network.mtu == 0 { Value::Null } else { json!(network.mtu) };
        links.push(json!({"id": nic.ifname, "vif_id": nic.ifname, "type": "phy", "mtu": mtu, "ethernet_mac_address": nic.mac}));
        if !nic.ip_addr.is_empty() {
            networks.push(
                json!({"id": format!("network{}", nic.index), "type": "ipv4_dhcp", "link": nic.ifname, "network_id": nic.network_id}),
            );
        }
        for dns in &network.dns {
            let service = json!({"type": "dns", "address": dns});
            if !services.contains(&service) {
                services.push(service);
            }
        }
    }
    json!({"links": links, "networks": networks, "services": services})
}

/// The login the user asked for, as configuration cloud-init merges under the user's own.
fn vendor_data(subject: &Subject) -> Value {
    let meta = &subject.nic.guest.meta;
    if meta.password.is_empty() {
        return json!({});
    }
    let user = if meta.login_account.is_empty() { "root" } else { &meta.login_account };
    let config = json!({
        "ssh_pwauth": true,
        "disable_root": user != "root",
        "chpasswd": {"expire": false, "users": [{"name": user, "password": meta.password, "type": "text"}]},
    });
    // JSON is YAML.
    json!({"cloud-init": format!("#cloud-config\n{config}\n")})
}
