//! The services as processes of their own, on one PostgreSQL, and the whole over TLS.

#[path = "lab/port.rs"]
mod port;

use serde_json::Value as Json;
use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);
const PASSWORD: &str = "Correct-horse-9";

fn wolke(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wolke"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", dir).stdin(Stdio::null());
    command
}

/// A process that ends with its test.
struct Running(Child);

impl Running {
    fn kill(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Site {
    dir: tempfile::TempDir,
    ports: [u16; 5],
    /// Of the identity service.
    database: String,
}

impl Site {
    /// Free ports and a configuration for all.
    async fn new() -> Site {
        let dir = tempfile::tempdir().expect("a directory");
        let ports = [(); 5].map(|()| port::port());
        let database = store::testing::postgres_urls(&["identity", "image", "compute", "gateway"]).await;
        let mut text = format!(
            "database = '{database}'\nsecret_key = '{}'\n[identity]\nurl = 'http://127.0.0.1:{}/v3'\nuser = 'platform'\npassword = '{PASSWORD}'\n\
             [keystone]\nbootstrap_admin_user_password = '{PASSWORD}'\n",
            "5a".repeat(32),
            ports[0]
        );
        let services = [
            ("keystone", "identity", ports[0], "/v3"),
            ("region2", "compute_v2", ports[1], ""),
            ("glance", "image", ports[2], "/v1"),
            ("scheduler", "scheduler", ports[3], ""),
        ];
        for (name, kind, port, path) in services {
            let url = format!("http://127.0.0.1:{port}{path}");
            text += &format!(
                "[[keystone.services]]\nname = '{name}'\ntype = '{kind}'\npublic_url = '{url}'\ninternal_url = '{url}'\naccount = 'platform'\naccount_password = '{PASSWORD}'\n"
            );
        }
        std::fs::write(dir.path().join("wolke.toml"), text).expect("written");
        Site { dir, ports, database: database.replace("{service}", "identity") }
    }

    fn start(&self, service: &str, port: u16) -> Running {
        let name = format!("{service}-{port}");
        let log = std::fs::File::create(self.dir.path().join(format!("{name}.log"))).expect("a log");
        let mut command = wolke(self.dir.path());
        command.arg(service).arg("--config").arg(self.dir.path().join("wolke.toml"));
        command.arg("--data").arg(self.dir.path().join(&name)).args(["--listen", &format!("127.0.0.1:{port}")]);
        Running(command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("wolke starts"))
    }

    fn log(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.dir.path()).expect("a directory").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "log") {
                all += &format!("--- {}\n{}", path.display(), std::fs::read_to_string(&path).unwrap_or_default());
            }
        }
        all
    }

    fn run(&self, env: &[(&str, &str)], line: &str) -> Output {
        let mut command = wolke(self.dir.path());
        command
            .env("OS_AUTH_URL", format!("http://127.0.0.1:{}/v3", self.ports[0]))
            .envs([("OS_USERNAME", "sysadmin"), ("OS_PASSWORD", PASSWORD), ("OS_PROJECT_NAME", "system")])
            .envs(env.iter().copied())
            .current_dir(self.dir.path())
            .args(line.split(' '));
        command.output().expect("wolke runs")
    }

    /// Repeats a command until it succeeds and its answer is as wanted.
    fn until(&self, line: &str, fits: impl Fn(&Json) -> bool) -> Json {
        let started = Instant::now();
        loop {
            let out = self.run(&[], &format!("{line} -o json"));
            let answer: Json = serde_json::from_slice(&out.stdout).unwrap_or_default();
            if out.status.success() && fits(&answer) {
                return answer;
            }
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(started.elapsed() < PATIENCE, "{line}: {answer} {said}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[tokio::test]
async fn platform_of_one_process_for_each_service() {
    let site = Site::new().await;
    let [identity, compute, image, placement, second] = site.ports;
    // In the wrong order: each waits for whom it needs.
    let _region = site.start("region", compute);
    let mut glance = site.start("glance", image);
    let mut keystone = site.start("keystone", identity);
    let _scheduler = site.start("scheduler", placement);
    site.until("whoami", |who| who["user"] == "sysadmin");

    std::fs::write(site.dir.path().join("disk.raw"), vec![7u8; 1 << 20]).expect("a file");
    site.until("image list", |_| true);
    let out = site.run(&[], "image create blob --file disk.raw --format raw");
    assert!(out.status.success(), "{}\n{}", String::from_utf8_lossy(&out.stderr), site.log());
    site.until("image show blob", |i| i["status"] == "active");

    // The region asks the image service in the caller's name: what the caller may not see is not there.
    site.until("zone list", |_| true);
    let unknown = site.run(&[], "server create web --image nope --cpu 1 --memory 256");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("image nope not found"), "{}", String::from_utf8_lossy(&unknown.stderr));
    for line in
        ["project create other", "user create ann --set password=Correct-horse-9", "project join other --users ann --roles project_owner"]
    {
        let out = site.run(&[], line);
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    }
    let ann = [("OS_USERNAME", "ann"), ("OS_PROJECT_NAME", "other")];
    let started = Instant::now();
    loop {
        let hidden = site.run(&ann, "server create web --image blob --cpu 1 --memory 256");
        let said = String::from_utf8_lossy(&hidden.stderr).into_owned();
        assert!(!hidden.status.success());
        // Her role may still be on its way to the other processes.
        if said.contains("image blob not found") {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{said}");
        std::thread::sleep(Duration::from_millis(100));
    }

    // A second region on the same database sees what the first made; without the identity service both go on.
    let token = token_of(&site);
    let _twin = site.start("region", second);
    let made = site.run(&[], "serversku create tiny --cpu-core-count 1 --memory-size-mb 512");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let client = http::Client::new(http::ClientOptions::default()).expect("a client");
    let ask = async |port: u16, path: &str| -> Json {
        let started = Instant::now();
        loop {
            match client.get(&format!("http://127.0.0.1:{port}{path}")).token(&token).send().await {
                Ok(answer) => return answer.json().await.expect("JSON"),
                Err(e) => assert!(started.elapsed() < PATIENCE, "{e}\n{}", site.log()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert_eq!(ask(second, "/serverskus?search=tiny").await["total"], 1);
    // The scheduler too has come up and knows whom to believe.
    let place = async || {
        let test = serde_json::json!({"vcpu_count": 1, "vmem_size": 64, "disks": [], "nets": []});
        let call = client.post(&format!("http://127.0.0.1:{placement}/scheduler/test")).token(&token).json(&test);
        call.send_any().await.map(|answer| answer.status)
    };
    let started = Instant::now();
    while let told @ (Err(_) | Ok(500..)) = place().await {
        assert!(started.elapsed() < PATIENCE, "{told:?}\n{}", site.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    keystone.kill();
    assert_eq!(ask(compute, "/serverskus?search=tiny").await["total"], 1);
    assert_eq!(ask(second, "/serverskus?search=tiny").await["total"], 1);
    let placed = place().await.expect("an answer");
    assert!(placed < 500, "{placed}");

    // Without images a look-up says so, quickly, and works again with them.
    let _keystone = site.start("keystone", identity);
    site.until("whoami", |_| true);
    glance.kill();
    let away = site.run(&[], "server create web --image blob --cpu 1 --memory 256");
    assert_eq!(away.status.code(), Some(1), "{}", String::from_utf8_lossy(&away.stderr));
    let _glance = site.start("glance", image);
    site.until("image list", |all| all.as_array().is_some_and(|a| a.len() == 1));
}

/// Two identity services on one database, asked over the network.
struct Twins<'a> {
    site: &'a Site,
    client: http::Client,
}

impl Twins<'_> {
    fn url(&self, port: u16, path: &str) -> String {
        format!("http://127.0.0.1:{port}/v3{path}")
    }

    /// A token of the administrator's from one of them; `None` while it does not answer.
    async fn issue(&self, port: u16) -> Option<String> {
        let body = serde_json::json!({"auth": {"identity": {"methods": ["password"],
            "password": {"user": {"name": "sysadmin", "password": PASSWORD, "domain": {"name": "Default"}}}},
            "scope": {"project": {"name": "system", "domain": {"name": "Default"}}}}});
        let answer = self.client.post(&self.url(port, "/auth/tokens")).json(&body).send().await.ok()?;
        answer.header("x-subject-token").map(str::to_string)
    }

    async fn issued(&self, port: u16) -> String {
        let started = Instant::now();
        loop {
            if let Some(token) = self.issue(port).await {
                return token;
            }
            assert!(started.elapsed() < PATIENCE, "no token\n{}", self.site.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether one of them believes a token.
    async fn believes(&self, port: u16, token: &str) -> bool {
        let call = self.client.get(&self.url(port, "/auth/tokens")).token(token).header("x-subject-token", token);
        let status = call.send_any().await.expect("an answer").status;
        assert!(matches!(status, 200 | 401 | 403), "{status}");
        status == 200
    }

    /// Revokes at one; how long the other goes on believing.
    async fn revoke(&self, at: u16, token: &str, seen: u16) -> Duration {
        let call = self.client.call(http::Method::DELETE, &self.url(at, "/auth/tokens")).token(token);
        call.header("x-subject-token", token).send().await.expect("void");
        let since = Instant::now();
        while self.believes(seen, token).await {
            assert!(since.elapsed() < PATIENCE, "still believed\n{}", self.site.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        since.elapsed()
    }

    /// Everything of a kind, sorted, by what makes it one.
    async fn all(&self, port: u16, token: &str, kind: &str, key: &[&str]) -> Vec<String> {
        let url = self.url(port, &format!("/{kind}?limit=0&scope=system"));
        let list: Json = self.client.get(&url).token(token).send().await.expect("a list").json().await.expect("JSON");
        let rows = list[kind].as_array().unwrap_or_else(|| panic!("{kind}: {list}"));
        let mut all: Vec<String> = rows.iter().map(|r| key.iter().map(|k| r[*k].to_string()).collect::<Vec<_>>().join(" ")).collect();
        all.sort();
        all
    }
}

#[tokio::test]
async fn platform_of_two_identity_services() {
    let site = Site::new().await;
    let [one, _, _, _, two] = site.ports;
    let client = http::Client::new(http::ClientOptions { retries: 0, ..http::ClientOptions::default() }).expect("a client");
    let t = Twins { site: &site, client };
    // Both at once, on a database that is empty: one set of everything.
    let (mut first, mut second) = (site.start("keystone", one), site.start("keystone", two));
    let (a, b) = (t.issued(one).await, t.issued(two).await);
    assert!(t.believes(two, &a).await && t.believes(one, &b).await, "{}", site.log());
    for (kind, key) in [
        ("domains", &["name"][..]),
        ("projects", &["name", "domain_id"]),
        ("roles", &["name", "domain_id"]),
        ("policies", &["name", "domain_id"]),
        ("rolepolicies", &["role_id", "project_id", "policy_id"]),
        ("regions", &["id"]),
        ("services", &["type", "name"]),
        ("endpoints", &["service_id", "interface", "region_id"]),
    ] {
        let all = t.all(one, &a, kind, key).await;
        let mut single = all.clone();
        single.dedup();
        assert!(!all.is_empty() && all == single, "{kind}: {all:?}");
        assert_eq!(t.all(two, &b, kind, key).await, all, "{kind}");
    }
    let db = store::Db::open(&site.database).await.expect("the database");
    // Accounts of services are in no list.
    let mut users = store::Read::texts(&mut &db, "users", "name", store::Cond::True).await.expect("users");
    users.sort();
    assert_eq!(users, ["platform", "sysadmin"]);
    let keys = store::Read::texts(&mut &db, "signing_keys", "id", store::Cond::True).await.expect("keys");
    assert_eq!(keys.len(), 1, "one key to sign with");

    // What one voids the other does not believe, within moments. A machine that is busy with others is measured again.
    let started = Instant::now();
    loop {
        let mut took = Vec::new();
        for round in 0..6 {
            let (at, seen) = if round % 2 == 0 { (one, two) } else { (two, one) };
            let token = t.issued(at).await;
            assert!(t.believes(seen, &token).await);
            took.push(t.revoke(at, &token, seen).await);
        }
        println!("what one voided the other did not believe after {took:?}");
        took.sort();
        if took[took.len() / 2] < Duration::from_secs(2) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{took:?}");
    }

    // One ends without warning: the other goes on, and nobody who asks it notices.
    second.kill();
    for _ in 0..5 {
        let token = t.issue(one).await.unwrap_or_else(|| panic!("no token\n{}", site.log()));
        assert!(t.believes(one, &token).await && t.believes(one, &b).await);
        t.revoke(one, &token, one).await;
    }
    // One more comes while the first serves: no request fails meanwhile, and it knows what was voided without it.
    let voided = t.issued(one).await;
    t.revoke(one, &voided, one).await;
    let mut second = site.start("keystone", two);
    let (mut asked, started) = (0, Instant::now());
    let fresh = loop {
        assert!(t.believes(one, &a).await, "{}", site.log());
        asked += 1;
        if let Some(token) = t.issue(two).await {
            break token;
        }
        assert!(started.elapsed() < PATIENCE, "{}", site.log());
    };
    assert!(asked > 1 && t.believes(one, &fresh).await && t.believes(two, &a).await);
    assert!(!t.believes(two, &voided).await);
    // Then the other one ends.
    first.kill();
    let token = t.issue(two).await.unwrap_or_else(|| panic!("no token\n{}", site.log()));
    assert!(t.believes(two, &token).await && t.believes(two, &a).await);
    t.revoke(two, &token, two).await;
    second.kill();
}

fn token_of(site: &Site) -> String {
    let runtime = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let body = serde_json::json!({"auth": {"identity": {"methods": ["password"],
                    "password": {"user": {"name": "sysadmin", "password": PASSWORD, "domain": {"name": "Default"}}}},
                    "scope": {"project": {"name": "system", "domain": {"name": "Default"}}}}});
                let run = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                run.block_on(async {
                    let client = http::Client::new(http::ClientOptions::default()).expect("a client");
                    let url = format!("http://127.0.0.1:{}/v3/auth/tokens", site.ports[0]);
                    let answer = client.post(&url).json(&body).send().await.expect("a token");
                    answer.header("x-subject-token").expect("a token").to_string()
                })
            })
            .join()
    });
    runtime.expect("a token")
}

#[test]
fn over_tls_when_others_could_listen() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = std::fs::File::create(dir.path().join("log")).expect("a log");
    let mut command = wolke(dir.path());
    command.args(["up", "--no-host", "--listen", "0.0.0.0:0", "--data"]).arg(dir.path().join("data"));
    let mut up = Running(command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("wolke starts"));
    let run = |line: &str, env: &[(&str, &str)]| {
        let mut command = wolke(dir.path());
        command.env("WOLKE_DATA", dir.path().join("data")).envs(env.iter().copied()).args(line.split(' '));
        command.output().expect("wolke runs")
    };
    let started = Instant::now();
    while !run("whoami", &[]).status.success() {
        assert!(
            up.0.try_wait().expect("a child").is_none() && started.elapsed() < PATIENCE,
            "{}",
            std::fs::read_to_string(dir.path().join("log")).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let profile: Json =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("data/admin.json")).expect("a profile")).expect("JSON");
    let url = profile["auth_url"].as_str().expect("a URL");
    assert!(url.starts_with("https://") && !url.contains("0.0.0.0"), "{url}");
    assert!(profile["ca_file"].as_str().is_some_and(|f| f.ends_with("ca.pem")));
    let made = run("host-token create", &[]);
    assert!(
        String::from_utf8_lossy(&made.stdout).contains("--region https://")
            && String::from_utf8_lossy(&made.stdout).contains("--ca ca.pem")
    );
    // Who does not know the CA is not talked into trusting it.
    let password = profile["password"].as_str().expect("a password");
    let stranger = [("OS_AUTH_URL", url), ("OS_USERNAME", "sysadmin"), ("OS_PASSWORD", password), ("OS_PROJECT_NAME", "system")];
    let said = run("whoami", &stranger);
    assert!(
        !said.status.success() && String::from_utf8_lossy(&said.stderr).contains("ertificate"),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
}

#[test]
fn half_a_configuration_says_what_is_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = |words: &[&str]| {
        let out =
            wolke(dir.path()).args(words).args(["--data", &dir.path().join("d").display().to_string(), "--listen", "127.0.0.1:0"]).output();
        let out = out.expect("wolke runs");
        assert!(!out.status.success());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    assert!(said(&["glance"]).contains("identity.url must be set"));
    assert!(said(&["keystone", "--database", "postgres://x@127.0.0.1:1/wolke_{service}"]).contains("secret_key must be set"));
    assert!(said(&["keystone", "--set", "keystone.pasword_minimal_length=3"]).contains("pasword_minimal_length"));
    assert!(said(&["up", "--set", "secret_key=abc"]).contains("64 hex digits"));
}
