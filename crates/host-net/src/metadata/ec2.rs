//! Paths in the manner of EC2 (spec 32 §6.2): `/latest/meta-data/…`, `/latest/user-data`, `/latest/dynamic/…`.

use super::http::Response;
use crate::plan::{is_private, mac_text};
use crate::view::Subject;
use serde_json::json;
use std::net::Ipv4Addr;

/// Versions clients look for. Any other date is accepted too.
const VERSIONS: [&str; 6] = ["1.0", "2009-04-04", "2016-09-02", "2019-10-01", "2021-03-23", "latest"];

/// The answer to a path, given as its segments.
pub(super) fn answer(subject: &Subject, path: &[&str]) -> Option<Response> {
    let (version, rest) = match path {
        [] => return Some(Response::text(200, VERSIONS.join("\n"))),
        [version, rest @ ..] => (*version, rest),
    };
    if !VERSIONS.contains(&version) && !is_date(version) {
        return None;
    }
    let guest = &subject.nic.guest;
    match rest {
        [] => Some(Response::text(200, "dynamic\nmeta-data\nuser-data".into())),
        ["user-data"] if guest.meta.user_data.is_empty() => None,
        ["user-data"] => Some(Response::bytes(guest.meta.user_data.as_bytes())),
        ["meta-data", rest @ ..] => meta_data(subject).find(rest).map(|text| Response::text(200, text)),
        ["dynamic"] => Some(Response::text(200, "instance-identity/".into())),
        ["dynamic", "instance-identity"] => Some(Response::text(200, "document".into())),
        ["dynamic", "instance-identity", "document"] => Some(Response::json(&json!({
            "version": "2017-09-30",
            "instanceId": guest.id,
            "instanceType": instance_type(subject),
            "accountId": guest.meta.project_id,
            "availabilityZone": guest.meta.zone,
            "region": guest.meta.region,
            "privateIp": addresses(subject).first().map(Ipv4Addr::to_string),
        }))),
        _ => None,
    }
}

pub(super) fn is_date(text: &str) -> bool {
    let shape = |(i, b): (usize, u8)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(shape)
}

/// A directory of names, or a value.
enum Node {
    Dir(Vec<(String, Node)>),
    /// Listed as `name=label`; found under either.
    Labelled(String, Box<Node>),
    Text(String),
}

impl Node {
    fn find(&self, path: &[&str]) -> Option<String> {
        match (self, path) {
            (Node::Labelled(_, inner), path) => inner.find(path),
            (Node::Text(text), []) => Some(text.clone()),
            (Node::Text(_), _) => None,
            (Node::Dir(entries), []) => {
                let line = |(name, node): &(String, Node)| match node {
                    Node::Dir(_) => format!("{name}/"),
                    Node::Labelled(label, _) => format!("{name}={label}"),
                    Node::Text(_) => name.clone(),
                };
                Some(entries.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            (Node::Dir(entries), [first, rest @ ..]) => entries.iter().find(|(name, _)| name == first)?.1.find(rest),
        }
    }
}

#[derive(Default)]
struct Dir(Vec<(String, Node)>);

impl Dir {
    fn text(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.into(), Node::Text(value.into())));
    }

    fn dir(&mut self, name: &str, dir: Dir) {
        if !dir.0.is_empty() {
            self.0.push((name.into(), Node::Dir(dir.0)));
        }
    }
}

fn meta_data(subject: &Subject) -> Node {
    let (guest, meta) = (&subject.nic.guest, &subject.nic.guest.meta);
    let lines = |ips: Vec<Ipv4Addr>| ips.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join("\n");
    let (public, all) = (addresses(subject).into_iter().filter(|ip| !is_private(*ip)).collect(), addresses(subject));
    let mut root = Dir::default();
    root.text("ami-launch-index", "0");
    root.dir("block-device-mapping", disks(subject));
    root.text("hostname", &guest.name);
    root.text("instance-id", &guest.id);
    root.text("instance-type", instance_type(subject));
    root.text("local-hostname", super::openstack::host_name(subject));
    root.text("local-ipv4", lines(all));
    root.text("mac", guest.nics.iter().map(|n| n.mac.clone()).collect::<Vec<_>>().join("\n"));
    let mut macs = Dir::default();
    for nic in &guest.nics {
        macs.dir(&format_mac(&nic.mac), interface(subject, nic));
    }
    let (mut interfaces, mut network) = (Dir::default(), Dir::default());
    interfaces.dir("macs", macs);
    network.dir("interfaces", interfaces);
    root.dir("network", network);
    let mut placement = Dir::default();
    for (name, value) in [("availability-zone", &meta.zone), ("region", &meta.region)] {
        if !value.is_empty() {
            placement.text(name, value);
        }
    }
    root.dir("placement", placement);
    root.text("public-hostname", super::openstack::host_name(subject));
    root.text("public-ipv4", lines(public));
    let mut keys = Dir::default();
    for (index, key) in meta.ssh_keys.iter().enumerate() {
        let label = if index == 0 { "my-public-key".to_string() } else { format!("my-public-key-{index}") };
        let formats = vec![("openssh-key".to_string(), Node::Text(key.clone()))];
        keys.0.push((index.to_string(), Node::Labelled(label, Box::new(Node::Dir(formats)))));
    }
    root.dir("public-keys", keys);
    let (mut instance, mut tags) = (Dir::default(), Dir::default());
    for (key, value) in &meta.tags {
        instance.text(key, value);
    }
    tags.dir("instance", instance);
    root.dir("tags", tags);
    Node::Dir(root.0)
}

/// One entry of the tree of hardware addresses.
fn interface(subject: &Subject, nic: &api_agent::GuestNic) -> Dir {
    let meta = &subject.nic.guest.meta;
    let mut dir = Dir::default();
    dir.text("device-number", nic.index.to_string());
    dir.text("interface-id", &nic.ifname);
    dir.text("local-hostname", super::openstack::host_name(subject));
    dir.text("local-ipv4s", &nic.ip_addr);
    dir.text("mac", format_mac(&nic.mac));
    dir.text("owner-id", &meta.project_id);
    dir.text("subnet-id", &nic.network_id);
    if let Some(network) = subject.document.networks.get(&nic.network_id) {
        dir.text("subnet-ipv4-cidr-block", &network.cidr);
    }
    dir
}

/// The root disk and the others, as an image's own scripts look for them.
fn disks(subject: &Subject) -> Dir {
    let mut dir = Dir::default();
    for (position, disk) in subject.nic.guest.disks.iter().enumerate() {
        match position {
            0 => dir.text("root", "/dev/root"),
            n => dir.text(&format!("ephemeral{}", n - 1), device(&disk.driver, position)),
        }
    }
    dir
}

fn device(driver: &str, position: usize) -> String {
    let letter = char::from(b'a' + (position % 26) as u8);
    format!("{}{letter}", if driver == "virtio" || driver.is_empty() { "vd" } else { "sd" })
}

/// As the bus prints it, whatever form the document has it in.
fn format_mac(text: &str) -> String {
    crate::plan::mac(text).map(mac_text).unwrap_or_else(|_| text.to_ascii_lowercase())
}

fn addresses(subject: &Subject) -> Vec<Ipv4Addr> {
    subject.nic.guest.nics.iter().filter_map(|n| n.ip_addr.parse().ok()).collect()
}

fn instance_type(subject: &Subject) -> String {
    let flavour = &subject.nic.guest.meta.instance_type;
    if flavour.is_empty() { "customized".into() } else { flavour.clone() }
}
