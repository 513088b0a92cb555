//! One service on a port of its own, with people of different rights.

use crate::client::{Answer, Call, eventually};
use base::{Caller, Clock, Json, Role, Scope};
use glance::{Glance, Options};
use http::{App, HeaderMap, Server, Serving};
use reconcile::Reconcilers;
use resource::{Ask, FixedOwners, Gate, Owner};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use store::Db;
use telemetry::testing::Watch;
use tempfile::TempDir;

/// Administrators may all, members what concerns their project, the guest nothing.
struct Rules;

impl Gate for Rules {
    fn widest(&self, caller: &Caller, _: Option<IpAddr>, ask: &Ask<'_>) -> Scope {
        let role = caller.roles.first().map_or("", |r| r.name.as_str());
        match (role, ask.action, ask.extra.first().copied().unwrap_or("")) {
            ("admin", ..) => Scope::System,
            ("member", "perform", "mark-standard" | "public" | "status") => Scope::None,
            ("member", ..) if ask.resource == "image_quotas" && ask.action == "update" => Scope::None,
            ("member", ..) => Scope::Project,
            _ => Scope::None,
        }
    }
    fn allows(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>, scope: Scope) -> bool {
        let widest = self.widest(caller, peer, ask);
        widest > Scope::None && widest >= scope
    }
}

fn caller(user: &str, project: &str, role: &str) -> Arc<Caller> {
    let text = |s: &str| s.to_string();
    Arc::new(Caller {
        user_id: format!("{user}-id"),
        user: text(user),
        user_domain_id: text("default"),
        user_domain: text("Default"),
        project_id: format!("{project}-id"),
        project: text(project),
        project_domain_id: text("default"),
        project_domain: text("Default"),
        roles: vec![Role { id: text(role), name: text(role) }],
        is_system_account: false,
    })
}

fn identify(headers: &HeaderMap) -> Arc<Caller> {
    match headers.get("x-auth-token").and_then(|t| t.to_str().ok()) {
        Some("admin") => caller("admin", "system", "admin"),
        Some("alice") => caller("alice", "red", "member"),
        Some("bob") => caller("bob", "blue", "member"),
        _ => Arc::new(Caller::default()),
    }
}

fn owners() -> Arc<FixedOwners> {
    let one = |name: &str| Owner {
        project_id: format!("{name}-id"),
        project: name.into(),
        domain_id: "default".into(),
        domain: "Default".into(),
    };
    Arc::new(FixedOwners(["system", "red", "blue"].map(one).to_vec()))
}

pub struct House {
    pub glance: Arc<Glance>,
    pub addr: SocketAddr,
    pub clock: Clock,
    pub upkeep: Reconcilers,
    pub dir: TempDir,
    _serving: Serving,
    /// Fails the test for a warning nobody expected.
    log: Watch,
}

impl Drop for House {
    fn drop(&mut self) {
        // How fast the machine is today is not what these tests are about.
        if self.log.lines().iter().any(|l| l.contains("slow")) {
            self.log.expect("slow");
        }
    }
}

impl House {
    pub async fn start() -> House {
        House::with(|_| {}).await
    }

    pub async fn with(set: impl FnOnce(&mut Options)) -> House {
        House::on(store::testing::sqlite().await, Clock::real(), set).await
    }

    /// With a clock that the test turns.
    pub async fn at(clock: Clock) -> House {
        House::on(store::testing::sqlite_with(clock.clone()).await, clock, |_| {}).await
    }

    pub async fn on(db: Db, clock: Clock, set: impl FnOnce(&mut Options)) -> House {
        let log = Watch::start();
        let dir = tempfile::tempdir().expect("a scratch directory");
        let mut options = Options::new(dir.path().join("images"));
        // Tests share the machine's disk with everybody.
        options.reserve = 0;
        set(&mut options);
        let glance = Glance::open(db, Arc::new(Rules), owners(), options).await.expect("the service opens");
        let upkeep = glance.upkeep();
        let router = glance.router(Arc::new(identify));
        let mut server = Server::new(App::new(telemetry::Metrics::default()).mount("/", "image", router));
        let addr = server.bind("127.0.0.1:0", None).await.expect("a free port");
        House { glance, addr, clock, upkeep, dir, _serving: server.start(), log }
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        Call::new(self.addr, method, path, "admin")
    }
    pub fn by(&self, token: &str, method: &str, path: &str) -> Call {
        Call::new(self.addr, method, path, token)
    }

    /// Uploads in one request.
    pub async fn upload(&self, name: &str, bytes: &[u8]) -> Json {
        self.call("POST", "/v1/images").header("X-Image-Meta-Name", name).image(bytes).send().await.image()
    }

    /// Uploads and waits until the image is active.
    pub async fn active(&self, name: &str, bytes: &[u8]) -> Json {
        let id = self.upload(name, bytes).await["id"].as_str().expect("an id").to_string();
        self.becomes(&id, "active").await
    }

    /// The image as a list shows it.
    pub async fn find(&self, id: &str) -> Option<Json> {
        let answer = self.call("GET", &format!("/v1/images?id={id}&scope=system&pending_delete=all")).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["images"].as_array().expect("a list").first().cloned()
    }

    pub async fn becomes(&self, id: &str, status: &str) -> Json {
        eventually(&format!("image {id} is {status}"), || async move { self.find(id).await.is_some_and(|i| i["status"] == status) }).await;
        self.find(id).await.expect("it was there")
    }

    pub async fn gone(&self, id: &str) {
        eventually(&format!("image {id} is gone"), || async move { self.find(id).await.is_none() }).await;
    }

    /// Runs one reconciler to its end.
    pub async fn run(&self, name: &str) -> reconcile::Counts {
        let last = self.upkeep.handle(name).expect("a reconciler").run_now().await.expect("it runs");
        assert_eq!(last.error, None, "{name}");
        last.counts
    }

    /// Names in the image directory, unfinished ones too.
    pub fn listing(&self) -> Vec<String> {
        listing(self.glance.files().dir())
    }

    /// A warning that belongs to what the test does.
    #[track_caller]
    pub fn warned(&self, part: &str) {
        self.log.expect(part);
    }

    /// Unprotects and deletes.
    pub async fn delete(&self, id: &str) -> Answer {
        let open = self.call("PUT", &format!("/v1/images/{id}")).header("X-Image-Meta-Protected", "false").send().await;
        assert_eq!(open.status, 200, "{open:?}");
        self.call("DELETE", &format!("/v1/images/{id}")).send().await
    }
}

/// Names in a directory but the lock.
pub fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("the directory is there")
        .map(|e| e.expect("readable").file_name().into_string().expect("our names are ASCII"))
        .filter(|n| !n.starts_with('.'))
        .collect();
    names.sort();
    names
}

/// Runs a program that makes a file.
pub fn make(dir: &Path, line: &str) {
    let mut words = line.split_whitespace();
    let out = Command::new(words.next().expect("a program")).args(words).current_dir(dir).output();
    let out = out.unwrap_or_else(|e| panic!("{line}: {e}; the tests need the Debian packages qemu-utils and genisoimage"));
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A file made by a program.
pub fn made(line: &str, name: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a scratch directory");
    make(dir.path(), line);
    std::fs::read(dir.path().join(name)).expect("it was made")
}

pub fn qcow2(size: &str) -> Vec<u8> {
    made(&format!("qemu-img create -q -f qcow2 a {size}"), "a")
}

/// Bytes that do not repeat and have no magic.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out.extend(x.to_le_bytes());
    }
    out.truncate(len);
    out[..8.min(len)].fill(0);
    out
}

pub fn md5(bytes: &[u8]) -> String {
    use md5::{Digest, Md5};
    hex::encode(Md5::digest(bytes))
}
