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
    // path, body, class, a word the message must have
    let cases: Vec<(&str, Json, &str, &str)> = vec![
        ("zones", json!({}), "InputParameterError", "zone"),
        ("zones", json!({"zone": {}}), "MissingParameterError", "name"),
        ("zones", json!({"zone": {"name": "z"}}), "DuplicateNameError", "z"),
        ("zones", json!({"zone": {"name": "z2", "cloudregion": "mars"}}), "ResourceNotFoundError", "mars"),
        ("zones", json!({"zone": {"name": "a/b"}}), "InputParameterError", "name"),
        ("zones", json!({"zone": {"name": "x".repeat(200)}}), "InputParameterError", "128"),
        ("vpcs", json!({"vpc": {"name": "v", "cidr_block": "1.2.3.0/24"}}), "InputParameterError", "cidr_block"),
        ("wires", json!({"wire": {"name": "w2", "zone": "z"}}), "InputParameterError", "bandwidth"),
        ("wires", json!({"wire": {"name": "w2", "bw": 1000, "zone": "nowhere"}}), "ResourceNotFoundError", "nowhere"),
        ("wires", json!({"wire": {"name": "w2", "bw": "fast", "zone": "z"}}), "InputParameterError", "bandwidth"),
        ("wires", json!({"wire": {"name": "w2", "bw": 1000, "zone": "z", "mtu": 5}}), "InputParameterError", "mtu"),
        ("networks", json!({"network": {"name": "n", "wire": "w"}}), "MissingParameterError", "guest_ip_start"),
        ("networks", net(json!({"guest_ip_mask": 40})), "InputParameterError", "guest_ip_mask"),
        ("networks", net(json!({"guest_ip_start": "ten"})), "InputParameterError", "guest_ip_start"),
        ("networks", net(json!({"guest_ip_end": "10.8.0.9"})), "InputParameterError", "guest_ip_end"),
        ("networks", net(json!({"guest_gateway": "10.9.0.5"})), "InputParameterError", "guest_gateway"),
        ("networks", net(json!({"vlan_id": 5000})), "InputParameterError", "vlan_id"),
        ("networks", net(json!({"wire": "none"})), "ResourceNotFoundError", "none"),
        ("networks", net(json!({"server_type": "cat"})), "InputParameterError", "server_type"),
        ("networks", net(json!({"guest_ip_start": "10.1.0.50", "guest_ip_end": "10.1.0.60"})), "InputParameterError", "overlaps"),
        (
            "networks",
            json!({"network": {"name": "n", "wire": "w", "guest_ip_prefix": "10.0.0.0/31"}}),
            "InputParameterError",
            "guest_ip_prefix",
        ),
        (
            "storages",
            json!({"storage": {"name": "s", "zone": "z", "storage_type": "cloud", "capacity": 5}}),
            "InputParameterError",
            "storage_type",
        ),
        ("storages", json!({"storage": {"name": "s", "storage_type": "nfs"}}), "MissingParameterError", "zone_id"),
        ("serverskus", json!({"serversku": {"name": "k"}}), "MissingParameterError", "cpu_core_count"),
        ("serverskus", json!({"serversku": {"name": "k", "cpu_core_count": 1, "memory_size_mb": 1}}), "OutOfRange", "memory_size_mb"),
        ("keypairs", json!({"keypair": {"name": "k", "public_key": "nonsense"}}), "InputParameterError", "public_key"),
        ("disks", json!({"disk": {"name": "d"}}), "MissingParameterError", "size"),
        ("disks", json!({"disk": {"name": "d", "size": "huge"}}), "InputParameterError", "size"),
        ("disks", json!({"disk": {"name": "d", "size": "90000t"}}), "InputParameterError", "size"),
        ("disks", json!({"disk": {"name": "d", "image_id": "none"}}), "ResourceNotFoundError", "none"),
        ("disks", json!({"disk": {"name": "d", "size": 10, "storage": "none"}}), "ResourceNotFoundError", "none"),
        ("servers", json!({"server": {}}), "MissingParameterError", "name"),
        ("servers", json!({"server": {"name": "v"}}), "MissingParameterError", "vmem_size"),
        ("servers", json!({"server": {"name": "v", "vmem_size": 512}}), "MissingParameterError", "disks"),
        ("servers", vm(json!({"vcpu_count": 500})), "InputParameterError", "vcpu_count"),
        ("servers", vm(json!({"vcpu_count": []})), "InputParameterError", "vcpu_count"),
        ("servers", vm(json!({"vmem_size": 1})), "InputParameterError", "vmem_size"),
        ("servers", vm(json!({"disks": ["nosuch:2g"]})), "ResourceNotFoundError", "nosuch"),
        ("servers", vm(json!({"disks": ["cd:2g"]})), "InputParameterError", "ISO"),
        ("servers", vm(json!({"disks": ["half:2g"]})), "InvalidStatusError", "half"),
        ("servers", vm(json!({"disks": [{"size": "much"}]})), "InputParameterError", "disks.0.size"),
        ("servers", vm(json!({"nets": ["none"]})), "ResourceNotFoundError", "none"),
        ("servers", vm(json!({"nets": ["net:10.7.0.1"]})), "InputParameterError", "address"),
        ("servers", vm(json!({"nets": ["net:010203040506"]})), "InputParameterError", "mac"),
        ("servers", vm(json!({"keypair": "none"})), "ResourceNotFoundError", "none"),
        ("servers", vm(json!({"instance_type": "none"})), "ResourceNotFoundError", "none"),
        ("servers", vm(json!({"hypervisor": "xen"})), "InputParameterError", "hypervisor"),
        ("servers", vm(json!({"bios": "coreboot"})), "InputParameterError", "bios"),
        ("servers", vm(json!({"password": "short"})), "WeakPasswordError", "password"),
        ("servers", vm(json!({"hostname": "a b"})), "InputParameterError", "hostname"),
        ("servers", vm(json!({"boot_order": "xyz"})), "InputParameterError", "boot_order"),
        ("servers", vm(json!({"user_data": "x".repeat(70_000)})), "InputParameterError", "user_data"),
        ("servers", vm(json!({"prefer_host": "none"})), "ResourceNotFoundError", "none"),
        ("servers", vm(json!({"project": "none"})), "ResourceNotFoundError", "none"),
        ("servers", json!({"count": 9999, "server": {"name": "v", "vmem_size": 512, "disks": ["tiny:2g"]}}), "OutOfLimit", "count"),
        ("servers/none/start", json!({}), "ResourceNotFoundError", "none"),
        ("servers/none/dance", json!({}), "ActionNotFoundError", "dance"),
        ("hosts", json!({"host": {"name": "h"}}), "MissingParameterError", "zone_id"),
    ];
    let before = counts(&world).await;
    for (path, body, class, word) in cases {
        match world.post(path, body.clone()).await {
            Ok(answer) => panic!("{path} {body} was accepted: {answer}"),
            Err(e) => {
                assert_eq!(e.class().name(), class, "{path} {body}: {e}");
                assert!(e.to_string().contains(word), "{path} {body}: `{e}` does not say {word}");
            }
        }
    }
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
