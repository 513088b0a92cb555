//! Disks, interfaces, size and root disk of servers that are there.

use crate::lifecycle::server;
use crate::world::{How, World, nothing_leaks, person, quiet};
use resource::Method;
use serde_json::{Value as Json, json};

crate::world::on_both!(
    disks_come_and_go,
    kept_disks_outlive_their_server,
    the_bin_takes_no_disk_in_use,
    addresses_set_aside_stay_so,
    disks_grow,
    interfaces_come_and_go,
    the_reset_button_is_pressed,
    sizes_change,
    passwords_change,
    roots_are_made_anew,
    lost_hosts_are_forgotten
);

async fn up(world: &World, name: &str) -> Json {
    world.post("servers", server(name)).await.unwrap();
    let vm = world.reach(name, &["running"]).await;
    quiet(world).await;
    vm
}

async fn down(world: &World, name: &str) {
    world.post(&format!("servers/{name}/stop"), json!({})).await.unwrap();
    world.reach(name, &["ready"]).await;
    quiet(world).await;
}

/// An action, done to its end; the server then.
async fn act(world: &World, name: &str, action: &str, body: Json) -> Json {
    world.post(&format!("servers/{name}/{action}"), body).await.unwrap_or_else(|e| panic!("{action}: {e}"));
    quiet(world).await;
    world.get(&format!("servers/{name}")).await.unwrap()["server"].clone()
}

/// The refusal of an action: class and words.
async fn refused(world: &World, path: &str, body: Json, class: &str, words: &str) {
    let e = world.post(path, body.clone()).await.expect_err(path);
    assert!(e.class().name() == class && e.to_string().contains(words), "{path} {body}: {} {e}", e.class().name());
}

async fn disks_come_and_go(world: World) {
    let hosts = [world.host("h1", How::Obedient).await, world.host("h2", How::Obedient).await];
    let vm = up(&world, "vm").await;
    let (mine, other) = if vm["host"] == "h1" { (&hosts[0], "h2") } else { (&hosts[1], "h1") };
    let vm = act(&world, "vm", "createdisk", json!({"disks": [{"size": 1024}, "2g"]})).await;
    let sizes = |vm: &Json| vm["disks_info"].as_array().unwrap().iter().map(|d| d["size"].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!((sizes(&vm), &vm["status"]), (vec![2048, 1024, 2048], &json!("running")));
    let made = vm["disks_info"][1]["id"].as_str().unwrap().to_string();

    // Taken off and kept, it is a disk of its own, and can come back.
    let vm = act(&world, "vm", "detachdisk", json!({"disk_id": made, "keep_disk": true})).await;
    assert_eq!(sizes(&vm), [2048, 2048]);
    assert_eq!(world.get(&format!("disks/{made}")).await.unwrap()["disk"]["guest_count"], 0);
    nothing_leaks(&world).await;
    world.post("servers/vm/detachdisk", json!({"disk_id": made})).await.expect("detached twice is detached");
    let vm = act(&world, "vm", "attachdisk", json!({"disk_id": made, "driver": "virtio"})).await;
    assert_eq!((sizes(&vm), &vm["disks_info"][1]["driver"]), (vec![2048, 1024, 2048], &json!("virtio")));
    // Once it was kept it stays; one that goes with its server goes when it is taken off without a word.
    let vm = act(&world, "vm", "detachdisk", json!({"disk_id": made})).await;
    assert_eq!(sizes(&vm), [2048, 2048]);
    assert_eq!(world.get(&format!("disks/{made}")).await.unwrap()["disk"]["auto_delete"], false);
    let vm = act(&world, "vm", "createdisk", json!({"disk.0": "3g"})).await;
    assert_eq!(sizes(&vm), [2048, 3072, 2048], "it has the place that was free");
    let third = vm["disks_info"][1]["id"].as_str().unwrap().to_string();
    let vm = act(&world, "vm", "detachdisk", json!({"disk_id": third})).await;
    assert_eq!(sizes(&vm), [2048, 2048]);
    world.gone(&format!("disks/{third}")).await;

    // What the guest does not take is taken back.
    *mine.how.lock().unwrap() = How::NoPlugs;
    let vm = act(&world, "vm", "createdisk", json!({"disks": ["1g"]})).await;
    assert_eq!((sizes(&vm), &vm["status"]), (vec![2048, 2048], &json!("running")), "{vm}");
    assert!(vm["status_reason"].as_str().unwrap().contains("no slot is free"), "{vm}");
    let vm = act(&world, "vm", "detachdisk", json!({"disk_id": vm["disks_info"][1]["id"]})).await;
    assert_eq!((sizes(&vm), &vm["status"]), (vec![2048, 2048], &json!("running")), "a disk the guest keeps stays");
    *mine.how.lock().unwrap() = How::Obedient;
    nothing_leaks(&world).await;

    let root = vm["disks_info"][0]["id"].clone();
    refused(&world, "servers/vm/detachdisk", json!({"disk_id": root}), "InputParameterError", "root disk").await;
    refused(&world, "servers/vm/detachdisk", json!({}), "MissingParameterError", "disk_id").await;
    refused(&world, "servers/vm/attachdisk", json!({"disk_id": "none"}), "ResourceNotFoundError", "none").await;
    refused(&world, "servers/vm/createdisk", json!({}), "MissingParameterError", "disks").await;
    let vm = act(&world, "vm", "createdisk", json!({"disks": ["900g"]})).await;
    assert!(vm["status_reason"].as_str().unwrap().contains(": no storage for disk 0"), "{vm}");
    world.post("disks", json!({"disk": {"name": "far", "size": 100, "storage": storage_of(&world, other).await}})).await.unwrap();
    quiet(&world).await;
    refused(&world, "servers/vm/attachdisk", json!({"disk_id": "far"}), "InputParameterError", "another host").await;
    refused(&world, "servers/vm/attachdisk", json!({"disk_id": made, "driver": "usb"}), "InputParameterError", "driver").await;
    // Nobody attaches what he does not see.
    world
        .post(
            "servers",
            json!({"server": {"name": "theirs", "vmem_size": 512, "disks": ["tiny:2g"], "project": "red", "disable_delete": false}}),
        )
        .await
        .unwrap();
    world.reach("theirs", &["ready"]).await;
    quiet(&world).await;
    let eve = person("eve", "red", "member");
    let answer = world.ask(&eve, Method::Post, "servers/theirs/attachdisk", json!({"disk_id": "far"})).await;
    assert!(answer.is_err_and(|e| e.class().name() == "ResourceNotFoundError"));
    // And what he sees because it is shared is not his either.
    world.post("disks/far/public", json!({"scope": "system"})).await.unwrap();
    let answer = world.ask(&eve, Method::Post, "servers/theirs/attachdisk", json!({"disk_id": "far"})).await;
    assert!(answer.is_err_and(|e| e.to_string().contains("another project")));
    nothing_leaks(&world).await;
}

async fn disk(world: &World, id: &str) -> Json {
    world.get(&format!("disks/{id}?pending_delete=all")).await.unwrap()["disk"].clone()
}

async fn kept_disks_outlive_their_server(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    up(&world, "vm").await;
    let vm = act(&world, "vm", "createdisk", json!({"disks": ["1g"]})).await;
    let [root, kept] = [0, 1].map(|i| vm["disks_info"][i]["id"].as_str().unwrap().to_string());
    act(&world, "vm", "detachdisk", json!({"disk_id": kept, "keep_disk": true})).await;
    act(&world, "vm", "attachdisk", json!({"disk_id": kept})).await;
    world.delete("servers/vm").await.unwrap();
    quiet(&world).await;
    // In the bin it would be removed for good some days later.
    assert_eq!([disk(&world, &root).await["pending_deleted"].clone(), disk(&world, &kept).await["pending_deleted"].clone()], [true, false]);
    world.post("servers/vm/cancel-delete", json!({})).await.unwrap();
    assert_eq!(disk(&world, &root).await["pending_deleted"], false);
    world.delete("servers/vm").await.unwrap();
    quiet(&world).await;
    world.delete("servers/vm?override_pending_delete=true").await.unwrap();
    world.gone("servers/vm").await;
    world.gone(&format!("disks/{root}")).await;
    quiet(&world).await;
    let kept = disk(&world, &kept).await;
    assert_eq!((&kept["pending_deleted"], &kept["status"], &kept["guest_count"]), (&json!(false), &json!("ready"), &json!(0)), "{kept}");
    nothing_leaks(&world).await;
}

async fn the_bin_takes_no_disk_in_use(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    let vm = up(&world, "vm").await;
    world.post("disks", json!({"disk": {"name": "d", "size": 1024}})).await.unwrap();
    quiet(&world).await;
    let id = world.get("disks/d").await.unwrap()["disk"]["id"].as_str().unwrap().to_string();
    // Somebody is about to attach it.
    let hold = |held: bool| {
        let (db, id) = (world.db.clone(), id.clone());
        async move {
            let id = id.as_str();
            let held = db.tx(|tx| {
                store::work(async move {
                    if held {
                        let columns: Vec<(store::Name, base::Value)> =
                            vec![("kind".into(), "disk".into()), ("id".into(), id.into()), ("task_id".into(), "t".into())];
                        return tx.insert_into("task_holds", columns).await;
                    }
                    tx.delete("task_holds", store::Cond::eq("task_id", "t")).await.map(drop)
                })
            });
            held.await.unwrap();
        }
    };
    hold(true).await;
    let e = world.delete("disks/d").await.unwrap_err();
    assert!(e.class().name() == "ResourceBusyError" && e.to_string().contains("disk d"), "{e}");
    hold(false).await;
    // The other order: it was put there after the request to attach it was looked at.
    world.delete("disks/d").await.unwrap();
    let server = vm["id"].as_str().unwrap();
    let task = region_compute::task::ServerAttachDisk { server: server.into(), disk: id.clone(), plan: Default::default() };
    let new = &task::NewTask::of(&task).on("server", server, "vm").hold("disk", &id);
    let ctx = &crate::world::admin();
    world.db.tx(|tx| store::work(async move { task::start(tx, ctx, new.clone()).await.map(drop) })).await.unwrap();
    quiet(&world).await;
    let vm = world.get("servers/vm").await.unwrap()["server"].clone();
    assert_eq!(vm["disks_info"].as_array().unwrap().len(), 1, "{vm}");
    assert!(vm["status_reason"].as_str().unwrap().contains("recycle bin"), "{vm}");
    nothing_leaks(&world).await;
}

async fn addresses_set_aside_stay_so(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    up(&world, "vm").await;
    world.post("networks/net/reserve-ip", json!({"ips": ["10.1.0.50"]})).await.unwrap();
    let vm = act(&world, "vm", "attachnetwork", json!({"nets": [{"network": "net", "address": "10.1.0.50", "reserved": true}]})).await;
    assert!(vm["ips"].as_str().unwrap().contains("10.1.0.50"), "{vm}");
    let vm = act(&world, "vm", "detachnetwork", json!({"ip_addr": "10.1.0.50", "reserve": true})).await;
    assert!(!vm["ips"].as_str().unwrap().contains("10.1.0.50") && vm["status"] == "running", "{vm}");
    assert_eq!(world.get("reservedips").await.unwrap()["total"], 1);
    world.post("networks/net/release-reserved-ip", json!({"ip": "10.1.0.50"})).await.unwrap();
    nothing_leaks(&world).await;
}

async fn storage_of(world: &World, host: &str) -> Json {
    let all = world.get("storages").await.unwrap();
    let mine = |s: &&Json| s["name"].as_str().is_some_and(|n| n.starts_with(host));
    all["storages"].as_array().unwrap().iter().find(mine).expect("a storage")["id"].clone()
}

async fn disks_grow(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let vm = up(&world, "vm").await;
    let root = vm["disks_info"][0]["id"].as_str().unwrap().to_string();
    let vm = act(&world, "vm", "resize-disk", json!({"disk_id": root, "size": "5g"})).await;
    assert_eq!((&vm["disks_info"][0]["size"], &vm["status"]), (&json!(5120), &json!("running")));
    world.post(&format!("disks/{root}/resize"), json!({"size": "6144"})).await.unwrap();
    quiet(&world).await;
    assert_eq!(world.get(&format!("disks/{root}")).await.unwrap()["disk"]["disk_size"], 6144);
    nothing_leaks(&world).await;

    *host.how.lock().unwrap() = How::NoGrowth;
    let vm = act(&world, "vm", "resize-disk", json!({"disk_id": root, "size": "9g"})).await;
    assert_eq!((&vm["disks_info"][0]["size"], &vm["disks_info"][0]["status"]), (&json!(6144), &json!("ready")), "{vm}");
    assert!(vm["status_reason"].as_str().unwrap().contains("no space left"), "{vm}");
    *host.how.lock().unwrap() = How::Obedient;
    nothing_leaks(&world).await;

    for (body, class, words) in [
        (json!({"disk_id": root}), "MissingParameterError", "size"),
        (json!({"disk_id": root, "size": "1g"}), "InputParameterError", "only grow"),
        (json!({"disk_id": root, "size": "large"}), "InputParameterError", "size"),
        (json!({"disk_id": "none", "size": "9g"}), "ResourceNotFoundError", "none"),
    ] {
        refused(&world, "servers/vm/resize-disk", body, class, words).await;
    }
    refused(&world, &format!("disks/{root}/resize"), json!({"size": 10}), "InputParameterError", "only grow").await;
    // More than the storage has: refused by the task, nothing is taken.
    let vm = act(&world, "vm", "resize-disk", json!({"disk_id": root, "size": "5t"})).await;
    assert!(vm["status_reason"].as_str().unwrap().contains("MiB more"), "{vm}");
    nothing_leaks(&world).await;
}

async fn interfaces_come_and_go(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let vm = up(&world, "vm").await;
    let first = vm["ips"].as_str().unwrap().to_string();
    let vm = act(&world, "vm", "attachnetwork", json!({"nets": [{"network": "net", "address": "10.1.0.33"}]})).await;
    assert_eq!((&vm["ips"], &vm["status"]), (&json!(format!("{first},10.1.0.33")), &json!("running")));
    let vm = act(&world, "vm", "attachnetwork", json!({"net_desc": ["net:10.1.0.34"], "disable_sync_config": false})).await;
    assert_eq!(vm["nics"].as_array().unwrap().len(), 3);
    nothing_leaks(&world).await;

    refused(&world, "servers/vm/detachnetwork", json!({}), "MissingParameterError", "ip_addr").await;
    refused(&world, "servers/vm/detachnetwork", json!({"net_id": "net"}), "InputParameterError", "3 interfaces").await;
    refused(&world, "servers/vm/detachnetwork", json!({"ip_addr": "10.9.9.9"}), "ResourceNotFoundError", "no such interface").await;
    refused(&world, "servers/vm/attachnetwork", json!({}), "MissingParameterError", "nets").await;
    refused(&world, "servers/vm/attachnetwork", json!({"nets": [{"network": "none"}]}), "ResourceNotFoundError", "none").await;

    // A guest that keeps its interface keeps its address.
    *host.how.lock().unwrap() = How::NoPlugs;
    let vm = act(&world, "vm", "detachnetwork", json!({"ip_addr": "10.1.0.33"})).await;
    assert!(vm["ips"].as_str().unwrap().contains("10.1.0.33") && vm["status"] == "running", "{vm}");
    let vm = act(&world, "vm", "attachnetwork", json!({"nets": ["net:10.1.0.35"]})).await;
    assert!(!vm["ips"].as_str().unwrap().contains("10.1.0.35"), "{vm}");
    *host.how.lock().unwrap() = How::Obedient;
    nothing_leaks(&world).await;

    let vm = act(&world, "vm", "detachnetwork", json!({"ip_addr": "10.1.0.33", "reserve": true})).await;
    assert!(!vm["ips"].as_str().unwrap().contains("10.1.0.33"), "{vm}");
    assert_eq!(world.get("reservedips").await.unwrap()["reservedips"][0]["ip_addr"], "10.1.0.33");
    world.post("networks/net/release-reserved-ip", json!({"ip": "10.1.0.33"})).await.unwrap();
    nothing_leaks(&world).await;
    // The route of a guest goes to the next interface.
    let vm = act(&world, "vm", "detachnetwork", json!({"ip_addr": first})).await;
    assert_eq!((&vm["ips"], &vm["nics"][0]["is_default"]), (&json!("10.1.0.34"), &json!(true)), "{vm}");
    nothing_leaks(&world).await;
}

async fn the_reset_button_is_pressed(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let before = up(&world, "vm").await;
    let told = async || world.get("servers/vm/desc").await.unwrap();
    let was = told().await;
    let vm = act(&world, "vm", "reset", json!({})).await;
    assert_eq!((&vm["status"], &vm["power_states"], &vm["last_start_at"]), (&json!("running"), &json!("on"), &before["last_start_at"]));
    let now = told().await;
    assert_eq!((&now["generation"], &now["restarts"]), (&was["generation"], &was["restarts"]), "it is no restart");
    // A host that cannot: the server is as it was, and its events say why.
    *host.how.lock().unwrap() = How::NoResets;
    let vm = act(&world, "vm", "reset", json!({"is_hard": false})).await;
    assert_eq!(vm["status"], "running");
    let events = world.get(&format!("events?obj_id={}&action=reset_fail", vm["id"].as_str().unwrap())).await.unwrap();
    assert!(events["events"][0]["notes"].as_str().unwrap().contains("the guest is not running"), "{events}");
    *host.how.lock().unwrap() = How::Obedient;
    act(&world, "vm", "reset", json!({"is_hard": true})).await;
    assert_eq!(told().await["restarts"].as_i64(), was["restarts"].as_i64().map(|n| n + 1));
    down(&world, "vm").await;
    refused(&world, "servers/vm/reset", json!({}), "InvalidStatusError", "start it first").await;
    nothing_leaks(&world).await;
}

async fn sizes_change(world: World) {
    let host = world.host("h1", How::Obedient).await;
    up(&world, "vm").await;
    refused(&world, "servers/vm/change-config", json!({"vcpu_count": 2}), "InvalidStatusError", "is running; stop it first").await;
    // Shut down for it and started again, when that is allowed.
    let starts = |vm: &Json| vm["metadata"]["start_vcpu_count"].clone();
    let vm = act(&world, "vm", "change-config", json!({"vcpu_count": 3, "force_stop": true})).await;
    assert_eq!((&vm["vcpu_count"], &vm["status"], starts(&vm)), (&json!(3), &json!("running"), json!("3")));
    refused(
        &world,
        "servers/vm/change-config",
        json!({"vmem_size": "400G", "force_stop": true}),
        "InsufficientResourceError",
        "more memory",
    )
    .await;
    assert_eq!(world.get("servers/vm").await.unwrap()["server"]["status"], "running", "not shut down for what it cannot get");
    *host.how.lock().unwrap() = How::NoStarts;
    let vm = act(&world, "vm", "change-config", json!({"vcpu_count": 4, "force_stop": true})).await;
    assert_eq!(vm["vcpu_count"], 3, "it did not come up with more: {vm}");
    *host.how.lock().unwrap() = How::Obedient;
    nothing_leaks(&world).await;
    world.post("servers/vm/syncstatus", json!({})).await.unwrap();
    // It was on, so it is started again with what it had, as soon as its host can.
    world.reach("vm", &["running"]).await;
    down(&world, "vm").await;
    let vm = act(&world, "vm", "change-config", json!({"vcpu_count": 2, "auto_start": true})).await;
    assert_eq!((&vm["vcpu_count"], &vm["status"], starts(&vm)), (&json!(2), &json!("running"), json!("2")));
    nothing_leaks(&world).await;
    down(&world, "vm").await;
    let vm = act(&world, "vm", "change-config", json!({"vcpu_count": 4, "vmem_size": "2G"})).await;
    assert_eq!((&vm["vcpu_count"], &vm["vmem_size"], &vm["status"]), (&json!(4), &json!(2048), &json!("ready")));
    nothing_leaks(&world).await;
    world.post("serverskus", json!({"serversku": {"name": "s.1c1g", "cpu_core_count": 1, "memory_size_mb": 1024}})).await.unwrap();
    let vm = act(&world, "vm", "change-config", json!({"sku": "s.1c1g"})).await;
    assert_eq!((&vm["vcpu_count"], &vm["vmem_size"], &vm["instance_type"]), (&json!(1), &json!(1024), &json!("s.1c1g")));
    nothing_leaks(&world).await;
    for (body, class, words) in [
        (json!({}), "MissingParameterError", "vcpu_count"),
        (json!({"vcpu_count": 500}), "InputParameterError", "vcpu_count"),
        (json!({"vmem_size": "much"}), "InputParameterError", "vmem_size"),
        (json!({"vmem_size": "400G"}), "InsufficientResourceError", "more memory"),
        (json!({"instance_type": "none"}), "ResourceNotFoundError", "none"),
        (json!({"vcpu_count": 2, "disks": ["1g"]}), "InputParameterError", "createdisk"),
    ] {
        refused(&world, "servers/vm/change-config", body, class, words).await;
    }
    world.post("servers/vm/start", json!({})).await.unwrap();
    world.reach("vm", &["running"]).await;
    quiet(&world).await;
    let tags = &world.get("servers/vm").await.unwrap()["server"]["metadata"];
    assert_eq!((&tags["start_vcpu_count"], &tags["start_vmem_mb"]), (&json!("1"), &json!("1024")));
    nothing_leaks(&world).await;
}

async fn passwords_change(world: World) {
    const FIRST: &str = "First-1-password";
    const SECOND: &str = "Second-2-password";
    let host = world.host("h1", How::Obedient).await;
    let info = async |world: &World| world.post("servers/vm/login-info", json!({})).await.map(|b| b["server"].clone());
    up(&world, "vm").await;
    assert_eq!(info(&world).await.expect_err("it has none").class().name(), "InvalidStatusError");
    let set = "servers/vm/set-password";
    refused(&world, set, json!({}), "MissingParameterError", "reset_password=true").await;
    refused(&world, set, json!({"password": "weak"}), "WeakPasswordError", "12").await;
    refused(&world, set, json!({"password": FIRST, "username": "1st"}), "InputParameterError", "login_account").await;

    let vm = act(&world, "vm", "set-password", json!({"password": FIRST})).await;
    assert_eq!((&vm["status"], &vm["metadata"]["login_account"]), (&json!("running"), &json!("root")), "{vm}");
    assert!(!vm.to_string().contains(FIRST), "{vm}");
    let told = info(&world).await.unwrap();
    assert_eq!((&told["username"], &told["password"]), (&json!("root"), &json!(FIRST)));
    assert!(told["updated"].as_str().is_some_and(|t| t.starts_with("20")), "{told}");

    // A guest without an agent keeps what it had, and so does the record.
    *host.how.lock().unwrap() = How::NoPlugs;
    let vm = act(&world, "vm", "set-password", json!({"password": SECOND, "username": "other"})).await;
    assert_eq!(vm["status"], "running");
    assert!(vm["status_reason"].as_str().is_some_and(|r| r.contains("could not do it")), "{vm}");
    let told = info(&world).await.unwrap();
    assert_eq!((&told["username"], &told["password"]), (&json!("root"), &json!(FIRST)));
    *host.how.lock().unwrap() = How::Obedient;

    // Whoever cuts the power does not wait for an agent that does not answer.
    *host.how.lock().unwrap() = How::Deaf;
    world.post(set, json!({"password": SECOND, "username": "other"})).await.unwrap();
    refused(&world, "servers/vm/stop", json!({}), "InvalidStatusError", "is_force=true").await;
    world.post("servers/vm/stop", json!({"is_force": true})).await.unwrap();
    let going = &world.get("servers/vm").await.unwrap()["server"]["status"];
    assert!(["start_stop", "stopping"].contains(&going.as_str().unwrap()), "{going}");
    *host.how.lock().unwrap() = How::Obedient;
    world.reach("vm", &["ready"]).await;
    quiet(&world).await;
    assert_eq!(info(&world).await.unwrap()["password"], FIRST);
    let events = world.get("events?obj_type=server&action=set_password_fail&limit=100").await.unwrap().to_string();
    assert!(events.contains("the task was cancelled"), "{events}");
    world.post("servers/vm/start", json!({})).await.unwrap();
    world.reach("vm", &["running"]).await;
    quiet(&world).await;

    // A stopped one has it from its next start on; one can be started for it.
    down(&world, "vm").await;
    let vm = act(&world, "vm", "set-password", json!({"password": SECOND})).await;
    assert_eq!((&vm["status"], &info(&world).await.unwrap()["password"]), (&json!("ready"), &json!(SECOND)));
    let vm = act(&world, "vm", "set-password", json!({"reset_password": true, "auto_start": true})).await;
    assert_eq!(vm["status"], "running");
    let made_up = info(&world).await.unwrap()["password"].as_str().unwrap().to_string();
    assert!(made_up.len() >= 16 && made_up != SECOND, "{made_up}");
    // What is made up passes the rules that hold for what is given.
    act(&world, "vm", "set-password", json!({"password": made_up})).await;
    let events = world.get("events?obj_type=server&limit=100").await.unwrap().to_string();
    for word in ["set_password", "login_info"] {
        assert!(events.contains(word), "{word}: {events}");
    }
    assert!(![FIRST, SECOND, &made_up].iter().any(|p| events.contains(*p)));
    // Whoever may only look is not told.
    let viewer = person("eve", "system", "viewer");
    let refused = world.ask(&viewer, resource::Method::Post, "servers/vm/login-info", json!({})).await.expect_err("not for viewers");
    assert_eq!(refused.class().http(), 403, "{refused}");
    nothing_leaks(&world).await;
}

async fn roots_are_made_anew(world: World) {
    let host = world.host("h1", How::Obedient).await;
    world.post("keypairs", json!({"keypair": {"name": "k"}})).await.unwrap();
    let mut body = server("vm");
    body["server"]["keypair"] = json!("k");
    world.post("servers", body).await.unwrap();
    let vm = world.reach("vm", &["running"]).await;
    quiet(&world).await;
    let (old, key) = (vm["disks_info"][0]["id"].clone(), vm["keypair_id"].clone());
    assert_ne!(key, "");
    refused(&world, "servers/vm/rebuild-root", json!({"image_id": "tiny"}), "InvalidStatusError", "running").await;
    down(&world, "vm").await;
    refused(&world, "servers/vm/rebuild-root", json!({"image_id": "cd"}), "InputParameterError", "ISO").await;
    refused(&world, "servers/vm/rebuild-root", json!({"image_id": "none"}), "ResourceNotFoundError", "none").await;
    refused(&world, "servers/vm/rebuild-root", json!({"password": "weak"}), "WeakPasswordError", "12").await;

    *host.how.lock().unwrap() = How::NoDisks;
    let vm = act(&world, "vm", "rebuild-root", json!({"login_account": "other"})).await;
    assert_eq!((&vm["disks_info"][0]["id"], &vm["status"]), (&old, &json!("ready")), "{vm}");
    // The old system is still there, and so is the way into it.
    assert_eq!((&vm["keypair_id"], &vm["metadata"]["login_account"]), (&key, &json!("root")), "{vm}");
    *host.how.lock().unwrap() = How::Obedient;
    nothing_leaks(&world).await;

    world.post("servers/vm/rebuild-root", json!({"auto_start": true, "password": "Another-1-password"})).await.unwrap();
    let vm = world.reach("vm", &["running"]).await;
    quiet(&world).await;
    assert_ne!(vm["disks_info"][0]["id"], old);
    assert!(vm["keypair_id"].is_null(), "{vm}");
    assert_eq!((&vm["disks_info"][0]["size"], &vm["disks_info"][0]["image"]), (&json!(2048), &json!("id-tiny")), "{vm}");
    world.gone(&format!("disks/{}", old.as_str().unwrap())).await;
    nothing_leaks(&world).await;
}

async fn lost_hosts_are_forgotten(world: World) {
    let _host = world.host("h1", How::Obedient).await;
    up(&world, "vm").await;
    refused(&world, "servers/vm/purge", json!({}), "InvalidStatusError", "disable the host").await;
    world.post("hosts/h1/disable", json!({})).await.unwrap();
    world.post("servers/vm/purge", json!({})).await.unwrap();
    world.gone("servers/vm").await;
    quiet(&world).await;
    nothing_leaks(&world).await;
}
