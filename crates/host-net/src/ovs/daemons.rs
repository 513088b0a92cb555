//! The switch's two daemons: found running, or started as our own and kept running.
//!
//! Only one userspace datapath can exist per network namespace (its device is always called `ovs-netdev`), so a second platform on the same
//! machine shares the first one's switch. Ours outlive the agent: they detach from it, and a new agent finds them by their pid files.

use crate::config::SwitchChoice;
use crate::run::{run, succeeds};
use base::{Error, Result, err};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

/// Longest another platform may take to start the daemons.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest a daemon may take to end after it was told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datapath {
    Kernel,
    Userspace,
}

impl Datapath {
    /// `datapath_type` of a bridge.
    pub fn name(self) -> &'static str {
        match self {
            Datapath::Kernel => "system",
            Datapath::Userspace => "netdev",
        }
    }
}

/// A switch that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// Unix socket of the database.
    pub db: PathBuf,
    /// Directory of the bridges' management sockets.
    pub rundir: PathBuf,
    pub datapath: Datapath,
    /// Started by us or an earlier agent on our directory.
    pub own: bool,
    pub vswitchd: u32,
    /// None when somebody else looks after it.
    pub ovsdb: Option<u32>,
}

/// Finds, starts and stops the daemons.
pub(crate) struct Daemons {
    /// Directory of our own pair: database, sockets, pid files, logs.
    dir: PathBuf,
    choice: SwitchChoice,
}

const DB_SERVER: &str = "ovsdb-server";
const SWITCH: &str = "ovs-vswitchd";
/// File in the directory of a pair whose platform was taken down.
const ABANDONED: &str = "abandoned";

impl Daemons {
    pub fn new(dir: PathBuf, choice: SwitchChoice) -> Daemons {
        Daemons { dir, choice }
    }

    /// The switch to use, started if need be.
    pub async fn ensure(&self) -> Result<Running> {
        if let Some(found) = self.usable() {
            return Ok(found);
        }
        // Two platforms that start at the same moment must not both start a switch.
        let _turn = turn().await?;
        match self.usable() {
            Some(found) => Ok(found),
            None => self.start().await,
        }
    }

    /// Our own pair when it runs whole, or somebody else's when ours does not switch.
    fn usable(&self) -> Option<Running> {
        match (self.alive(DB_SERVER), self.alive(SWITCH)) {
            (Some(ovsdb), Some(vswitchd)) if self.reachable() => {
                let _ = fs::remove_file(self.dir.join(ABANDONED));
                Some(self.own(vswitchd, ovsdb))
            }
            (_, None) if self.choice == SwitchChoice::Auto => foreign(&self.dir),
            _ => None,
        }
    }

    fn own(&self, vswitchd: u32, ovsdb: u32) -> Running {
        let datapath = datapath_of(&arguments(vswitchd).unwrap_or_default());
        Running { db: self.dir.join("db.sock"), rundir: self.dir.clone(), datapath, own: true, vswitchd, ovsdb: Some(ovsdb) }
    }

    async fn start(&self) -> Result<Running> {
        if !self.reachable() {
            // Without their sockets they serve nobody, and only one switch can be.
            for daemon in [SWITCH, DB_SERVER] {
                if let Some(pid) = self.alive(daemon) {
                    kill(pid, Signal::TERM);
                    end(pid, daemon).await?;
                }
            }
        }
        let (ovsdb, vswitchd) = (self.alive(DB_SERVER), self.alive(SWITCH));
        fs::create_dir_all(&self.dir).map_err(|e| Error::internal(e).with_context(self.dir.display()))?;
        if ovsdb.is_none() {
            self.create_database().await?;
            let remote = format!("--remote=punix:{}", self.file("db.sock"));
            self.spawn(DB_SERVER, &[&self.file("conf.db"), &remote]).await?;
        }
        let db = format!("--db=unix:{}", self.file("db.sock"));
        run("ovs-vsctl", &[&db, "--no-wait", "--timeout=30", "init"], "").await?;
        if vswitchd.is_none() {
            let remote = format!("unix:{}", self.file("db.sock"));
            let mut args = vec![remote.as_str()];
            if !kernel_has_datapath().await {
                args.push("--disable-system");
            }
            self.spawn(SWITCH, &args).await?;
        }
        match (self.alive(DB_SERVER), self.alive(SWITCH)) {
            (Some(ovsdb), Some(vswitchd)) => Ok(self.own(vswitchd, ovsdb)),
            _ => Err(err!(ServiceAbnormal, "Open vSwitch ended right after its start; see the logs in {}", self.dir.display())),
        }
    }

    /// Made aside and moved, so that a crash leaves none or a whole one.
    async fn create_database(&self) -> Result<()> {
        // The tool of an agent that was killed may still be at work on its own.
        let (path, aside) = (self.dir.join("conf.db"), self.dir.join(format!("conf.db.{}", std::process::id())));
        if path.exists() {
            return Ok(());
        }
        let _ = fs::remove_file(&aside);
        run("ovsdb-tool", &["create", &aside.to_string_lossy()], "").await?;
        fs::rename(&aside, &path).map_err(|e| Error::internal(e).with_context(path.display()))
    }

    async fn spawn(&self, daemon: &str, args: &[&str]) -> Result<()> {
        let options = [
            format!("--pidfile={}", self.file(&format!("{daemon}.pid"))),
            format!("--unixctl={}", self.file(&format!("{daemon}.ctl"))),
            format!("--log-file={}", self.file(&format!("{daemon}.log"))),
        ];
        // `env` because the directory of the management sockets has no option; warnings only, because nobody rotates the log.
        let rundir = format!("OVS_RUNDIR={}", self.dir.display());
        let mut all = vec![rundir.as_str(), daemon];
        all.extend(args);
        all.extend(options.iter().map(String::as_str));
        all.extend(["--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off", "-vfile:warn"]);
        tracing::info!(daemon, dir = %self.dir.display(), "starting our own Open vSwitch daemon");
        run("env", &all, "").await.map(drop)
    }

    /// Stops our own pair and what the datapath left, and removes its directory. Not called while others have bridges in it.
    pub async fn stop(&self) -> Result<()> {
        for daemon in [SWITCH, DB_SERVER] {
            if let Some(pid) = self.alive(daemon) {
                let ctl = self.file(&format!("{daemon}.ctl"));
                // Asked nicely the switch takes its devices and datapath with it.
                let cleanup: &[&str] = if daemon == SWITCH { &["--cleanup"] } else { &[] };
                if !succeeds("ovs-appctl", &[&["--timeout=10", "-t", &ctl, "exit"], cleanup].concat()).await? {
                    kill(pid, Signal::TERM);
                }
                end(pid, daemon).await?;
            }
        }
        match fs::remove_dir_all(&self.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::internal(e).with_context(self.dir.display())),
            _ => Ok(()),
        }
    }

    /// Says that nobody looks after our own pair any more: whoever uses it last ends it.
    pub fn abandon(&self) -> Result<()> {
        let path = self.dir.join(ABANDONED);
        fs::write(&path, "").map_err(|e| Error::internal(e).with_context(path.display()))
    }

    /// Ends a switch its platform has left, and removes its directory. False when it is not such a one.
    pub async fn stop_abandoned(&self, switch: &Running) -> Result<bool> {
        if !switch.rundir.join(ABANDONED).exists() {
            return Ok(false);
        }
        Daemons::new(switch.rundir.clone(), self.choice).stop().await?;
        if let Some(parent) = switch.rundir.parent() {
            // Holds nothing else since its platform was taken down; if it does, it stays.
            let _ = fs::remove_dir(parent);
        }
        Ok(true)
    }

    /// Our own pair, when it runs; never starts it.
    pub fn running(&self) -> Option<Running> {
        let (ovsdb, vswitchd) = (self.alive(DB_SERVER)?, self.alive(SWITCH)?);
        Some(self.own(vswitchd, ovsdb))
    }

    /// Somebody else's switch in this network namespace.
    pub fn foreign(&self) -> Option<Running> {
        foreign(&self.dir)
    }

    /// Process id of one of our daemons, if it is that daemon and alive. Found without its pid file too, should somebody have removed that.
    fn alive(&self, daemon: &str) -> Option<u32> {
        let db = self.file("db.sock");
        // The number in the file may have gone to another process since.
        let is_it = |pid: &u32| {
            let args = arguments(*pid).unwrap_or_default();
            args.first().is_some_and(|a| a.ends_with(daemon)) && args.iter().any(|a| a.ends_with(&db)) && !is_zombie(*pid)
        };
        let noted = fs::read_to_string(self.dir.join(format!("{daemon}.pid"))).ok().and_then(|t| t.trim().parse().ok());
        noted.filter(is_it).or_else(|| processes(daemon).into_iter().find(is_it))
    }

    /// Whether the way to our database is there; somebody may have removed the directory under running daemons.
    fn reachable(&self) -> bool {
        self.dir.join("db.sock").exists()
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }
}

/// One that is gone already is no error.
fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The right to start a switch in this network namespace, held until dropped or the process dies: names of abstract sockets belong to the
/// namespace, as its datapath does.
async fn turn() -> Result<UnixListener> {
    let name = SocketAddr::from_abstract_name("wolke-starts-openvswitch").map_err(Error::internal)?;
    let until = Instant::now() + START_TIMEOUT;
    loop {
        match UnixListener::bind_addr(&name) {
            Ok(turn) => return Ok(turn),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < until => sleep(Duration::from_millis(50)).await,
            Err(e) => {
                return Err(
                    err!(ServiceAbnormal, "another platform on this host is starting Open vSwitch and does not finish").with_context(e)
                );
            }
        }
    }
}

/// Waits for a process to end by itself, then makes it.
async fn end(pid: u32, daemon: &str) -> Result<()> {
    let until = Instant::now() + STOP_TIMEOUT;
    while Path::new(&format!("/proc/{pid}")).exists() && !is_zombie(pid) {
        if Instant::now() >= until {
            tracing::warn!(daemon, pid, "does not stop, killing it");
            kill(pid, Signal::KILL);
            return Ok(());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

const MODULE: &str = "/sys/module/openvswitch";

/// Whether the kernel can switch for us. Loading its module is what a distribution's start script does too.
async fn kernel_has_datapath() -> bool {
    let there = || Path::new(MODULE).exists();
    if !there() && Path::new("/lib/modules").exists() {
        // Without the tool or the module, userspace serves.
        let _ = succeeds("modprobe", &["-q", "openvswitch"]).await;
    }
    there()
}

/// The datapath a daemon was started for: a module loaded later changes nothing for it.
fn datapath_of(arguments: &[String]) -> Datapath {
    let kernel = Path::new(MODULE).exists() && !arguments.iter().any(|a| a == "--disable-system");
    if kernel { Datapath::Kernel } else { Datapath::Userspace }
}

/// A switch daemon of somebody else that lives in our network namespace.
fn foreign(own: &Path) -> Option<Running> {
    let here = fs::read_link("/proc/self/ns/net").ok()?;
    let mut found: Vec<Running> = processes(SWITCH)
        .into_iter()
        .filter(|pid| !is_zombie(*pid))
        .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|ns| ns == here))
        .filter_map(|pid| {
            let args = arguments(pid)?;
            let db = PathBuf::from(args.iter().skip(1).find_map(|a| a.strip_prefix("unix:"))?);
            let rundir = db.parent()?.to_path_buf();
            let datapath = datapath_of(&args);
            (rundir != own && db.exists()).then_some(Running { db, rundir, datapath, own: false, vswitchd: pid, ovsdb: None })
        })
        .collect();
    // The same choice at every look, should there be several.
    found.sort_by_key(|r| r.vswitchd);
    found.into_iter().next()
}

/// Processes of this name.
fn processes(name: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").into_iter().flatten().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim_end() == name)).collect()
}

fn arguments(pid: u32) -> Option<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect())
}

fn is_zombie(pid: u32) -> bool {
    // The state follows the name, which is in parentheses and may contain anything.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with(['Z', 'X']))
}

/// Returns when a process ends, at once if it has.
pub(crate) async fn ended(pid: u32) {
    let open = |pid| pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::NONBLOCK).ok();
    let Some(fd) = open(pid) else { return };
    #[allow(deprecated, reason = "its unsafe successor guards against descriptors that close early; an OwnedFd does not")]
    match AsyncFd::<OwnedFd>::with_interest(fd, Interest::READABLE) {
        Ok(fd) => drop(fd.readable().await),
        // No room in the poller: the caller's own ticking has to do.
        Err(_) => std::future::pending().await,
    }
}
