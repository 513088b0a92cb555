//! A platform of real processes that tests may kill: `wolke up` on a port and in a directory of its own, and what runs beside it.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod browser;
pub mod dice;
pub mod live;
pub mod machine;
pub mod page;
pub mod port;
pub mod qga;
pub mod users;

use base::{Error, Json, Result};
use http::{Client, ClientOptions, Method, tunnel::Tunnel};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use store::Db;

/// Ten times what it takes on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A process that ends with its handle, whatever came of the test.
pub struct Owned(Child);

impl Owned {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Without warning.
    pub fn kill(mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it ends");
    }

    pub fn lives(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

pub struct Platform {
    pub port: u16,
    args: Vec<String>,
    control: Mutex<Option<Owned>>,
    client: Client,
    administrator: Option<sim::Administrator>,
    /// Last, so that nobody writes there any more when it goes.
    pub dir: tempfile::TempDir,
}

impl Platform {
    /// A platform that answers; `args` go to `wolke up` besides directory and port. Its directory lies in memory if it may: a process
    /// that is killed loses nothing by that, and a busy disk does not slow the test down.
    pub async fn start(args: &[&str], in_memory: bool) -> Platform {
        let memory = PathBuf::from("/dev/shm");
        let place = if in_memory && memory.is_dir() { memory } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("platform").tempdir_in(place).expect("a directory");
        let client =
            Client::new(ClientOptions { retries: 0, deadline: Duration::from_secs(30), ..ClientOptions::default() }).expect("a client");
        let args = args.iter().map(|a| a.to_string()).collect();
        let mut platform = Platform { dir, port: port::port(), args, control: Mutex::default(), client, administrator: None };
        platform.start_control().await;
        platform
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What its databases' secrets are sealed with.
    pub fn secret(&self) -> String {
        std::fs::read_to_string(self.data().join("secret.key")).expect("a key").trim().to_string()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn command(&self, program: &Path, log: &str) -> Command {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join(log)).expect("a log");
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        command
    }

    /// Starts a program of this crate's `examples`, which cargo builds with the tests.
    pub fn start_example(&self, name: &str, args: &[&str]) -> Owned {
        let program =
            std::env::current_exe().expect("a path").parent().and_then(Path::parent).expect("a directory").join("examples").join(name);
        assert!(program.exists(), "{} is missing: cargo test builds it, cargo test --test does not", program.display());
        Owned(self.command(&program, &format!("{name}.log")).args(args).spawn().expect("it starts"))
    }

    /// Starts the control plane and waits until it answers.
    pub async fn start_control(&mut self) {
        assert!(self.control.get_mut().expect("no panic in between").is_none());
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_wolke")), "up.log");
        command.args(["up", "--listen", &format!("127.0.0.1:{}", self.port), "--data"]).arg(self.data()).args(&self.args);
        let mut child = Owned(command.spawn().expect("wolke starts"));
        let started = Instant::now();
        while self.client.get(&format!("{}/compute/ping", self.url())).send().await.is_err() || !self.data().join("admin.json").exists() {
            assert!(child.lives(), "the control plane ended: {}", self.log("up.log"));
            assert!(started.elapsed() < PATIENCE, "the control plane does not answer: {}", self.log("up.log"));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        *self.control.get_mut().expect("no panic in between") = Some(child);
        if self.administrator.is_none() {
            self.administrator =
                Some(sim::Administrator::new(self.client.clone(), &format!("{}/compute", self.url()), self.data().join("admin.json")));
        }
    }

    /// From its next life on the platform has a host agent.
    pub fn want_host(&mut self) {
        self.args.retain(|arg| arg != "--no-host");
    }

    /// Kills the control plane while requests to it are under way; [`Platform::start_control`] starts the next.
    pub fn kill_control(&self) {
        self.control.lock().expect("no panic in between").take().expect("a control plane runs").kill();
    }

    /// One request to the compute service as administrator.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Json>) -> Result<Json> {
        let administrator = self.administrator.as_ref().expect("a platform that was started");
        let session = administrator.session().await.map_err(Error::internal)?;
        let call = self.client.call(method, &format!("{}/compute/{path}", self.url())).token(session);
        let call = match &body {
            Some(body) => call.json(body),
            None => call,
        };
        call.send().await?.json().await
    }

    /// A console of a server as administrator, or as nobody.
    pub async fn console(&self, server: &str, kind: &str, known: bool) -> Result<Tunnel> {
        let mut call = self.client.get(&format!("{}/compute/servers/{server}/console", self.url())).query("kind", kind);
        if known {
            let administrator = self.administrator.as_ref().expect("a platform that was started");
            call = call.token(administrator.session().await.map_err(Error::internal)?);
        }
        call.tunnel("wolke-console").await
    }

    pub async fn get(&self, path: &str) -> Result<Json> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Json) -> Result<Json> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Removes a server for good.
    pub async fn delete(&self, server: &str) -> Result<Json> {
        self.ask(Method::DELETE, &format!("servers/{server}?override_pending_delete=true"), Some(json!({}))).await
    }

    /// Every server, those in the bin too.
    pub async fn servers(&self) -> Result<Vec<Json>> {
        let mut all = Vec::new();
        for bin in ["", "&pending_delete=true"] {
            let answer = self.get(&format!("servers?limit=0&scope=system&details=true{bin}")).await?;
            all.extend(answer["servers"].as_array().cloned().unwrap_or_default());
        }
        Ok(all)
    }

    /// The region's database, beside the region itself; for looking only.
    pub async fn rows(&self) -> Db {
        let url = match self.args.iter().find_map(|a| a.strip_prefix("database=")) {
            Some(url) => url.replace("{service}", "compute"),
            None => format!("sqlite://{}", self.data().join("compute.db").display()),
        };
        Db::open(&url).await.expect("the region's database")
    }

    /// Puts an image into the image service, as a user would.
    pub fn upload(&self, name: &str, format: &str, file: &Path) {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_wolke")), "cli.log");
        command.env("WOLKE_PROFILE", self.data().join("admin.json"));
        command.args(["image", "create", name, "--format", format, "--file"]).arg(file);
        let mut child = command.spawn().expect("wolke runs");
        let started = Instant::now();
        // One that hangs is a fault to be seen, not the end of a run.
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if started.elapsed() > PATIENCE {
                let _gone = child.kill();
                let _gone = child.wait();
                panic!("the upload of {name} hangs: {}\n{}", self.log("cli.log"), self.log("up.log"));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(status.success(), "{}", self.log("cli.log"));
    }

    /// The end of a log.
    pub fn log(&self, name: &str) -> String {
        let log = std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

/// Waits until nothing is found any more; panics with what still is. `look` answers what is not as it should be.
pub async fn until_none(patience: Duration, mut look: impl AsyncFnMut() -> Vec<String>) {
    let started = Instant::now();
    loop {
        let found = look().await;
        if found.is_empty() {
            return;
        }
        assert!(started.elapsed() < patience, "after {patience:?} still: {found:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a server is that has come to no end: nothing is to be expected of it any more, and if it failed it says why.
pub fn unsettled(server: &Json) -> Option<String> {
    let text = |key: &str| server[key].as_str().unwrap_or_default();
    let settled = match text("status") {
        "running" => text("power_states") == "on",
        "ready" => text("power_states") == "off",
        "sched_fail" | "net_fail" | "disk_fail" | "create_fail" | "deploy_fail" | "start_fail" | "stop_fail" | "delete_fail" => {
            !text("status_reason").is_empty()
        }
        _ => false,
    };
    (!settled).then(|| format!("server {} is {} ({}), power {}", text("name"), text("status"), text("status_reason"), text("power_states")))
}
