//! The program under load: started as an operator starts it, measured from outside.

use crate::{
    Plan,
    load::{self, Connection, Run},
};
use anyhow::{Context, Result, bail};
use serde_json::Value as Json;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    pub fn name(self) -> &'static str {
        match self {
            Database::Sqlite => "sqlite",
            Database::Postgres => "postgres",
        }
    }
}

pub struct Platform {
    wolke: PathBuf,
    dir: tempfile::TempDir,
    /// With `{service}` in it; none for SQLite.
    postgres: Option<String>,
    pub address: SocketAddr,
    child: Option<Child>,
}

/// How long a start may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

impl Platform {
    pub async fn new(plan: &Plan, database: Database) -> Result<Platform> {
        let postgres = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(store::testing::postgres_urls(&["identity", "image", "compute", "gateway"]).await),
        };
        // A port that was free a moment ago; nobody else takes ports here.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        Ok(Platform { wolke: plan.wolke.clone(), dir: tempfile::tempdir()?, postgres, address, child: None })
    }

    /// URL of the database of the compute service.
    pub fn compute_url(&self) -> String {
        match &self.postgres {
            Some(url) => url.replace("{service}", "compute"),
            None => format!("sqlite://{}", self.dir.path().join("compute.db").display()),
        }
    }

    /// Lets PostgreSQL look at what it holds and write it down, as it does by itself some minutes after so much was put in.
    pub fn analyse(&self) -> Result<()> {
        if self.postgres.is_some() {
            let done = Command::new("psql")
                .args([&self.compute_url(), "-q", "-c", "VACUUM ANALYZE", "-c", "CHECKPOINT"])
                .status()
                .context("psql")?;
            anyhow::ensure!(done.success(), "psql ended with {done}");
        }
        Ok(())
    }

    /// Starts it without a host agent; answers how long it took until it answered requests.
    pub async fn start(&mut self) -> Result<Duration> {
        let log = fs::File::options().append(true).create(true).open(self.dir.path().join("log"))?;
        let mut command = Command::new(&self.wolke);
        command.args(["up", "--no-host", "--listen", &self.address.to_string()]).arg("--data").arg(self.dir.path());
        if let Some(url) = &self.postgres {
            command.args(["--database", url]);
        }
        let began = Instant::now();
        self.child = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        while began.elapsed() < PATIENCE {
            if let Ok(mut connection) = Connection::open(self.address).await
                && connection.ask(b"GET /compute/version HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok_and(|status| status == 200)
            {
                return Ok(began.elapsed());
            }
            if let Some(status) = self.child.as_mut().context("not started")?.try_wait()? {
                bail!("the platform ended with {status}: {}", fs::read_to_string(self.dir.path().join("log"))?);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("the platform does not answer")
    }

    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            Command::new("kill").arg(child.id().to_string()).status()?;
            tokio::task::spawn_blocking(move || child.wait()).await??;
        }
        Ok(())
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("not started")?.id())
    }

    /// The administrators' password.
    pub fn password(&self) -> Result<String> {
        let profile: Json = serde_json::from_str(&fs::read_to_string(self.dir.path().join("admin.json"))?)?;
        Ok(profile["password"].as_str().context("no password")?.to_string())
    }

    /// A token of the administrator.
    pub async fn token(&self) -> Result<String> {
        let password = self.password()?;
        let body = serde_json::json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {"name": "sysadmin", "password": password, "domain": {"name": "Default"}}}},
            "scope": {"project": {"name": "system", "domain": {"name": "Default"}}}}});
        let (head, status, _) = self.send("", "POST", "/identity/v3/auth/tokens", Some(&body)).await?;
        let token = load::field(&head, b"x-subject-token").with_context(|| format!("no token, answer {status}"))?;
        Ok(String::from_utf8(token.to_vec())?)
    }

    /// One request; answers head, status and body.
    pub async fn send(&self, token: &str, method: &str, path: &str, body: Option<&Json>) -> Result<(Vec<u8>, u16, Json)> {
        let mut connection = Connection::open(self.address).await?;
        let body = body.map(Json::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let status = connection.ask(request.as_bytes()).await?;
        let json = serde_json::from_slice(connection.body()).unwrap_or(Json::Null);
        Ok((connection.head().to_vec(), status, json))
    }

    /// Looks whether a path answers what it should before it is put under load.
    pub async fn get(&self, token: &str, path: &str, right: impl Fn(&Json) -> bool) -> Result<Json> {
        let (_, status, body) = self.send(token, "GET", path, None).await?;
        if status != 200 || !right(&body) {
            bail!("{path}: {status} {}", body.to_string().chars().take(2000).collect::<String>());
        }
        Ok(body)
    }

    /// Puts paths under load, with the processor time it takes.
    pub async fn load(&self, connections: usize, time: Duration, token: &str, paths: Vec<String>) -> Result<Run> {
        // Connections, plans and caches as in a service that has run for a while.
        load::drive(self.address, connections, Duration::from_millis(500), token, paths.clone()).await?;
        let (cpu, database) = (self.cpu()?, self.database_cpu()?);
        let mut run = load::drive(self.address, connections, time, token, paths).await?;
        run.cpu = (self.cpu()? - cpu) / run.requests.max(1) as f64;
        run.database = (self.database_cpu()? - database) / run.requests.max(1) as f64;
        Ok(run)
    }

    /// Seconds of processor time of the platform so far.
    pub fn cpu(&self) -> Result<f64> {
        seconds(self.pid()?)
    }

    /// The same of all PostgreSQL processes; 0 with SQLite.
    pub fn database_cpu(&self) -> Result<f64> {
        let Some(url) = &self.postgres else { return Ok(0.0) };
        let dir = url.split("host=").nth(1).and_then(|rest| rest.split('&').next()).context("no directory in the URL")?;
        let pid: u32 = fs::read_to_string(Path::new(dir).join("data/postmaster.pid"))?.lines().next().context("no pid")?.trim().parse()?;
        let mut sum = seconds(pid)?;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(other) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
            if parent(other) == Some(pid) {
                sum += seconds(other).unwrap_or(0.0);
            }
        }
        Ok(sum)
    }

    /// Resident memory in MiB: all of it, and what of it is the process's own rather than pages of files that the kernel may take back, as those of the
    /// mapped database (proc(5), VmRSS and RssAnon).
    pub fn rss_mib(&self) -> Result<(f64, f64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let of = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name)).with_context(|| format!("no {name}"))?;
            anyhow::Ok(line.split_whitespace().nth(1).context("no number")?.parse::<f64>()? / 1024.0)
        };
        Ok((of("VmRSS:")?, of("RssAnon:")?))
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Gone already is as good as gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Fields of /proc/PID/stat after the name, which may hold spaces (proc(5)).
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_string).collect())
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// User and system time with waited-for children, in seconds; the kernel counts in hundredths.
pub fn seconds(pid: u32) -> Result<f64> {
    let stat = stat(pid).context("the process is gone")?;
    let ticks: u64 = stat.get(11..15).context("a short stat")?.iter().map(|t| t.parse::<u64>().unwrap_or(0)).sum();
    Ok(ticks as f64 / 100.0)
}
