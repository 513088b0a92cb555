//! `cargo xtask up`: from a checkout to a platform with a running server on this machine. `cargo xtask down` takes it back.
//!
//! It works the platform through its own command line, as a user would. A second run finds what the first made.

use crate::{
    console::{self, Console},
    guest_image, repo, run,
    setup::{self, Group, Outcome},
};
use anyhow::{Context, Result, bail};
use serde_json::Value as Json;
use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Name of the image, the key pair and the server.
const DEMO: &str = "demo";
/// Who logs in to the console at first, with the administrator's password.
const CONSOLE_USER: &str = "admin";
/// From start to an answer. It takes a second; a loaded machine takes its time.
const READY: Duration = Duration::from_secs(120);
/// Until the host agent has joined: it runs a machine to see whether acceleration works.
const HOST: Duration = Duration::from_secs(300);
/// Until the guest answers on its SSH port: software emulation on a loaded machine.
const BOOT: Duration = Duration::from_secs(600);
const EVERY: Duration = Duration::from_millis(300);

/// What `up` is told.
#[derive(Clone, Debug)]
pub struct Up {
    pub detach: bool,
    /// Directory of everything the platform keeps.
    pub data: Option<PathBuf>,
    pub listen: Option<String>,
    /// Control plane only.
    pub no_host: bool,
}

/// Where data lies when nothing is said: the same place `wolke up` takes.
fn data_dir(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(dir) = given {
        return Ok(std::path::absolute(dir)?);
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/wolke".into());
    }
    let home = std::env::var_os("HOME").context("HOME is not set; name a directory with --data")?;
    Ok(Path::new(&home).join(".local/share/wolke"))
}

/// A platform of this machine, by its program and directory.
struct Platform {
    program: PathBuf,
    data: PathBuf,
}

impl Platform {
    /// A client command in the name of the platform's administrator.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OS_")) {
            command.env_remove(name);
        }
        command.env("WOLKE_PROFILE", self.data.join("admin.json")).env_remove("CLIMC_OUTPUT_FORMAT").args(words);
        command
    }

    fn json(&self, words: &[&str]) -> Result<Json> {
        let text = run::read(self.command(words).args(["-o", "json"]))?;
        Ok(serde_json::from_str(&text)?)
    }

    fn shown(&self, words: &[&str]) -> Result<()> {
        let mut command = self.command(words);
        if !command.stdout(Stdio::null()).stdin(Stdio::null()).status()?.success() {
            bail!("{} failed; why stands above", run::line(&command));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        self.data.join("admin.json").exists() && run::answers(&mut self.command(&["whoami"]))
    }

    fn log(&self) -> PathBuf {
        self.data.join("up.log")
    }

    /// Waits for an earlier control plane of this directory that is ending: it holds the lock until its agent has ended.
    fn wait_free(&self) -> Result<()> {
        use rustix::fs::{FlockOperation, flock};
        let Ok(lock) = fs::File::open(self.data.join("lock")) else { return Ok(()) };
        let started = Instant::now();
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            if started.elapsed() > READY {
                bail!("another wolke holds {} and does not answer; end it with: cargo xtask down", self.data.display());
            }
            std::thread::sleep(EVERY);
        }
        Ok(())
    }

    /// Starts the control plane. Detached it has a session of its own, so that the end of this terminal is not its end.
    fn start(&self, up: &Up) -> Result<Child> {
        fs::create_dir_all(&self.data).with_context(|| format!("{} cannot be made; choose another with --data", self.data.display()))?;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = if up.detach {
            let mut command = Command::new("setsid");
            command.arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command.arg("up").arg("--data").arg(&self.data);
        if let Some(listen) = &up.listen {
            command.args(["--listen", listen]);
        }
        if up.no_host {
            command.arg("--no-host");
        }
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        child.with_context(|| format!("cannot run {}", run::line(&command)))
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("{}\n(all of it: {})", lines[lines.len().saturating_sub(10)..].join("\n"), self.log().display())
    }

    fn wait_ready(&self, child: &mut Child) -> Result<()> {
        let started = Instant::now();
        while !self.answers() {
            if let Some(status) = child.try_wait()? {
                bail!("the platform ended with {status}:\n{}", self.last_words());
            }
            if started.elapsed() > READY {
                bail!("the platform does not answer after {}:\n{}", run::seconds(READY), self.last_words());
            }
            std::thread::sleep(EVERY);
        }
        Ok(())
    }

    /// Waits until a host can take servers.
    fn wait_host(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let hosts = self.json(&["host", "list", "--field", "id,name,host_status"])?;
            if hosts.as_array().is_some_and(|all| all.iter().any(|h| h["host_status"] == "online")) {
                return Ok(());
            }
            if started.elapsed() > HOST {
                bail!("the host agent has not joined after {}:\n{}", run::seconds(HOST), self.last_words());
            }
            std::thread::sleep(EVERY);
        }
    }

    fn has(&self, kind: &str) -> Option<Json> {
        self.json(&[kind, "show", DEMO]).ok()
    }

    fn image(&self, file: &Path) -> Result<()> {
        // A broken upload leaves a row that never becomes active: it goes, and the image is sent again.
        if self
            .has("image")
            .is_some_and(|i| !["active", "saving", "saved", "converting"].contains(&i["status"].as_str().unwrap_or_default()))
        {
            self.shown(&["image", "delete", DEMO, "--override-pending-delete"])?;
        }
        if self.has("image").is_none() {
            self.shown(&["image", "create", DEMO, "--file", &file.display().to_string(), "--format", "qcow2"])?;
        }
        let started = Instant::now();
        loop {
            let status = self.has("image").map(|i| i["status"].as_str().unwrap_or_default().to_string()).unwrap_or_default();
            match status.as_str() {
                "active" => return Ok(()),
                _ if started.elapsed() > HOST => bail!("image {DEMO} is {status} after {}", run::seconds(HOST)),
                _ => std::thread::sleep(EVERY),
            }
        }
    }

    /// The key pair of the demo server: the user's own key, else one made for it. Gives the private half's place.
    fn keypair(&self) -> Result<PathBuf> {
        let made = self.data.join("demo.key");
        let own = std::env::var_os("HOME")
            .map(|home| Path::new(&home).join(".ssh/id_ed25519"))
            .filter(|key| key.exists() && key.with_extension("pub").exists());
        if self.has("keypair").is_some() {
            return Ok(if made.exists() { made } else { own.unwrap_or(made) });
        }
        match own {
            Some(key) => {
                self.shown(&["keypair", "create", DEMO, "--public-key", &format!("@{}", key.with_extension("pub").display())])?;
                Ok(key)
            }
            None => {
                // Left by a platform whose database is gone.
                let _stale = fs::remove_file(&made);
                self.shown(&["keypair", "create", DEMO, "--save", &made.display().to_string()])?;
                Ok(made)
            }
        }
    }

    /// The demo server, running. Gives its address.
    fn server(&self) -> Result<String> {
        match self.has("server") {
            None => self.shown(&[
                "server",
                "create",
                DEMO,
                "--image",
                DEMO,
                "--cpu",
                "1",
                "--memory",
                "256",
                "--net",
                "default",
                "--keypair",
                DEMO,
                "--start",
                "--wait",
            ])?,
            Some(server) => {
                if ["ready", "start_fail"].contains(&server["status"].as_str().unwrap_or_default()) {
                    self.shown(&["server", "start", DEMO])?;
                }
                self.shown(&["server", "wait", DEMO, "--for", "running"])?;
            }
        }
        let server = self.json(&["server", "show", DEMO])?;
        let address = server["ips"].as_str().and_then(|ips| ips.split(',').next()).unwrap_or_default();
        if address.is_empty() {
            bail!("server {DEMO} has no address; see: wolke server show {DEMO}");
        }
        Ok(address.to_string())
    }
}

/// Waits for a guest's SSH server to say its name.
fn wait_ssh(address: &str) -> Result<()> {
    let target: SocketAddr = format!("{address}:22").parse().with_context(|| format!("{address} is no address"))?;
    let started = Instant::now();
    loop {
        if let Ok(mut stream) = TcpStream::connect_timeout(&target, Duration::from_secs(2)) {
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            let mut banner = [0u8; 4];
            if stream.read_exact(&mut banner).is_ok() && &banner == b"SSH-" {
                return Ok(());
            }
        }
        if started.elapsed() > BOOT {
            bail!("{address} does not answer on port 22 after {}; look at its console: wolke server console {DEMO}", run::seconds(BOOT));
        }
        std::thread::sleep(EVERY);
    }
}

/// Starts everything and says how to use it.
pub fn up(mut up: Up) -> Result<()> {
    let started = Instant::now();
    let root = rustix::process::geteuid().is_root();
    let data = data_dir(up.data.clone())?;
    run::step("packages");
    let groups: &[Group] = if up.no_host {
        &[Group::Build, Group::Console]
    } else {
        &[Group::Build, Group::Console, Group::Host, Group::Network, Group::Image]
    };
    let complete = setup::setup(groups, false)? != Outcome::Incomplete;
    if !complete && root {
        bail!("packages are missing; what to do stands above");
    }
    if !root {
        up.no_host = true;
        eprintln!(
            "not root: the control plane only. Servers need a host: run `sudo wolke host` with a token of `wolke host-token create`."
        );
    }
    run::step("the web console");
    let pages = console::build()?;
    run::step("building (some minutes the first time)");
    if !run::shown(repo::cargo().args(["build", "-p", "wolke"]))? {
        bail!("the build failed; why stands above");
    }
    let platform = Platform { program: repo::target_dir().join("debug/wolke"), data };
    let image = if up.no_host {
        None
    } else {
        run::step("the disk of the demo server");
        Some(guest_image::build()?)
    };
    run::step("starting the platform");
    let mut child = None;
    if platform.answers() {
        eprintln!("it runs already");
    } else {
        platform.wait_free()?;
        let mut new = platform.start(&up)?;
        platform.wait_ready(&mut new)?;
        child = Some(new);
    }
    let demo = match image {
        None => None,
        Some(file) => {
            run::step("the host agent joins");
            platform.wait_host()?;
            run::step("image, key pair and server");
            platform.image(&file)?;
            let key = platform.keypair()?;
            let address = platform.server()?;
            run::step("the server boots");
            wait_ssh(&address)?;
            Some((address, key))
        }
    };
    report(&platform, demo.as_ref(), pages, started.elapsed())?;
    match child {
        Some(mut child) if !up.detach => {
            println!("\nCtrl-C ends the control plane. Servers run on; `cargo xtask up` finds them again, `cargo xtask down` ends all.");
            child.wait()?;
        }
        _ => {
            let usual = data_dir(None).is_ok_and(|dir| dir == platform.data);
            let option = if usual { String::new() } else { format!(" --data {}", platform.data.display()) };
            println!("\nEnd it all with: cargo xtask down{option}");
        }
    }
    Ok(())
}

fn report(platform: &Platform, demo: Option<&(String, PathBuf)>, pages: Console, took: Duration) -> Result<()> {
    let admin: Json = serde_json::from_str(&fs::read_to_string(platform.data.join("admin.json"))?)?;
    let text = |key: &str| admin[key].as_str().unwrap_or_default();
    let url = text("auth_url").trim_end_matches("/identity/v3");
    // In the usual place the client finds the administrator's profile by itself.
    let usual = data_dir(None).is_ok_and(|dir| dir == platform.data);
    let environment = if usual { String::new() } else { format!("WOLKE_DATA={} ", platform.data.display()) };
    println!("\nReady after {}.", run::seconds(took));
    if let Some((address, key)) = demo {
        println!("  server      {DEMO}, {address}");
        println!("  log in      ssh -i {} -o StrictHostKeyChecking=accept-new root@{address}", key.display());
        println!("  serial      {}{} server console {DEMO}", environment, platform.program.display());
    }
    println!("  commands    {}{} --help", environment, platform.program.display());
    println!("  API         {}, user {}, project {}", text("auth_url"), text("user"), text("project"));
    match pages {
        Console::Built => println!("  console     {url}  log in as {CONSOLE_USER}"),
        Console::Without => println!("  console     {url}  without pages: npm was not there to make them"),
    }
    println!("  password    {}", text("password"));
    Ok(())
}

/// Ends what [`up`] started, and removes what it made.
pub fn down(data: Option<PathBuf>) -> Result<()> {
    let data = data_dir(data)?;
    if !data.exists() {
        println!("{} does not exist: nothing to end", data.display());
        return Ok(());
    }
    let program = repo::target_dir().join("debug/wolke");
    if !program.exists() && !run::shown(repo::cargo().args(["build", "-p", "wolke"]))? {
        bail!("the build failed; why stands above");
    }
    let mut command = Command::new(program);
    if !run::shown(command.arg("down").arg("--data").arg(&data).arg("--purge"))? {
        bail!("not everything could be ended; what stands above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_guest_is_up_when_its_ssh_server_speaks() {
        // The port is fixed, so an address of its own: all of 127/8 is this machine.
        let Ok(listener) = std::net::TcpListener::bind("127.83.7.22:22") else {
            assert!(!rustix::process::geteuid().is_root(), "root may bind port 22");
            return;
        };
        let guest = std::thread::spawn(move || {
            drop(listener.accept().expect("the first try, cut off"));
            listener.accept().expect("the second").0.write_all(b"SSH-2.0-test\r\n").expect("written");
        });
        wait_ssh("127.83.7.22").expect("it answers");
        guest.join().expect("no panic");
    }

    #[test]
    fn directories_are_absolute() {
        assert!(data_dir(Some("x".into())).expect("a directory").is_absolute());
    }
}
