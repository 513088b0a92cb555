//! Servers by what lies in other tables (spec 11 §1.2).

use crate::{
    lifecycle::server,
    world::{How, World, quiet},
};
use serde_json::json;

crate::world::on_both!(servers_by_where_they_are_and_what_they_have);

async fn servers_by_where_they_are_and_what_they_have(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    // Another wire in another zone, with a network nobody is in.
    world.post("zones", json!({"zone": {"name": "far"}})).await.unwrap();
    let wire = json!({"wire": {"name": "far-wire", "zone": "far", "vpc": "default", "bandwidth": 1000}});
    world.post("wires", wire).await.unwrap();
    for (name, size, address) in [("a", "4g", "10.1.0.90"), ("b", "2g", "10.1.0.20"), ("c", "3g", "10.1.0.100")] {
        let mut body = server(name);
        body["server"]["disks"] = json!([format!("tiny:{size}")]);
        body["server"]["nets"] = json!([format!("net:{address}")]);
        world.post("servers", body).await.unwrap();
        world.reach(name, &["running"]).await;
    }
    quiet(&world).await;
    let names = async |query: &str| {
        let list = world.get(&format!("servers?{query}")).await.unwrap_or_else(|e| panic!("{query}: {e}"));
        let list: Vec<String> = list["servers"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_string()).collect();
        list.join(" ")
    };
    let all = "a b c";
    for (query, want) in [
        ("vpc_id=default", all),
        ("vpc=default&network=net", all),
        ("wire_id=w", all),
        ("wire=far-wire", ""),
        ("zone_id=z", all),
        ("zone_id=far", ""),
        ("cloudregion_id=default", all),
        ("region=default", all),
        ("get_all_guests_on_host=h1", all),
        ("resource_type=shared", all),
        ("resource_type=prepaid_recycle", ""),
        ("os_dist=CentOS", all),
        ("os_dist=Debian&os_dist=Ubuntu", ""),
        ("server_type=normal", all),
        ("server_type=gpu", ""),
        ("server_type=gpu&server_type=normal", all),
        ("server_type=backup", ""),
        ("bakcup=false", all),
        ("instance_type=none", ""),
        ("secgroup_id=default", all),
        ("secgroup_id=!default", ""),
        ("secgroup_id=other", ""),
        ("gpu=true", ""),
        ("gpu=false", all),
        ("normal=true", all),
        ("with_eip=true", ""),
        ("without_eip=true", all),
        ("group_id=x", ""),
        ("isolated_device_id=x", ""),
        ("with_host=true", all),
        ("with_host=false", ""),
        ("src_ip_check=true", all),
        ("disable_delete=true", ""),
        ("ip_addr=10.1.0.20", "b"),
    ] {
        assert_eq!(names(&format!("{query}&order_by=name&order=asc")).await, want, "{query}");
    }
    for (query, want) in [
        ("order_by_ip=asc", "b a c"),
        ("order_by_ip=desc", "c a b"),
        ("order_by_ip=asc&limit=1&offset=1", "a"),
        ("order_by_disk=asc", "b c a"),
        ("order_by_disk=true&order=desc", "a c b"),
        ("order_by_host=asc", all),
        ("order_by_network=asc", all),
        ("order_by_os_dist=desc", "c b a"),
    ] {
        assert_eq!(names(query).await, want, "{query}");
    }
    assert!(world.get("servers?vpc_id=nowhere").await.is_err_and(|e| e.class().http() == 404));

    let disk = world.post("disks", json!({"disk": {"name": "d", "size": 1024}})).await.unwrap();
    quiet(&world).await;
    let id = disk["disk"]["id"].as_str().unwrap();
    assert_eq!(names(&format!("attachable_servers_for_disk={id}&order_by=name&order=asc")).await, all);

    let totals = world.get("servers?summary_stats=true&limit=1&wire=w").await.unwrap();
    assert_eq!((&totals["totals"]["count"], &totals["totals"]["vcpu_count"]), (&json!(3), &json!(3)), "{totals}");
    assert_eq!(totals["totals"]["vmem_size"], json!(3 * 512));
    for (plural, column, sum) in
        [("disks", "disk_size", (4 + 2 + 3 + 1) * 1024), ("storages", "capacity", 500_000), ("hosts", "mem_size", 16_384)]
    {
        let totals = world.get(&format!("{plural}?summary_stats=true&scope=system")).await.unwrap();
        assert_eq!(totals["totals"][column], json!(sum), "{plural}: {totals}");
    }
}
