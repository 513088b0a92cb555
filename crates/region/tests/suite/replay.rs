//! What an existing client said to its region, said to ours: the answers must have the recorded statuses, names and types.
//!
//! The recordings are in `tests/recordings`, each the client's own requests of one command; the whole rows of hosts and storages are only known from
//! answers to their agents. What those agents alone do (tell of interfaces and caches, report in) is done otherwise here and not played.
//! Requests go over HTTP, as the client's did. Values differ, so only shapes are compared; what we do not have is named in [`GAPS`], each with its
//! reason, and a gap that closed must leave the table.

use crate::world::{How, World, admin, nothing_leaks, quiet};
use http::{App, Client, ClientOptions, Server, Trust};
use resource::Method;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use testkit::replay::{Exchange, Names, Recording, shape_diff};

crate::world::on_both!(recorded_exchanges);

macro_rules! recording {
    ($name:literal) => {
        ($name, include_str!(concat!("../recordings/", $name, ".json")))
    };
}

/// What the recordings have and our answers lack: resource, field (a trailing `*` stands for any ending), why.
const GAPS: &[(&str, &str, &str)] = &[
    ("host", "manager_uri", "agents call the region; nothing calls a host, so it has no address for calls"),
    ("host", "cpu_microcode", "agents do not report it"),
    ("host", "storage_driver", "agents do not report disk controllers: no hardware RAID"),
    ("host", "metadata.*", "a host's facts are in its columns and in sys_info; they are not doubled as tags"),
    ("host", "sys_info.hypervisor_type", "there is one kind of hypervisor: hosts report their accelerator instead"),
    ("host", "sys_info.kvm_module", "hosts report their accelerator, as probed"),
    ("host", "sys_info.nest", "nested virtualisation is not probed"),
    ("host", "nic_info.dns", "hosts' own addresses are the operator's: they lie in no network of ours"),
    ("host", "nic_info.domain", "as nic_info.dns"),
    ("host", "nic_info.gateway", "as nic_info.dns"),
    ("host", "nic_info.net", "as nic_info.dns"),
    ("host", "nic_info.net_id", "as nic_info.dns"),
    ("server", "monitor_url", "metrics are not collected, so there is no address for them"),
    ("server", "secgroup", "security groups are not a feature: nobody is in one"),
    ("server", "secgroups", "as secgroup"),
    ("server", "security_rules", "as secgroup"),
    ("server", "metadata.app_tags", "application tags are not a feature"),
    ("storage", "storagecache_id", "a cache lies where its host's agent keeps it; a storage names none that a client chose"),
    ("hoststorage", "storagecache_id", "as storage.storagecache_id"),
    ("hoststorage", "imagecache_path", "as storage.storagecache_id"),
    ("data", "SchedData", "the request as the recorded scheduler understood it, for its makers"),
    ("usage", "all.bucket*", "no object stores"),
    ("usage", "all.cache", "no managed databases and caches"),
    ("usage", "all.containers*", "no containers"),
    ("usage", "all.pending_delete_containers*", "no containers"),
    ("usage", "all.ready_containers*", "no containers"),
    ("usage", "all.running_containers*", "no containers"),
    ("usage", "all.eip*", "no elastic addresses"),
    ("usage", "all.es*", "no managed databases and caches"),
    ("usage", "all.instance_snapshot", "no snapshots"),
    ("usage", "all.kafka*", "no managed databases and caches"),
    ("usage", "all.loadbalancer", "no load balancers"),
    ("usage", "all.mongodb*", "no managed databases and caches"),
    ("usage", "all.rds*", "no managed databases and caches"),
    ("usage", "all.snapshot", "no snapshots"),
    ("usage", "dns_zones", "no name service"),
    ("usage", "isolated_devices*", "no devices are passed through"),
];

/// Recorded as whole numbers because they were zero or round; by their meaning they may have a fraction.
const FRACTIONS: &[&str] = &[
    "cmtbound",
    "cpu_cmtbound",
    "mem_cmtbound",
    "cpu_commit_bound",
    "mem_commit_bound",
    "cpu_commit_rate",
    "mem_commit_rate",
    "storage_commit_rate",
    "cpu_usage_percent",
    "progress_mbps",
    "commit_bound",
    "commit_rate",
    "all.cpu_commit_rate.running",
    "all.memory_commit_rate.running",
    "storages.commit_rate",
    "storages.system.commit_rate",
    "hour_price",
    "month_price",
];

struct Player {
    client: Client,
    url: String,
    _serving: http::Serving,
    names: Names,
    faults: Vec<String>,
    open: BTreeSet<usize>,
}

impl Player {
    /// At the services of a world, on a port of its own.
    async fn at(world: &World) -> Player {
        let caller = admin().caller;
        let guest = std::sync::Arc::new(base::Caller::default());
        let who: region::Identify =
            std::sync::Arc::new(move |headers| if headers.contains_key("x-auth-token") { caller.clone() } else { guest.clone() });
        let scheduler = region::scheduler_router(world.region.scheduler.clone(), world.gate(), who.clone());
        let app = App::new(telemetry::Metrics::default()).mount("/", "compute", world.region.router(who).merge(scheduler));
        let mut server = Server::new(app);
        let address = server.bind("127.0.0.1:0", None).await.expect("a free port");
        let client = Client::new(ClientOptions { trust: Trust::Anybody, ..ClientOptions::default() }).expect("a client");
        Player {
            client,
            url: format!("http://{address}"),
            _serving: server.start(),
            names: Names::default(),
            faults: Vec::new(),
            open: BTreeSet::new(),
        }
    }

    /// Sends a recording's requests and compares; the last answer.
    async fn play(&mut self, (name, text): (&str, &str)) -> Json {
        let recording = Recording::parse(text);
        let mut last = Json::Null;
        for exchange in &recording.exchanges {
            let (status, answer) = self.send(exchange).await;
            if status != exchange.response.status {
                self.faults.push(format!("{name}: status {status}, recorded {}: {answer}", exchange.response.status));
            } else {
                let recorded = &exchange.response.body;
                let mut found = shape_diff(recorded, &answer);
                whole_numbers("", recorded, &answer, &mut found);
                found.retain(|fault| !self.known(fault));
                self.faults.extend(found.into_iter().map(|fault| format!("{name}: {fault}")));
                self.names.learn("id", recorded, &answer);
            }
            last = answer;
        }
        last
    }

    async fn send(&self, exchange: &Exchange) -> (u16, Json) {
        let url = format!("{}{}", self.url, self.names.apply(&exchange.request.path));
        let method = exchange.request.method.parse().expect("a method");
        let mut call = self.client.call(method, &url).token("admin");
        if !exchange.request.body.is_null() {
            call = call.json(&self.names.apply_json(&exchange.request.body));
        }
        let answer = call.send_any().await.expect("an answer");
        let status = answer.status;
        let kind = answer.header("content-type").unwrap_or_default().to_string();
        assert!(kind.starts_with("application/json"), "{url}: {kind}");
        (status, answer.json().await.expect("answers are JSON"))
    }

    /// Whether a fault is a gap of the table; such a gap is then known to be open.
    fn known(&mut self, fault: &str) -> bool {
        let (place, field) = fault.split_once(" has no ").unwrap_or_else(|| (fault.split(" is ").next().unwrap_or_default(), ""));
        // `.servers[0].body.metadata` and `os_arch` are `server` and `metadata.os_arch`.
        let words = place.split('.').map(|w| w.split('[').next().unwrap_or_default()).chain([field]);
        let words: Vec<&str> = words.filter(|w| !w.is_empty() && *w != "body").collect();
        let Some((resource, path)) = words.split_first() else { return false };
        let (resource, path) = (resource.trim_end_matches('s'), path.join("."));
        let gap = GAPS
            .iter()
            .position(|(r, key, _)| *r == resource && key.strip_suffix('*').map_or(*key == path, |start| path.starts_with(start)));
        self.open.extend(gap);
        gap.is_some()
    }

    /// A difference that a comparison of shapes cannot see.
    fn expect(&mut self, holds: bool, fault: &str) {
        if !holds && !self.known(fault) {
            self.faults.push(fault.to_string());
        }
    }
}

/// A recorded integer must be one of ours: clients read it into an integer, and `0.0` is none to them.
fn whole_numbers(at: &str, recorded: &Json, ours: &Json, out: &mut Vec<String>) {
    match (recorded, ours) {
        (Json::Object(a), Json::Object(b)) => {
            for (key, value) in a.iter().filter(|(key, _)| !FRACTIONS.contains(&key.as_str())) {
                if let Some(mine) = b.get(key) {
                    whole_numbers(&format!("{at}.{key}"), value, mine, out);
                }
            }
        }
        (Json::Array(a), Json::Array(b)) => a.iter().zip(b).for_each(|(x, y)| whole_numbers(&format!("{at}[]"), x, y, out)),
        (Json::Number(a), Json::Number(b)) if a.is_i64() && !b.is_i64() => out.push(format!("{at} is {b}, recorded as an integer")),
        _ => {}
    }
}

/// What the recorded platform was told in between.
async fn update(world: &World, path: &str, body: Json) {
    world.ask(&admin(), Method::Put, path, body).await.expect("an update");
}

async fn recorded_exchanges(world: World) {
    let host = world.host("h1", How::Obedient).await;
    let mut player = Player::at(&world).await;

    player.play(recording!("10-zone-create")).await;
    player.play(recording!("11-wire-create")).await;
    player.play(recording!("12-network-create")).await;
    update(&world, "networks/vnet0", json!({"network": {"is_auto_alloc": true}})).await;
    player.play(recording!("48-network-show")).await;
    // The second wire of the recordings is like the first.
    player.names.put("bcast1", "bcast0");
    player.play(recording!("13-network-create-hostnet")).await;
    player.play(recording!("20-places")).await;
    // It names the cache of a host of its own; a shared one has none yet.
    player.play(recording!("20-storage-create")).await;
    player.play(recording!("20-storage-show")).await;
    player.play(recording!("66-network-create")).await;
    world.delete("networks/tmpnet").await.expect("an empty network goes");
    player.play(recording!("24-sku-create")).await;
    player.play(recording!("25-sku-list")).await;
    let pair = player.play(recording!("63-keypair-create")).await;
    player.expect(pair["keypair"]["scheme"] == "RSA", ".keypair has no scheme as asked");

    // The host is smaller than the recorded one and has its wire on another network.
    player.names.put("500000", "5000");
    player.names.put("vnet0", "net");
    player.play(recording!("49-host-list-filter")).await;
    player.names.put("88342b4a-4641-49ad-8ead-f320f4882121", &host.id);
    player.play(recording!("22-host-enable")).await;
    player.play(recording!("21-host-list")).await;
    let mine = world.get(&format!("hosts/{}/storages", host.id)).await.expect("the host's storages");
    player.names.put("79bdab35-e337-495b-8297-1b9a6b35d784", &host.id);
    player.names.put("b2836db6-f91d-4ae2-8c21-c39577095d0f", mine["hoststorages"][0]["storage_id"].as_str().expect("a storage"));
    player.play(recording!("20-hoststorage-show")).await;
    player.play(recording!("30-scheduler-test")).await;
    player.play(recording!("32-scheduler-candidate-list")).await;

    let by_name = json!({"vmem_size": 1024, "nets": [{"network": "net"}]});
    let by_name = world.region.scheduler.serve(&["test"], &by_name, base::Lang::En).await.expect("a test");
    player.expect(by_name["total"] == 1, ".data has no network by name");
    let dry = player.play(recording!("33-server-create-dryrun")).await;
    assert_eq!(dry["total"], 1, "{dry}");
    assert_eq!(world.get("servers").await.expect("a list"), json!({"servers": []}), "a dry run makes nothing");
    player.play(recording!("34-server-create")).await;
    world.reach("vm1", &["running"]).await;
    quiet(&world).await;
    update(&world, "servers/vm1", json!({"server": {"description": "hello"}})).await;
    for shown in [
        recording!("35-server-list"),
        recording!("36-server-show"),
        recording!("40-server-disk-list"),
        recording!("42-server-network-list"),
        recording!("45-server-list-filter"),
        recording!("54-error-404"),
        recording!("37-server-stop"),
    ] {
        player.play(shown).await;
    }
    world.reach("vm1", &["ready"]).await;

    let batch = player.play(recording!("60-server-create-batch")).await;
    assert_eq!(batch["servers"].as_array().map(Vec::len), Some(3), "{batch}");
    let names: Vec<&str> = batch["servers"].as_array().into_iter().flatten().filter_map(|s| s["body"]["name"].as_str()).collect();
    player.expect(names == ["batch-01", "batch-02", "batch-03"], ".servers has no batch of numbered names");
    let third = names[2];
    player.names.put("batch-03", third);
    world.reach(third, &["running"]).await;
    quiet(&world).await;
    player.play(recording!("69-server-list-json")).await;
    player.play(recording!("50-usage")).await;
    // The recorded platform refused this one by a fault of its own: it found no quota for the request.
    let disk = Recording::parse(recording!("64-disk-create").1);
    let (status, disk) = player.send(&disk.exchanges[0]).await;
    player.expect(status == 200 && disk["disk"]["name"] == "disk1", ".disk has no disk as asked");
    player.play(recording!("68-server-delete")).await;
    quiet(&world).await;
    nothing_leaks(&world).await;

    assert!(player.faults.is_empty(), "{} faults:\n{}", player.faults.len(), player.faults.join("\n"));
    let stale: Vec<_> =
        GAPS.iter().enumerate().filter(|(i, _)| !player.open.contains(i)).map(|(_, (r, f, _))| format!("{r}.{f}")).collect();
    assert!(stale.is_empty(), "no longer gaps; take them out of the table: {stale:?}");
}
