//! Sharing, owners, freezing, events.

use crate::world::{World, admin, person};
use base::Ctx;
use resource::Method;
use serde_json::{Value as Json, json};

crate::world::on_both!(
    a_network_is_shared_and_taken_back,
    servers_land_by_themselves_only_where_it_is_shared,
    fields_of_the_platform_are_its_administrators
);

/// Whoever sees a row does not see all of it, nor find it by what he does not see, nor write that.
async fn fields_of_the_platform_are_its_administrators(world: World) {
    let ann = person("ann", "red", "member");
    let ask = async |path: &str| world.ask(&ann, Method::Get, path, Json::Null).await.expect(path);
    let _host = world.host("h1", crate::world::How::Obedient).await;
    let body = json!({"network": {"name": "mine", "wire": "w", "guest_ip_prefix": "10.5.0.0/24", "host_nat": true}});
    world.ask(&ann, Method::Post, "networks", body).await.unwrap();
    world.ask(&ann, Method::Put, "networks/mine", json!({"network": {"host_nat": true, "description": "x"}})).await.unwrap();
    let shown = world.get("networks/mine").await.unwrap();
    assert_eq!((&shown["network"]["host_nat"], &shown["network"]["description"]), (&json!(false), &json!("x")), "set by whoever may not");
    world.post("disks", json!({"disk": {"name": "d", "size": "1g", "project_id": "red"}})).await.unwrap();
    let mut looked = 0;
    for (plural, field) in [("networks", "host_nat"), ("disks", "access_path")] {
        for path in [plural.to_string(), format!("{plural}?details=true"), format!("{plural}?field={field}&field=name")] {
            let list = ask(&path).await;
            let rows = list[plural].as_array().expect("rows");
            assert!(!rows.is_empty() && rows.iter().all(|r| r.get(field).is_none() && r.get("name").is_some()), "{path}: {list}");
            looked += rows.len();
        }
        let all = ask(plural).await["total"].clone();
        for narrowed in [format!("{field}=1"), format!("filter={field}.equals(1)"), format!("order_by={field}")] {
            let path = format!("{plural}?{narrowed}");
            match world.ask(&ann, Method::Get, &path, Json::Null).await {
                Ok(list) => assert_eq!(list["total"], all, "{path} tells something"),
                Err(e) => assert_eq!(e.class().http(), 400, "{path}: {e}"),
            }
        }
        let told = world.ask(&ann, Method::Get, &format!("{plural}/distinct-field?field={field}"), Json::Null).await;
        assert!(told.is_err_and(|e| e.class().http() == 400), "{plural} {field}");
    }
    assert!(looked >= 6, "{looked} rows");
    assert!(world.get("networks/mine").await.unwrap()["network"].get("host_nat").is_some(), "to the administrator it is shown");
}

/// From the request to the address, for networks and for hosts; and the scheduler hears of each change as of any other.
async fn servers_land_by_themselves_only_where_it_is_shared(world: World) {
    let host = world.host("h1", crate::world::How::Obedient).await;
    let (ann, eve) = (person("ann", "red", "member"), person("eve", "blue", "member"));
    world.post("networks/net/private", json!({})).await.unwrap();
    let body = json!({"network": {"name": "mine", "wire": "w", "guest_ip_prefix": "10.5.0.0/24"}});
    world.ask(&ann, Method::Post, "networks", body).await.unwrap();
    let lands = async |who: &Ctx, name: &str| {
        world.region.scheduler.catch_up().await.unwrap();
        let body = json!({"server": {"name": name, "vmem_size": 256, "disks": ["tiny:1g"], "disable_delete": false}});
        world.ask(who, Method::Post, "servers", body).await.unwrap();
        let server = world.reach(name, &["ready", "sched_fail"]).await;
        match server["nics"][0]["ip_addr"].as_str() {
            Some(address) => address.rsplit_once('.').expect("an address").0.to_string(),
            None => server["status_reason"].as_str().expect("a reason").to_string(),
        }
    };
    let share = async |path: &str, body: Json| drop(world.post(path, body).await.expect(path));
    assert_eq!(lands(&ann, "ann-1").await, "10.5.0");
    assert!(lands(&eve, "eve-1").await.contains("not shared with the project"));
    share("networks/mine/public", json!({"scope": "project", "shared_project_ids": ["red"]})).await;
    assert!(lands(&eve, "eve-2").await.contains("not shared with the project"));
    share("networks/mine/public", json!({"scope": "project", "shared_project_ids": ["blue"]})).await;
    assert_eq!(lands(&eve, "eve-3").await, "10.5.0");
    share("networks/mine/private", json!({})).await;
    assert!(lands(&eve, "eve-4").await.contains("not shared with the project"));
    let named = json!({"server": {"name": "eve-5", "vmem_size": 256, "disks": ["tiny:1g"], "nets": ["mine"]}});
    let seen = world.ask(&eve, Method::Post, "servers", named).await;
    assert!(seen.is_err_and(|e| e.class().name() == "ResourceNotFoundError"), "a network was named that the project does not see");

    // A host that its domain has for itself takes servers of no other one, and tells so.
    let of = |domain: &str| scheduler::Request { domain_id: domain.into(), ..Default::default() };
    let takes = async |domain: &str| {
        world.region.scheduler.catch_up().await.unwrap();
        !world.region.scheduler.place(&of(domain), 1).candidates.is_empty()
    };
    let path = |verb: &str| format!("hosts/{}/{verb}", host.id);
    assert!(takes("default").await && takes("west").await);
    share(&path("private"), json!({})).await;
    assert!(takes("default").await && !takes("west").await);
    share(&path("public"), json!({"scope": "system"})).await;
    assert!(takes("west").await);
}

async fn a_network_is_shared_and_taken_back(world: World) {
    let (ann, eve) = (person("ann", "red", "member"), person("eve", "blue", "member"));
    let body = json!({"network": {"name": "mine", "wire": "w", "guest_ip_prefix": "10.5.0.0/24"}});
    world.ask(&ann, Method::Post, "networks", body).await.unwrap();
    let sees = async || world.ask(&eve, Method::Get, "networks/mine", Json::Null).await.is_ok();
    assert!(!sees().await);
    let share = |body: Json| world.ask(Box::leak(Box::new(admin())), Method::Post, "networks/mine/public", body);
    share(json!({"scope": "project", "shared_project_ids": ["blue"]})).await.unwrap();
    assert!(sees().await);
    assert!(world.ask(&eve, Method::Delete, "networks/mine", Json::Null).await.is_err_and(|e| e.class().http() == 403));
    world.post("networks/mine/private", json!({})).await.unwrap();
    assert!(!sees().await);
    assert!(
        world.ask(&ann, Method::Post, "networks/mine/public", json!({"scope": "system"})).await.is_err_and(|e| e.class().http() == 403)
    );
    world.post("networks/mine/change-owner", json!({"project_id": "blue"})).await.unwrap();
    assert!(sees().await);
    world.post("networks/mine/freeze", json!({})).await.unwrap();
    assert!(
        world
            .ask(&eve, Method::Put, "networks/mine", json!({"network": {"name": "other"}}))
            .await
            .is_err_and(|e| e.class().name() == "BadRequestError")
    );
    world.post("networks/mine/unfreeze", json!({})).await.unwrap();
    world.ask(&eve, Method::Put, "networks/mine", json!({"network": {"name": "other", "domain_id": "stolen", "used": 99}})).await.unwrap();
    let shown = world.get("networks/other").await.unwrap();
    assert_eq!(
        (&shown["network"]["domain_id"], &shown["network"]["ports_used"]),
        (&json!("default"), &json!(0)),
        "protected fields were assigned"
    );

    let events = world.get("events?scope=system&obj_type=network&limit=50").await.unwrap();
    let words: Vec<&str> = events["events"].as_array().unwrap().iter().rev().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(words, ["create", "public", "private", "change_owner", "freeze", "unfreeze", "update"]);
    let update = &events["events"][0];
    assert!(update["notes"].as_str().unwrap().contains(r#""name":{"old":"mine","new":"other"}"#), "{update}");
    assert_eq!(update["user"], "eve");
}
