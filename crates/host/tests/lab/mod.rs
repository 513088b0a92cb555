//! A region over HTTP, an agent as a process of its own, and guests under real QEMU.

use api_agent::*;
use base::err;
use host::region::Region;
use host::sim::MemoryRegion;
use http::{App, HeaderValue, Request, Response, Router, Server, Serving, StatusCode};
use md5::{Digest, Md5};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ten times what it takes on an idle machine, and well before the test run ends the test: then there is a log to read.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Lab {
    pub region: Arc<MemoryRegion>,
    dir: tempfile::TempDir,
    pub storage: PathBuf,
    agent: Option<Child>,
    url: String,
    _server: Serving,
}

impl Lab {
    pub async fn new() -> Lab {
        let lab = Lab::without_agent(None).await;
        lab.with_agent()
    }

    /// `storage` elsewhere than beside the rest.
    pub async fn without_agent(storage: Option<PathBuf>) -> Lab {
        for (program, package) in [("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("setsid", "util-linux")] {
            let there = Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
            assert!(there, "this test needs `{program}`: install package {package}");
        }
        let dir = tempfile::Builder::new().prefix("host").tempdir().unwrap();
        let storage = storage.unwrap_or_else(|| dir.path().join("storage"));
        std::fs::create_dir_all(&storage).unwrap();
        let region = MemoryRegion::new();
        let mut server = Server::new(App::new(telemetry::Metrics::default()).mount("/compute", "compute", routes(region.clone())));
        let address = server.bind("127.0.0.1:0", None).await.unwrap();
        Lab { region, storage, agent: None, url: format!("http://{address}/compute"), _server: server.start(), dir }
    }

    pub fn with_agent(mut self) -> Lab {
        self.start();
        self
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn guest_file(&self, id: &str, name: &str) -> PathBuf {
        self.data().join("guests").join(id).join(name)
    }

    /// Starts an agent in a process group of its own.
    pub fn start(&mut self) {
        assert!(self.agent.is_none());
        let program = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples/agent");
        assert!(
            program.exists(),
            "{} is missing: cargo test builds it, cargo test --test does not: cargo build --examples",
            program.display()
        );
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("agent.log")).unwrap();
        let mut command = Command::new(program);
        command.arg(self.data()).arg(&self.storage).arg(&self.url).arg(self.region.token());
        // It ends when its input does: should this process be killed, it does not stay behind.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0);
        self.agent = Some(command.spawn().unwrap());
    }

    /// Kills the agent and all of its process group, without warning.
    pub fn kill_agent(&mut self) {
        let mut child = self.agent.take().expect("an agent runs");
        let group = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    /// Waits for a report about the newest document.
    pub async fn shows(&self, what: &str, shows: impl Fn(&Observed) -> bool) -> Observed {
        let version = self.region.document().version;
        let seen = self.region.until(PATIENCE, |o| o.version == version && shows(o)).await;
        seen.unwrap_or_else(|| panic!("{what}; last: {:#?}\n{}", self.region.last(), self.log()))
    }

    /// Waits until the guest's newest generation is in this state.
    pub async fn guest(&self, id: &str, state: GuestState) -> GuestObserved {
        let document = self.region.document();
        let generation = document.guests.iter().find(|g| g.id == id).unwrap().generation;
        let is = |g: &GuestObserved| g.id == id && g.state == state && g.generation == generation;
        let seen = self.shows(&format!("{id} is {state:?}"), |o| o.guests.iter().any(is)).await;
        seen.guests.into_iter().find(|g| g.id == id).unwrap()
    }

    pub fn change(&self, id: &str, by: impl FnOnce(&mut GuestSpec)) {
        self.region.edit(|d| {
            let guest = d.guests.iter_mut().find(|g| g.id == id).unwrap();
            by(guest);
            guest.generation += 1;
        });
    }

    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default();
        let from = log.len().saturating_sub(6000);
        format!("…{}", log.get(from..).unwrap_or(&log))
    }

    /// Waits for an event of the test guest's console (images/testvm/README.md), the `nth` of its kind.
    pub async fn said(&self, id: &str, event: &str, nth: usize) -> Value {
        let log = self.guest_file(id, "serial.log");
        let text = || String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
        let find = || {
            let lines = text();
            let events = lines.lines().filter_map(|l| serde_json::from_str::<Value>(l.split_once("@guest ")?.1).ok());
            events.filter(|e| e["event"] == event).nth(nth)
        };
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find() {
                return found;
            }
            assert!(Instant::now() < until, "{id} did not say {event} {nth}: {}\n{}", text(), self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Lab {
    /// No guest outlives its test, whatever came of it.
    fn drop(&mut self) {
        if self.agent.is_some() {
            self.kill_agent();
        }
        for pid in processes(&self.data()) {
            let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), rustix::process::Signal::KILL);
        }
    }
}

/// Hypervisor processes of a data directory.
pub fn processes(data: &Path) -> Vec<u32> {
    let prefix = format!("{}/guests/", data.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let args: Vec<String> = line.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect();
        if args.windows(2).any(|w| w[0] == "-pidfile" && w[1].starts_with(&prefix)) {
            found.push(pid);
        }
    }
    found
}

/// The disk of the test guest.
pub fn image() -> PathBuf {
    let disk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest/testvm.qcow2");
    let how = "run `cargo xtask test`, or images/testvm/build.sh target/guest/testvm.qcow2";
    assert!(disk.exists(), "the disk of the test guest is missing: {how}");
    disk
}

/// It as the document names it.
pub fn image_spec() -> ImageSpec {
    let content = std::fs::read(image()).unwrap();
    let checksum = Md5::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    ImageSpec { id: "testvm".into(), format: "qcow2".into(), size: content.len() as u64, checksum, url: "/images/testvm".into() }
}

fn routes(region: Arc<MemoryRegion>) -> Router {
    let credential = |r: &Request| r.header("authorization").and_then(|h| h.strip_prefix("Bearer ")).unwrap_or_default().to_string();
    let (enroll, register, desired, observed) = (region.clone(), region.clone(), region.clone(), region);
    Router::new()
        .post("/agent/enroll", move |mut r: Request| {
            let region = enroll.clone();
            async move { answer(region.enroll(&body(&mut r).await?).await?) }
        })
        .post("/agent/register", move |mut r: Request| {
            let region = register.clone();
            async move { answer(region.register(&credential(&r), &body(&mut r).await?).await?) }
        })
        .post("/agent/observed", move |mut r: Request| {
            let region = observed.clone();
            async move { answer(region.observed(&credential(&r), &body(&mut r).await?).await?) }
        })
        .get("/agent/desired", move |r: Request| {
            let region = desired.clone();
            async move {
                r.lift_deadline();
                let number = |key: &str| r.query.text(key).and_then(|v| v.parse().ok()).unwrap_or(0i64);
                match region.desired(&credential(&r), number("after"), number("wait") as u64).await?.document {
                    Some(document) => answer(document),
                    None => answer(serde_json::json!({"unchanged": true})),
                }
            }
        })
        .get("/images/{name}", move |r: Request| async move {
            let content = std::fs::read(image()).map_err(|e| err!(NotFound, "image: {}", e))?;
            let from: usize = r.header("range").and_then(|h| h.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
            let total = content.len();
            let piece = content.get(from..).unwrap_or_default().to_vec();
            let out = Response::bytes(HeaderValue::from_static("application/octet-stream"), piece);
            if from == 0 {
                return Ok(out);
            }
            Ok(out.with_status(StatusCode::PARTIAL_CONTENT).with_header("content-range", &format!("bytes {from}-{}/{total}", total - 1)))
        })
}

async fn body<T: serde::de::DeserializeOwned>(request: &mut Request) -> base::Result<T> {
    let json = request.json().await?.unwrap_or_default();
    serde_json::from_value(json).map_err(|e| err!(InputParameter, "{}", e))
}

fn answer(value: impl serde::Serialize) -> base::Result<Response> {
    Ok(Response::json(&serde_json::to_value(value).map_err(base::Error::internal)?))
}
