//! The document the command line and other clients are made from. `WOLKE_GOLDEN=write` writes it anew; the difference is the change.

use base::{Clock, Ctx, Result, err};
use region::{Image, Images, Parts, Region, Settings};
use resource::{Ask, BoxFuture, FixedOwners, Gate};
use std::{path::Path, sync::Arc};

struct Nobody;

impl Gate for Nobody {
    fn widest(&self, _: &base::Caller, _: Option<std::net::IpAddr>, _: &Ask<'_>) -> base::Scope {
        base::Scope::None
    }
    fn allows(&self, _: &base::Caller, _: Option<std::net::IpAddr>, _: &Ask<'_>, _: base::Scope) -> bool {
        false
    }
}

impl Images for Nobody {
    fn find<'a>(&'a self, _: &'a Ctx, which: &'a str) -> BoxFuture<'a, Result<Image>> {
        Box::pin(async move { Err(err!(ImageNotFound, "{} {} not found", "image", which)) })
    }
    fn fetch<'a>(&'a self, id: &'a str, _: Option<&'a str>) -> BoxFuture<'a, Result<http::Response>> {
        Box::pin(async move { Err(err!(ImageNotFound, "{} {} not found", "image", id)) })
    }
}

/// What the code calls a key by, where the document has it under another name.
const ALIASES: &[(&str, &str)] = &[
    ("prefer_host_id", "prefer_host"),
    ("prefer_zone_id", "prefer_zone"),
    ("prefer_region_id", "prefer_region"),
    ("prefer_wire_id", "prefer_wire"),
    ("zone", "zone_id"),
    ("vpc", "vpc_id"),
    ("baremetal", "hypervisor"),
    ("size", "disk_size"),
    ("medium_type", "medium"),
    ("sku", "instance_type"),
    ("flavor", "instance_type"),
];

/// Keys a source text takes from the body of a request.
fn keys_read(source: &str) -> Vec<String> {
    let starts = ["text(body, ", "flag(body, ", "int(body, ", "required(body, ", "text_list(body, ", "body.get(", "prefer(op, body, "];
    let mut out = Vec::new();
    for start in starts {
        for (at, _) in source.match_indices(start) {
            let call = source[at + start.len()..].split(')').next().unwrap_or_default();
            out.extend(call.split('"').skip(1).step_by(2).map(str::to_string));
        }
    }
    out
}

/// Every name of a property anywhere in a document.
fn properties(json: &base::Json, out: &mut std::collections::BTreeSet<String>) {
    if let Some(map) = json["properties"].as_object() {
        out.extend(map.keys().cloned());
    }
    match json {
        base::Json::Object(map) => map.values().for_each(|inner| properties(inner, out)),
        base::Json::Array(items) => items.iter().for_each(|inner| properties(inner, out)),
        _ => {}
    }
}

#[test]
fn what_hooks_read_of_requests_is_described() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = std::fs::read_to_string(crates.join("../docs/openapi/compute.json")).expect("the document");
    let document: base::Json = serde_json::from_str(&document).expect("JSON");
    let mut described = std::collections::BTreeSet::new();
    let paths = document["paths"].as_object().expect("paths");
    paths.values().flat_map(|p| [&p["post"], &p["put"]]).for_each(|operation| properties(&operation["requestBody"], &mut described));
    let (mut left, mut read, mut missing) = (Vec::new(), 0, Vec::new());
    left.extend(["region-infra", "region-network", "region-compute"].map(|c| crates.join(c).join("src")));
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).expect("a directory").map(|e| e.expect("an entry").path()));
            continue;
        }
        for key in keys_read(&std::fs::read_to_string(&path).expect("a source")) {
            read += 1;
            let known = |key: &str| key.starts_with("__") || described.contains(key);
            let alias = ALIASES.iter().any(|(alias, name)| *alias == key && known(name));
            // The second word of a call to `prefer` is a kind of object.
            if !known(&key) && !alias && !["host", "zone"].contains(&key.as_str()) {
                missing.push(format!("{}: {key}", path.display()));
            }
        }
    }
    assert!(read > 20, "the sources are read otherwise than this test looks for: {read}");
    assert!(missing.is_empty(), "read of requests and not described: {missing:#?}");
}

#[tokio::test]
async fn the_document_is_the_one_in_the_tree() {
    let parts = Parts {
        db: store::Db::open("sqlite::memory:").await.expect("a database"),
        clock: Clock::real(),
        gate: Arc::new(Nobody),
        owners: Arc::new(FixedOwners::default()),
        images: Arc::new(Nobody),
        settings: Settings::default(),
        seal: Arc::new(auth::Seal::new(&"11".repeat(32), "compute").expect("a key")),
        options: resource::Options::default(),
        node: "test".into(),
        own_url: String::new(),
    };
    let region = Region::build(parts).await.expect("the service starts");
    let text = serde_json::to_string_pretty(&region.openapi("0")).expect("a document") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi/compute.json");
    if std::env::var("WOLKE_GOLDEN").as_deref() == Ok("write") {
        std::fs::write(&path, &text).expect("the tree can be written");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "the API has changed: look at it with WOLKE_GOLDEN=write and git diff docs/openapi");
}
