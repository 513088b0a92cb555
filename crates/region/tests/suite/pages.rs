//! Lists: paging, filters, projection, and no work per row.

use crate::{
    lifecycle::server,
    world::{How, World, admin, quiet},
};
use resource::Method;
use serde_json::json;

crate::world::on_both!(
    a_page_costs_the_same_whatever_its_length,
    paging_filters_and_projection,
    rows_with_a_matching_row_elsewhere,
    tags,
    new_names_are_shown_at_once
);

async fn a_page_costs_the_same_whatever_its_length(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let mut body = server("s");
    body["count"] = json!(20);
    body["server"]["auto_start"] = json!(false);
    world.post("servers", body).await.unwrap();
    for i in 1..=20 {
        world.reach(&format!("s-{i}"), &["ready"]).await;
    }
    quiet(&world).await;
    for plural in ["servers", "disks", "networks", "hosts", "storages", "zones", "wires", "guestnetworks", "guestdisks", "tasks", "events"]
    {
        let mut costs = Vec::new();
        for limit in [1, 20] {
            // Whatever else runs must not count, nor what is looked at once in a while: the smallest of several.
            let mut least = u64::MAX;
            for n in 0..100 {
                if n >= 5 && costs.first().is_none_or(|one| least <= *one) {
                    break;
                }
                let before = world.db.queries();
                world.get(&format!("{plural}?limit={limit}")).await.unwrap();
                least = least.min(world.db.queries() - before);
            }
            costs.push(least);
        }
        assert!(costs[1] <= costs[0], "{plural}: {} queries for 1 row, {} for 20", costs[0], costs[1]);
    }
}

async fn paging_filters_and_projection(world: World) {
    for i in 0..7 {
        world
            .post(
                "serverskus",
                json!({"serversku": {"name": format!("k{i}"), "cpu_core_count": 1 + i % 2, "memory_size_mb": 1024 * (i + 1)}}),
            )
            .await
            .unwrap();
    }
    let names = |body: &serde_json::Value| {
        body["serverskus"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap_or("-").to_string()).collect::<Vec<_>>()
    };
    let check = async |query: &str, want: &[&str]| {
        let body = world.get(&format!("serverskus?order_by=name&order=asc&{query}")).await.unwrap();
        assert_eq!(names(&body), want, "{query}: {body}");
        body
    };
    let page = check("limit=3&offset=5", &["k5", "k6"]).await;
    assert_eq!((&page["total"], &page["limit"], &page["offset"]), (&json!(7), &json!(3), &json!(5)));
    check("offset=100", &[]).await;
    check("name=k1&name=k2", &["k1", "k2"]).await;
    check("filter=name.in(k1,\"k3\")", &["k1", "k3"]).await;
    check("filter=memory_size_mb.gt(5120)", &["k5", "k6"]).await;
    check("filter.0=memory_size_mb.ge(2048)&filter.1=memory_size_mb.le(3072)", &["k1", "k2"]).await;
    check("filter=name.equals(k0)&filter=name.equals(k6)&filter_any=true", &["k0", "k6"]).await;
    check("filter=name.contains(5)", &["k5"]).await;
    check("filter=nosuch.in(a)", &["k0", "k1", "k2", "k3", "k4", "k5", "k6"]).await;
    check("search=K4", &["k4"]).await;
    check("search=%25", &[]).await;
    check("cpu_core_count=2", &["k1", "k3", "k5"]).await;
    check("@name__startswith=k6", &["k6"]).await;
    let fields = check("limit=1&field=name&field=memory_size_mb", &["k0"]).await;
    assert_eq!(fields["serverskus"][0].as_object().unwrap().len(), 2);
    let sums = world.get("serverskus?summary_stats=true&limit=1").await.unwrap();
    assert_eq!(sums["totals"]["count"], 7);
    let distinct = world.get("serverskus/distinct-field?field=cpu_core_count").await.unwrap();
    assert_eq!(distinct["serversku"]["cpu_core_count"], json!([1, 2]));
    let empty = world.get("disks").await.unwrap();
    assert_eq!(empty, json!({"disks": []}), "an empty list is only its key");
}

async fn rows_with_a_matching_row_elsewhere(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    for name in ["one", "two"] {
        world.post("servers", server(name)).await.unwrap();
        world.reach(name, &["running", "ready"]).await;
    }
    let nics = world.get("guestnetworks?order_by=created_at").await.unwrap();
    let (nic, names) = (&nics["guestnetworks"][0], async |filter: &str| {
        let found = world.get(&format!("servers?joint_filter={filter}")).await.unwrap();
        found["servers"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    });
    let (address, server) = (nic["ip_addr"].as_str().unwrap(), nic["guest_id"].as_str().unwrap());
    let of = world.get(&format!("servers/{server}")).await.unwrap()["server"]["name"].as_str().unwrap().to_string();
    assert_eq!(names(&format!("guestnetworks.guest_id(id).ip_addr.equals({address})")).await, [of.clone()]);
    assert_eq!(names(&format!("guestnetworks_tbl.guest_id(id).ip_addr.in(\"{address}\")&name={of}")).await, [of]);
    assert!(names("guestnetworks.guest_id(id).ip_addr.equals(203.0.113.9)").await.is_empty());
    // What is no filter is passed over, as with `filter`; what is hidden cannot be asked for.
    assert_eq!(names("nowhere.guest_id(id).ip_addr.equals(x)").await.len(), 2);
    assert_eq!(names("servers.id(id).login_secret.startswith(a)").await.len(), 2);
}

async fn tags(world: World) {
    for name in ["a", "b"] {
        world.post("serverskus", json!({"serversku": {"name": name, "cpu_core_count": 1, "memory_size_mb": 1024}})).await.unwrap();
    }
    world.post("serverskus/a/user-metadata", json!({"env": "prod", "team": "x"})).await.unwrap();
    world.post("serverskus/b/user-metadata", json!({"serversku": {"env": "test"}})).await.unwrap();
    let shown = world.get("serverskus/a").await.unwrap();
    assert_eq!(shown["serversku"]["metadata"], json!({"user:env": "prod", "user:team": "x"}));
    let found = world.get("serverskus?tags.0.key=user:env&tags.0.value=prod").await.unwrap();
    assert_eq!((found["serverskus"].as_array().unwrap().len(), &found["serverskus"][0]["name"]), (1, &json!("a")));
    let found = world.get("serverskus?no_tags.0.key=user:env&no_tags.0.value=prod").await.unwrap();
    assert_eq!(found["serverskus"][0]["name"], "b");
    world.post("serverskus/a/set-user-metadata", json!({"env": "dev"})).await.unwrap();
    assert_eq!(world.get("serverskus/a/metadata").await.unwrap()["serversku"], json!({"user:env": "dev"}));
    let all = world.get("metadatas?key=user:env&limit=1").await.unwrap();
    assert_eq!((&all["total"], &all["limit"], all["metadatas"].as_array().unwrap().len()), (&json!(2), &json!(1), 1), "{all}");
    let one = world.get("metadatas?resources=serversku&value=test").await.unwrap();
    let id = one["metadatas"][0]["obj_id"].as_str().unwrap_or_default();
    assert_eq!(
        one["metadatas"],
        json!([{"id": format!("serversku::{id}"), "obj_type": "serversku", "obj_id": id, "key": "user:env", "value": "test"}])
    );
    assert!(world.get("metadatas?resources=server").await.unwrap()["metadatas"].as_array().unwrap().is_empty());
    let counted = world.get("metadatas/tag-value-pairs?key_only=true").await.unwrap();
    assert_eq!(counted["metadatas"]["data"], json!([{"key": "user:env", "count": 2}]));
    assert!(world.post("serverskus/a/metadata", json!({"__hidden": "1"})).await.is_err_and(|e| e.class().http() == 403));
}

/// What a server's page says of host, zone, region, network and storage comes from memory, and is never older than an answered change.
async fn new_names_are_shown_at_once(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let mut body = server("s");
    body["server"]["auto_start"] = json!(false);
    world.post("servers", body).await.unwrap();
    world.reach("s", &["ready"]).await;
    let id = |at: &str, page: &serde_json::Value| page["server"].pointer(at).and_then(|v| v.as_str()).unwrap_or_default().to_string();
    let page = world.get("servers/s").await.unwrap();
    for (kind, id_at, name_at) in [
        ("host", "/host_id", "/host"),
        ("zone", "/zone_id", "/zone"),
        ("cloudregion", "/cloudregion_id", "/cloudregion"),
        ("network", "/nics/0/network_id", "/nics/0/network"),
    ] {
        for name in [format!("{kind}-one"), format!("{kind}-two")] {
            let path = format!("{kind}s/{}", id(id_at, &page));
            world.ask(&admin(), Method::Put, &path, json!({ kind: { "name": name } })).await.unwrap_or_else(|e| panic!("{path}: {e}"));
            assert_eq!(id(name_at, &world.get("servers/s").await.unwrap()), name);
            let list = world.get("servers").await.unwrap();
            assert_eq!(list["servers"][0].pointer(name_at), Some(&json!(name)), "{list}");
        }
    }
}
