//! A server's life, and the ways it can fail.

use crate::world::{How, LONG, World, document_of, nothing_leaks, obey, quiet, settings};
use base::Clock;
use region::Settings;
use serde_json::{Value as Json, json};
use std::{sync::Mutex, time::Duration};

crate::world::on_both!(
    from_create_to_purge,
    the_bin_is_as_the_operator_wants_it,
    no_room_is_explained_and_nothing_is_held,
    who_takes_no_servers_any_more_gets_none,
    a_disk_that_fails_takes_everything_back,
    a_start_that_fails_leaves_the_server_to_be_started_again,
    a_batch_spreads_over_hosts,
    what_is_asked_for_is_given
);

pub fn server(name: &str) -> Json {
    json!({"server": {"name": name, "vcpu_count": 1, "vmem_size": "512M", "disks": ["tiny:2g"], "nets": ["net"], "auto_start": true, "disable_delete": false}})
}

async fn from_create_to_purge(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    world.post("servers", server("vm")).await.unwrap();
    let vm = world.reach("vm", &["running"]).await;
    assert_eq!(vm["power_states"], "on");
    assert_eq!(vm["ips"], "10.1.0.10");
    assert_eq!(vm["disks_info"][0]["size"], 2048);
    assert_eq!(vm["host"], "h1");
    assert!(world.post("servers", server("vm")).await.is_err_and(|e| e.class().http() == 409));

    for (action, words) in [("stop", "ready"), ("start", "running"), ("restart", "running"), ("reset", "running")] {
        world.post(&format!("servers/vm/{action}"), json!({})).await.unwrap();
        world.reach("vm", &[words]).await;
        quiet(&world).await;
    }
    assert!(world.post("servers/vm/start", json!({})).await.is_err_and(|e| e.class().name() == "InvalidStatusError"));

    world.delete("servers/vm").await.unwrap();
    quiet(&world).await;
    let bin = world.get("servers?pending_delete=true").await.unwrap();
    assert_eq!(bin["servers"][0]["pending_deleted"], true);
    assert_eq!(world.get("servers").await.unwrap(), json!({"servers": []}));
    world.post("servers/vm/cancel-delete", json!({})).await.unwrap();
    assert_eq!(world.get("servers").await.unwrap()["total"], 1);
    world.delete("servers/vm?override_pending_delete=true").await.unwrap();
    world.gone("servers/vm").await;
    quiet(&world).await;
    assert_eq!(world.get("disks").await.unwrap(), json!({"disks": []}));
    nothing_leaks(&world).await;
}

async fn the_bin_is_as_the_operator_wants_it(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    for name in ["kept", "gone"] {
        world.post("servers", server(name)).await.unwrap();
        world.reach(name, &["running"]).await;
    }
    world.post("disks", json!({"disk": {"name": "d", "size": "1g"}})).await.unwrap();
    quiet(&world).await;
    let clock = Clock::manual(Clock::real().now());
    // Where there is no bin, what is deleted is gone.
    let without = World::set(world.db.clone(), clock.clone(), Settings { recycle: false, ..settings() }).await;
    for path in ["servers/gone", "disks/d"] {
        without.delete(path).await.unwrap();
        world.gone(path).await;
    }
    world.delete("servers/kept").await.unwrap();
    quiet(&world).await;
    let hour = Duration::from_secs(3600);
    let short = World::set(world.db.clone(), clock.clone(), Settings { keep_deleted: hour, ..settings() }).await;
    short.region.empty_bin().await.unwrap();
    quiet(&world).await;
    assert_eq!(world.get("servers/kept").await.unwrap()["server"]["pending_deleted"], true);
    clock.advance(2 * hour);
    short.region.empty_bin().await.unwrap();
    world.gone("servers/kept").await;
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn no_room_is_explained_and_nothing_is_held(world: World) {
    world.post("servers", server("alone")).await.unwrap();
    let vm = world.reach("alone", &["sched_fail"]).await;
    assert!(vm["status_reason"].as_str().unwrap().contains("no hosts"), "{vm}");
    let _host = world.host("h1", How::Obedient).await;
    let mut big = server("big");
    big["server"]["vcpu_count"] = json!(128);
    world.post("servers", big).await.unwrap();
    let vm = world.reach("big", &["sched_fail"]).await;
    assert!(vm["status_reason"].as_str().unwrap().contains("h1: 128 processors wanted, 64 free"), "{vm}");
    for name in ["alone", "big"] {
        quiet(&world).await;
        world.delete(&format!("servers/{name}")).await.unwrap();
        world.gone(&format!("servers/{name}")).await;
    }
    quiet(&world).await;
    nothing_leaks(&world).await;
}

/// The scheduler has not heard of it yet, as nobody told: the taking of room looks for itself.
async fn who_takes_no_servers_any_more_gets_none(world: World) {
    let _hosts = [world.host("h1", How::Obedient).await, world.host("h2", How::Obedient).await];
    let disable = async |host: &str, sets: (&'static str, base::Value)| {
        let (column, value) = sets;
        let written = world.db.tx(|tx| {
            let sets = vec![store::set(column, value.clone())];
            store::work(async move { tx.update("hosts", store::Cond::eq("name", host), sets).await })
        });
        assert_eq!(written.await.unwrap(), 1);
    };
    disable("h1", ("enabled", false.into())).await;
    for n in 0..6 {
        let name = format!("vm{n}");
        world.post("servers", server(&name)).await.unwrap();
        assert_eq!(world.reach(&name, &["running"]).await["host"], "h2");
    }
    disable("h2", ("is_maintenance", true.into())).await;
    world.post("servers", server("none")).await.unwrap();
    let vm = world.reach("none", &["sched_fail"]).await;
    assert!(vm["status_reason"].as_str().unwrap().contains("No matching resources"), "{vm}");
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn a_disk_that_fails_takes_everything_back(world: World) {
    let _host = world.host("h1", How::NoDisks).await;
    world.post("servers", server("vm")).await.unwrap();
    let vm = world.reach("vm", &["disk_fail"]).await;
    assert!(vm["status_reason"].as_str().unwrap().contains("no space left"), "{vm}");
    quiet(&world).await;
    nothing_leaks(&world).await;
    world.delete("servers/vm").await.unwrap();
    world.gone("servers/vm").await;
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn a_start_that_fails_leaves_the_server_to_be_started_again(world: World) {
    let host = world.host("h1", How::NoStarts).await;
    world.post("servers", server("vm")).await.unwrap();
    let vm = world.reach("vm", &["start_fail"]).await;
    assert!(vm["status_reason"].as_str().unwrap().contains("no accelerator"), "{vm}");
    quiet(&world).await;
    nothing_leaks(&world).await;
    *host.how.lock().unwrap() = How::Obedient;
    // It must not start later by itself, and the failure stays to be seen until somebody asks anew.
    assert_eq!(world.get("servers/vm/desc").await.unwrap()["server"]["wanted"]["power"], "off");
    // Asked before the host has said that it is off, the answer is still that it failed.
    let asked = tokio::time::timeout(LONG, async {
        while world.get("servers/vm").await.unwrap()["server"]["status"] != "ready" {
            world.post("servers/vm/sync", json!({})).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    asked.await.expect("ready");
    world.post("servers/vm/start", json!({})).await.unwrap();
    world.reach("vm", &["running"]).await;
}

/// Addresses and MACs for each of a batch, sockets, wires and regions: from the request to what the host is told.
async fn what_is_asked_for_is_given(world: World) {
    let host = world.machine("h1").await;
    let (region, id) = (world.region.clone(), host.clone());
    let agent = tokio::spawn(async move { obey(&region.agents, &id, &Mutex::new(How::Obedient)).await });
    let batch = |net: Json| {
        json!({"count": 2, "server": {"name": "b", "vcpu_count": 4, "cpu_sockets": 2, "vmem_size": 256, "disks": ["tiny:1g"], "nets": [net],
        "prefer_region": "default", "prefer_zones": ["z"], "disable_delete": false, "secgroups": ["default"], "auto_renew": false}})
    };
    let own = json!({"network": "net", "addresses": ["10.1.0.77", "10.1.0.66"], "macs": ["00:22:AA:00:00:07", "00:22:aa:00:00:06"]});
    world.post("servers", batch(own)).await.unwrap();
    for (name, address, mac) in [("b-1", "10.1.0.77", "00:22:aa:00:00:07"), ("b-2", "10.1.0.66", "00:22:aa:00:00:06")] {
        let server = world.reach(name, &["ready"]).await;
        assert_eq!((&server["ips"], &server["macs"]), (&json!(address), &json!(mac)), "{name}");
    }
    let told = document_of(&world.region.agents, &host).await.guests;
    assert!(told.len() == 2 && told.iter().all(|guest| guest.cpu_sockets == 2), "{told:?}");
    for net in [
        json!({"network": "net", "addresses": ["10.1.0.80"]}),
        json!({"network": "net", "macs": ["00:22:aa:00:00:08", "00:22:AA:00:00:08"]}),
        json!({"network": "net", "addresses": ["10.1.0.80", "10.9.0.80"]}),
        json!({"addresses": ["10.1.0.80", "10.1.0.81"]}),
        json!({"network": "net", "address": "10.1.0.80"}),
    ] {
        let refused = world.post("servers", batch(net.clone())).await.map(|b| b.to_string());
        assert!(refused.as_ref().is_err_and(|e| e.to_string().starts_with("nets.0")), "{net}: {refused:?}");
    }
    // The wire asked for decides where an interface goes that names no network.
    let wire = json!({"wire": {"name": "w2", "bw": 1000, "zone": "z"}});
    world.post("wires", wire).await.unwrap();
    let mut body = server("elsewhere");
    body["server"]["nets"] = json!([]);
    body["server"]["prefer_wire"] = json!("w2");
    world.post("servers", body).await.unwrap();
    let server = world.reach("elsewhere", &["sched_fail"]).await;
    assert!(server["status_reason"].as_str().unwrap().contains("the network of interface 0 is not on its wires"), "{server}");
    agent.abort();
}

async fn a_batch_spreads_over_hosts(world: World) {
    let _hosts = [world.host("h1", How::Obedient).await, world.host("h2", How::Obedient).await];
    // Both are known; of what the batch itself takes the scheduler hears later than all of it is placed.
    world.region.scheduler.catch_up().await.unwrap();
    let mut body = server("b");
    body["count"] = json!(12);
    let answer = world.post("servers", body).await.unwrap();
    assert_eq!(answer["servers"].as_array().unwrap().len(), 12);
    assert_eq!(answer["servers"][0]["status"], 200);
    let mut on = std::collections::BTreeSet::new();
    for i in 1..=12 {
        on.insert(world.reach(&format!("b-{i}"), &["running"]).await["host"].to_string());
    }
    assert_eq!(on.len(), 2, "{on:?}");
    quiet(&world).await;
    nothing_leaks(&world).await;
}

/// A control plane that dies in the middle of many creations: its successor on the same database brings every one to an end.
async fn a_region_that_dies_is_succeeded(url: &str) {
    for round in 0..5u64 {
        let db = store::Db::open(url).await.unwrap();
        let world = World::on(db).await;
        for i in 0..8 {
            world.post("servers", server(&format!("r{round}-{i}"))).await.unwrap();
        }
        // Dropped wherever its tasks happen to be.
        tokio::time::sleep(std::time::Duration::from_millis(round * 7)).await;
        drop(world);
    }
    let world = World::on(store::Db::open(url).await.unwrap()).await;
    quiet(&world).await;
    for server in world.get("servers").await.unwrap()["servers"].as_array().unwrap() {
        assert_eq!(server["status"], "sched_fail", "there were no hosts: {server}");
    }
    nothing_leaks(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn succession_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    a_region_that_dies_is_succeeded(&format!("sqlite://{}", dir.path().join("c.db").display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_succession() {
    a_region_that_dies_is_succeeded(&store::testing::postgres_url().await).await;
}
