//! What is counted, and for whom.

use crate::{
    lifecycle::server,
    world::{How, World, admin, person, quiet},
};
use resource::Method;
use serde_json::{Value as Json, json};

crate::world::on_both!(each_scope_counts_its_own, a_part_of_the_cloud, counting_costs_the_same_however_much_there_is);

async fn usage(world: &World, who: &base::Ctx, path: &str) -> Json {
    let (path, scope) = path.split_once('?').map_or((path, None), |(p, q)| (p, q.strip_prefix("scope=")));
    let of = path.split_once('/');
    world.region.usages(who, scope, of).await.map_or_else(|e| json!(e.to_string()), |mut u| u["usage"].take())
}

async fn three(world: &World) -> crate::world::Host {
    let host = world.host("h1", How::Obedient).await;
    let network = json!({"network": {"is_public": true, "public_scope": "system"}});
    world.ask(&admin(), Method::Put, "networks/net", network).await.unwrap();
    for (name, owner) in [("a", "red"), ("b", "red"), ("c", "blue")] {
        let mut body = server(name);
        body["server"]["project_id"] = json!(owner);
        body["server"]["auto_start"] = json!(name != "b");
        body["server"]["os_arch"] = json!("x86_64");
        world.post("servers", body).await.unwrap();
        world.reach(name, &[if name == "b" { "ready" } else { "running" }]).await;
    }
    quiet(world).await;
    host
}

async fn each_scope_counts_its_own(world: World) {
    let _host = three(&world).await;
    let shown = world.get("servers/a").await.unwrap();
    let disk = shown["server"]["disk"].as_i64().unwrap();
    let (cpu, memory) = (shown["server"]["vcpu_count"].as_i64().unwrap(), shown["server"]["vmem_size"].as_i64().unwrap());
    let check = |found: &Json, want: &[(&str, i64)]| {
        for (key, n) in want {
            assert_eq!(found[key], json!(n), "{key}: {found:#}");
        }
    };
    let all = usage(&world, &admin(), "").await;
    check(
        &all,
        &[
            ("all.servers", 3),
            ("all.servers.cpu", 3 * cpu),
            ("all.servers.memory", 3 * memory),
            ("all.servers.disk", 3 * disk),
            ("all.servers.last_week.x86_64", 3),
            ("all.servers.aarch64", 0),
            ("all.servers.aarch64.disk", 0),
            ("all.running_servers", 2),
            ("all.running_servers.disk", 2 * disk),
            ("all.ready_servers.memory", memory),
            ("all.pending_delete_servers", 0),
            ("all.disks", 3 * disk),
            ("all.disks.attached.count", 3),
            ("all.disks.detached", 0),
            ("all.disks.mounted.owner", 3 * disk),
            ("all.disks.unready", 0),
            ("all.disks.system.attached.owner.storage_type.local", 3 * disk),
            ("all.nics.guest", 3),
            ("all.networks", 1),
            ("all.wires", 1),
            ("hosts", 1),
            ("enabled_hosts.cpu.total", 8),
            ("hosts.cpu.used", 3 * cpu),
            ("hosts.memory.total", 16_384),
            ("hosts.storage_gb", 500_000 / 1024),
            ("baremetals", 0),
            ("storages", 500_000),
            ("storages.medium_type.ssd", 500_000),
            ("zones", 1),
            ("regions", 1),
        ],
    );
    assert!(all["all.cpu_commit_rate.running"].as_f64().unwrap() > 0.0, "{all}");
    assert!(all.get("all.hosts").is_none() && all.get("all.buckets").is_none(), "{all}");

    let red = usage(&world, &person("r", "red", "member"), "").await;
    check(&red, &[("servers", 2), ("servers.disk", 2 * disk), ("running_servers", 1), ("disks.count", 2), ("nics.guest", 2)]);
    assert!(red.as_object().unwrap().keys().all(|k| !k.starts_with("all.") && !k.starts_with("hosts")), "{red}");
    let refused = usage(&world, &person("r", "red", "member"), "?scope=system").await;
    assert!(refused.as_str().is_some_and(|e| e.contains("not allowed")), "{refused}");
    let domain = usage(&world, &admin(), "?scope=domain").await;
    check(&domain, &[("domain.servers", 3), ("domain.hosts", 1), ("domain.storages", 500_000), ("servers", 0)]);
    assert!(domain.get("all.servers").is_none() && domain.get("hosts").is_none(), "{domain}");

    world.delete("servers/c").await.unwrap();
    quiet(&world).await;
    let all = usage(&world, &admin(), "").await;
    check(&all, &[("all.servers", 2), ("all.pending_delete_servers", 1), ("all.pending_delete_servers.disk", disk)]);
    check(&all, &[("all.disks.count", 2), ("all.nics.guest", 2), ("all.nics.guest.pending_delete", 1), ("all.nics", 3)]);
}

async fn a_part_of_the_cloud(world: World) {
    let host = three(&world).await;
    world.post("zones", json!({"zone": {"name": "empty"}})).await.unwrap();
    world.post("wires", json!({"wire": {"name": "far", "zone": "empty", "vpc": "default", "bandwidth": 1000}})).await.unwrap();
    let whole = usage(&world, &admin(), "").await;
    for (path, some) in [
        (format!("hosts/{}", host.id), true),
        ("hosts/h1".into(), true),
        ("zones/z".into(), true),
        ("wires/w".into(), true),
        ("cloudregions/default".into(), true),
        ("zones/empty".into(), false),
        ("wires/far".into(), false),
    ] {
        let part = usage(&world, &admin(), &path).await;
        for key in
            ["all.servers", "all.servers.disk", "all.disks", "all.nics.guest", "all.networks", "hosts", "storages", "storages.virtual"]
        {
            assert_eq!(part[key], if some { whole[key].clone() } else { json!(0) }, "{path} {key}: {part:#}");
        }
        assert_eq!(part["all.wires"], json!(if path.starts_with("cloudregions") { 2 } else { 1 }), "{path}");
        assert!(part.get("zones").is_none(), "{path}");
    }
    for (path, why) in [("zones/nowhere", "not found"), ("schedtags/x", "no usages of schedtags")] {
        let refused = usage(&world, &admin(), path).await;
        assert!(refused.as_str().is_some_and(|e| e.contains(why)), "{path}: {refused}");
    }
}

async fn counting_costs_the_same_however_much_there_is(world: World) {
    let _host = three(&world).await;
    let mut costs = Vec::new();
    for more in [false, true] {
        if more {
            let mut body = server("s");
            body["count"] = json!(10);
            body["server"]["os_arch"] = json!("x86_64");
            world.post("servers", body).await.unwrap();
            for i in 1..=10 {
                world.reach(&format!("s-{i}"), &["running"]).await;
            }
            quiet(&world).await;
        }
        let mut least = u64::MAX;
        for _ in 0..30 {
            let before = world.db.queries();
            usage(&world, &admin(), "?scope=system").await;
            least = least.min(world.db.queries() - before);
        }
        costs.push(least);
    }
    // The administrator's own project had no servers before: their disks are one question for each state.
    assert!(costs[1] <= costs[0] + 8, "{costs:?}");
}
