//! No address is ever given twice.

use crate::{
    lifecycle::server,
    world::{How, World, nothing_leaks, quiet},
};
use serde_json::json;

crate::world::on_both!(sixty_four_at_once, a_full_network_says_so, addresses_set_aside_stay_free, a_deleted_network_leaves_its_range);

async fn sixty_four_at_once(world: World) {
    let _hosts = [world.host("h1", How::Obedient).await, world.host("h2", How::Obedient).await, world.host("h3", How::Obedient).await];
    let world = &world;
    let created =
        futures_util::future::join_all((0..64).map(|i| async move { world.post("servers", server(&format!("s{i}"))).await })).await;
    assert!(created.iter().all(Result::is_ok), "{:?}", created.iter().find(|r| r.is_err()));
    let mut addresses = std::collections::HashSet::new();
    for i in 0..64 {
        let vm = world.reach(&format!("s{i}"), &["running"]).await;
        assert!(addresses.insert(vm["ips"].as_str().unwrap().to_string()), "{} was given twice", vm["ips"]);
    }
    quiet(world).await;
    nothing_leaks(world).await;
}

async fn a_full_network_says_so(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let small =
        json!({"network": {"name": "small", "wire": "w", "guest_ip_start": "10.2.0.2", "guest_ip_end": "10.2.0.4", "guest_ip_mask": 24}});
    world.post("networks", small).await.unwrap();
    for i in 0..4 {
        let mut body = server(&format!("f{i}"));
        body["server"]["nets"] = json!(["small"]);
        world.post("servers", body).await.unwrap();
        world.reach(&format!("f{i}"), if i < 3 { &["running"] } else { &["sched_fail", "net_fail"] }).await;
    }
    let shown = world.get("networks/small").await.unwrap();
    assert_eq!((&shown["network"]["ports"], &shown["network"]["ports_used"]), (&json!(3), &json!(3)));
    assert!(world.delete("networks/small").await.is_err_and(|e| e.class().name() == "NotEmptyError"));
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn addresses_set_aside_stay_free(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    world.post("networks/net/reserve-ip", json!({"network": {"ips": ["10.1.0.10", "10.1.0.11"]}})).await.unwrap();
    world.post("servers", server("vm")).await.unwrap();
    assert_eq!(world.reach("vm", &["running"]).await["ips"], "10.1.0.12");
    world.post("networks/net/release-reserved-ip", json!({"ip": "10.1.0.10"})).await.unwrap();
    world.post("servers", server("vm2")).await.unwrap();
    assert_eq!(world.reach("vm2", &["running"]).await["ips"], "10.1.0.10");
    let mut wanted = server("vm3");
    wanted["server"]["nets"] = json!([{"network": "net", "address": "10.1.0.11", "require_designated_ip": true}]);
    world.post("servers", wanted).await.unwrap();
    let vm = world.reach("vm3", &["net_fail"]).await;
    assert!(vm["status_reason"].as_str().unwrap().contains("10.1.0.11"), "{vm}");
}

async fn a_deleted_network_leaves_its_range(world: World) {
    let twin =
        || json!({"network": {"name": "twin", "wire": "w", "guest_ip_start": "10.3.0.2", "guest_ip_end": "10.3.0.9", "guest_ip_mask": 24}});
    world.post("networks", twin()).await.unwrap();
    let there = world.get("wires/w").await.unwrap()["wire"]["networks"].clone();
    world.delete("networks/twin").await.unwrap();
    assert!(world.get("networks/twin").await.is_err_and(|e| e.class().name() == "ResourceNotFoundError"));
    assert_eq!(world.get("wires/w").await.unwrap()["wire"]["networks"].as_i64().unwrap() + 1, there.as_i64().unwrap());
    world.post("networks", twin()).await.unwrap();
}
