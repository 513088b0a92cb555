//! Wrong input: for every kind its class, a message that names the field, and nothing left behind.

use crate::world::{How, World, admin, person};
use base::Json;
use resource::Method;
use serde_json::json;
use store::{Cond, Read};

crate::world::on_both!(every_mistake_is_named, rights);

async fn every_mistake_is_named(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let net = |more: Json| {
        let mut body = json!({"name": "n", "wire": "w", "guest_ip_start": "10.9.0.2", "guest_ip_end": "10.9.0.9", "guest_ip_mask": 24});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "network": body })
    };
    let vm = |more: Json| {
        let mut body = json!({"name": "v", "vmem_size": 512, "disks": ["tiny:2g"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "server": body })
    };
    // path, body, class, the word that names what is wrong, and words that say what to do: both must be in the message.
    let cases: Vec<(&str, Json, &str, &str, &str)> = vec![
        ("zones", json!({}), "InputParameterError", "zone", "with the key zone"),
        ("zones", json!({"zone": {}}), "MissingParameterError", "name", "give one of them"),
        ("zones", json!({"zone": {"name": "z"}}), "DuplicateNameError", "z", "choose another name"),
        ("zones", json!({"zone": {"name": "z2", "cloudregion": "mars"}}), "ResourceNotFoundError", "mars", "not found"),
        ("zones", json!({"zone": {"name": "a/b"}}), "InputParameterError", "name", "leave it out"),
        ("zones", json!({"zone": {"name": "x".repeat(200)}}), "InputParameterError", "128", "at most 128"),
        ("vpcs", json!({"vpc": {"name": "v", "cidr_block": "1.2.3.0/24"}}), "InputParameterError", "cidr_block", "192.168.0.0/16"),
        ("wires", json!({"wire": {"name": "w2", "zone": "z"}}), "InputParameterError", "bandwidth", "give at least 1"),
        ("wires", json!({"wire": {"name": "w2", "bw": 1000, "zone": "nowhere"}}), "ResourceNotFoundError", "nowhere", "not found"),
        ("wires", json!({"wire": {"name": "w2", "bw": "fast", "zone": "z"}}), "InputParameterError", "bandwidth", "expected integer"),
        ("wires", json!({"wire": {"name": "w2", "bw": 1000, "zone": "z", "mtu": 5}}), "InputParameterError", "mtu", "576 to 65535"),
        ("networks", json!({"network": {"name": "n", "wire": "w"}}), "MissingParameterError", "guest_ip_start", "or give guest_ip_prefix"),
        ("networks", net(json!({"guest_ip_mask": 40})), "InputParameterError", "guest_ip_mask", "12 to 30"),
        ("networks", net(json!({"guest_ip_start": "ten"})), "InputParameterError", "guest_ip_start", "not an IPv4 address"),
        ("networks", net(json!({"guest_ip_end": "10.8.0.9"})), "InputParameterError", "guest_ip_end", "lies before guest_ip_start"),
        ("networks", net(json!({"guest_gateway": "10.9.0.5"})), "InputParameterError", "guest_gateway", "move guest_ip_start"),
        ("networks", net(json!({"vlan_id": 5000})), "InputParameterError", "vlan_id", "1 to 4095"),
        ("networks", net(json!({"wire": "none"})), "ResourceNotFoundError", "none", "not found"),
        ("networks", net(json!({"server_type": "cat"})), "InputParameterError", "server_type", "one of guest"),
        (
            "networks",
            net(json!({"guest_ip_start": "10.1.0.50", "guest_ip_end": "10.1.0.60"})),
            "InputParameterError",
            "overlaps",
            "choose a free range",
        ),
        (
            "networks",
            json!({"network": {"name": "n", "wire": "w", "guest_ip_prefix": "10.0.0.0/31"}}),
            "InputParameterError",
            "guest_ip_prefix",
            "between /12 and /29",
        ),
        (
            "storages",
            json!({"storage": {"name": "s", "zone": "z", "storage_type": "cloud", "capacity": 5}}),
            "InputParameterError",
            "storage_type",
            "one of local",
        ),
        ("storages", json!({"storage": {"name": "s", "storage_type": "nfs"}}), "MissingParameterError", "zone_id", "name a zone"),
        ("serverskus", json!({"serversku": {"name": "k"}}), "MissingParameterError", "cpu_core_count", "as in 2"),
        (
            "serverskus",
            json!({"serversku": {"name": "k", "cpu_core_count": 1, "memory_size_mb": 1}}),
            "OutOfRange",
            "memory_size_mb",
            "512 to 524288",
        ),
        ("keypairs", json!({"keypair": {"name": "k", "public_key": "nonsense"}}), "InputParameterError", "public_key", "for example"),
        ("disks", json!({"disk": {"name": "d"}}), "MissingParameterError", "size", "with a unit as in 10g"),
        ("disks", json!({"disk": {"name": "d", "size": "huge"}}), "InputParameterError", "size", "a unit as in 10g"),
        ("disks", json!({"disk": {"name": "d", "size": "90000t"}}), "InputParameterError", "size", "1 to 67108864"),
        ("disks", json!({"disk": {"name": "d", "image_id": "none"}}), "ResourceNotFoundError", "none", "not found"),
        ("disks", json!({"disk": {"name": "d", "size": 10, "storage": "none"}}), "ResourceNotFoundError", "none", "not found"),
        ("servers", json!({"server": {}}), "MissingParameterError", "name", "give one of them"),
        ("servers", json!({"server": {"name": "v"}}), "MissingParameterError", "vmem_size", "or an instance_type"),
        ("servers", json!({"server": {"name": "v", "vmem_size": 512}}), "MissingParameterError", "disks", "as in image:20g"),
        ("servers", vm(json!({"vcpu_count": 500})), "InputParameterError", "vcpu_count", "1 to 128"),
        ("servers", vm(json!({"vcpu_count": []})), "InputParameterError", "vcpu_count", "expected integer"),
        ("servers", vm(json!({"vmem_size": 1})), "InputParameterError", "vmem_size", "8 to 524288"),
        ("servers", vm(json!({"disks": ["nosuch:2g"]})), "ResourceNotFoundError", "nosuch", "not found"),
        ("servers", vm(json!({"disks": ["cd:2g"]})), "InputParameterError", "ISO", "image of an installed system"),
        ("servers", vm(json!({"disks": ["half:2g"]})), "InvalidStatusError", "half", "it must be active"),
        ("servers", vm(json!({"disks": [{"size": "much"}]})), "InputParameterError", "disks.0.size", "a unit as in 10g"),
        ("servers", vm(json!({"nets": ["none"]})), "ResourceNotFoundError", "none", "not found"),
        ("servers", vm(json!({"nets": ["net:10.7.0.1"]})), "InputParameterError", "address", "10.1.0.10 to 10.1.0.254"),
        ("servers", vm(json!({"nets": ["net:010203040506"]})), "InputParameterError", "mac", "as in 00:22"),
        ("servers", vm(json!({"keypair": "none"})), "ResourceNotFoundError", "none", "not found"),
        ("servers", vm(json!({"instance_type": "none"})), "ResourceNotFoundError", "none", "not found"),
        ("servers", vm(json!({"hypervisor": "xen"})), "InputParameterError", "hypervisor", "use kvm"),
        ("servers", vm(json!({"bios": "coreboot"})), "InputParameterError", "bios", "one of BIOS, UEFI"),
        ("servers", vm(json!({"password": "short"})), "WeakPasswordError", "password", "at least 12 characters"),
        ("servers", vm(json!({"hostname": "a b"})), "InputParameterError", "hostname", "letters, digits"),
        ("servers", vm(json!({"boot_order": "xyz"})), "InputParameterError", "boot_order", "the letters c, d and n"),
        ("servers", vm(json!({"user_data": "x".repeat(70_000)})), "InputParameterError", "user_data", "at most 65536 bytes"),
        ("servers", vm(json!({"prefer_host": "none"})), "ResourceNotFoundError", "none", "not found"),
        ("servers", vm(json!({"project": "none"})), "ResourceNotFoundError", "none", "not found"),
        (
            "servers",
            json!({"count": 9999, "server": {"name": "v", "vmem_size": 512, "disks": ["tiny:2g"]}}),
            "OutOfLimit",
            "count",
            "at most 500",
        ),
        ("servers/none/start", json!({}), "ResourceNotFoundError", "none", "not found"),
        ("servers/none/dance", json!({}), "ActionNotFoundError", "dance", "has no action"),
        ("hosts", json!({"host": {"name": "h"}}), "MissingParameterError", "zone_id", "name a zone"),
        ("cloudregions", json!({"cloudregion": {}}), "MissingParameterError", "name", "give one of them"),
        ("cloudregions", json!({"cloudregion": {"name": "r", "enabled": []}}), "InputParameterError", "enabled", "expected boolean"),
        ("cloudregions", json!({"cloudregion": {"name": "a;b"}}), "InputParameterError", "name", "leave it out"),
        ("vpcs", json!({"vpc": {}}), "MissingParameterError", "name", "give one of them"),
        ("vpcs", json!({"vpc": {"name": "v", "cidr_block": "ten"}}), "InputParameterError", "cidr_block", "10.0.0.0/8"),
        ("vpcs", json!({"vpc": {"name": "v", "cloudregion": "mars"}}), "ResourceNotFoundError", "mars", "not found"),
        ("hosts", json!({"host": {"name": "h", "zone": "nowhere"}}), "ResourceNotFoundError", "nowhere", "not found"),
        ("hosts", json!({"host": {"name": "h", "zone": "z", "cpu_count": "many"}}), "InputParameterError", "cpu_count", "expected integer"),
        ("hosts", json!({"host": {"name": "h", "zone": "z", "mem_size": []}}), "InputParameterError", "mem_size", "expected integer"),
        (
            "storages",
            json!({"storage": {"name": "s", "zone": "z", "storage_type": "nfs", "capacity": "big"}}),
            "InputParameterError",
            "capacity",
            "expected integer",
        ),
        (
            "storages",
            json!({"storage": {"name": "s", "zone": "mars", "storage_type": "nfs"}}),
            "ResourceNotFoundError",
            "mars",
            "not found",
        ),
        (
            "serverskus",
            json!({"serversku": {"name": "k", "cpu_core_count": "two"}}),
            "InputParameterError",
            "cpu_core_count",
            "expected integer",
        ),
        ("serverskus", json!({"serversku": {"name": "k", "cpu_core_count": 2}}), "MissingParameterError", "memory_size_mb", "as in"),
        ("keypairs", json!({"keypair": {"name": "k", "scheme": "DSA"}}), "InputParameterError", "scheme", "RSA, ED25519"),
        ("networks/net/reserve-ip", json!({}), "MissingParameterError", "ips", "as in 10.0.0.9"),
        ("networks/net/reserve-ip", json!({"ips": ["ten"]}), "InputParameterError", "ten", "not an IPv4 address"),
        ("networks/net/reserve-ip", json!({"ips": ["10.9.9.9"]}), "InputParameterError", "10.9.9.9", "10.1.0.10 to 10.1.0.254"),
        ("networks/net/release-reserved-ip", json!({"ip": "10.1.0.99"}), "ResourceNotFoundError", "10.1.0.99", "not found"),
        ("reservedips", json!({"reservedip": {}}), "UnsupportOperationError", "reservedips", "not created by request"),
        ("quotas", json!({"quota": {"cpu": "many"}}), "InputParameterError", "cpu", "expected integer"),
        ("quotas", json!({"quota": {"cpu": 1, "project_id": "mars"}}), "ResourceNotFoundError", "mars", "not found"),
        ("servers", vm(json!({"disks": [{"size": "1g", "fs": "ext4"}]})), "InputParameterError", "disks.0.fs", "user_data"),
        ("servers", vm(json!({"disks": ["tiny:2g:/data"]})), "InputParameterError", "disks.0.mountpoint", "leave it out"),
        ("servers", vm(json!({"nets": [{"network": "net", "num_queues": 4}]})), "InputParameterError", "nets.0.num_queues", "leave it out"),
        ("servers", vm(json!({"nets": [{"secgroups": ["web"]}]})), "InputParameterError", "nets.0.secgroups", "inside the guest"),
        ("servers", vm(json!({"secgroups": ["web"]})), "InputParameterError", "secgroups", "inside the guest"),
        ("servers", vm(json!({"cdrom": "cd"})), "InputParameterError", "cdrom", "leave it out"),
        ("servers", vm(json!({"eip": "e"})), "InputParameterError", "eip", "leave it out"),
        ("servers", vm(json!({"isolated_devices": ["gpu"]})), "InputParameterError", "isolated_devices", "leave it out"),
        ("servers", vm(json!({"duration": "1M"})), "InputParameterError", "duration", "leave it out"),
        ("servers", vm(json!({"billing_type": "prepaid"})), "InputParameterError", "billing_type", "use postpaid"),
        ("servers", vm(json!({"is_daemon": true})), "InputParameterError", "is_daemon", "leave it out"),
        ("servers", vm(json!({"vdi": "spice"})), "InputParameterError", "vdi", "one of vnc"),
        ("servers", vm(json!({"cpu_sockets": 9})), "InputParameterError", "cpu_sockets", "at most as many"),
        ("servers", vm(json!({"prefer_region": "mars"})), "ResourceNotFoundError", "mars", "not found"),
        ("servers", vm(json!({"prefer_wire": "none"})), "ResourceNotFoundError", "none", "not found"),
        ("servers", vm(json!({"nets": [{"address": "10.1.0.9"}]})), "MissingParameterError", "nets.0", "named"),
        ("disks", json!({"disk": {"name": "d", "size": 10, "fs_format": "ext4"}}), "InputParameterError", "fs_format", "user_data"),
        ("disks", json!({"disk": {"name": "d", "size": 10, "snapshot_id": "s"}}), "InputParameterError", "snapshot_id", "image_id"),
        ("disks", json!({"disk": {"name": "d", "size": 10, "iops": 100}}), "InputParameterError", "iops", "leave it out"),
    ];
    let before = counts(&world).await;
    let mut wrong = Vec::new();
    for (path, body, class, word, remedy) in cases {
        match world.post(path, body.clone()).await {
            Ok(answer) => wrong.push(format!("{path} {body} was accepted: {answer}")),
            Err(e) if e.class().name() == class && e.to_string().contains(word) && e.to_string().contains(remedy) => {}
            Err(e) => wrong.push(format!("{path} {body}: {} `{e}`, not {class} with `{word}` and `{remedy}`", e.class().name())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(counts(&world).await, before, "a refused request left something behind");
}

async fn counts(world: &World) -> Vec<i64> {
    let mut db = &world.db;
    let mut out = Vec::new();
    for facts in region::facts() {
        out.push(db.count(facts.table, Cond::True).await.unwrap());
    }
    out.push(db.count("tasks", Cond::True).await.unwrap());
    out
}

async fn rights(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    world.ask(&person("ann", "red", "member"), Method::Post, "servers", crate::lifecycle::server("vm")).await.unwrap();
    world.reach("vm", &["running"]).await;
    let class = |r: base::Result<Json>| r.map_or_else(|e| e.class().name().to_string(), |_| "ok".into());
    let (bob, eve, guest) = (person("bob", "red", "viewer"), person("eve", "blue", "member"), person("", "", "none"));
    for (who, method, path, want) in [
        (&bob, Method::Get, "servers/vm", "ok"),
        (&bob, Method::Post, "servers/vm/stop", "ForbiddenError"),
        (&bob, Method::Delete, "servers/vm", "ForbiddenError"),
        (&bob, Method::Put, "servers/vm", "ForbiddenError"),
        (&eve, Method::Get, "servers/vm", "ResourceNotFoundError"),
        (&eve, Method::Delete, "servers/vm", "ResourceNotFoundError"),
        (&eve, Method::Get, "servers?scope=system", "ForbiddenError"),
        (&eve, Method::Post, "zones", "ForbiddenError"),
        (&guest, Method::Get, "servers", "ForbiddenError"),
        (&guest, Method::Get, "servers/vm", "ForbiddenError"),
    ] {
        let body = if path == "zones" { json!({"zone": {"name": "x"}}) } else { json!({}) };
        assert_eq!(class(world.ask(who, method, path, body).await), want, "{} {method:?} {path}", who.caller.user);
    }
    let seen = world.ask(&eve, Method::Get, "servers", Json::Null).await.unwrap();
    assert_eq!(seen, json!({"servers": []}));
    let seen = world.ask(&bob, Method::Get, "servers/vm", Json::Null).await.unwrap();
    assert!(seen["server"].get("host_id").is_none() && seen["server"].get("host").is_none(), "a project must not see the host: {seen}");
    let seen = world.ask(&admin(), Method::Get, "servers/vm", Json::Null).await.unwrap();
    assert_eq!(seen["server"]["host"], "h1");
}
