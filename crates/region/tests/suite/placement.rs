//! The scheduler's own endpoints, as existing clients call them.

use crate::world::{How, World};
use serde_json::{Value as Json, json};

crate::world::on_both!(answers_of_the_scheduler, what_comes_at_once_is_spread);

async fn answers_of_the_scheduler(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let serve = async |word: &str, body: Json| {
        let words: Vec<&str> = word.split('/').filter(|w| !w.is_empty()).collect();
        world.region.scheduler.serve(&words, &body, base::Lang::En).await
    };
    let net = world.get("networks/net").await.unwrap()["network"]["id"].clone();
    let vm = |more: Json| {
        let mut body = json!({"vcpu_count": 1, "vmem_size": 4096, "disks": [{"size": 1024}], "nets": [{"network": "net"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    // Several servers go to one host as long as it has room; the others fail alone.
    let answer = serve("", vm(json!({"count": 6}))).await.unwrap();
    let hosts: Vec<&str> = answer["candidates"].as_array().unwrap().iter().map(|c| c["host_id"].as_str().unwrap()).collect();
    assert_eq!(hosts, [&host.id, &host.id, &host.id, &host.id, "", ""], "{answer}");
    assert_eq!(
        (&answer["candidates"][0]["nets"][0]["network_ids"][0], &answer["candidates"][5]["error"]),
        (&net, &json!("Out of resource"))
    );
    let none = serve("", vm(json!({"vmem_size": 40_960}))).await.unwrap_err();
    assert!(none.to_string().contains("h1: 40960 MiB of memory wanted"), "{none}");

    let forecast = serve("forecast", vm(json!({"count": 5}))).await.unwrap();
    assert_eq!((&forecast["can_create"], &forecast["allow_count"]), (&json!(false), &json!(4)), "{forecast}");
    let refused = serve("forecast", vm(json!({"prefer_host": "h1", "vmem_size": 40_960}))).await.unwrap();
    assert_eq!(refused["filtered_candidates"][0]["id"], json!(host.id), "{refused}");

    assert_eq!(refused["filtered_candidates"][0]["filter_name"], "host_memory", "{refused}");
    for (more, filter) in [(json!({"os_arch": "aarch64"}), "host_cpu"), (json!({"hypervisor": "esxi"}), "host_hypervisor_runtime")] {
        let refused = serve("forecast", vm(more)).await.unwrap();
        assert_eq!(
            (&refused["can_create"], &refused["filtered_candidates"][0]["filter_name"]),
            (&json!(false), &json!(filter)),
            "{refused}"
        );
    }

    let test = serve("test", vm(json!({"suggestion_limit": 0}))).await.unwrap();
    let storage = &test["data"][0]["disks"][0]["storages"][0];
    assert_eq!((&test["total"], &test["limit"], &test["data"][0]["capacity"]), (&json!(1), &json!(100), &json!(4)), "{test}");
    assert_eq!((storage["free_capacity"].as_i64(), storage["name"].as_str().map(|n| &n[..8])), (Some(500_000), Some("h1-local")), "{test}");
    for (field, body) in [("network", vm(json!({"nets": [{"network": "none"}]}))), ("host", vm(json!({"prefer_host": "none"})))] {
        let e = serve("test", body).await.unwrap_err();
        assert_eq!((e.class().name(), e.to_string()), ("ResourceNotFoundError", format!("{field} none not found")));
    }
}

/// Nothing is committed between the choices, so nothing of them comes back by the feed.
async fn what_comes_at_once_is_spread(world: World) {
    let hosts = [world.machine("h1").await, world.machine("h2").await, world.machine("h3").await];
    let scheduler = &world.region.scheduler;
    scheduler.catch_up().await.unwrap();
    let request = scheduler::Request { vcpu_count: 1, vmem_size: 256, ..Default::default() };
    let chosen: Vec<String> = (0..12).map(|_| scheduler.place(&request, 8).candidates.swap_remove(0).host_id).collect();
    for host in &hosts {
        assert_eq!(chosen.iter().filter(|id| *id == host.as_str()).count(), 4, "{chosen:?}");
    }
}
