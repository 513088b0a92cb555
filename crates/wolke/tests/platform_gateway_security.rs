//! The console's gateway before a whole platform: hostile texts in every field, tickets of consoles in other hands, sessions that end elsewhere.
//! What needs no services behind is in the gateway's own tests (`walk`).

mod lab;

use http::Method;
use lab::{
    Platform,
    browser::{Browser, PASSWORD, platform, user},
};
use serde_json::{Value as Json, json};
use store::{Cond, Db, set, work};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HOSTILE: [&str; 4] = [
    "<img src=x onerror=alert(1)>",
    "\"'></script><script>alert(1)</script>",
    "{{constructor.constructor('alert(1)')()}}",
    "=cmd|' /C calc'!A0\r\nSet-Cookie: evil=1",
];

#[tokio::test]
async fn platform_gateway_security() {
    let (platform, mut admin) = platform(&["--set", "apigateway.live_beat_seconds=1"]).await;
    texts(&mut admin).await;
    headers(&platform, &mut admin).await;
    tickets(&platform, &mut admin).await;
    ends(&platform, &mut admin).await;
}

/// Whatever an answer has in it, a browser takes it for data.
fn inert(browser: &Browser, of: &str) {
    let header = |name: &str| browser.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    assert!(header("content-type").starts_with("application/json"), "{of}: {}", header("content-type"));
    assert_eq!(header("x-content-type-options"), "nosniff", "{of}");
    assert!(header("content-security-policy").starts_with("default-src 'none'"), "{of}");
    assert!(!browser.jar.contains_key("evil"), "{of}");
}

/// Names, descriptions and the like: taken as they are or refused, and never more than text.
async fn texts(admin: &mut Browser) {
    let wire = admin.get("/api/v1/wires?limit=1").await["data"][0]["id"].clone();
    let mut kept = 0;
    for (n, text) in HOSTILE.iter().enumerate() {
        let network = json!({"guest_ip_start": format!("10.9{n}.0.10"), "guest_ip_end": format!("10.9{n}.0.20"), "guest_ip_mask": 24, "wire_id": wire});
        let kinds = [
            ("users", json!({"domain_id": "default", "displayname": text, "email": format!("{n}@example.org")})),
            ("projects", json!({"domain_id": "default", "displayname": text})),
            ("groups", json!({"domain_id": "default", "displayname": text})),
            ("roles", json!({"domain_id": "default"})),
            ("domains", json!({"displayname": text})),
            ("policies", json!({"type": format!("p{n}"), "blob": {"scope": "project", "policy": "allow"}})),
            ("keypairs", json!({})),
            ("disks", json!({"disk_size": 100})),
            ("networks", network),
            ("wires", json!({"zone_id": "zone0", "bandwidth": 1000, "mtu": 1500})),
            ("zones", json!({})),
            ("servers", json!({"vcpu_count": 1, "vmem_size": 64, "disks": [{"size": 64}]})),
            ("parameters", json!({"value": {"text": text}})),
        ];
        for (plural, more) in kinds {
            // By name, and by description under a name nobody minds.
            for (name, description) in [(text.to_string(), String::new()), (format!("plain{n}{plural}"), text.to_string())] {
                let mut body = json!({"name": name, "description": description});
                body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
                let (status, answer) = admin.send(Method::POST, &format!("/api/v1/{plural}"), Some(body)).await;
                let of = format!("{plural} {name:?}");
                inert(admin, &of);
                assert!(status < 500, "{of}: {status} {answer}");
                let id = answer["id"].as_str().map(str::to_string).or_else(|| answer["id"].as_i64().map(|id| id.to_string()));
                let Some(id) = id.filter(|_| status == 200) else { continue };
                kept += 1;
                let shown = admin.get(&format!("/api/v1/{plural}/{id}")).await;
                inert(admin, &of);
                if plural != "parameters" {
                    assert_eq!(
                        (shown["name"].as_str(), shown["description"].as_str()),
                        (answer["name"].as_str(), answer["description"].as_str())
                    );
                }
            }
            // Asked for by such a name, and found by such a filter.
            let encoded = http::path::encode(text);
            for path in [format!("/api/v1/{plural}/{encoded}"), format!("/api/v1/{plural}?limit=2&search={encoded}&order_by={encoded}")] {
                let (status, answer) = admin.send(Method::GET, &path, None).await;
                inert(admin, &path);
                assert!(status < 500, "{path}: {status} {answer}");
            }
        }
        let (status, _) = admin.send(Method::PUT, "/api/v1/branding", Some(json!({"name": text, "company": text}))).await;
        assert!(matches!(status, 200 | 400), "{status}");
        inert(admin, "branding");
    }
    assert!(kept > 60, "only {kept} rows were made: this tried nothing");
    // Files have names of their own, and their cells calculate nothing.
    let name = http::path::encode("x\"\r\nSet-Cookie: evil=1;.html");
    let path = format!("/api/v1/projects?export=csv&export_keys=name,description&export_file_name={name}");
    let (status, bytes) = admin.take(admin.call(Method::GET, &path)).await;
    let (text, told) = (String::from_utf8_lossy(&bytes).into_owned(), format!("{:?}", admin.headers));
    assert_eq!(status, 200, "{text}");
    assert!(!admin.jar.contains_key("evil") && told.contains("attachment; ") && told.contains("text/csv"), "{told}");
    assert!(text.contains("'=cmd|") && !text.lines().any(|l| l.starts_with("=cmd") || l.contains(",=cmd")), "{text}");
    // An image under a hostile name is a file, whatever is in it.
    let head = "--qXq\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n<b>\"x</b>\r\n--qXq\r\nContent-Disposition: form-data; name=\"disk_format\"\r\n\r\nraw\r\n";
    let form = format!(
        "{head}--qXq\r\nContent-Disposition: form-data; name=\"image\"; filename=\"x.html\"\r\n\r\n<script>alert(1)</script>\r\n--qXq--\r\n"
    );
    let call = admin.call(Method::POST, "/api/v1/imageutils/upload").header("content-type", "multipart/form-data; boundary=qXq");
    let (status, answer) = admin.take(call.bytes(form.into_bytes())).await;
    inert(admin, "upload");
    let image: Json = serde_json::from_slice(&answer).expect("JSON");
    if status == 200 {
        let path = format!("/api/v1/imageutils/download/{}", image["id"].as_str().expect("an id"));
        let _ = admin.take(admin.call(Method::GET, &path)).await;
        let told = format!("{:?}", admin.headers);
        assert!(told.contains("application/octet-stream") || told.contains("application/json"), "{told}");
        assert!(told.contains("attachment; filename*=UTF-8''%3Cb%3E%22x%3C%2Fb%3E"), "{told}");
    }
}

/// What a caller sends never becomes a header of an answer.
async fn headers(platform: &Platform, admin: &mut Browser) {
    for key in ["isadmin", "domain", "scope"] {
        let mut body = json!({"username": "admin", "password": PASSWORD, "domain": "Default"});
        body[key] = json!("Default\r\nSet-Cookie: evil=1; x=");
        let mut browser = Browser::new(&platform.url());
        let (status, _) = browser.send(Method::POST, "/api/v1/auth/login", Some(body)).await;
        assert!(status < 500 && !browser.jar.contains_key("evil"), "{key}: {status} {:?}", browser.set);
    }
    let call = admin.call(Method::GET, "/api/v1/zones").header("x-request-id", "a%0d%0aSet-Cookie: evil=1").header("x-yunion-lang", "<b>");
    let (status, _) = admin.take(call).await;
    assert!(status == 200 && !admin.jar.contains_key("evil"));
    let call = admin.call(Method::GET, "/api/v1/zones").header("x-forwarded-host", "evil.example").header("x-forwarded-proto", "https");
    let (_, body) = admin.take(call).await;
    assert!(!String::from_utf8_lossy(&body).contains("evil.example"));
}

/// The status of one request from an address of one's choice.
async fn from(address: &str, platform: &Platform, browser: &Browser, path: &str) -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(std::net::SocketAddr::new(address.parse().expect("an address"), 0)).expect("an address of this machine");
    let mut stream = socket.connect(std::net::SocketAddr::from(([127, 0, 0, 1], platform.port))).await.expect("it listens");
    let cookies: Vec<String> = browser.jar.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let (url, cookies) = (platform.url(), cookies.join("; "));
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: {url}\r\nCookie: {cookies}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status")
}

async fn tickets(platform: &Platform, admin: &mut Browser) {
    let server =
        admin.post("/api/v1/servers", json!({"name": "looked-at", "vcpu_count": 1, "vmem_size": 64, "disks": [{"size": 64}]})).await;
    let server = server["id"].as_str().expect("an id").to_string();
    user(admin, "mallory", "project_owner").await;
    let mut mallory = Browser::new(&platform.url());
    assert_eq!(mallory.login("mallory", PASSWORD).await.0, 200);
    let mut second = Browser::new(&platform.url());
    assert_eq!(second.login("admin", PASSWORD).await.0, 200);
    for kind in ["vnc", "serial"] {
        let wish = json!({"server": server, "kind": kind});
        // Whose server it is not, to him there is none; a kind there is none of.
        assert_eq!(mallory.send(Method::POST, "/api/v1/consoles", Some(wish.clone())).await.0, 404);
        assert_eq!(admin.send(Method::POST, "/api/v1/consoles", Some(json!({"server": server, "kind": "ssh"}))).await.0, 400);
        let made = admin.post("/api/v1/consoles", wish.clone()).await;
        let url = made["url"].as_str().expect("an address").to_string();
        assert!(made["ticket"].as_str().is_some_and(|t| t.len() == 64) && url.contains("ticket="), "{made}");
        // Somebody else with it, the same user in another browser, nobody at all, and from another address: nothing, and it is not used up.
        assert_eq!(mallory.send(Method::GET, &url, None).await.0, 403);
        assert_eq!(second.send(Method::GET, &url, None).await.0, 403);
        assert_eq!(Browser::new(&platform.url()).send(Method::GET, &url, None).await.0, 401);
        assert_eq!(from("127.0.0.2", platform, admin, &url).await, 403);
        let mut foreign = admin.clone();
        foreign.origin = Some("https://evil.example".into());
        let (status, body) = foreign.send(Method::GET, &url, None).await;
        assert!(status == 403 && body["details"].as_str().is_some_and(|d| d.contains("another site")), "{body}");
        // Its owner gets as far as the server, which runs nowhere; a second time not even there.
        let (status, body) = admin.send(Method::GET, &url, None).await;
        assert!(status != 403 && status >= 400, "{status} {body}");
        assert!(!body.to_string().contains("ticket"), "{body}");
        let (status, body) = admin.send(Method::GET, &url, None).await;
        assert!(status == 403 && body["details"].as_str().is_some_and(|d| d.contains("ticket")), "{status} {body}");
        // One that is too old.
        let made = admin.post("/api/v1/consoles", wish).await;
        let db = Db::open(&format!("sqlite://{}", platform.data().join("gateway.db").display())).await.expect("the gateway's database");
        let old = vec![set("expires_at", 1_i64)];
        db.tx(|tx| {
            let old = old.clone();
            work(async move { tx.update("console_tickets", Cond::ne("id", ""), old).await.map(drop) })
        })
        .await
        .expect("written");
        assert_eq!(admin.send(Method::GET, made["url"].as_str().expect("an address"), None).await.0, 403);
    }
    for ticket in ["", "x", "' OR 1=1 --", &"0".repeat(64)] {
        let path = format!("/api/v1/consoles/connect?ticket={}", http::path::encode(ticket));
        assert_eq!(admin.send(Method::GET, &path, None).await.0, 403, "{ticket}");
    }
}

/// Pictures before a login: read by looking into the platform's own secret, since no test can read them and nobody else shall.
#[tokio::test]
async fn platform_gateway_captcha() {
    let (platform, _) = platform(&["--set", "apigateway.captcha=after_failures", "--set", "apigateway.captcha_failures=2"]).await;
    let mut browser = Browser::new(&platform.url());
    assert_eq!(browser.get("/api/v1/auth/regions").await["captcha"], false);
    for _ in 0..2 {
        let (status, body) = browser.login("admin", "wrong").await;
        assert_eq!((status, body["class"].as_str()), (401, Some("IncorrectUsernameOrPassword")), "{body}");
    }
    assert_eq!(browser.get("/api/v1/auth/regions").await["captcha"], true);
    // Not even the right password without a picture; and nobody is told whether it was right.
    let try_with = |captcha: Option<&str>, id: Option<&str>, password: &str| {
        let mut body = json!({"username": "admin", "password": password, "domain": "Default"});
        for (key, value) in [("captcha", captcha), ("captcha_id", id)] {
            if let Some(value) = value {
                body[key] = value.into();
            }
        }
        body
    };
    let refused = async |browser: &mut Browser, body: Json| {
        let (status, answer) = browser.send(Method::POST, "/api/v1/auth/login", Some(body)).await;
        assert_eq!((status, answer["class"].as_str()), (400, Some("CaptchaRequired")), "{answer}");
        assert!(browser.session().is_empty());
    };
    refused(&mut browser, try_with(None, None, PASSWORD)).await;
    refused(&mut browser, try_with(Some("ABCDE"), None, PASSWORD)).await;

    // The picture: an image for browsers, and its question sealed in a cookie that no script reads.
    let seal = auth::Seal::new(&platform.secret(), "gateway").expect("the platform's seal");
    let read = |id: &str| {
        serde_json::from_str::<Json>(&seal.open(id).expect("sealed here")).expect("JSON")["captcha"]
            .as_str()
            .expect("an answer")
            .to_string()
    };
    let (status, png) = browser.take(browser.call(Method::GET, "/api/v1/auth/captcha")).await;
    let header = |browser: &Browser, name: &str| browser.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
    assert!(status == 200 && header(&browser, "content-type") == "image/png" && header(&browser, "cache-control") == "no-store");
    assert!(png.starts_with(b"\x89PNG") && png.len() < 32_768, "{} bytes", png.len());
    let line = browser.set.iter().find(|c| c.starts_with("wolke_captcha=")).expect("a cookie").clone();
    assert!(line.contains("; HttpOnly") && line.contains("; SameSite=Lax") && line.contains("; Max-Age=300"), "{line}");
    let answer = read(&browser.jar["wolke_captcha"]);
    // Checked beforehand it is not used up; used with a wrong password it is.
    let checked = browser.post("/api/v1/auth/captcha", json!({"captcha": answer.to_lowercase()})).await;
    assert_eq!(checked, json!({"vali": true}));
    let (status, body) = browser.send(Method::POST, "/api/v1/auth/login", Some(try_with(Some(&answer), None, "wrong"))).await;
    assert_eq!((status, body["class"].as_str()), (401, Some("IncorrectUsernameOrPassword")), "{body}");
    refused(&mut browser, try_with(Some(&answer), None, PASSWORD)).await;
    assert_eq!(browser.post("/api/v1/auth/captcha", json!({"captcha": answer})).await, json!({"vali": false}));
    // Guessed wrong it is used up as well; so is each of many answers to one picture but the first.
    let told = browser.get("/api/v1/auth/captcha?format=json").await;
    let id = told["id"].as_str().expect("an id").to_string();
    assert_eq!(browser.post("/api/v1/auth/captcha", json!({"captcha": "-", "captcha_id": id})).await, json!({"vali": false}));
    refused(&mut browser, try_with(Some(&read(&id)), Some(&id), PASSWORD)).await;
    let told = browser.get("/api/v1/auth/captcha?format=json").await;
    let id = told["id"].as_str().expect("an id").to_string();
    let (answer, fresh) = (read(&id), Browser::new(&platform.url()));
    let enter = async |n: usize| {
        let mut browser = fresh.clone();
        // All but one have the right password as well.
        let password = if n == 0 { "wrong" } else { PASSWORD };
        browser.send(Method::POST, "/api/v1/auth/login", Some(try_with(Some(&answer), Some(&id), password))).await.0
    };
    let all = futures_util::future::join_all((0..8).map(&enter)).await;
    assert_eq!(all.iter().filter(|status| **status == 400).count(), 7, "{all:?}");

    // The way it is meant, with the cookie; something else that was sealed is no picture.
    refused(&mut browser, try_with(Some("x"), Some(&seal.close("{\"captcha\":1}").expect("sealed")), PASSWORD)).await;
    browser.take(browser.call(Method::GET, "/api/v1/auth/captcha")).await;
    let answer = read(&browser.jar["wolke_captcha"]);
    let body = try_with(Some(&format!(" {} ", answer.to_lowercase())), None, PASSWORD);
    let (status, body) = browser.send(Method::POST, "/api/v1/auth/login", Some(body)).await;
    assert_eq!((status, body), (200, json!("")));
    assert_eq!(browser.get("/api/v1/auth/user").await["data"]["name"], "admin");

    // In words, for people who do not see: read from the question itself, in the caller's language, and as strict as the picture.
    let mut browser = Browser::new(&platform.url());
    let (status, text) = browser.take(browser.call(Method::GET, "/api/v1/auth/captcha?form=words")).await;
    assert!(status == 200 && header(&browser, "content-type").starts_with("text/plain") && header(&browser, "cache-control") == "no-store");
    let answer = in_digits(&String::from_utf8_lossy(&text));
    assert_eq!(answer, read(&browser.jar["wolke_captcha"]));
    refused(&mut browser, try_with(Some("0"), None, PASSWORD)).await;
    refused(&mut browser, try_with(Some(&answer), None, PASSWORD)).await;
    let told = browser.get("/api/v1/auth/captcha?form=words&format=json").await;
    let answer = in_digits(told["text"].as_str().expect("a question"));
    let spaced: Vec<String> = answer.chars().map(String::from).collect();
    let body = try_with(Some(&spaced.join(" ")), told["id"].as_str(), PASSWORD);
    assert_eq!(browser.send(Method::POST, "/api/v1/auth/login", Some(body)).await, (200, json!("")));
    let call = browser.call(Method::GET, "/api/v1/auth/captcha?form=words").header("x-yunion-lang", "zh-CN");
    let text = String::from_utf8(browser.take(call).await.1).expect("text");
    assert!(text.contains('、') && !text.chars().any(|c| c.is_ascii_alphabetic()), "{text}");
    // Asked for as often as pictures, and no oftener.
    let mut refusals = 0;
    for _ in 0..80 {
        refusals += u32::from(browser.take(browser.call(Method::GET, "/api/v1/auth/captcha?form=words")).await.0 == 429);
    }
    assert!(refusals > 0, "there is no end to the questions");
}

/// The answer to a question in words, as its hearer finds it.
fn in_digits(text: &str) -> String {
    let value = |word: &str| {
        let words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
        words.iter().position(|w| *w == word.trim_end_matches('.')).unwrap_or_else(|| panic!("{word} of {text}"))
    };
    let digit = |part: &str| match part.split(' ').collect::<Vec<_>>()[..] {
        [a, "plus", b] => value(a) + value(b),
        [a, "minus", b] => value(a) - value(b),
        [a] => value(a),
        _ => panic!("{part} of {text}"),
    };
    text.split_once(": ").expect("a list").1.split(", ").map(|part| digit(part).to_string()).collect()
}

/// A session ends where its user does.
async fn ends(platform: &Platform, admin: &mut Browser) {
    let (id, _) = user(admin, "nina", "project_owner").await;
    let mut nina = Browser::new(&platform.url());
    assert_eq!(nina.login("nina", PASSWORD).await.0, 200);
    // What only administrators may, whatever the way in.
    for (method, path) in [
        (Method::PUT, "/api/v1/branding"),
        (Method::POST, "/api/v1/licenses"),
        (Method::DELETE, "/api/v1/licenses"),
        (Method::POST, "/api/v1/services/yunionagent/parameters"),
    ] {
        let (status, body) = nina.send(method.clone(), path, Some(json!({"name": "x", "value": 1, "license": "x"}))).await;
        assert_eq!(status, 403, "{method} {path}: {body}");
    }
    // A page that follows changes ends with its user, however much there is to tell all the time.
    let mut page = tokio::net::TcpStream::connect(("127.0.0.1", platform.port)).await.expect("it listens");
    let request = format!(
        "GET /api/v1/live?resources=zones HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: wolke_session={}\r\n\r\n",
        nina.session()
    );
    page.write_all(request.as_bytes()).await.expect("written");
    let mut head = vec![0; 12];
    page.read_exact(&mut head).await.expect("an answer");
    assert_eq!(head, b"HTTP/1.1 200");
    let mut told = Vec::new();
    let stirring = async {
        for n in 0.. {
            admin.send(Method::PUT, "/api/v1/zones/zone0", Some(json!({"description": n.to_string()}))).await;
            if n == 5 {
                admin.post(&format!("/api/v1/users/{id}/disable"), json!({})).await;
            }
        }
    };
    tokio::select! {
        end = tokio::time::timeout(lab::PATIENCE, page.read_to_end(&mut told)) => { end.expect("it ends").expect("it was read"); }
        () = stirring => {}
    }
    assert!(String::from_utf8_lossy(&told).contains("\"resource\":\"zones\""), "there was something to tell");
    for path in ["/api/v1/auth/user", "/api/v1/servers", "/api/v1/auth/recovery", "/api/v1/live"] {
        assert_eq!(nina.send(Method::GET, path, None).await.0, 401, "{path}");
    }
}
