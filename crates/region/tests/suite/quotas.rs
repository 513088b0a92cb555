//! Quotas of projects: refused with the key that is exceeded, also when many come at once, and free again when things go.

use crate::world::{How, World, admin, nothing_leaks, person, quiet};
use base::{Ctx, Json, Result};
use resource::Method;
use serde_json::json;

crate::world::on_both!(
    what_is_too_much_is_refused,
    many_at_once_do_not_pass_together,
    what_comes_back_counts,
    domains_have_theirs,
    as_existing_clients_set_them
);

fn vm(name: &str) -> Json {
    json!({"server": {"name": name, "vcpu_count": 2, "vmem_size": 512, "disks": ["tiny:2g"], "disable_delete": false}})
}

async fn red(world: &World, limits: Json) -> Ctx {
    let mut body = limits;
    body["project"] = json!("red");
    world.post("quotas", json!({ "quota": body })).await.expect("a quota");
    person("rob", "red", "member")
}

async fn shown(world: &World) -> Json {
    world.get("quotas/red").await.expect("the quota")["quota"].clone()
}

async fn over(answer: Result<Json>, words: &str) {
    let e = answer.expect_err(words);
    assert!(e.class().name() == "OutOfQuotaError" && e.to_string().contains(words), "{} {e}", e.class().name());
}

async fn what_is_too_much_is_refused(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let rob = red(&world, json!({"count": 2, "cpu": 5, "storage": 8192})).await;
    let ask = async |path: &str, body: Json| world.ask(&rob, Method::Post, path, body).await;
    ask("servers", vm("a")).await.unwrap();
    let mut large = vm("large");
    large["server"]["vcpu_count"] = json!(4);
    over(ask("servers", large).await, "quota cpu of the project is exceeded: 2 of 5 are in use, 4 more").await;
    over(
        ask("servers", {
            let mut two = vm("b");
            two["count"] = json!(2);
            two
        })
        .await,
        "quota count",
    )
    .await;
    let mine = world.ask(&rob, Method::Get, "servers", Json::Null).await.unwrap();
    assert_eq!(mine["total"], 1, "nothing of a refused batch stays: {mine}");
    ask("disks", json!({"disk": {"name": "d", "size": "5g"}})).await.unwrap();
    over(ask("disks", json!({"disk": {"name": "e", "size": "2g"}})).await, "quota storage of the project is exceeded: 7168 of 8192").await;
    world.reach("a", &["ready"]).await;
    quiet(&world).await;
    let quota = shown(&world).await;
    let used = ["count", "cpu", "memory", "storage"].map(|k| quota[format!("usage.{k}")].clone());
    assert_eq!(used, [1, 2, 512, 7168].map(|n| json!(n)), "{quota}");

    over(ask("servers/a/createdisk", json!({"disks": ["2g"]})).await, "quota storage").await;
    over(ask("disks/d/resize", json!({"size": "7g"})).await, "quota storage").await;
    over(ask("servers/a/change-config", json!({"vcpu_count": 6})).await, "quota cpu").await;
    ask("servers/a/change-config", json!({"vcpu_count": 1})).await.expect("less is not too much");
    nothing_leaks(&world).await;

    // Others have their own, or none.
    world.ask(&person("bea", "blue", "member"), Method::Post, "servers", vm("theirs")).await.expect("no quota, no limit");
    // What lies in the bin does not count, until it comes back.
    world.ask(&rob, Method::Delete, "servers/a", Json::Null).await.unwrap();
    quiet(&world).await;
    assert_eq!(shown(&world).await["usage.count"], 0);
    for name in ["b", "c"] {
        world.ask(&admin(), Method::Put, "quotas/red", json!({"quota": {"storage": -1}})).await.unwrap();
        ask("servers", vm(name)).await.unwrap();
    }
    over(world.post("servers/a/cancel-delete", json!({})).await, "quota count").await;

    for attempt in [
        world.ask(&rob, Method::Put, "quotas/red", json!({"quota": {"count": 99}})).await,
        world.ask(&rob, Method::Delete, "quotas/red", Json::Null).await,
        world.ask(&person("bea", "blue", "member"), Method::Post, "quotas", json!({"quota": {"count": 99}})).await,
    ] {
        assert!(attempt.is_err_and(|e| e.to_string().contains("administrator")));
    }
    assert!(world.ask(&rob, Method::Get, "quotas/red", Json::Null).await.is_ok(), "everybody sees his own");
    let twice = world.post("quotas", json!({"quota": {"project": "red"}})).await.unwrap_err();
    assert_eq!(twice.class().name(), "ConflictError");
    let wild = world.ask(&admin(), Method::Put, "quotas/red", json!({"quota": {"cpu": -7}})).await.unwrap_err();
    assert!(wild.to_string().contains("cpu: -7"), "{wild}");
    world.delete("quotas/red").await.unwrap();
    quiet(&world).await;
    ask("servers", vm("unlimited")).await.unwrap();
    red(&world, json!({"count": 1})).await;
    over(ask("servers", vm("limited")).await, "quota count").await;
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn many_at_once_do_not_pass_together(world: World) {
    let rob = red(&world, json!({"count": 5})).await;
    let names: Vec<String> = (0..20).map(|i| format!("s{i}")).collect();
    let all = futures_util::future::join_all(names.iter().map(|name| world.ask(&rob, Method::Post, "servers", vm(name)))).await;
    let refused = all.iter().filter(|a| a.as_ref().is_err_and(|e| e.class().name() == "OutOfQuotaError")).count();
    assert_eq!((all.iter().filter(|a| a.is_ok()).count(), refused), (5, 15));
    quiet(&world).await;
}

async fn what_comes_back_counts(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let rob = red(&world, json!({"storage": 2048})).await;
    for name in ["d", "e"] {
        world.ask(&rob, Method::Post, "disks", json!({"disk": {"name": name, "size": "2g"}})).await.unwrap();
        quiet(&world).await;
        if name == "d" {
            world.ask(&rob, Method::Delete, "disks/d", Json::Null).await.unwrap();
        }
    }
    over(world.post("disks/d/cancel-delete", json!({})).await, "quota storage of the project is exceeded: 2048 of 2048").await;
    world.ask(&rob, Method::Delete, "disks/e", Json::Null).await.unwrap();
    world.post("disks/d/cancel-delete", json!({})).await.unwrap();
    assert_eq!(shown(&world).await["usage.storage"], 2048);
}

async fn as_existing_clients_set_them(world: World) {
    let set = async |ctx: &Ctx, project: &str, body: Json| world.region.set_quotas(ctx, project, body.as_object().unwrap().clone()).await;
    assert_eq!(world.region.quotas_of(&admin(), "red").await.unwrap(), json!({"quotas": []}));
    let answer = set(&admin(), "red", json!({"count": 3, "cpu": "8", "action": "update"})).await.unwrap();
    let quota = &answer["quotas"][0];
    assert_eq!((&quota["count"], &quota["cpu"], &quota["memory"], &quota["usage.cpu"]), (&json!(3), &json!(8), &json!(-1), &json!(0)));
    let answer = set(&admin(), "", json!({"project": "red", "count": 2, "memory": 7, "action": "add"})).await.unwrap();
    let quota = &answer["quotas"][0];
    assert_eq!((&quota["count"], &quota["cpu"], &quota["memory"]), (&json!(5), &json!(8), &json!(-1)), "what is unlimited stays so");
    assert_eq!(set(&admin(), "red", json!({"count": 9, "action": "sub"})).await.unwrap()["quotas"][0]["count"], 0);
    let rob = person("rob", "red", "member");
    assert!(set(&rob, "red", json!({"count": 99})).await.is_err_and(|e| e.class().name() == "ForbiddenError"));
    assert!(set(&rob, "", json!({"count": 99})).await.is_err_and(|e| e.class().name() == "ForbiddenError"));
    for (body, word) in [(json!({"group": 5}), "group"), (json!({"action": "dance"}), "action"), (json!({"cpu": "many"}), "cpu")] {
        let e = set(&admin(), "red", body).await.unwrap_err();
        assert!(e.class().name() == "InputParameterError" && e.to_string().contains(word), "{e}");
    }
    for _ in 0..2 {
        assert_eq!(set(&admin(), "red", json!({"action": "reset"})).await.unwrap(), json!({"quotas": []}));
    }
}

async fn domains_have_theirs(world: World) {
    let body = |body: Json| body.as_object().unwrap().clone();
    let set = async |limits: Json| world.region.set_quotas_of_domain(&admin(), "Default", body(limits)).await;
    let answer = set(json!({"cpu": 5})).await.unwrap();
    assert_eq!((&answer["quotas"][0]["cpu"], &answer["quotas"][0]["usage.cpu"]), (&json!(5), &json!(0)), "{answer}");
    let rob = red(&world, json!({"cpu": 4})).await;
    let bea = person("bea", "blue", "member");
    let ask = async |ctx: &Ctx, name: &str| world.ask(ctx, Method::Post, "servers", vm(name)).await;
    ask(&rob, "a").await.unwrap();
    ask(&bea, "b").await.unwrap();
    // Blue has no quota of its own, and red is not at its end; together they are.
    over(ask(&bea, "c").await, "quota cpu of the domain is exceeded: 4 of 5 are in use, 2 more").await;
    over(ask(&rob, "c").await, "quota cpu of the domain").await;
    set(json!({"cpu": 1, "action": "add"})).await.unwrap();
    ask(&rob, "c").await.unwrap();
    set(json!({"cpu": -1})).await.unwrap();
    over(ask(&rob, "d").await, "quota cpu of the project").await;
    let told = world.region.quotas_of_domain(&admin(), "default").await.unwrap();
    assert_eq!((&told["quotas"][0]["usage.count"], &told["quotas"][0]["usage.cpu"]), (&json!(3), &json!(6)), "{told}");
    // Neither is shown as the other, and nobody without that right sets or sees a domain's.
    let all = async |filter: &str| world.get(&format!("quotas?scope=system&filter={filter}")).await.unwrap()["total"].clone();
    assert_eq!((all("tenant_id.isempty()").await, all("tenant_id.isnotempty()").await), (json!(1), json!(1)));
    assert!(world.region.set_quotas_of_domain(&rob, "default", body(json!({"cpu": 99}))).await.is_err());
    assert!(world.ask(&rob, Method::Post, "quotas", json!({"quota": {"for_domain": "default", "cpu": 99}})).await.is_err());
    let nowhere = world.region.set_quotas_of_domain(&admin(), "nowhere", body(json!({"cpu": 1}))).await.unwrap_err();
    assert!(nowhere.to_string().contains("domain nowhere not found"), "{nowhere}");
    assert_eq!(set(json!({"action": "reset"})).await.unwrap(), json!({"quotas": []}));
    quiet(&world).await;
}
