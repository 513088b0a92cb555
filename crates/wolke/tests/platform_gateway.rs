//! The web console's gateway before a whole platform: what browsers and scripts get, and what strangers do not.

mod lab;

use http::{Client, ClientOptions, Method};
use lab::{
    PATIENCE, Platform,
    browser::{Browser, PASSWORD, platform, user},
    live::Live,
};
use serde_json::{Value as Json, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use testkit::replay::{Recording, shape_diff};

#[tokio::test]
async fn platform_gateway_sessions() {
    let (platform, mut admin) = platform(&[]).await;
    // The cookies: one that no script can read, and what pages show.
    let own = admin.set.iter().find(|c| c.starts_with("wolke_session=")).expect("the session's cookie").clone();
    assert!(own.contains("; HttpOnly") && own.contains("; SameSite=Lax") && own.contains("; Path=/") && !own.contains("Domain"), "{own}");
    let readable = admin.set.iter().find(|c| c.starts_with("yunionauth=")).expect("the readable cookie");
    assert!(!readable.contains("HttpOnly") && !readable.contains(&admin.session()), "{readable}");
    let shown = admin.shown();
    assert!(
        shown["user"] == "admin" && shown["totp_verified"] == false && shown["user_id"].is_string() && shown["exp"].is_string(),
        "{shown}"
    );
    assert!(admin.jar.contains_key("tenant"));
    for (name, want) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(admin.headers.get(name).and_then(|v| v.to_str().ok()), Some(want), "{name}");
    }
    let policy = admin.headers.get("content-security-policy").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");

    // A value planted before the login opens nothing after it; the value of one login is not that of the next.
    let first = admin.session();
    let mut planted = Browser::new(&platform.url());
    planted.jar.insert("wolke_session".into(), "A".repeat(43));
    assert_eq!(planted.login("admin", PASSWORD).await.0, 200);
    assert!(planted.session() != "A".repeat(43) && planted.session() != first && planted.session().len() == 43);
    let old = planted.session();
    assert_eq!(planted.login("admin", PASSWORD).await.0, 200);
    let mut thief = Browser::new(&platform.url());
    thief.jar.insert("wolke_session".into(), old);
    assert_eq!(thief.send(Method::GET, "/api/v1/auth/user", None).await.0, 401, "the earlier value is over");

    // Another site's page can make the browser send its cookies, and nothing else.
    let body = json!({"name": "forged", "value": {}});
    let mut forged = admin.clone();
    for (origin, site) in
        [(Some("https://evil.example"), None), (None, None), (Some("https://evil.example"), Some("cross-site")), (None, Some("same-site"))]
    {
        forged.origin = origin.map(String::from);
        let mut call = forged.call(Method::POST, "/api/v1/parameters").json(&body);
        if let Some(site) = site {
            call = call.header("sec-fetch-site", site);
        }
        assert_eq!(forged.take(call).await.0, 403, "{origin:?} {site:?}");
        assert_eq!(forged.send(Method::GET, "/api/v1/auth/user", None).await.0, 200, "reading is not refused");
    }
    let call = forged
        .call(Method::POST, "/api/v1/auth/login")
        .header("sec-fetch-site", "cross-site")
        .json(&json!({"username": "admin", "password": PASSWORD}));
    assert_eq!(forged.take(call).await.0, 403, "nobody is logged in by another site");
    let mut script = Browser::new(&platform.url());
    (script.bearer, script.origin) = (Some(admin.session()), None);
    assert_eq!(
        script.send(Method::POST, "/api/v1/parameters", Some(json!({"name": "by-script", "value": 1}))).await.0,
        200,
        "a bearer is no page"
    );

    // Wrong ones: nobody learns who exists.
    let mut stranger = Browser::new(&platform.url());
    let (wrong, unknown) = (stranger.login("admin", "nope").await, stranger.login("nobody", "nope").await);
    for (status, answer) in [&wrong, &unknown] {
        assert_eq!((*status, answer["class"].as_str()), (401, Some("IncorrectUsernameOrPassword")), "{answer}");
    }
    assert_eq!(wrong.1["details"], unknown.1["details"]);
    assert!(stranger.jar.is_empty());
    assert_eq!(stranger.login("sysadmin", PASSWORD).await.0, 403, "the platform's own accounts have no console");

    // Another project: another value, the old one is over.
    let (_, project) = user(&mut admin, "ann", "project_owner").await;
    let mut ann = Browser::new(&platform.url());
    assert_eq!(ann.login("ann", PASSWORD).await.0, 200);
    assert_eq!(ann.jar["tenant"], project);
    let before = ann.session();
    let (status, answer) = ann.send(Method::POST, "/api/v1/auth/login", Some(json!({"tenantId": project, "scope": "system"}))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ann.jar["scope"], "project", "no scope beyond one's rights");
    assert_ne!(ann.session(), before);
    let foreign = admin.jar["tenant"].clone();
    assert_eq!(ann.send(Method::POST, "/api/v1/auth/login", Some(json!({"tenantId": foreign}))).await.0, 403);

    // What a console hides.
    let ask = json!({"list": ["project", "compute", "servers", "list"], "hosts": ["system", "compute_v2", "hosts", "delete"]});
    let mine = ann.post("/api/v1/auth/permissions", ask.clone()).await;
    assert_eq!(mine, json!({"list": ["compute", "servers", "list", "allow"], "hosts": ["compute_v2", "hosts", "delete", "deny"]}));
    let all = admin.post("/api/v1/auth/permissions", ask).await;
    assert_eq!(all["hosts"][3], "allow");
    let scoped = ann.get("/api/v1/auth/scoped_resources").await;
    assert!(scoped["system"]["compute"].as_array().is_some_and(|a| a.contains(&json!("zones"))), "{scoped}");
    assert!(scoped["domain"]["compute"].as_array().is_some_and(|a| a.contains(&json!("hosts"))), "{scoped}");

    // Changing the password ends every session; logging out this one.
    let wrap = |text: &str| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.encode(text)
    };
    let change =
        json!({"password_old": wrap(PASSWORD), "password_new": wrap("Another-horse-8"), "password_confirm": wrap("Another-horse-7")});
    assert_eq!(ann.send(Method::POST, "/api/v1/auth/password", Some(change)).await.0, 400, "the two differ");
    let change =
        json!({"password_old": wrap(PASSWORD), "password_new": wrap("Another-horse-8"), "password_confirm": wrap("Another-horse-8")});
    let kept = ann.clone();
    assert_eq!(ann.send(Method::POST, "/api/v1/auth/password", Some(change)).await.0, 200);
    assert_eq!(kept.clone().send(Method::GET, "/api/v1/auth/user", None).await.0, 401);
    assert_eq!(ann.login("ann", "Another-horse-8").await.0, 200);
    let kept = ann.clone();
    assert_eq!(ann.send(Method::POST, "/api/v1/auth/logout", None).await.0, 200);
    assert!(!ann.jar.contains_key("wolke_session") && !ann.jar.contains_key("yunionauth"), "{:?}", ann.jar);
    assert_eq!(kept.clone().send(Method::GET, "/api/v1/auth/user", None).await.0, 401);

    second_factor(&platform).await;
    recorded(&mut admin).await;

    // At last: who only guesses waits, whatever the names.
    let guesses = (0..80).map(|n| {
        let mut guesser = stranger.clone();
        async move { guesser.login(&format!("guess{n}"), "nope").await }
    });
    // All at once: one after another on a busy machine they might be no faster than he may.
    let told = futures_util::future::join_all(guesses).await;
    let stopped = |(status, said): &(u16, Json)| *status == 429 && said.to_string().contains("too many failed logins");
    assert!(told.iter().any(stopped), "nobody stops a guesser: {told:?}");
}

/// Setting a second factor up at the console, and logging in with it.
async fn second_factor(platform: &Platform) {
    let mut ann = Browser::new(&platform.url());
    assert_eq!(ann.login("ann", "Another-horse-8").await.0, 200);
    assert_eq!(ann.send(Method::POST, "/api/v1/auth/initcredential", Some(json!({}))).await.0, 400, "the password is asked for");
    let begun = ann.post("/api/v1/auth/initcredential", json!({"password": "Another-horse-8"})).await;
    assert!(
        begun["uri"].as_str().is_some_and(|u| u.starts_with("otpauth://totp/")) && begun["qrcode"].as_str().is_some_and(|q| q.len() > 1000)
    );
    let secret = unbase32(begun["secret"].as_str().expect("a secret"));
    let code = |ahead: i64| auth::totp::code(&secret, auth::totp::step(base::Clock::real().now()) + ahead, 6, auth::totp::Hash::Sha1);
    let before = ann.session();
    let done = ann.post("/api/v1/auth/passcode", json!({"passcode": code(0)})).await;
    let codes: Vec<String> = serde_json::from_value(done["recovery_codes"].clone()).expect("recovery codes");
    assert_eq!(codes.len(), 9);
    assert!(ann.session() != before && ann.shown()["totp_verified"] == true, "{}", ann.shown());
    ann.get("/api/v1/auth/user").await;

    let mut again = Browser::new(&platform.url());
    assert_eq!(again.login("ann", "Another-horse-8").await.0, 200);
    let shown = again.shown();
    assert!(
        shown["totp_on"] == true && shown["totp_init"] == true && shown["system_totp_on"] == true && shown["totp_verified"] == false,
        "{shown}"
    );
    let (status, answer) = again.send(Method::GET, "/api/v1/auth/user", None).await;
    assert!(status == 401 && answer["details"].as_str().is_some_and(|d| d.contains("TOTP authentication failed")), "{answer}");
    assert_eq!(again.send(Method::GET, "/api/v1/servers", None).await.0, 401);
    assert_eq!(
        again.send(Method::POST, "/api/v1/auth/passcode", Some(json!({"passcode": "000000"}))).await.0,
        400,
        "six digits are wrong, not the session"
    );
    let waiting = again.session();
    again.post("/api/v1/auth/passcode", json!({"passcode": codes[0]})).await;
    assert!(again.session() != waiting && again.shown()["totp_verified"] == true);
    again.get("/api/v1/auth/user").await;
    let mut old = again.clone();
    old.jar.insert("wolke_session".into(), waiting);
    assert_eq!(old.send(Method::GET, "/api/v1/auth/user", None).await.0, 401);

    // What weakens it takes a code of it; then the password alone is enough, and the session goes on.
    let told = again.get("/api/v1/auth/second-factor").await;
    assert_eq!((&told["enabled"], &told["recovery_codes"]), (&json!(true), &json!(8)), "{told}");
    for path in ["/api/v1/auth/second-factor/recovery-codes", "/api/v1/auth/second-factor/remove"] {
        assert_eq!(again.send(Method::POST, path, Some(json!({}))).await.0, 400);
        assert_eq!(again.send(Method::POST, path, Some(json!({"passcode": "000000"}))).await.0, 400);
    }
    let fresh = again.post("/api/v1/auth/second-factor/recovery-codes", json!({"passcode": codes[1]})).await;
    let fresh: Vec<String> = serde_json::from_value(fresh["recovery_codes"].clone()).expect("recovery codes");
    assert!(fresh.len() >= 9 && !fresh.contains(&codes[2]));
    assert_eq!(again.send(Method::POST, "/api/v1/auth/second-factor/remove", Some(json!({"passcode": codes[2]}))).await.0, 400, "void");
    let before = again.session();
    again.post("/api/v1/auth/second-factor/remove", json!({"passcode": fresh[0]})).await;
    assert!(again.session() != before && again.shown()["totp_on"] == false, "{}", again.shown());
    assert_eq!(again.get("/api/v1/auth/second-factor").await["enabled"], false);
}

fn unbase32(text: &str) -> Vec<u8> {
    let (mut bits, mut have, mut out) = (0u32, 0, Vec::new());
    for c in text.bytes().filter(|c| *c != b'=') {
        bits = bits << 5 | b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|d| *d == c).expect("base32") as u32;
        have += 5;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    out
}

/// The traffic of an existing console, by shape.
async fn recorded(admin: &mut Browser) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let recording = Recording::parse(&std::fs::read_to_string(dir.join("console-login.json")).expect("a recording"));
    let mut seen = 0;
    for exchange in recording.with("apigateway").filter(|e| !e.request.path.ends_with("/login")) {
        let (status, body) = admin.send(exchange.request.method.parse().expect("a method"), &exchange.request.path, None).await;
        assert_eq!(status, exchange.response.status, "{}: {body}", exchange.request.path);
        let mut wanted = exchange.response.body.clone();
        // Rows are compared where there are some: this platform has no server yet.
        if wanted["data"].is_array() && body["data"].as_array().is_some_and(Vec::is_empty) {
            wanted["data"] = json!([]);
            // An empty list says no more than its total.
            wanted.as_object_mut().expect("an object").remove("limit");
        }
        let missing = shape_diff(&wanted, &body);
        assert!(missing.is_empty(), "{}: {missing:?}\n{body}", exchange.request.path);
        seen += 1;
    }
    assert!(seen >= 4, "{seen} exchanges");
}

#[tokio::test]
async fn platform_gateway_dialect() {
    let (platform, mut admin) = platform(&[]).await;
    let zones = admin.get("/api/v1/zones?limit=5").await;
    assert!(zones["data"][0]["name"] == "zone0" && zones["total"] == 1 && zones["limit"] == 5, "{zones}");
    let zone = admin.get("/api/v2/zones/zone0").await;
    assert_eq!(zone["name"], "zone0", "an object without envelope");
    assert_eq!(admin.send(Method::GET, "/api/v3/zones", None).await.0, 404);
    assert_eq!(admin.send(Method::GET, "/api/v1/nonsense", None).await.0, 404);
    let (status, error) = admin.send(Method::GET, "/api/v1/servers/nope", None).await;
    assert_eq!((status, error["class"].as_str()), (404, Some("ResourceNotFoundError")));

    // A change is on the page at once, with the row's name and nothing else; a project's member sees his own.
    let (_, project) = user(&mut admin, "bob", "project_owner").await;
    let mut bob = Browser::new(&platform.url());
    assert_eq!(bob.login("bob", PASSWORD).await.0, 200);
    let mut live = Live::open(&admin, "", "keypairs,disks,servers,networks,users").await;
    let mut own = Live::open(&bob, "", "").await;
    let made = admin.post("/api/v1/users", json!({"name": "carl", "domain_id": "default"})).await;
    let told = live.until(|e| e["resource"] == "users").await;
    assert_eq!((told["id"].as_str(), told["kind"].as_str()), (made["id"].as_str(), Some("create")), "{told}");
    assert!(
        told.as_object().is_some_and(|o| o.keys().all(|k| ["resource", "id", "kind", "project_id", "domain_id"].contains(&k.as_str()))),
        "{told}"
    );

    // Several at once.
    let rows = admin.send(Method::POST, "/api/v1/disks", Some(json!({"name": "d", "disk_size": 100, "__count__": 3}))).await;
    assert_eq!((rows.0, rows.1["data"].as_array().map(Vec::len)), (207, Some(3)), "{}", rows.1);
    let mut ids = Vec::new();
    for n in 0..4 {
        let name = format!("w{n}");
        let made = admin.post("/api/v1/wires", json!({"name": name, "zone_id": "zone0", "bandwidth": 1000, "mtu": 1500})).await;
        ids.push(made["id"].as_str().expect("an id").to_string());
    }
    let query: String = ids.iter().map(|i| format!("&id={i}")).collect();
    let (status, many) = admin.send(Method::GET, &format!("/api/v1/wires?batchGet=true{query}&id=nope"), None).await;
    let data = many["data"].as_array().expect("rows");
    assert_eq!((status, data.len()), (207, 5));
    for row in data {
        let gone = row["id"] == "nope";
        assert_eq!(row["status"], if gone { 404 } else { 200 }, "{row}");
        assert!(if gone { row["data"]["class"] == "ResourceNotFoundError" } else { row["data"]["name"].is_string() }, "{row}");
    }
    let (status, many) = admin.send(Method::PUT, &format!("/api/v1/wires?{}", &query[1..]), Some(json!({"description": "all"}))).await;
    assert!(status == 207 && many["data"].as_array().is_some_and(|d| d.iter().all(|r| r["data"]["description"] == "all")), "{many}");
    let (status, many) = admin.send(Method::DELETE, &format!("/api/v1/wires?id={}&id={}", ids[0], ids[1]), None).await;
    assert!(status == 207 && many["data"].as_array().is_some_and(|d| d.iter().all(|r| r["status"] == 200)), "{many}");

    // Files: CSV and a book, with the caller's rights.
    let call = admin.call(
        Method::GET,
        "/api/v1/wires?export=csv&export_keys=name,description,zone&export_texts=Name,What,Zone&export_file_name=Netze%20Ost",
    );
    let (status, bytes) = admin.take(call).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(status == 200 && text.starts_with("\u{feff}Name,What,Zone\r\n") && text.contains("w2,all,zone0\r\n"), "{text}");
    let named = admin.headers.get("content-disposition").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    assert!(named.contains("Netze%20Ost.csv"), "{named}");
    let (status, bytes) = admin.take(admin.call(Method::GET, "/api/v1/wires?export=xls&export_keys=name,description")).await;
    assert!(status == 200 && bytes.starts_with(b"PK\x03\x04"), "{status}");
    let book = platform.dir.path().join("book.xlsx");
    std::fs::write(&book, &bytes).expect("written");
    assert!(bytes.windows(15).any(|w| w == b"xl/workbook.xml"), "a book");

    // What consoles keep.
    assert_eq!(bob.send(Method::GET, "/api/v1/parameters/profile", None).await.0, 404);
    let row = bob.post("/api/v1/parameters", json!({"name": "profile", "value": {"a": 1}})).await;
    assert!(row["id"].is_i64() && row["value"]["a"] == 1 && row["namespace"] == "user", "{row}");
    assert_eq!(bob.send(Method::POST, "/api/v1/parameters", Some(json!({"name": "profile", "value": {}}))).await.0, 409);
    let (status, row) = bob.send(Method::PUT, &format!("/api/v1/parameters/{}", row["id"]), Some(json!({"value": {"a": 2}}))).await;
    assert!(status == 200 && bob.get("/api/v1/parameters/profile").await["value"]["a"] == 2, "{row}");
    assert_eq!(admin.send(Method::GET, "/api/v1/parameters/profile", None).await.0, 404, "everybody has his own");
    assert_eq!(bob.send(Method::POST, "/api/v1/services/yunionagent/parameters", Some(json!({"name": "x", "value": 1}))).await.0, 403);
    let global = bob.get("/api/v1/rpc/parameters/global-settings").await;
    assert!(global["name"] == "global-settings" && global["value"]["setupKeys"].is_array() && global["id"].is_i64(), "{global}");
    let path = format!("/api/v1/parameters/{}", global["id"]);
    assert_eq!(bob.send(Method::PUT, &path, Some(json!({"value": {"setupKeys": ["x"]}}))).await.0, 404, "not his to change");
    assert_eq!(admin.send(Method::PUT, &path, Some(json!({"value": {"setupKeys": ["x"]}}))).await.0, 200);

    // What the installation is.
    assert!(bob.get("/api/v2/capabilities").await["data"][0]["hypervisors"].as_array().is_some_and(|h| !h.is_empty()));
    assert!(Browser::new(&platform.url()).get("/api/v1/service_settings").await["common"]["api_server"].is_string());
    assert!(admin.get("/api/v1/rpc/usages/general-usage?scope=system").await["all.servers"].is_i64());
    // Whether there is room is told to whoever may make servers; where, only to who may look at hosts.
    let wish = json!({"vcpu_count": 1, "vmem_size": 512, "disks": [{"size": 1024}], "nets": [], "count": 1});
    let told = bob.post("/api/v1/rpc/schedulers/forecast", wish).await;
    assert!(told["can_create"].is_boolean() && !told.to_string().contains("host_id"), "{told}");
    assert_eq!(bob.get("/api/v1/rpc/servers/limits").await["root_disk_min_mb"], 10_240);
    let can = bob.post("/api/v1/rpc/access/can", json!({"permission": "compute/hosts/delete"})).await;
    assert!(can["scope"] == "project" && can["permission"] == "compute/hosts/delete", "{can}");
    assert_eq!(Browser::new(&platform.url()).get("/api/v1/branding").await["name"], "Wolke");
    assert_eq!(bob.send(Method::PUT, "/api/v1/branding", Some(json!({"name": "Mine"}))).await.0, 403);
    assert_eq!(admin.send(Method::PUT, "/api/v1/branding", Some(json!({"logo": "javascript:alert(1)"}))).await.0, 400);
    assert_eq!(admin.send(Method::PUT, "/api/v1/branding", Some(json!({"name": "Nebel", "accent": "#123456"}))).await.0, 200);
    assert_eq!(Browser::new(&platform.url()).get("/api/v1/branding").await["name"], "Nebel");

    // An image in, and out again.
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let mut form = b"--qXq\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nblob\r\n--qXq\r\nContent-Disposition: form-data; name=\"disk_format\"\r\n\r\nraw\r\n--qXq\r\n\
        Content-Disposition: form-data; name=\"image\"; filename=\"x.raw\"\r\n\r\n".to_vec();
    form.extend(&content);
    form.extend(b"\r\n--qXq--\r\n");
    let call = bob.call(Method::POST, "/api/v1/imageutils/upload").header("content-type", "multipart/form-data; boundary=qXq").bytes(form);
    let (status, answer) = bob.take(call).await;
    let image: Json = serde_json::from_slice(&answer).expect("JSON");
    assert!(status == 200 && image["name"] == "blob", "{status} {image}");
    let id = image["id"].as_str().expect("an id").to_string();
    let told = own.until(|e| e["resource"] == "images" && e["id"] == id.as_str()).await;
    assert_eq!(told["project_id"], project.as_str());
    let started = Instant::now();
    while bob.get(&format!("/api/v1/images/{id}")).await["status"] != "active" {
        assert!(started.elapsed() < PATIENCE, "the image never becomes active");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (status, bytes) = bob.take(bob.call(Method::GET, &format!("/api/v1/imageutils/download/{id}"))).await;
    assert!(status == 200 && bytes == content, "{status}, {} bytes", bytes.len());
    let (status, renamed) = bob.send(Method::PUT, &format!("/api/v1/images/{id}"), Some(json!({"name": "renamed"}))).await;
    assert!(status == 200 && renamed["name"] == "renamed", "{renamed}");
    assert!(own.seen.iter().all(|e| e["project_id"] == project.as_str() || e["project_id"] == ""), "{:?}", own.seen);

    families(&mut admin, &mut bob).await;
    services(&platform, &mut admin).await;
    // A page that comes back is told what it missed.
    let since = live.last.clone();
    drop(live);
    let made = admin.post("/api/v1/users", json!({"name": "dora", "domain_id": "default"})).await;
    let mut again = Live::open(&admin, &since, "users").await;
    assert_eq!(again.until(|e| e["id"] == made["id"]).await["kind"], "create");
    let mut lost = Live::open(&admin, "compute=999999999", "users").await;
    lost.until_reset().await;

    // Logged out: the stream of the session ends with it, at the latest with the next beat.
    admin.send(Method::POST, "/api/v1/auth/logout", None).await;
    again.until_end().await;
}

/// Whether the half of them took no longer than this.
fn half_within(late: &mut [(Duration, &str)], most: Duration) -> bool {
    late.sort_unstable();
    late[late.len() / 2].0 < most
}

/// Whatever a console shows: a change by somebody else is on the page within a second, on the pages of those who may know of it and of nobody else.
async fn families(admin: &mut Browser, bob: &mut Browser) {
    let all = "servers,disks,networks,wires,zones,hosts,storages,serverskus,keypairs,images,projects,users,groups,roles,policies,domains,tasks,\
               events,quotas,identity-events";
    let (mut theirs, mut his) = (Live::open(admin, "", all).await, Live::open(bob, "", all).await);
    let wire = admin.get("/api/v1/wires?limit=1").await["data"][0]["id"].clone();
    let made: [(&str, Json); 12] = [
        ("zones", json!({})),
        ("wires", json!({"zone_id": "zone0", "bandwidth": 1000, "mtu": 1500})),
        ("networks", json!({"guest_ip_start": "10.77.0.10", "guest_ip_end": "10.77.0.20", "guest_ip_mask": 24, "wire_id": wire})),
        ("serverskus", json!({"cpu_core_count": 3, "memory_size_mb": 3072})),
        ("disks", json!({"disk_size": 100})),
        ("servers", json!({"vcpu_count": 1, "vmem_size": 64, "disks": [{"size": 64}]})),
        ("projects", json!({"domain_id": "default"})),
        ("groups", json!({"domain_id": "default"})),
        ("users", json!({"domain_id": "default"})),
        ("roles", json!({"domain_id": "default"})),
        ("policies", json!({"type": "live", "blob": {"scope": "project", "policy": "allow"}})),
        ("domains", json!({})),
    ];
    let mut rows = std::collections::BTreeMap::new();
    let mut late = Vec::new();
    for (plural, mut body) in made {
        body["name"] = json!(format!("live-{plural}"));
        let row = admin.post(&format!("/api/v1/{plural}"), body).await;
        let answered = Instant::now();
        theirs.until(|e| e["resource"] == plural && e["id"] == row["id"]).await;
        late.push((answered.elapsed(), plural));
        rows.insert(plural, row);
    }
    // The machine of a test may be busy with others: half of them is the measure, and of changes until it has time.
    let measured = Instant::now();
    while !half_within(&mut late, Duration::from_secs(1)) && measured.elapsed() < PATIENCE {
        late.clear();
        for n in 0..12 {
            let row = admin.post("/api/v1/zones", json!({"generate_name": format!("live-again-{n}")})).await;
            let answered = Instant::now();
            theirs.until(|e| e["resource"] == "zones" && e["id"] == row["id"]).await;
            late.push((answered.elapsed(), "zones"));
        }
    }
    assert!(half_within(&mut late, Duration::from_secs(1)), "{late:?}");
    for word in ["events", "identity-events", "quotas"] {
        assert!(theirs.seen.iter().any(|e| e["resource"] == word && e["id"] == ""), "{word}: it grew with the others");
    }
    // A key pair is its user's; a network that is shared is everybody's, and the change that shares it is the first one.
    let pair = bob.post("/api/v1/keypairs", json!({"name": "live-pair"})).await;
    his.until(|e| e["resource"] == "keypairs" && e["id"] == pair["id"]).await;
    let id = rows["networks"]["id"].as_str().expect("an id");
    admin.post(&format!("/api/v1/networks/{id}/public"), json!({"scope": "system"})).await;
    his.until(|e| e["resource"] == "networks" && e["id"] == id).await;
    let of = |e: &Json, plural: &str| e["resource"] == plural && e["id"] == rows[plural]["id"];
    // The measure of what he is told is what he may look at.
    for plural in rows.keys().filter(|p| !matches!(**p, "users" | "groups")) {
        let path = format!("/api/v1/{plural}/{}", rows[plural]["id"].as_str().expect("an id"));
        let (visible, told) = (bob.send(Method::GET, &path, None).await.0 == 200, his.seen.iter().any(|e| of(e, plural)));
        assert_eq!(told, visible, "{plural}: told of it, able to see it");
    }
    for plural in ["disks", "servers", "projects", "groups", "users", "domains"] {
        assert!(!his.seen.iter().any(|e| of(e, plural)), "{plural} of others");
    }
    assert!(his.seen.iter().any(|e| of(e, "serverskus")), "{:?}", his.seen);
}

/// `/api/s/…`: the services as they are.
async fn services(platform: &Platform, admin: &mut Browser) {
    let mut script = Browser::new(&platform.url());
    script.origin = None;
    let login = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "sysadmin", "password": PASSWORD, "domain": {"name": "Default"}}}},
        "scope": {"project": {"name": "system", "domain": {"name": "Default"}}}}});
    let answer = script
        .client
        .post(&format!("{}/api/s/identity/v3/auth/tokens", platform.url()))
        .json(&login)
        .send()
        .await
        .expect("anonymous logins pass");
    let token = answer.header("x-subject-token").expect("a token").to_string();
    for path in ["/api/s/compute_v2/zones", "/api/s/compute_v2/r/region0/zones", "/api/s/compute/compute/zones"] {
        let (status, bytes) = script.take(script.call(Method::GET, path).token(&token)).await;
        let body: Json = serde_json::from_slice(&bytes).unwrap_or_default();
        assert!(
            status == 200 && body["zones"].as_array().is_some_and(|z| z.iter().any(|z| z["name"] == "zone0")),
            "{path}: {status} {body}"
        );
        assert_eq!(script.headers.get("x-accel-buffering").and_then(|v| v.to_str().ok()), Some("no"));
    }
    let (status, _) = admin.take(admin.call(Method::GET, "/api/s/compute_v2/zones")).await;
    assert!(status == 401 || status == 403, "a cookie opens no service: {status}");
    assert_eq!(script.send(Method::GET, "/api/s/nothing/here", None).await.0, 400);
}

#[tokio::test]
async fn platform_gateway_licence() {
    let dir = tempfile::tempdir().expect("a directory");
    let wolke = |args: &[&str]| {
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_wolke")).args(args).current_dir(dir.path()).output().expect("wolke runs");
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("text").trim().to_string()
    };
    let ours = wolke(&["license", "key", "ours.key"]);
    wolke(&["license", "key", "theirs.key"]);
    let sign = |key: &str, more: &[&str]| wolke(&[&["license", "sign", "--key", key, "--issued-to", "A company"], more].concat());
    let (platform, mut admin) = platform(&["--set", &format!("apigateway.licence_signers={ours}")]).await;
    let told = admin.get("/api/v1/licenses").await;
    assert!(
        told["edition"] == "community" && told["status"] == "valid" && told["limits"]["servers"] == 0 && told["used"]["servers"] == 0,
        "{told}"
    );

    let take = |text: String| json!({"license": text});
    let (status, answer) = admin.send(Method::POST, "/api/v1/licenses", Some(take(sign("theirs.key", &[])))).await;
    assert!(status == 400 && answer["details"].as_str().is_some_and(|d| d.contains("does not trust")), "{answer}");
    let mut changed = sign("ours.key", &["--servers", "1"]).into_bytes();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    assert_eq!(admin.send(Method::POST, "/api/v1/licenses", Some(take(String::from_utf8_lossy(&changed).into_owned()))).await.0, 400);
    assert_eq!(admin.get("/api/v1/licenses").await["edition"], "community", "nothing of it was taken in");

    // A limit: the form that consoles send, then one server too many.
    let text = sign("ours.key", &["--servers", "1", "--edition", "small"]);
    let form = format!("--b\r\nContent-Disposition: form-data; name=\"license\"; filename=\"l\"\r\n\r\n{text}\r\n--b--\r\n");
    let call = admin.call(Method::POST, "/api/v1/licenses").header("content-type", "multipart/form-data; boundary=b").bytes(form);
    assert_eq!(admin.take(call).await.0, 200);
    let told = admin.get("/api/v1/licenses").await;
    assert!(told["edition"] == "small" && told["issued_to"] == "A company" && told["limits"]["servers"] == 1, "{told}");
    let (status, answer) = admin
        .send(
            Method::POST,
            "/api/v1/servers",
            Some(json!({"name": "s", "count": 2, "vcpu_count": 1, "vmem_size": 256, "disks": [{"size": 64}]})),
        )
        .await;
    assert_eq!((status, answer["class"].as_str()), (402, Some("RequireLicenseError")), "{answer}");
    assert_eq!(admin.get("/api/v1/licenses").await["used"]["servers"], 0, "nothing of it was made");
    // Exactly as many as it says, then none: through the gateway, through its passage to the services, and at the service itself.
    let one = |name: &str| json!({"name": name, "vcpu_count": 1, "vmem_size": 64, "disks": [{"size": 64}]});
    let mut wanted = one("first");
    wanted["password"] = json!("Guest@Secret12");
    let first = admin.post("/api/v1/servers", wanted).await["id"].as_str().expect("an id").to_string();
    let login = admin.get(&format!("/api/v1/rpc/servers/{first}/login-info")).await;
    assert!(login["username"] == "root" && login["password"] == "Guest@Secret12", "{login}");
    assert_eq!(admin.send(Method::POST, "/api/v1/servers", Some(one("second"))).await.0, 402);
    let token = admin.token("sysadmin").await;
    for path in ["/api/s/compute_v2/servers", "/compute/servers"] {
        let call = admin.client.post(&format!("{}{path}", platform.url())).token(&token).json(&json!({"server": one("second")}));
        let answer = call.send_any().await.expect("an answer");
        assert_eq!(answer.status, 402, "{path}");
    }
    // Room again when it is gone for good.
    admin.send(Method::DELETE, &format!("/api/v1/servers/{first}?override_pending_delete=true"), Some(json!({}))).await;
    let started = Instant::now();
    while admin.send(Method::POST, "/api/v1/servers", Some(one("second"))).await.0 == 402 {
        assert!(started.elapsed() < PATIENCE, "the server is not gone: {}", admin.get("/api/v1/licenses").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(admin.send(Method::POST, "/api/v1/licenses", Some(take(sign("ours.key", &["--cpus", "4"])))).await.0, 200);
    let (status, answer) = admin
        .send(Method::POST, "/api/v1/servers", Some(json!({"name": "big", "vcpu_count": 4, "vmem_size": 64, "disks": [{"size": 64}]})))
        .await;
    assert!(status == 402 && answer["details"].as_str().is_some_and(|d| d.contains("4 cpus")), "{status} {answer}");
    let (status, answer) = admin.send(Method::POST, "/api/v1/keypairs", Some(json!({"name": "k"}))).await;
    assert_eq!(status, 200, "what is not counted is made: {answer}");

    // Over, and not yet: everything can be read and goes on, nothing new is made.
    for (option, time, word) in [("--not-after", "2020-01-01T00:00:00Z", "expired"), ("--not-before", "2999-01-01T00:00:00Z", "not_yet")] {
        assert_eq!(admin.send(Method::POST, "/api/v1/licenses", Some(take(sign("ours.key", &[option, time])))).await.0, 200);
        assert_eq!(admin.get("/api/v1/licenses").await["status"], word);
        let (status, answer) = admin.send(Method::POST, "/api/v1/keypairs", Some(json!({"name": "other"}))).await;
        assert_eq!((status, answer["class"].as_str()), (402, Some("RequireLicenseError")), "{answer}");
        for (path, body) in [
            ("/api/s/compute_v2/keypairs", json!({"keypair": {"name": "x"}})),
            ("/compute/keypairs", json!({"keypair": {"name": "x"}})),
            ("/compute/servers", json!({"server": one("third")})),
            ("/image/v1/images", json!({"image": {"name": "x"}})),
        ] {
            let call = admin.client.post(&format!("{}{path}", platform.url())).token(&token).json(&body);
            assert_eq!(call.send_any().await.expect("an answer").status, 402, "{path} {word}");
        }
        // What is there can be taken away and changed.
        let second = admin.get("/api/v1/servers?details=false").await["data"][0]["id"].clone();
        let path = format!("/api/v1/servers/{}", second.as_str().expect("an id"));
        assert_eq!(admin.send(Method::PUT, &path, Some(json!({"description": word}))).await.0, 200);
        admin.get("/api/v1/servers").await;
        let (status, answer) = admin.send(Method::PUT, "/api/v1/keypairs/k", Some(json!({"description": word}))).await;
        assert_eq!(status, 200, "{answer}");
        admin.post("/api/v1/users", json!({"name": format!("u-{word}"), "domain_id": "default"})).await;
    }
    assert_eq!(admin.send(Method::DELETE, "/api/v1/keypairs/k", None).await.0, 200);
    assert_eq!(admin.send(Method::DELETE, "/api/v1/licenses", None).await.0, 200);
    assert_eq!(admin.get("/api/v1/licenses").await["edition"], "community");
    admin.post("/api/v1/keypairs", json!({"name": "again"})).await;
    let (_, _) = user(&mut admin, "eve", "project_owner").await;
    let mut eve = Browser::new(&platform.url());
    assert_eq!(eve.login("eve", PASSWORD).await.0, 200);
    assert_eq!(eve.send(Method::POST, "/api/v1/licenses", Some(take(text))).await.0, 403);
}

/// A process that ends with its test.
struct Front(std::process::Child);

impl Drop for Front {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

#[tokio::test]
async fn platform_gateway_behind_nginx() {
    let nginx = Path::new("/usr/sbin/nginx");
    assert!(nginx.exists(), "nginx is missing: apt-get install nginx-light");
    let ports = [(); 2].map(|()| lab::port::port());
    let url = format!("https://localhost:{}", ports[0]);
    let (platform, _) = platform(&["--set", &format!("url={url}")]).await;
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    certificate(dir.path());
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_wolke"))
        .args(["web", "nginx-config", "--server-name", "localhost", "--upstream", &format!("127.0.0.1:{}", platform.port)])
        .args(["--certificate", &at("cert.pem"), "--private-key", &at("key.pem")])
        .args(["--https", &ports[0].to_string(), "--http", &ports[1].to_string(), "--brotli"])
        .output()
        .expect("wolke runs");
    let site = String::from_utf8(out.stdout).expect("text");
    let place: String = ["body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|k| format!("{}_temp_path {};\n", if *k == "body" { "client_body" } else { k }, at(k)))
        .collect();
    let brotli = "/usr/lib/nginx/modules/ngx_http_brotli_filter_module.so";
    assert!(Path::new(brotli).exists(), "the module is missing: apt-get install libnginx-mod-http-brotli-filter");
    let whole = format!(
        "load_module {brotli};\ndaemon off;\nmaster_process off;\npid {};\nerror_log {} info;\nevents {{}}\nhttp {{\naccess_log off;\n{place}{site}}}\n",
        at("pid"),
        at("error.log")
    );
    std::fs::write(at("nginx.conf"), whole).expect("written");
    let check = std::process::Command::new(nginx).args(["-t", "-c", &at("nginx.conf")]).output().expect("nginx runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let _front = Front(std::process::Command::new(nginx).args(["-c", &at("nginx.conf")]).spawn().expect("nginx starts"));

    let mut browser = Browser::new(&format!("https://localhost:{}", ports[0]));
    let trust = http::Trust::Only(std::fs::read_to_string(dir.path().join("ca.pem")).expect("the CA"));
    browser.client = Client::new(ClientOptions { trust, retries: 0, deadline: PATIENCE, ..ClientOptions::default() }).expect("a client");
    let started = Instant::now();
    while browser.call(Method::GET, "/ping").send().await.is_err() {
        assert!(started.elapsed() < PATIENCE, "{}", std::fs::read_to_string(at("error.log")).unwrap_or_default());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(browser.login("admin", PASSWORD).await.0, 200);
    let own = browser.set.iter().find(|c| c.starts_with("__Host-wolke_session=")).expect("the session's cookie under TLS");
    assert!(own.contains("; Secure") && own.contains("; HttpOnly") && own.contains("; SameSite=Lax") && !own.contains("Domain"), "{own}");
    assert!(browser.get("/api/v1/zones").await["total"] == 1);
    // Said once, by one of the two.
    for name in ["strict-transport-security", "content-security-policy", "x-frame-options", "x-content-type-options", "cache-control"] {
        assert_eq!(browser.headers.get_all(name).iter().count(), 1, "{name}: {:?}", browser.headers);
    }
    let header = |browser: &Browser, name: &str| browser.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    let call = browser.call(Method::GET, "/api/v1/policies?limit=100").header("accept-encoding", "gzip");
    let (status, bytes) = browser.take(call).await;
    assert!(status == 200 && header(&browser, "content-encoding") == "gzip" && bytes.starts_with(&[0x1f, 0x8b]), "{:?}", browser.headers);
    // Smaller still for who takes it, and the same when it is unpacked.
    let call = browser.call(Method::GET, "/api/v1/policies?limit=100").header("accept-encoding", "gzip, br");
    let (status, bytes) = browser.take(call).await;
    assert!(status == 200 && header(&browser, "content-encoding") == "br", "{:?}", browser.headers);
    assert!(unpacked(dir.path(), &bytes)["data"].as_array().is_some_and(|rows| rows.len() > 5));
    // The page and its files, when they are part of the build; an answer in any case.
    let (status, page) = browser.take(browser.call(Method::GET, "/")).await;
    if status == 200 {
        assert_eq!(header(&browser, "cache-control"), "no-cache");
        let page = String::from_utf8_lossy(&page).into_owned();
        let script = page.split('"').find(|t| t.starts_with("/assets/") && t.ends_with(".js")).expect("a script").to_string();
        let call = browser.call(Method::GET, &script).header("accept-encoding", "gzip");
        assert_eq!(browser.take(call).await.0, 200);
        assert!(header(&browser, "cache-control").contains("immutable") && header(&browser, "content-encoding") == "gzip");
        // Packed once, when the console was built, not by this nginx.
        let call = browser.call(Method::GET, &script).header("accept-encoding", "gzip, deflate, br");
        assert_eq!(browser.take(call).await.0, 200);
        assert!(header(&browser, "content-encoding") == "br" && browser.headers.contains_key("content-length"), "{:?}", browser.headers);
    }
    // A change passes at once, though an answer of nginx's would wait for its buffer.
    let mut live = Live::open(&browser, "", "users").await;
    assert_eq!(live.encoding, None, "a stream that is compressed is held back");
    let made = browser.post("/api/v1/users", json!({"name": "fay", "domain_id": "default"})).await;
    assert_eq!(live.until(|e| e["id"] == made["id"]).await["kind"], "create");
    let plain = Browser::new(&format!("http://localhost:{}", ports[1]));
    let answer = plain.call(Method::GET, "/somewhere?x=1").send_any().await.expect("an answer");
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://localhost/somewhere?x=1")));
}

/// What a text packed with brotli says, by another program's hand.
fn unpacked(dir: &Path, bytes: &[u8]) -> Json {
    let packed = dir.join("packed.br");
    std::fs::write(&packed, bytes).expect("written");
    let script = "process.stdout.write(require('zlib').brotliDecompressSync(require('fs').readFileSync(process.argv[1])))";
    let out = std::process::Command::new("node").args(["-e", script]).arg(&packed).output().expect("node (Debian package nodejs)");
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)))
}

/// What a browser and a gateway say to each other once a console is open passes as it is, in both directions.
#[tokio::test]
async fn platform_gateway_consoles_behind_nginx() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let front = lab::port::port();
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    certificate(dir.path());
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_wolke"))
        .args(["web", "nginx-config", "--server-name", "localhost", "--upstream", &upstream.local_addr().expect("an address").to_string()])
        .args(["--certificate", &at("cert.pem"), "--private-key", &at("key.pem"), "--https", &front.to_string(), "--http", "0"])
        .output()
        .expect("wolke runs");
    // Without TLS on this side, so that bytes can be looked at.
    let site = String::from_utf8(out.stdout).expect("text");
    let site: String =
        site.lines().filter(|l| !l.contains("listen 0;") && !l.trim_start().starts_with("ssl_")).map(|l| format!("{l}\n")).collect();
    let site = site.replace(&format!("listen {front} ssl http2;"), &format!("listen 127.0.0.1:{front};"));
    let site = match (site.find("server {\n    server_name"), site.find("    return 308")) {
        (Some(from), Some(to)) => format!("{}{}", &site[..from], &site[site[to..].find("}\n").expect("an end") + to + 2..]),
        _ => site,
    };
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].iter().map(|k| format!("{k}_temp_path {};\n", at(k))).collect();
    let head = format!("daemon off;\nmaster_process off;\npid {};\nerror_log {} info;\nevents {{}}\n", at("pid"), at("error.log"));
    std::fs::write(at("nginx.conf"), format!("{head}http {{\naccess_log off;\n{temp}{site}}}\n")).expect("written");
    let _front = Front(std::process::Command::new("/usr/sbin/nginx").args(["-c", &at("nginx.conf")]).spawn().expect("nginx starts"));
    let started = Instant::now();
    let mut browser = loop {
        match tokio::net::TcpStream::connect(("127.0.0.1", front)).await {
            Ok(stream) => break stream,
            Err(_) if started.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(e) => panic!("{e}: {}", std::fs::read_to_string(at("error.log")).unwrap_or_default()),
        }
    };
    let ask = "GET /api/v1/consoles/connect?ticket=x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
               Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Protocol: binary\r\nCookie: a=b\r\n\r\n";
    browser.write_all(ask.as_bytes()).await.expect("written");
    let (mut gateway, _) = tokio::time::timeout(PATIENCE, upstream.accept()).await.expect("nginx asks").expect("a connection");
    let mut piece = vec![0; 8192];
    let n = gateway.read(&mut piece).await.expect("a request");
    let heard = String::from_utf8_lossy(&piece[..n]).to_lowercase();
    for line in ["upgrade: websocket", "connection: upgrade", "sec-websocket-key: ea==", "sec-websocket-protocol: binary", "cookie: a=b"] {
        assert!(heard.contains(line), "{line} is missing: {heard}");
    }
    gateway.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").await.expect("written");
    let n = browser.read(&mut piece).await.expect("an answer");
    assert!(piece[..n].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&piece[..n]));
    for said in [&[0x82u8, 1, 0xff][..], b"\x82\x03abc"] {
        gateway.write_all(said).await.expect("written");
        let mut got = vec![0; said.len()];
        tokio::time::timeout(PATIENCE, browser.read_exact(&mut got)).await.expect("it passes at once").expect("bytes");
        assert_eq!(got, said);
        browser.write_all(said).await.expect("written");
        tokio::time::timeout(PATIENCE, gateway.read_exact(&mut got)).await.expect("it passes at once").expect("bytes");
        assert_eq!(got, said);
    }
}

/// A certificate of `localhost`, as `cert.pem` and `key.pem`.
fn certificate(dir: &Path) {
    let ca = http::ca::Ca::load_or_create(dir, base::Clock::real()).expect("a CA");
    let issued = ca.server(&["localhost"], &["127.0.0.1".parse().expect("an address")]).expect("a certificate");
    std::fs::write(dir.join("cert.pem"), &issued.cert).expect("written");
    std::fs::write(dir.join("key.pem"), &issued.key).expect("written");
}
