//! Lists: paging, filters, projection, and no work per row.

use crate::{
    lifecycle::server,
    world::{How, World, admin, person, quiet},
};
use resource::Method;
use serde_json::json;

crate::world::on_both!(
    a_page_costs_the_same_whatever_its_length,
    shows_that_come_together,
    nothing_is_said_that_is_not_so,
    paging_filters_and_projection,
    rows_with_a_matching_row_elsewhere,
    tags,
    new_names_are_shown_at_once,
    orders_of_groups,
    counts_of_the_bin,
    what_clients_may_assume
);

async fn nothing_is_said_that_is_not_so(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let red = person("rita", "red", "member");
    world.post("servers", server("mine")).await.unwrap();
    world.ask(&red, Method::Post, "servers", server("hers")).await.unwrap();
    for name in ["mine", "hers"] {
        world.reach(name, &["running"]).await;
    }
    quiet(&world).await;
    // Servers are counted where their hosts are, and only those that one may see.
    world.post("cloudregions", json!({"cloudregion": {"name": "elsewhere"}})).await.unwrap();
    let counts = async |who: &base::Ctx| {
        let page = world.ask(who, Method::Get, "cloudregions?details=true", json!(null)).await.unwrap();
        let mut n: Vec<i64> = page["cloudregions"].as_array().unwrap().iter().map(|r| r["guest_count"].as_i64().unwrap()).collect();
        n.sort_unstable();
        n
    };
    assert_eq!((counts(&admin()).await, counts(&red).await), (vec![0, 2], vec![0, 1]));

    let host = world.get("hosts/h1").await.unwrap()["host"].clone();
    assert_eq!((&host["nic_count"], &host["spec"]["nic_count"]), (&json!(1), &json!(1)));
    // The network's own VPC, by the name it has.
    world.ask(&admin(), Method::Put, "vpcs/default", json!({"vpc": {"name": "Old"}})).await.unwrap();
    let vm = world.get("servers/mine").await.unwrap()["server"].clone();
    assert_eq!((&vm["vpc"], &vm["vpc_id"], &vm["nics"][0]["vpc_id"]), (&json!("Old"), &json!("default"), &json!("default")), "{vm}");
    assert_eq!(vm["nics"][0]["is_exit"], false, "{vm}");
    for key in ["monitor_url", "security_rules", "secgroup", "secgroups"] {
        assert!(vm.get(key).is_none(), "{key} of {vm}");
    }

    // What nobody can make work is there as a record, and says so.
    let kinds = ["nfs", "rbd", "gpfs", "lvm"];
    for kind in kinds {
        let storage = json!({"storage": {"name": kind, "zone": "z", "storage_type": kind, "medium_type": "ssd", "capacity": 1000}});
        let made = world.post("storages", storage).await.unwrap();
        assert_eq!(made["storage"]["status"], "offline", "{made}");
    }
    let usable = world.get("storages?usable=true").await.unwrap();
    assert!(usable["storages"].as_array().unwrap().iter().all(|s| !kinds.contains(&s["name"].as_str().unwrap())), "{usable}");
    let vpc = world.post("vpcs", json!({"vpc": {"name": "v", "cidr_block": "10.0.0.0/8"}})).await.unwrap();
    assert_eq!(vpc["vpc"]["status"], "unavailable", "{vpc}");
    let e =
        world.post("vpcs", json!({"vpc": {"name": "w", "cidr_block": "10.0.0.0/8", "external_access_mode": "bridge"}})).await.unwrap_err();
    assert!(e.to_string().contains("none, eip, eip-distgw"), "{e}");
}

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

    // Where each question is a way there and back, a row that is named by its id and all that goes with it are one.
    let by_name = world.get("servers/s-1").await.unwrap();
    let path = format!("servers/{}", by_name["server"]["id"].as_str().unwrap());
    let mut least = u64::MAX;
    for _ in 0..100 {
        let before = world.db.queries();
        assert_eq!(world.get(&path).await.unwrap(), by_name);
        least = least.min(world.db.queries() - before);
        if least == 1 {
            break;
        }
    }
    assert_eq!(least, if world.db.dialect() == store::Dialect::Postgres { 1 } else { 5 });
    assert!(by_name["server"]["disks_info"].is_array() && by_name["server"]["nics"].is_array(), "{by_name}");
}

/// Many shows of one caller cost fewer questions than there are shows; everybody is told what he asked for, and strangers nothing.
async fn shows_that_come_together(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let mut body = server("s");
    body["count"] = json!(5);
    body["server"]["auto_start"] = json!(false);
    world.post("servers", body).await.unwrap();
    let mut pages = Vec::new();
    for i in 1..=5 {
        pages.push(world.reach(&format!("s-{i}"), &["ready"]).await);
    }
    quiet(&world).await;
    let holding = |mut ctx: base::Ctx, token: &str| {
        ctx.bearer = base::Bearer(Some(token.into()));
        ctx
    };
    let (mine, strange) = (holding(admin(), "mine"), holding(person("eve", "elsewhere", "project_owner"), "strange"));
    let ids: Vec<String> = pages.iter().map(|page| page["id"].as_str().unwrap().to_string()).collect();
    let nobody = base::hex_id();
    let all = 400;
    let before = world.db.queries();
    let asked = (0..all).map(|n| {
        let (world, mine, strange, ids, nobody) = (&world, &mine, &strange, &ids, &nobody);
        async move {
            let id = ids.get(n % 6).unwrap_or(nobody);
            let ctx = if n % 7 == 0 { strange } else { mine };
            let told = world.ask(ctx, Method::Get, &format!("servers/{id}"), json!(null)).await;
            match told {
                Ok(page) => assert!(
                    ctx.bearer.0 == mine.bearer.0 && page["server"]["id"] == json!(id) && page["server"]["disks_info"].is_array(),
                    "{page}"
                ),
                Err(e) => assert!(n % 7 == 0 || id == nobody, "{id}: {e}"),
            }
        }
    });
    futures_util::future::join_all(asked).await;
    let found = all - (0..all).filter(|n| n % 7 == 0 || n % 6 == 5).count();
    let cost = world.db.queries() - before;
    // Each that is not found is looked for by its name as well, as ever.
    let missing = (all - found) as u64 * 2;
    let alone = if world.db.dialect() == store::Dialect::Postgres { 1 } else { 5 };
    assert!(cost < missing + found as u64 * alone, "{cost} questions for {found} shows, {missing} of them for what is not there");
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
    let mut more = json!({"serversku": {"name": "c", "cpu_core_count": 1, "memory_size_mb": 1024}});
    for key in ["__hidden", "__sys_role", "sys:zone", "ext:env", "org:team"] {
        for how in ["metadata", "create", "update"] {
            let pairs = json!({key: "1"});
            more["serversku"]["__meta__"] = pairs.clone();
            let refused = match how {
                "metadata" => world.post("serverskus/a/metadata", pairs).await,
                "create" => world.post("serverskus", more.clone()).await,
                _ => world.ask(&admin(), Method::Put, "serverskus/a", json!({"serversku": {"__meta__": pairs}})).await,
            };
            assert!(refused.is_err_and(|e| e.class().http() == 403), "{how} {key}");
        }
    }
    more["serversku"]["__meta__"] = json!({"user:env": "new", "app": "x"});
    let made = world.post("serverskus", more).await.unwrap();
    assert_eq!(made["serversku"]["metadata"], json!({"user:env": "new", "app": "x"}));
    world.delete("serverskus/c").await.unwrap();
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

async fn orders_of_groups(world: World) {
    // There is no host: they are rows and nothing else.
    for (name, project, tags) in [
        ("a", "red", json!({"env": "prod", "tier": "1"})),
        ("b", "blue", json!({})),
        ("c", "system", json!({"env": "dev"})),
        ("d", "blue", json!({"env": "prod", "tier": "2"})),
    ] {
        let body = json!({"server": {"name": name, "vmem_size": 512, "disks": ["tiny:2g"], "project": project, "disable_delete": false}});
        world.post("servers", body).await.unwrap();
        world.reach(name, &["sched_fail"]).await;
        world.post(&format!("servers/{name}/user-metadata"), tags).await.unwrap();
    }
    quiet(&world).await;
    let names = async |query: &str| {
        let found = world.get(&format!("servers?scope=system&order_by=name&{query}")).await.unwrap();
        let names = found["servers"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_string()).collect::<String>();
        (names, found["total"].as_u64().unwrap_or(0))
    };
    for (query, want) in [
        ("order_by_project=asc&order=asc", "bdac"),
        ("order_by_project=desc&order=asc", "cabd"),
        ("order_by_project=true&order=desc", "cadb"),
        ("order_by_project=asc&order=asc&limit=2", "bd"),
        ("order_by_project=asc&order=asc&limit=2&offset=1", "da"),
        ("order_by_project=asc&order=asc&offset=3", "c"),
        ("order_by_domain=asc&order=desc", "dcba"),
        ("order_by_tag=user:env&order=asc", "cadb"),
        ("order_by_tag=user:env&order=asc&limit=1&offset=2", "d"),
        ("order_by_tag=user:nosuch&order=asc", "abcd"),
        ("order_by_tag=__hidden&order=asc", "abcd"),
    ] {
        assert_eq!(names(query).await, (want.to_string(), 4), "{query}");
    }
    // What one may not see is neither there nor counted.
    let bea = person("bea", "blue", "member");
    let mine = world.ask(&bea, Method::Get, "servers?order_by_tag=user:env", serde_json::Value::Null).await.unwrap();
    assert_eq!((mine["total"].clone(), mine["servers"][0]["name"].clone()), (json!(2), json!("d")), "{mine}");
    let tree = world.ask(&bea, Method::Get, "servers/tag-value-tree?key=user:env", serde_json::Value::Null).await.unwrap();
    let leaf = |key: &str, value: &str, count: u64| json!({"key": key, "value": value, "count": count});
    assert_eq!(
        tree["server"],
        json!({"key": "", "value": "", "count": 2, "children": [leaf("user:env", "prod", 1), leaf("user:env", "___no_value__", 1)]})
    );
    let tree = world.get("servers/tag-value-tree?scope=system&key.0=user:env&key.1=user:tier").await.unwrap();
    let mut prod = leaf("user:env", "prod", 2);
    prod["children"] = json!([leaf("user:tier", "1", 1), leaf("user:tier", "2", 1)]);
    assert_eq!((&tree["server"]["count"], &tree["server"]["children"][1]), (&json!(4), &prod), "{tree}");
    assert!(world.get("servers/tag-value-tree").await.is_err_and(|e| e.class().name() == "MissingParameterError"));

    // A whole dump is for administrators; others are given pages.
    let limit = async |ctx: &base::Ctx| {
        let path = "servers?limit=5000&force_no_paging=true";
        world.ask(ctx, Method::Get, path, serde_json::Value::Null).await.unwrap()["limit"].clone()
    };
    assert_eq!((limit(&admin()).await, limit(&bea).await), (json!(5000), json!(2048)));
    let told = world.get("servers/distinct-fields?scope=system&field=status&field=vmem_size&extra_field=name&name=a&name=b").await.unwrap();
    assert_eq!(
        told["server"],
        json!({"fields": [{"status": "sched_fail", "vmem_size": 512}], "extra_fields": [{"name": "a"}, {"name": "b"}]})
    );
}

async fn counts_of_the_bin(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    for name in ["x", "y"] {
        world.post("disks", json!({"disk": {"name": name, "size": 1024}})).await.unwrap();
        quiet(&world).await;
    }
    world.delete("disks/x").await.unwrap();
    let sums = world.get("disks?pending_delete=all&summary_stats=true").await.unwrap();
    assert_eq!(
        sums["totals"],
        json!({"count": 2, "disk_size": 2048, "status_info": [{"status": "ready", "total_count": 2, "pending_deleted_count": 1}]}),
        "{sums}"
    );
}

async fn what_clients_may_assume(world: World) {
    let sku = |name: &str, gib: u64| json!({"serversku": {"name": name, "cpu_core_count": 1, "memory_size_mb": 1024 * gib}});
    for (name, gib) in [("k1", 1), ("k2", 2), ("k3", 3)] {
        world.post("serverskus", sku(name, gib)).await.unwrap();
    }
    world.post("serverskus/k2/user-metadata", json!({"env": "prod"})).await.unwrap();
    let names = async |path: &str| {
        let found = world.get(&format!("{path}&order_by=name&order=asc")).await.unwrap();
        found["serverskus"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    for (query, want) in [
        ("filter=memory_size_mb.between(1500,2500)", vec!["k2"]),
        ("filter=name.notin(k1,k2)", vec!["k3"]),
        ("filter=name.endswith(3)", vec!["k3"]),
        ("filter=deleted_at.isnull()&filter=name.ge(k2)", vec!["k2", "k3"]),
        ("filter=name.isnotempty()&filter=name.lt(k2)", vec!["k1"]),
        ("with_user_meta=true", vec!["k2"]),
        ("without_user_meta=true", vec!["k1", "k3"]),
    ] {
        assert_eq!(names(&format!("serverskus?{query}")).await, want, "{query}");
    }
    let sheet = world.get("serverskus?export_keys=name,memory_size_mb&export_limit=2&order_by=name&order=asc").await.unwrap();
    let row = |name: &str, mb: u64| json!({"name": name, "memory_size_mb": mb});
    assert_eq!((&sheet["serverskus"], &sheet["total"]), (&json!([row("k1", 1024), row("k2", 2048)]), &json!(3)));

    // A dry run says what a create would, and makes nothing.
    world.post("serverskus/check-create-data", sku("k4", 4)).await.unwrap();
    assert!(world.post("serverskus/check-create-data", json!({"serversku": {"name": "k4"}})).await.is_err());
    assert_eq!(world.get("serverskus").await.unwrap()["total"], 3);

    // What is gone is shown to administrators who ask for it.
    world.post("serverskus/k1/disable", json!({})).await.unwrap();
    world.delete("serverskus/k1").await.unwrap();
    assert_eq!(names("serverskus?delete=all&scope=system").await, ["k1", "k2", "k3"]);
    assert_eq!(names("serverskus?scope=system").await, ["k2", "k3"]);
    let pair = |name: &str| json!({"keypair": {"name": name}});
    let red = person("r", "red", "member");
    for name in ["gone", "there"] {
        world.ask(&red, Method::Post, "keypairs", pair(name)).await.unwrap();
    }
    world.ask(&red, Method::Delete, "keypairs/gone", json!(null)).await.unwrap();
    for (who, path, n) in [(&red, "keypairs?delete=all", 1), (&admin(), "keypairs?delete=all&scope=system", 2)] {
        let seen = world.ask(who, Method::Get, path, json!(null)).await.unwrap();
        assert_eq!(seen["total"], n, "{path}: {seen}");
    }

    // Logs are read on from where the last page ended.
    let first = world.get("events?limit=2&scope=system").await.unwrap();
    let marker = first["next_marker"].as_str().unwrap().to_string();
    let next = world.get(&format!("events?limit=2&scope=system&paging_marker={marker}")).await.unwrap();
    let ids = |page: &serde_json::Value| page["events"].as_array().unwrap().iter().map(|e| e["id"].as_i64().unwrap()).collect::<Vec<_>>();
    let (first, next) = (ids(&first), ids(&next));
    assert_eq!((first.len(), next.len()), (2, 2));
    assert!(first[1] > next[0] && next[0].to_string() == marker, "{first:?} {next:?} {marker}");
    assert!(world.get("events?paging_marker=yesterday").await.is_err_and(|e| e.to_string().contains("paging_marker")));
}
