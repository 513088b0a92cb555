//! Strangers before the gateway: every route of its own table, so that a new one cannot be forgotten, with every kind of credential that is none;
//! pages of other sites; bodies, heads and clients that are out of all proportion. The services behind are away: nothing here may need them.

mod bench;

use bench::{Bench, Kind, Seen};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Open to everybody: what is needed before a login, files, and services that are asked with a token of one's own.
const OPEN: [(&str, &str); 21] = [
    ("GET", "/"),
    ("GET", "/{*path}"),
    ("GET", "/api/{ver}/auth/regions"),
    ("POST", "/api/{ver}/auth/login"),
    ("GET", "/api/{ver}/auth/captcha"),
    ("POST", "/api/{ver}/auth/captcha"),
    ("GET", "/api/{ver}/auth/logout"),
    ("POST", "/api/{ver}/auth/logout"),
    ("GET", "/api/{ver}/auth/sso/redirect/{idp}"),
    ("GET", "/api/{ver}/auth/ssologin"),
    ("POST", "/api/{ver}/auth/ssologin"),
    ("GET", "/api/{ver}/auth/ssologin/{idp}"),
    ("POST", "/api/{ver}/auth/ssologin/{idp}"),
    ("GET", "/api/{ver}/service_settings"),
    ("GET", "/api/{ver}/branding"),
    ("GET", "/api/s/{*path}"),
    ("HEAD", "/api/s/{*path}"),
    ("POST", "/api/s/{*path}"),
    ("PUT", "/api/s/{*path}"),
    ("PATCH", "/api/s/{*path}"),
    ("DELETE", "/api/s/{*path}"),
];
/// The way to the second factor: for a session whose password was right.
const HALF: [(&str, &str); 5] = [
    ("POST", "/api/{ver}/auth/passcode"),
    ("POST", "/api/{ver}/auth/initcredential"),
    ("POST", "/api/{ver}/auth/credential"),
    ("GET", "/api/{ver}/auth/recovery"),
    ("POST", "/api/{ver}/auth/recovery"),
];
/// Forms of identity providers' pages come from there.
const FROM_ELSEWHERE: [&str; 2] = ["/api/{ver}/auth/ssologin", "/api/{ver}/auth/ssologin/{idp}"];

/// A path for a pattern.
fn path(pattern: &str) -> String {
    let tail = if pattern.contains("/rpc/") { "usages/general-usage" } else { "servers/x" };
    let part = |p: &str| match p {
        "{ver}" | "{version}" => "v1".to_string(),
        "{*path}" => tail.to_string(),
        p if p.starts_with('{') => "x".to_string(),
        p => p.to_string(),
    };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// What every answer says to browsers.
fn hardened(seen: &Seen, of: &str) {
    let policy = seen.header("content-security-policy");
    assert!(policy.contains("default-src") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{of}: {policy}");
    let fixed = [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    for (name, want) in fixed {
        assert_eq!(seen.header(name), want, "{of}: {name}");
    }
    for name in ["content-security-policy", "x-frame-options", "cache-control", "content-type"] {
        assert!(seen.count(name) <= 1, "{of}: {name} twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_without_a_session_of_ones_own() {
    let bench = Bench::start(|_| {}).await;
    let table = bench.table();
    assert!(table.len() > 60, "{} routes", table.len());
    for (method, pattern) in OPEN.iter().chain(&HALF) {
        assert!(table.iter().any(|(m, p)| m == method && p == pattern), "{method} {pattern} is listed here and is no route");
    }
    for (method, pattern) in &table {
        let listed = |list: &[(&str, &str)]| list.iter().any(|(m, p)| m == method && p == pattern);
        if listed(&OPEN) {
            let seen = bench.ask(method, &path(pattern), &[], b"").await;
            assert!(seen.status != 200 || !seen.body.contains("admin"), "{method} {pattern}: {seen:?}");
            if !pattern.starts_with("/api/s/") {
                hardened(&seen, pattern);
            }
            continue;
        }
        for kind in Kind::ALL {
            if kind == Kind::Half && listed(&HALF) {
                continue;
            }
            let headers = bench.credentials(kind).await;
            let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let seen = bench.ask(method, &path(pattern), &headers, b"{}").await;
            let of = format!("{method} {pattern} as {kind:?}");
            assert_eq!(seen.status, 401, "{of}: {seen:?}");
            let body = seen.json();
            assert_eq!(body["class"], "InvalidCredentialError", "{of}");
            assert!(body["details"].as_str().is_some_and(|d| d.starts_with("No token in header: ")), "{of}: {body}");
            assert!(seen.header("content-type").starts_with("application/json") && seen.header("cache-control") == "no-store", "{of}");
            hardened(&seen, &of);
        }
    }
    // A session of one's own passes: what stood in the way above was the credential.
    let own = bench.session("ann").await;
    let seen = bench.ask("GET", "/api/v1/parameters", &[("cookie", &own)], b"").await;
    assert_eq!(seen.status, 200, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_sites() {
    let bench = Bench::start(|_| {}).await;
    let own = bench.session("ann").await;
    let here = format!("http://{}", bench.address);
    let (behind, port) = (format!("{here}.evil.example"), format!("http://127.0.0.1:{}", bench.address.port().wrapping_add(1)));
    let cases: [&[(&str, &str)]; 9] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", &behind)],
        &[("origin", &port)],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", &here)],
        &[("sec-fetch-site", "Same-Origin, cross-site")],
        &[("referer", &here)],
    ];
    for (method, pattern) in bench.table().iter().filter(|(m, p)| m != "GET" && !p.starts_with("/api/s/")) {
        if FROM_ELSEWHERE.contains(&pattern.as_str()) {
            continue;
        }
        for case in cases {
            // A login by a script, which is no page, says nothing of where it is from.
            if pattern.ends_with("/auth/login") && !case.iter().any(|(k, _)| *k != "referer") {
                continue;
            }
            let headers: Vec<(&str, &str)> = case.iter().copied().chain([("cookie", own.as_str())]).collect();
            let seen = bench.ask(method, &path(pattern), &headers, b"{}").await;
            assert_eq!(
                (seen.status, seen.json()["class"].as_str()),
                (403, Some("ForbiddenError")),
                "{method} {pattern} {case:?}: {seen:?}"
            );
        }
        let ours = [("origin", here.as_str()), ("cookie", own.as_str())];
        if pattern.ends_with("/auth/logout") {
            continue;
        }
        let seen = bench.ask(method, &path(pattern), &ours, b"{}").await;
        assert!(!seen.body.contains("another site"), "{method} {pattern}: {seen:?}");
    }
    // Nor is anybody logged out by a picture on another site's page.
    let seen = bench.ask("GET", "/api/v1/auth/logout", &[("sec-fetch-site", "cross-site"), ("cookie", &own)], b"").await;
    assert_eq!(seen.status, 403, "{seen:?}");
    // A bearer is sent by no page by itself.
    let value = own.split_once('=').map_or("", |(_, v)| v).to_string();
    let seen =
        bench.ask("POST", "/api/v1/parameters", &[("authorization", &format!("Bearer {value}"))], br#"{"name":"a","value":1}"#).await;
    assert_eq!(seen.status, 200, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_under_tls() {
    let bench = Bench::start(|parts| parts.url = "https://console.example.org".into()).await;
    let seen = bench.ask("POST", "/api/v1/auth/logout", &[], b"").await;
    assert_eq!(seen.status, 200, "{seen:?}");
    let set: Vec<&str> = seen.all("set-cookie");
    let find = |name: &str| *set.iter().find(|c| c.starts_with(&format!("{name}="))).unwrap_or_else(|| panic!("no {name}: {set:?}"));
    let own = find("__Host-wolke_session");
    for flag in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=0"] {
        assert!(own.contains(flag), "{own}");
    }
    assert!(!own.contains("Domain"), "{own}");
    assert!(find("yunionauth").contains("; Secure") && set.iter().all(|c| c.contains("; SameSite=Lax")), "{set:?}");
    // What browsers hold to its promise under TLS is believed; the origin is that of the address for browsers.
    let own = bench.session("ann").await.replace("wolke_session=", "__Host-wolke_session=");
    for (origin, status) in [("https://console.example.org", 200), ("http://console.example.org", 403)] {
        let headers = [("origin", origin), ("cookie", own.as_str())];
        let seen = bench.ask("POST", "/api/v1/parameters", &headers, br#"{"name":"a","value":1}"#).await;
        assert_eq!(seen.status, status, "{origin}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_that_lead_out() {
    let bench = Bench::start(|_| {}).await;
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/..%5c..%5cetc%5cpasswd",
        "/%252e%252e/%252e%252e/etc/passwd",
        "/%c0%ae%c0%ae/etc/passwd",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/../../../../../../etc/passwd",
        "/assets//etc/passwd",
        "/assets/%00/etc/passwd",
        "/.git/config",
        "//etc/passwd",
        "/assets/..;/..;/etc/passwd",
        "/api/v1/../../etc/passwd",
    ] {
        for reader in [true, false] {
            let accept = [("accept", if reader { "text/html,*/*;q=0.8" } else { "*/*" })];
            let seen = bench.ask("GET", path, &accept, b"").await;
            // Where the console was built in, any other path is one of its pages for who reads pages, which says by itself that there is none.
            let page =
                seen.status == 200 && seen.body.contains("<div id=\"app\">") && !path.starts_with("/assets") && !path.starts_with("/api");
            assert!((page && reader) || matches!(seen.status, 400 | 401 | 404), "{path}: {seen:?}");
            assert!(!seen.body.contains("root:") && !seen.body.contains("[package]") && !seen.body.contains("[core]"), "{path}: {seen:?}");
        }
    }
    // No client of the interfaces takes a page for an answer.
    let seen = bench.ask("GET", "/identity/v3/nothing", &[("accept", "application/json")], b"").await;
    assert!(seen.status == 404 && seen.header("content-type").starts_with("application/json"), "{seen:?}");
    let own = bench.session("ann").await;
    for path in ["/api/v1/servers/../hosts", "/api/v1/servers/%2e%2e/hosts", "/api/s/compute_v2/%2e%2e/identity/v3/users"] {
        let seen = bench.ask("GET", path, &[("cookie", &own)], b"").await;
        assert!(matches!(seen.status, 400 | 404), "{path}: {seen:?}");
    }
    // Names of rows that are texts of headers or paths to somebody else stay texts.
    let seen = bench.ask("GET", "/api/v1/servers/x%0d%0aSet-Cookie:%20a=b", &[("cookie", &own)], b"").await;
    assert!(seen.count("set-cookie") == 0 && seen.status >= 400, "{seen:?}");
    let seen =
        bench.ask("GET", "/api/v1/auth/sso/redirect/x%0d%0aLocation:%20https:%2f%2fevil.example?to=%0d%0aSet-Cookie:a=b", &[], b"").await;
    assert!(seen.status == 302 && seen.header("location").starts_with(&format!("http://{}/auth?result=error", bench.address)), "{seen:?}");
    assert!(seen.all("set-cookie").iter().all(|c| c.starts_with("wolke_away=;")), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_all_proportion() {
    let bench = Bench::start(|_| {}).await;
    let own = bench.session("ann").await;
    let here = format!("http://{}", bench.address);
    let own = [("cookie", own.as_str()), ("origin", here.as_str())];
    // The length is refused, not the body read.
    for (path, headers) in [("/api/v1/auth/login", &[][..]), ("/api/v1/parameters", &own[..]), ("/api/v1/servers", &own[..])] {
        let seen = bench.announce(path, headers, 9 << 20).await;
        assert_eq!(seen.status, 413, "{path}: {seen:?}");
        let seen = bench.chunked(path, headers, 9 << 20).await;
        assert!(matches!(seen.status, 413 | 0), "{path}: {seen:?}");
    }
    let long = "x".repeat(200 << 10);
    let seen = bench.ask("GET", "/api/v1/servers", &[("x-long", &long)], b"").await;
    assert!(matches!(seen.status, 431 | 400 | 0), "{}", seen.status);
    let seen = bench.ask("GET", &format!("/api/v1/{}", &long[..80 << 10]), &[], b"").await;
    assert!(matches!(seen.status, 414 | 431 | 400 | 0), "{}", seen.status);
    let deep = "[".repeat(1 << 20);
    let seen = bench.ask("POST", "/api/v1/parameters", &own, deep.as_bytes()).await;
    assert_eq!(seen.status, 400, "{}", seen.status);
    let many: String = (0..5000).map(|n| format!("&id={n}")).collect();
    let seen = bench.ask("DELETE", &format!("/api/v1/servers?{}", &many[1..]), &own, b"").await;
    assert_eq!(seen.status, 400, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_their_time() {
    let some = Duration::from_secs(8);
    let bench = Bench::with(http::Limits { head: some, stall: some, ..http::Limits::default() }, |_| {}).await;
    let own = bench.session("ann").await;
    let mut slow = VecDeque::new();
    for n in 0..120 {
        let start = match n % 3 {
            0 => "GET /api/v1/auth/regions HTTP/1.1\r\nHost: x\r\nX-A: ".to_string(),
            1 => "POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"u"
                .to_string(),
            _ => format!(
                "POST /api/v1/parameters HTTP/1.1\r\nHost: x\r\nOrigin: http://{}\r\nCookie: {own}\r\nContent-Type: application/json\r\n\
                 Transfer-Encoding: chunked\r\n\r\n5\r\n{{",
                bench.address
            ),
        };
        slow.push_back(bench.hold(start.as_bytes()).await);
    }
    // Others are served meanwhile: before the first of these has made room.
    let first = slow.pop_front().expect("many");
    let mut first = Box::pin(bench::until_closed(first));
    let cookies = [("cookie", own.as_str())];
    let seen = tokio::select! {
        biased;
        seen = bench.ask("GET", "/api/v1/parameters", &cookies, b"") => seen,
        _ = &mut first => panic!("served only when another had gone"),
    };
    assert_eq!(seen.status, 200, "{seen:?}");
    // And those are done with, in bounded time, whether they got an answer or not.
    let all = std::iter::once(first).chain(slow.into_iter().map(|held| Box::pin(bench::until_closed(held))));
    for (n, ended) in all.enumerate() {
        let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
        let said = ended.unwrap_or_else(|_| panic!("client {n} still has its connection"));
        assert!(!said.contains(" 200 "), "{n}: {said}");
    }
}

/// Whoever has the password begins as many sessions as he likes: guesses at the answers are counted for the user they are about.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_recovery_answers_have_an_end() {
    let bench = Bench::start(|_| {}).await;
    let guess = async || {
        let headers = bench.credentials(Kind::Half).await;
        let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        bench.ask("POST", "/api/v1/auth/credential", &headers, br#"[{"question": "q", "answer": "a"}]"#).await.status
    };
    let mut all = Vec::new();
    for _ in 0..14 {
        all.push(guess().await);
    }
    assert_eq!(all, [vec![400; 10], vec![429; 4]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_with_those_who_read_them() {
    let bench = Bench::start(|parts| parts.options.live_streams = 3).await;
    let own = bench.session("ann").await;
    let request = format!("GET /api/v1/live HTTP/1.1\r\nHost: x\r\nCookie: {own}\r\n\r\n");
    for _ in 0..3 {
        let mut open = Vec::new();
        for _ in 0..3 {
            let mut stream = bench.hold(request.as_bytes()).await;
            assert!(bench::until(&mut stream, "retry: ").await.starts_with("HTTP/1.1 200"));
            open.push(stream);
        }
        assert_eq!(bench.streams(), 3);
        let said = bench::until(&mut bench.hold(request.as_bytes()).await, "\r\n\r\n").await;
        assert!(said.starts_with("HTTP/1.1 429"), "{said}");
        // Without a word; their places are free soon after.
        drop(open);
        let started = Instant::now();
        loop {
            let mut stream = bench.hold(request.as_bytes()).await;
            if bench::until(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 200") {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "nobody's place is free");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // And the one that looked.
        let started = Instant::now();
        while bench.streams() > 0 {
            assert!(started.elapsed() < Duration::from_secs(60), "{} streams are left", bench.streams());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
