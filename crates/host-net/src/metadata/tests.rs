use super::*;
use crate::config::Config;
use crate::flows::alias;
use crate::plan::tests::{network, nic};
use crate::plan::{Document, Plan};
use api_agent::{GuestDisk, GuestMeta, GuestSpec, NetworkSpec};
use serde_json::{Value, json};

fn subject(meta: GuestMeta) -> Subject {
    let networks = [
        NetworkSpec { dns: vec!["1.1.1.1".into()], mtu: 1442, ..network("n", "10.0.1.0/24", "10.0.1.1") },
        network("pub", "203.0.113.0/24", "203.0.113.1"),
    ];
    let disk = |driver: &str| GuestDisk { driver: driver.into(), ..Default::default() };
    let guest = GuestSpec {
        id: "0b6e".into(),
        name: "web".into(),
        nics: vec![nic(5, "n", "10.0.1.5"), nic(6, "pub", "203.0.113.6")],
        disks: vec![disk("virtio"), disk("virtio"), disk("scsi")],
        meta,
        ..Default::default()
    };
    let document = Arc::new(Document::new(&networks, &[guest]));
    let plan = Plan::new(&Config::new("/x"), &document);
    Subject { nic: Arc::new(plan.bridges["wolke0"].nics["tap5"].clone()), document }
}

fn full() -> GuestMeta {
    GuestMeta {
        hostname: "web-1".into(),
        instance_type: "ecs.g1.c1m1".into(),
        project_id: "p1".into(),
        zone: "zone0".into(),
        region: "region0".into(),
        ssh_keys: vec!["ssh-ed25519 AAAA one".into(), "ssh-rsa BBBB two".into()],
        password: "s3cret\"".into(),
        user_data: "#!/bin/sh\necho hi\n".into(),
        tags: [("env".to_string(), "prod".to_string())].into(),
        ..Default::default()
    }
}

fn request(method: &str, target: &str, headers: &str) -> Response {
    let head = Head::parse(format!("{method} {target} HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
    respond(&subject(full()), &head)
}

fn get(target: &str) -> (u16, String) {
    let response = request("GET", target, "");
    (response.status, String::from_utf8(response.body).unwrap())
}

#[test]
fn ec2_paths() {
    let cases: &[(&str, &str)] = &[
        ("/latest/", "dynamic\nmeta-data\nuser-data"),
        ("/latest/user-data", "#!/bin/sh\necho hi\n"),
        ("/2009-04-04/meta-data/instance-id", "0b6e"),
        ("/1999-12-31/meta-data/instance-id", "0b6e"),
        ("//latest//meta-data//instance-id/", "0b6e"),
        ("/latest/meta-data/hostname", "web"),
        ("/latest/meta-data/local-hostname", "web-1"),
        ("/latest/meta-data/public-hostname", "web-1"),
        ("/latest/meta-data/instance-type", "ecs.g1.c1m1"),
        ("/latest/meta-data/ami-launch-index", "0"),
        ("/latest/meta-data/local-ipv4", "10.0.1.5\n203.0.113.6"),
        ("/latest/meta-data/public-ipv4", "203.0.113.6"),
        ("/latest/meta-data/mac", "00:22:0a:00:00:05\n00:22:0a:00:00:06"),
        ("/latest/meta-data/public-keys/", "0=my-public-key\n1=my-public-key-1"),
        ("/latest/meta-data/public-keys/0", "openssh-key"),
        ("/latest/meta-data/public-keys/0/openssh-key", "ssh-ed25519 AAAA one"),
        ("/latest/meta-data/public-keys/1/openssh-key", "ssh-rsa BBBB two"),
        ("/latest/meta-data/placement/availability-zone", "zone0"),
        ("/latest/meta-data/block-device-mapping/", "root\nephemeral0\nephemeral1"),
        ("/latest/meta-data/block-device-mapping/ephemeral1", "sdc"),
        ("/latest/meta-data/network/interfaces/macs/", "00:22:0a:00:00:05/\n00:22:0a:00:00:06/"),
        ("/latest/meta-data/network/interfaces/macs/00%3A22:0a:00:00:05/local-ipv4s", "10.0.1.5"),
        ("/latest/meta-data/network/interfaces/macs/00:22:0a:00:00:06/subnet-ipv4-cidr-block", "203.0.113.0/24"),
        ("/latest/meta-data/tags/instance/env", "prod"),
        ("http://169.254.169.254/latest/meta-data/instance-id?x=1", "0b6e"),
    ];
    for (path, expected) in cases {
        assert_eq!(get(path), (200, expected.to_string()), "{path}");
    }
    let keys = get("/latest/meta-data/").1;
    for key in ["instance-id", "public-keys/", "placement/", "network/", "local-ipv4", "mac"] {
        assert!(keys.lines().any(|l| l == key), "{keys}");
    }
    assert!(get("/").1.lines().any(|l| l == "latest"));
    for missing in [
        "/latest/meta-data/none",
        "/latest/meta-data/instance-id/x",
        "/none/meta-data",
        "/latest/meta-data/public-keys/2",
        "/../etc/passwd",
    ] {
        assert_eq!(get(missing).0, 404, "{missing}");
    }
}

#[test]
fn what_a_guest_does_not_have_is_not_there() {
    let bare = subject(GuestMeta::default());
    let status = |path: &str| respond(&bare, &Head::parse(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap()).status;
    for path in [
        "/latest/user-data",
        "/latest/meta-data/public-keys/",
        "/latest/meta-data/placement/",
        "/openstack/latest/user_data",
        "/latest/meta-data/tags",
    ] {
        assert_eq!(status(path), 404, "{path}");
    }
    assert_eq!(status("/latest/meta-data/instance-type"), 200);
    let vendor = respond(&bare, &Head::parse(b"GET /openstack/latest/vendor_data.json HTTP/1.1\r\n\r\n").unwrap());
    assert_eq!(vendor.body, b"{}");
}

#[test]
fn openstack_paths() {
    assert!(get("/openstack").1.lines().any(|l| l == "latest"));
    assert_eq!(get("/openstack/latest").1, "meta_data.json\nnetwork_data.json\nuser_data\nvendor_data.json\nvendor_data2.json");
    let meta: Value = serde_json::from_str(&get("/openstack/2018-08-27/meta_data.json").1).unwrap();
    assert_eq!((&meta["uuid"], &meta["hostname"], &meta["availability_zone"]), (&json!("0b6e"), &json!("web-1"), &json!("zone0")));
    assert_eq!(meta["public_keys"]["my-public-key"], "ssh-ed25519 AAAA one");
    assert_eq!(meta["keys"][1]["data"], "ssh-rsa BBBB two");
    assert_eq!((&meta["admin_pass"], &meta["meta"]["env"]), (&json!("s3cret\""), &json!("prod")));
    assert_eq!(get("/openstack/latest/user_data").1, "#!/bin/sh\necho hi\n");
    let vendor: Value = serde_json::from_str(&get("/openstack/latest/vendor_data.json").1).unwrap();
    let config = vendor["cloud-init"].as_str().unwrap().strip_prefix("#cloud-config\n").unwrap();
    let config: Value = serde_json::from_str(config).unwrap();
    assert_eq!(config["chpasswd"]["users"][0], json!({"name": "root", "password": "s3cret\"", "type": "text"}));
    let net: Value = serde_json::from_str(&get("/openstack/latest/network_data.json").1).unwrap();
    assert_eq!(
        net["links"][0],
        json!({"id": "tap5", "vif_id": "tap5", "type": "phy", "mtu": 1442, "ethernet_mac_address": "00:22:0a:00:00:05"})
    );
    assert_eq!(net["networks"][1]["type"], "ipv4_dhcp");
    assert_eq!(net["services"], json!([{"type": "dns", "address": "1.1.1.1"}]));
    assert_eq!(get("/openstack/latest/none").0, 404);
}

#[test]
fn tokens() {
    let ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n";
    let token = request("PUT", "/latest/api/token", ttl);
    assert!(token.status == 200 && token.near && token.body.len() == 56);
    assert_eq!(token.headers, [("x-aws-ec2-metadata-token-ttl-seconds", "60".to_string())]);
    assert_eq!(request("PUT", "/latest/api/token", "").status, 400);
    assert_eq!(request("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 99999\r\n").status, 400);
    assert_eq!(request("PUT", "/latest/api/token", &format!("{ttl}X-Forwarded-For: 1.2.3.4\r\n")).status, 403);
    assert_eq!(request("POST", "/latest/user-data", "").status, 405);
    assert_eq!(request("PUT", "/latest/meta-data/", "").status, 405);
}

#[test]
fn heads() {
    let parse = |text: &str| Head::parse(text.as_bytes());
    let head = parse("GET /a%20b?q HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n").unwrap();
    assert_eq!((head.path.as_str(), head.body, head.keep_alive, head.header("host")), ("/a b", 5, true, Some("x")));
    assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
    assert!(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap().keep_alive);
    assert!(!parse("GET / HTTP/1.1\r\nconnection: close\r\n\r\n").unwrap().keep_alive);
    for (text, error) in [
        ("GET /\r\n\r\n", Malformed::RequestLine),
        ("get / HTTP/1.1\r\n\r\n", Malformed::RequestLine),
        ("GET x HTTP/1.1\r\n\r\n", Malformed::RequestLine),
        ("GET /%zz HTTP/1.1\r\n\r\n", Malformed::RequestLine),
        ("GET /%e HTTP/1.1\r\n\r\n", Malformed::RequestLine),
        ("GET /%ff HTTP/1.1\r\n\r\n", Malformed::RequestLine),
        ("GET / HTTP/2.0\r\n\r\n", Malformed::Version),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", Malformed::Header),
        ("GET / HTTP/1.1\r\na b: c\r\n\r\n", Malformed::Header),
        ("GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", Malformed::Body),
        ("GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", Malformed::Body),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
    assert_eq!(http::head_end(b"GET / HTTP/1.1\r\n\r\nrest"), Some(18));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
    assert_eq!(parse(&many), Err(Malformed::TooLarge));
}

/// A server on loopback whose callers, by their loopback addresses, have aliases.
async fn serving(view: View, callers: usize) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let view = Arc::new(ArcSwap::from_pointee(view));
    let task = tokio::spawn(async move {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..callers {
            let (stream, _) = listener.accept().await.unwrap();
            let view = view.clone();
            all.spawn(async move { serve(stream, alias(5), &view).await });
        }
        while all.join_next().await.is_some() {}
    });
    (address, task)
}

async fn say(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut out = Vec::new();
    // A server that closes with unread bytes resets; what came before counts.
    let _ = stream.read_to_end(&mut out).await;
    String::from_utf8_lossy(&out).into_owned()
}

#[tokio::test]
async fn connections_are_kept_and_bounded() {
    let (server, task) = serving(View::of([(5, subject(full()))]), 5).await;
    let two = b"PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\ncontent-length: 3\r\n\r\nabc\
                GET /latest/meta-data/instance-id HTTP/1.1\r\nconnection: close\r\n\r\n";
    let said = say(server, two).await;
    assert!(said.matches("200 OK").count() == 2 && said.ends_with("0b6e"), "{said}");
    let head = say(server, b"HEAD /latest/meta-data/instance-id HTTP/1.0\r\n\r\n").await;
    assert!(head.contains("content-length: 4") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(say(server, b"\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; MAX_HEAD]].concat();
    assert!(say(server, &endless).await.starts_with("HTTP/1.1 431"));
    let large = format!("PUT /latest/api/token HTTP/1.1\r\ncontent-length: {}\r\n\r\n", MAX_BODY + 1);
    assert!(say(server, large.as_bytes()).await.contains("connection: close"));
    task.await.unwrap();
}

#[tokio::test]
async fn who_is_gone_from_the_document_gets_no_answer() {
    let (server, task) = serving(View::default(), 1).await;
    assert_eq!(say(server, b"GET /latest/meta-data/instance-id HTTP/1.1\r\n\r\n").await, "");
    task.await.unwrap();
}

#[test]
fn a_caller_has_so_many_connections() {
    let open = Open::default();
    let mut places: Vec<_> = (0..MAX_CONNECTIONS).map(|_| open.take(alias(5)).unwrap()).collect();
    assert!(open.take(alias(5)).is_none() && open.take(alias(6)).is_some());
    places.pop();
    assert!(open.take(alias(5)).is_some());
    drop(places);
    assert!(open.0.lock().unwrap().is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_head_panics(line in ".{0,80}", rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        for start in ["", "GET ", "GET /", "GET /%", "PUT /latest/api/token HTTP/1.1\r\n"] {
            let _ = Head::parse(&[start.as_bytes(), line.as_bytes(), b" HTTP/1.1\r\n", &rest, b"\r\n\r\n"].concat());
        }
    }

    #[test]
    fn no_path_panics(path in "(/([a-z0-9.-]{0,12}|latest|meta-data|openstack|public-keys|network|interfaces|macs)){0,8}") {
        if let Ok(head) = Head::parse(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()) {
            proptest::prop_assert!([200, 404].contains(&respond(&subject(full()), &head).status));
        }
    }
}
