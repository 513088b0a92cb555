//! Ties of servers with disks and networks and of hosts with storages: made, changed and ended by request without the books going wrong. Owners of
//! servers and of what belongs to them; hosts that are disabled.

use crate::lifecycle::server;
use crate::world::{Host, How, World, document_of, nothing_leaks, person, quiet};
use resource::Method;
use serde_json::{Value as Json, json};

crate::world::on_both!(
    interfaces_go_by_the_servers_action,
    disks_come_and_go_by_the_servers_actions,
    owners_change_their_interfaces,
    what_is_wrong_about_a_tie_is_refused,
    storages_stay_while_disks_lie_on_them,
    disks_go_with_their_server_to_another_project,
    what_is_no_resource_of_its_own_has_no_standard_actions,
    disabled_hosts_turn_nothing_on_or_off,
    checks_of_frames_change,
    a_wire_goes_after_its_network
);

async fn up(world: &World) -> Json {
    world.post("servers", server("vm")).await.unwrap();
    let vm = world.reach("vm", &["running"]).await;
    quiet(world).await;
    vm
}

async fn put(world: &World, path: &str, body: Json) -> base::Result<Json> {
    world.ask(&crate::world::admin(), Method::Put, path, body).await
}

fn refused(answer: base::Result<Json>, class: &str, words: &str) {
    let e = answer.expect_err(words);
    assert!(e.class().name() == class && e.to_string().contains(words), "{} {e}", e.class().name());
}

async fn guest(world: &World, host: &Host) -> api_agent::GuestSpec {
    document_of(&world.region.agents, &host.machine).await.guests.remove(0)
}

async fn interfaces_go_by_the_servers_action(world: World) {
    let host = world.host("h1", How::Obedient).await;
    up(&world).await;
    let used = async || world.get("networks/net").await.unwrap()["network"]["used"].as_i64();
    let before = used().await;
    let tie = world.delete("servers/vm/networks/net").await.unwrap();
    assert_eq!(tie["guestnetwork"]["ip_addr"], "10.1.0.10", "the tie is what is answered: {tie}");
    quiet(&world).await;
    assert_eq!((used().await, guest(&world, &host).await.nics.len()), (before.map(|n| n - 1), 0), "the guest has let go of it");
    nothing_leaks(&world).await;
    refused(world.delete("servers/vm/networks/net").await, "ResourceNotFoundError", "not tied");

    world.post("servers/vm/networks/net", json!({"guestnetwork": {"bw_limit": 20}})).await.unwrap();
    quiet(&world).await;
    assert_eq!((used().await, guest(&world, &host).await.nics[0].bw_limit), (before, 20));
    refused(world.post("servers/vm/networks/net", Json::Null).await, "NotAcceptableError", "tied already");
    // Two on one network are told apart by the action alone.
    world.post("servers/vm/attachnetwork", json!({"nets": ["net"]})).await.unwrap();
    quiet(&world).await;
    refused(world.delete("servers/vm/networks/net").await, "DuplicateResourceError", "tied 2 times");
    assert_eq!(guest(&world, &host).await.nics.len(), 2);
    // A server that cannot give it away now keeps it.
    *host.how.lock().unwrap() = How::Deaf;
    world.post("servers/vm/stop", json!({})).await.unwrap();
    world.post("servers/vm/detachnetwork", json!({"net_id": "net", "ip_addr": "10.1.0.10"})).await.expect_err("it stops");
    *host.how.lock().unwrap() = How::Obedient;
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn disks_come_and_go_by_the_servers_actions(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let vm = up(&world).await;
    let root = vm["disks_info"][0]["id"].as_str().unwrap().to_string();
    refused(world.delete(&format!("servers/vm/disks/{root}")).await, "InputParameterError", "root disk");
    refused(world.delete(&format!("disks/{root}/servers/vm")).await, "InputParameterError", "root disk");
    refused(world.delete(&format!("disks/{root}")).await, "NotEmptyError", "belongs to a server");
    world.post("disks", json!({"disk": {"name": "d", "size": 1024, "auto_delete": true}})).await.unwrap();
    quiet(&world).await;
    world.post("servers/vm/disks/d", json!({"guestdisk": {"driver": "virtio"}})).await.unwrap();
    quiet(&world).await;
    let disks = guest(&world, &host).await.disks;
    assert_eq!((disks.len(), disks[1].driver.as_str()), (2, "virtio"));
    refused(world.post("servers/vm/disks/d", Json::Null).await, "NotAcceptableError", "tied already");
    world.delete("servers/vm/disks/d").await.unwrap();
    quiet(&world).await;
    assert_eq!((guest(&world, &host).await.disks.len(), &world.get("disks/d").await.unwrap()["disk"]["guest_count"]), (1, &json!(0)));
    nothing_leaks(&world).await;
}

async fn owners_change_their_interfaces(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let mut body = server("vm");
    body["server"]["project"] = json!("red");
    world.post("servers", body).await.unwrap();
    world.reach("vm", &["running"]).await;
    quiet(&world).await;
    let limit = async |who: &base::Ctx, n: i64| {
        world.ask(who, Method::Put, "servers/vm/networks/net", json!({"guestnetwork": {"bw_limit": n}})).await
    };
    let changed = limit(&person("rob", "red", "member"), 50).await.expect("it is his");
    assert_eq!((&changed["guestnetwork"]["bw_limit"], guest(&world, &host).await.nics[0].bw_limit), (&json!(50), 50));
    refused(limit(&person("vic", "red", "viewer"), 60).await, "ForbiddenError", "guestnetworks/update at scope project");
    refused(limit(&person("bea", "blue", "member"), 70).await, "ResourceNotFoundError", "vm");
    let seen = async |who: &str, project: &str| {
        world.ask(&person(who, project, "member"), Method::Get, "guestnetworks", Json::Null).await.unwrap()["total"].clone()
    };
    assert_eq!([seen("rob", "red").await, seen("bea", "blue").await], [json!(1), Json::Null]);
    let rob = person("rob", "red", "member");
    world.ask(&rob, Method::Delete, "servers/vm/networks/net", Json::Null).await.expect("he may do so by the action too");
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn what_is_wrong_about_a_tie_is_refused(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let vm = up(&world).await;
    let (nic, disk) = ("servers/vm/networks/net", format!("servers/vm/disks/{}", vm["disks_info"][0]["id"].as_str().unwrap()));
    let change_nic = async |body: Json| put(&world, nic, json!({ "guestnetwork": body })).await;
    let change_disk = async |body: Json| put(&world, &disk, json!({ "guestdisk": body })).await;
    refused(change_nic(json!({"driver": "carrier-pigeon"})).await, "InputParameterError", "carrier-pigeon is not one of virtio");
    refused(change_nic(json!({"bw_limit": -1})).await, "InputParameterError", "bw_limit: -1 is out of range");
    refused(change_nic(json!({"index": 16})).await, "InputParameterError", "index: 16 is out of range");
    refused(change_nic(json!({"is_default": false})).await, "InputParameterError", "another interface");
    refused(change_nic(json!({"driver": "e1000"})).await, "InvalidStatusError", "stop it first");
    refused(change_disk(json!({"driver": "floppy"})).await, "InputParameterError", "floppy is not one of");
    refused(change_disk(json!({"driver": "virtio"})).await, "InvalidStatusError", "stop it first");
    refused(change_disk(json!({"aio_mode": "threads"})).await, "InputParameterError", "aio_mode");
    world.post("networks", json!({"network": {"name": "two", "wire": "w", "guest_ip_prefix": "10.4.0.0/24"}})).await.unwrap();
    // Wider than a change may ask for: what is not changed is not judged.
    world.post("servers/vm/attachnetwork", json!({"nets": [{"network": "two", "bw_limit": 200_000}]})).await.unwrap();
    quiet(&world).await;
    put(&world, "servers/vm/networks/two", json!({"guestnetwork": {"is_default": true}})).await.unwrap();
    let spec = guest(&world, &host).await;
    assert_eq!(spec.nics.iter().map(|n| n.is_default).collect::<Vec<_>>(), [false, true], "one of them has the route");
    change_disk(json!({"cache_mode": "writeback", "boot_index": 1})).await.unwrap();
    let link = guest(&world, &host).await.disks.remove(0);
    assert_eq!((link.cache_mode.as_str(), link.boot_index), ("writeback", 1));

    world.post("servers/vm/stop", json!({})).await.unwrap();
    world.reach("vm", &["ready"]).await;
    quiet(&world).await;
    refused(change_nic(json!({"index": 1})).await, "ConflictError", "another interface's");
    change_nic(json!({"driver": "e1000", "index": 5})).await.unwrap();
    change_disk(json!({"driver": "virtio"})).await.unwrap();
    let spec = guest(&world, &host).await;
    assert_eq!((spec.nics[1].driver.as_str(), spec.nics[1].index, spec.disks[0].driver.as_str()), ("e1000", 5, "virtio"));
    world.post("servers/vm/freeze", json!({})).await.unwrap();
    refused(change_nic(json!({"bw_limit": 3})).await, "BadRequestError", "frozen");
    refused(world.delete(nic).await, "BadRequestError", "frozen");
}

async fn storages_stay_while_disks_lie_on_them(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    up(&world).await;
    let id = world.get("storages").await.unwrap()["storages"][0]["id"].as_str().unwrap().to_string();
    let tie = format!("hosts/h1/storages/{id}");
    refused(world.delete(&tie).await, "NotEmptyError", "1 disks lie on the storage");
    refused(world.delete(&format!("{tie}?purge=true")).await, "NotEmptyError", "1 disks lie on the storage");
    let moved = async |path: &str| put(&world, &tie, json!({"hoststorage": {"mount_point": path}})).await;
    refused(moved("/elsewhere").await, "NotEmptyError", "1 disks lie on the storage");
    refused(moved("elsewhere").await, "InputParameterError", "mount_point");
    refused(world.post(&tie, Json::Null).await, "NotAcceptableError", "tied already");
    world.delete("servers/vm?override_pending_delete=true").await.unwrap();
    world.gone("servers/vm").await;
    quiet(&world).await;
    moved("/elsewhere").await.unwrap();
    world.delete(&tie).await.unwrap();
    assert_eq!(world.get(&format!("storages/{id}")).await.unwrap()["storage"]["status"], "offline", "no host has it");
    refused(
        world.post(&tie, json!({"hoststorage": {"mount_point": "/mnt"}})).await,
        "UnsupportOperationError",
        "its agent is configured with",
    );
    world.post("servers", server("late")).await.unwrap();
    world.reach("late", &["sched_fail"]).await;
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn disks_go_with_their_server_to_another_project(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let vm = up(&world).await;
    let root = vm["disks_info"][0]["id"].as_str().unwrap().to_string();
    let give = async |path: &str, to: &str| world.post(&format!("{path}/change-owner"), json!({"project": to})).await;
    let of = async |path: &str, key: &str| world.get(path).await.unwrap()[key]["tenant_id"].clone();
    let disk = format!("disks/{root}");
    refused(give(&disk, "red").await, "InvalidStatusError", "give away the server");
    world.post("quotas", json!({"quota": {"project": "red", "count": 1, "storage": 2047}})).await.unwrap();
    refused(
        give("servers/vm", "red").await,
        "OutOfQuotaError",
        "quota storage of the project is exceeded: 0 of 2047 are in use, 2048 more",
    );
    assert_eq!([of("servers/vm", "server").await, of(&disk, "disk").await], ["system", "system"], "all or nothing");
    put(&world, "quotas/red", json!({"quota": {"storage": 2048}})).await.unwrap();
    give("servers/vm", "red").await.unwrap();
    assert_eq!([of("servers/vm", "server").await, of(&disk, "disk").await], ["red", "red"]);
    assert_eq!(guest(&world, &host).await.meta.project_id, "red");
    let quota = world.get("quotas/red").await.unwrap()["quota"].clone();
    assert_eq!((&quota["usage.count"], &quota["usage.storage"]), (&json!(1), &json!(2048)), "{quota}");
    let rob = person("rob", "red", "member");
    assert!(world.ask(&rob, Method::Get, &disk, Json::Null).await.is_ok(), "the owner of the server sees its disk");

    world.post("disks", json!({"disk": {"name": "alone", "size": 1024}})).await.unwrap();
    quiet(&world).await;
    refused(give("disks/alone", "red").await, "OutOfQuotaError", "quota storage");
    give("disks/alone", "blue").await.unwrap();
    // Nobody gives away what a task is at work on.
    *host.how.lock().unwrap() = How::Deaf;
    world.post("servers/vm/stop", json!({})).await.unwrap();
    refused(give("servers/vm", "blue").await, "ResourceBusyError", "a task is at work");
    *host.how.lock().unwrap() = How::Obedient;
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn what_is_no_resource_of_its_own_has_no_standard_actions(world: World) {
    world.post("quotas", json!({"quota": {"project": "red", "count": 1}})).await.unwrap();
    for (action, body) in [("change-owner", json!({"project": "blue"})), ("metadata", json!({"a": "b"})), ("set-user-metadata", json!({}))]
    {
        refused(world.post(&format!("quotas/red/{action}"), body).await, "ActionNotFoundError", action);
    }
    refused(world.get("quotas/red/metadata").await, "SpecNotFoundError", "metadata");
}

async fn disabled_hosts_turn_nothing_on_or_off(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    up(&world).await;
    world.post("hosts/h1/disable", json!({})).await.unwrap();
    let act = async |action: &str| world.post(&format!("servers/vm/{action}"), json!({"vcpu_count": 2, "force_stop": true})).await;
    for action in ["stop", "restart", "reset", "change-config"] {
        refused(act(action).await, "InvalidStatusError", "is disabled");
    }
    world.post("servers/vm/createdisk", json!({"disks": ["1g"]})).await.expect("not among what is refused");
    world.reach("vm", &["running"]).await;
    quiet(&world).await;
    world.post("hosts/h1/enable", json!({})).await.unwrap();
    act("stop").await.unwrap();
    world.reach("vm", &["ready"]).await;
    quiet(&world).await;
    world.post("hosts/h1/disable", json!({})).await.unwrap();
    for action in ["start", "rebuild-root", "change-config"] {
        refused(act(action).await, "InvalidStatusError", "is disabled");
    }
    world.delete("servers/vm").await.expect("a server may always go");
    quiet(&world).await;
}

async fn checks_of_frames_change(world: World) {
    let host = world.host("h1", How::Obedient).await;
    up(&world).await;
    let checks = async || {
        let nic = guest(&world, &host).await.nics.remove(0);
        (nic.src_ip_check, nic.src_mac_check)
    };
    assert_eq!(checks().await, (true, true));
    world.post("servers/vm/modify-src-check", json!({"src_ip_check": false})).await.unwrap();
    assert_eq!(checks().await, (false, true));
    put(&world, "servers/vm", json!({"server": {"src_mac_check": false, "src_ip_check": true}})).await.unwrap();
    assert_eq!(checks().await, (true, false));
    refused(world.post("servers/vm/modify-src-check", json!({})).await, "MissingParameterError", "src_ip_check");
}

async fn a_wire_goes_after_its_network(world: World) {
    world.post("wires", json!({"wire": {"name": "w2", "bw": 1000, "zone": "z"}})).await.unwrap();
    let body = json!({"network": {"name": "n", "wire": "w2", "guest_ip_prefix": "10.5.0.0/24"}});
    world.post("networks", body).await.unwrap();
    refused(world.delete("wires/w2").await, "NotEmptyError", "still has 1 networks");
    world.delete("networks/n").await.unwrap();
    world.gone("networks/n").await;
    world.delete("wires/w2").await.expect("nothing stands on it");
}
