//! The service in this process, served on a real port, and a client that speaks to it as a user would.

use api_identity::{Login, Secret};
use base::{Clock, Json};
use http::{App, Client, ClientOptions, Method, Server, Serving};
use keystone::{Config, Keystone, ServiceEntry};
use serde_json::json;
use store::Db;
use telemetry::testing::Watch;

pub const ADMIN_PASSWORD: &str = "Wolke@sysadmin1";
pub const SERVICE_PASSWORD: &str = "Wolke@service1";

pub struct Cloud {
    pub keystone: Keystone,
    pub url: String,
    pub client: Client,
    pub clock: Clock,
    pub db: Db,
    _serving: Serving,
}

/// An answer: status, the token it carries in its header, body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub subject: Option<String>,
    pub body: Json,
}

impl Answer {
    /// Status and class of a refusal.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["class"].as_str().unwrap_or(""))
    }

    #[track_caller]
    pub fn ok(self) -> Json {
        assert_eq!(self.status, 200, "{}", self.body);
        self.body
    }
}

/// Passwords hashed as cheaply as possible: the tests are about what happens around them.
pub fn config() -> Config {
    let entry = |name: &str, kind: &str, url: &str| ServiceEntry {
        name: name.into(),
        r#type: kind.into(),
        public_url: url.into(),
        ..ServiceEntry::default()
    };
    Config {
        secret_key: Secret::new("5a".repeat(32)),
        bootstrap_admin_user_password: Secret::new(ADMIN_PASSWORD),
        password_hash_memory_kib: 64,
        password_hash_passes: 1,
        services: vec![
            ServiceEntry { admin_url: "http://127.0.0.1:30357/v3".into(), ..entry("keystone", "identity", "http://127.0.0.1:30500/v3") },
            ServiceEntry {
                account: "regionadmin".into(),
                account_password: Secret::new(SERVICE_PASSWORD),
                ..entry("region2", "compute_v2", "http://127.0.0.1:30888")
            },
            entry("glance", "image", "http://127.0.0.1:30292/v1"),
        ],
        ..Config::default()
    }
}

pub async fn cloud() -> Cloud {
    cloud_with(config(), Clock::real()).await
}

pub async fn cloud_with(config: Config, clock: Clock) -> Cloud {
    let db = if on_postgres_now() {
        store::testing::postgres_with(clock.clone()).await
    } else {
        store::testing::sqlite_with(clock.clone()).await
    };
    cloud_on(db, config, clock).await
}

tokio::task_local! {
    static POSTGRES: bool;
}

fn on_postgres_now() -> bool {
    POSTGRES.try_with(|p| *p).unwrap_or(false)
}

/// Runs a test with its databases on SQLite.
pub async fn on_sqlite(test: impl Future<Output = ()>) {
    watched(POSTGRES.scope(false, test)).await;
}

/// Runs a test with its databases on PostgreSQL.
pub async fn on_postgres(test: impl Future<Output = ()>) {
    watched(POSTGRES.scope(true, test)).await;
}

/// A line of WARN or ERROR fails the test; only that this machine was slow is no fault of the service.
async fn watched(test: impl Future<Output = ()>) {
    let watch = Watch::start();
    test.await;
    for slow in ["slow request", "slow statement"] {
        if watch.lines().iter().any(|line| line.contains(slow)) {
            watch.expect(slow);
        }
    }
}

/// An empty database that can be opened more than once, as replicas and restarts do.
pub struct Place {
    pub url: String,
    _dir: Option<tempfile::TempDir>,
}

impl Place {
    pub async fn new() -> Place {
        if on_postgres_now() {
            return Place { url: store::testing::postgres_url().await, _dir: None };
        }
        let dir = tempfile::tempdir().expect("a directory");
        Place { url: format!("sqlite://{}/identity.db", dir.path().display()), _dir: Some(dir) }
    }
}

pub async fn cloud_on(db: Db, config: Config, clock: Clock) -> Cloud {
    let mut keystone = keystone::build(config, db.clone(), clock.clone()).await.expect("the service starts");
    // The tests come from many addresses: what they say in X-Forwarded-For is believed.
    let here = vec!["127.0.0.1/32".parse().expect("a network")];
    let app = App::new(telemetry::Metrics::default()).trust_proxies(here).mount("/", "keystone", std::mem::take(&mut keystone.router));
    let mut server = Server::new(app);
    let addr = server.bind("127.0.0.1:0", None).await.expect("a port");
    let client = Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).expect("a client");
    Cloud { keystone, url: format!("http://{addr}"), client, clock, db, _serving: server.start() }
}

impl Cloud {
    pub async fn send(&self, method: &str, path: &str, token: Option<&str>, subject: Option<&str>, body: Option<Json>) -> Answer {
        let method: Method = method.parse().expect("a method");
        let mut call = self.client.call(method, &format!("{}{path}", self.url));
        if let Some(token) = token {
            call = call.token(token);
        }
        if let Some(subject) = subject {
            call = call.header("x-subject-token", subject);
        }
        if let Some(body) = &body {
            call = call.json(body);
        }
        let answer = call.send_any().await.expect("an answer");
        let (status, subject) = (answer.status, answer.header("x-subject-token").map(str::to_string));
        let bytes = answer.bytes(1 << 24).await.expect("a body");
        Answer { status, subject, body: serde_json::from_slice(&bytes).unwrap_or(Json::Null) }
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send("GET", path, Some(token), None, None).await
    }
    pub async fn post(&self, token: &str, path: &str, body: Json) -> Answer {
        self.send("POST", path, Some(token), None, Some(body)).await
    }
    pub async fn put(&self, token: &str, path: &str, body: Json) -> Answer {
        self.send("PUT", path, Some(token), None, Some(body)).await
    }
    pub async fn delete(&self, token: &str, path: &str) -> Answer {
        self.send("DELETE", path, Some(token), None, None).await
    }

    /// A login by name in the domain Default; without a project an unscoped one.
    pub async fn login(&self, user: &str, password: &str, project: Option<&str>) -> Answer {
        self.send("POST", "/v3/auth/tokens", None, None, Some(password_login(user, password, project))).await
    }

    /// The token of a login that must succeed.
    pub async fn token(&self, user: &str, password: &str, project: Option<&str>) -> String {
        let answer = self.login(user, password, project).await;
        assert_eq!(answer.status, 200, "{user}: {}", answer.body);
        answer.subject.expect("a token")
    }

    pub async fn admin(&self) -> String {
        self.token("sysadmin", ADMIN_PASSWORD, Some("system")).await
    }

    /// Makes something and gives back its id.
    pub async fn make(&self, token: &str, kind: &str, body: Json) -> String {
        let plural = if kind == "policy" { "policies".to_string() } else { format!("{kind}s") };
        let made = self.post(token, &format!("/v3/{plural}"), json!({ kind: body })).await.ok();
        made[kind]["id"].as_str().expect("an id").to_string()
    }

    /// A user with a password and a role in a project, all by name, in the domain Default.
    pub async fn member(&self, admin: &str, name: &str, project: &str, role: &str) -> String {
        let user = self.make(admin, "user", json!({"name": name, "password": format!("{name}@Pass1")})).await;
        self.put(admin, &format!("/v3/projects/{project}/users/{user}/roles/{role}"), json!({})).await.ok();
        user
    }

    pub fn service_login(&self) -> Login {
        Login {
            user: "regionadmin".into(),
            password: Secret::new(SERVICE_PASSWORD),
            domain: "Default".into(),
            project: "system".into(),
            source: "srv".into(),
        }
    }
}

pub fn password_login(user: &str, password: &str, project: Option<&str>) -> Json {
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": {"name": user, "password": password, "domain": {"name": "Default"}}}},
        "context": {"source": "cli"}});
    if let Some(project) = project {
        auth["scope"] = json!({"project": {"name": project, "domain": {"id": "default"}}});
    }
    json!({ "auth": auth })
}

pub fn token_login(token: &str, scope: Json) -> Json {
    json!({"auth": {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": scope}})
}

/// Names of a list, sorted.
pub fn names(list: &Json, plural: &str) -> Vec<String> {
    let mut names: Vec<String> =
        list[plural].as_array().expect("a list").iter().filter_map(|r| r["name"].as_str().map(str::to_string)).collect();
    names.sort();
    names
}
