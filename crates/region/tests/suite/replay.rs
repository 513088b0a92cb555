//! What an existing client said to its region, said to ours: the answers must have the recorded statuses, names and types.
//!
//! The recordings are in `tests/recordings`, each the client's own requests of one command; a host's whole row is only known from an answer to its
//! agent. Values differ, so only shapes are compared; what we do not have is named in [`GAPS`], each with its reason, and a gap that closed must
//! leave the table.

use crate::world::{How, World, admin, nothing_leaks, quiet};
use base::Lang;
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
];

/// Recorded as whole numbers because they were zero or round; by their meaning they may have a fraction.
const FRACTIONS: &[&str] = &[
    "cpu_cmtbound",
    "mem_cmtbound",
    "cpu_commit_bound",
    "mem_commit_bound",
    "cpu_commit_rate",
    "mem_commit_rate",
    "storage_commit_rate",
    "cpu_usage_percent",
    "progress_mbps",
    "hour_price",
    "month_price",
];

#[derive(Default)]
struct Player {
    names: Names,
    faults: Vec<String>,
    open: BTreeSet<usize>,
}

impl Player {
    /// Sends a recording's requests and compares; the last answer.
    async fn play(&mut self, world: &World, (name, text): (&str, &str)) -> Json {
        let recording = Recording::parse(text);
        let mut last = Json::Null;
        for exchange in &recording.exchanges {
            let (status, answer) = self.send(world, exchange).await;
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

    async fn send(&self, world: &World, exchange: &Exchange) -> (u16, Json) {
        let path = self.names.apply(&exchange.request.path);
        let path = path.trim_start_matches('/');
        let body = self.names.apply_json(&exchange.request.body);
        if let Some(words) = path.strip_prefix("scheduler/") {
            let answer = world.region.scheduler.serve(&words.split('/').collect::<Vec<_>>(), &body, base::Lang::En).await;
            return answer.map_or_else(|e| (e.class().http(), http::error_body::body(&e, Lang::En, "r")), |a| (200, a));
        }
        let method = match exchange.request.method.as_str() {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "DELETE" => Method::Delete,
            other => panic!("{other} is not recorded"),
        };
        let answer = world.ask(&admin(), method, path, body).await;
        answer.map_or_else(|e| (e.class().http(), http::error_body::body(&e, Lang::En, "r")), |a| (200, a))
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
    let mut player = Player::default();

    player.play(&world, recording!("10-zone-create")).await;
    player.play(&world, recording!("11-wire-create")).await;
    player.play(&world, recording!("12-network-create")).await;
    update(&world, "networks/vnet0", json!({"network": {"is_auto_alloc": true}})).await;
    player.play(&world, recording!("48-network-show")).await;
    // The second wire of the recordings is like the first.
    player.names.put("bcast1", "bcast0");
    player.play(&world, recording!("66-network-create")).await;
    world.delete("networks/tmpnet").await.expect("an empty network goes");
    player.play(&world, recording!("24-sku-create")).await;
    player.play(&world, recording!("25-sku-list")).await;
    let pair = player.play(&world, recording!("63-keypair-create")).await;
    player.expect(pair["keypair"]["scheme"] == "RSA", ".keypair has no scheme as asked");

    // The host is smaller than the recorded one and has its wire on another network.
    player.names.put("500000", "5000");
    player.names.put("vnet0", "net");
    player.play(&world, recording!("49-host-list-filter")).await;
    player.names.put("88342b4a-4641-49ad-8ead-f320f4882121", &host.id);
    player.play(&world, recording!("22-host-enable")).await;

    let by_name = json!({"vmem_size": 1024, "nets": [{"network": "net"}]});
    let by_name = world.region.scheduler.serve(&["test"], &by_name, base::Lang::En).await.expect("a test");
    player.expect(by_name["total"] == 1, ".data has no network by name");
    let dry = player.play(&world, recording!("33-server-create-dryrun")).await;
    assert_eq!(dry["total"], 1, "{dry}");
    assert_eq!(world.get("servers").await.expect("a list"), json!({"servers": []}), "a dry run makes nothing");
    player.play(&world, recording!("34-server-create")).await;
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
        player.play(&world, shown).await;
    }
    world.reach("vm1", &["ready"]).await;

    let batch = player.play(&world, recording!("60-server-create-batch")).await;
    assert_eq!(batch["servers"].as_array().map(Vec::len), Some(3), "{batch}");
    let names: Vec<&str> = batch["servers"].as_array().into_iter().flatten().filter_map(|s| s["body"]["name"].as_str()).collect();
    player.expect(names == ["batch-01", "batch-02", "batch-03"], ".servers has no batch of numbered names");
    let third = names[2];
    player.names.put("batch-03", third);
    world.reach(third, &["running"]).await;
    quiet(&world).await;
    player.play(&world, recording!("69-server-list-json")).await;
    player.play(&world, recording!("68-server-delete")).await;
    quiet(&world).await;
    nothing_leaks(&world).await;

    assert!(player.faults.is_empty(), "{} faults:\n{}", player.faults.len(), player.faults.join("\n"));
    let stale: Vec<_> =
        GAPS.iter().enumerate().filter(|(i, _)| !player.open.contains(i)).map(|(_, (r, f, _))| format!("{r}.{f}")).collect();
    assert!(stale.is_empty(), "no longer gaps; take them out of the table: {stale:?}");
}
