//! QEMU behind the hypervisor trait: processes of their own session that outlive the agent, spoken to by QMP on unix sockets.
//!
//! One directory per guest, `machines/<id>/`, holds sockets, pid file, console log, seed and firmware variables. A process is ours when its
//! command line names the guest's uuid and this directory: a pid alone may have been given to another.

mod ability;
mod args;
mod machine;
mod seed;

use crate::files;
use crate::hypervisor::{Abilities, Hypervisor, Machine, Plan};
use base::{Result, Timestamp, err};
use host_net::BoxFuture;
use machine::QemuMachine;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The program; a host has one architecture.
const PROGRAM: &str = "qemu-system-x86_64";
/// Time from start to the control socket's being there. Generous: a loaded machine emulates slowly.
const LAUNCH: Duration = Duration::from_secs(120);
/// The kernel's limit of a unix socket's path.
const SOCKET_PATH: usize = 107;
/// A console log beyond this is cut to its second half.
const CONSOLE_MAX: u64 = 8 << 20;

pub struct Qemu {
    dir: PathBuf,
    accel: ability::Choice,
    abilities: OnceCell<Arc<Abilities>>,
}

/// Files of one guest.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    dir: PathBuf,
}

impl Paths {
    pub fn new(dir: PathBuf) -> Paths {
        Paths { dir }
    }
    pub fn qmp(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }
    pub fn serial(&self) -> PathBuf {
        self.dir.join("serial.sock")
    }
    pub fn vnc(&self) -> PathBuf {
        self.dir.join("vnc.sock")
    }
    pub fn agent(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }
    pub fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }
    pub fn pid(&self) -> PathBuf {
        self.dir.join("pid")
    }
    pub fn seed(&self) -> PathBuf {
        self.dir.join("seed.iso")
    }
    pub fn vars(&self) -> PathBuf {
        self.dir.join("vars.fd")
    }
    pub fn log(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }
}

impl Qemu {
    /// `data_dir` is the agent's; `accel` is `kvm`, `tcg` or `auto`.
    pub fn new(data_dir: PathBuf, accel: &str) -> Result<Qemu> {
        let dir = data_dir.join("machines");
        std::fs::create_dir_all(&dir).map_err(|e| err!(InputParameter, "the directory {} cannot be made: {}", dir.display(), e))?;
        let dir = dir.canonicalize().map_err(base::Error::internal)?;
        // The longest: a 36-character id and the longest socket name.
        if dir.as_os_str().len() + 38 + "serial.sock".len() > SOCKET_PATH {
            return Err(err!(InputParameter, "the directory {} is too long for unix sockets; choose a shorter one", dir.display()));
        }
        Ok(Qemu { dir, accel: ability::Choice::parse(accel)?, abilities: OnceCell::new() })
    }

    fn paths(&self, guest: &str) -> Result<Paths> {
        files::safe_name(guest)?;
        Ok(Paths::new(self.dir.join(guest)))
    }

    async fn known(&self) -> Result<Arc<Abilities>> {
        self.abilities.get_or_try_init(|| async { ability::probe(self.accel).await.map(Arc::new) }).await.cloned()
    }

    /// The guest's process, if it runs.
    async fn running(&self, guest: &str) -> Result<Option<Arc<QemuMachine>>> {
        let paths = self.paths(guest)?;
        let Some(pid) = pid_of(&paths) else { return Ok(None) };
        Ok(QemuMachine::adopt(guest, pid, paths).await.map(Arc::new))
    }

    async fn start(&self, plan: Plan) -> Result<Arc<QemuMachine>> {
        if let Some(machine) = self.running(&plan.guest.id).await? {
            return Ok(machine);
        }
        let abilities = self.known().await?;
        if plan.guest.vmem_size > abilities.host_memory_mb && abilities.host_memory_mb > 0 {
            return Err(err!(
                InsufficientResource,
                "{} MiB of memory wanted, this host has {}",
                plan.guest.vmem_size,
                abilities.host_memory_mb
            ));
        }
        let paths = self.paths(&plan.guest.id)?;
        let machine_type = args::machine_type(&plan, &abilities)?;
        prepare(&plan, &abilities, &paths)?;
        let line = args::command_line(&plan, &abilities, &paths, &machine_type)?;
        let log = std::fs::File::create(paths.log()).map_err(|e| disk_error("qemu.log", &e))?;
        let mut command = tokio::process::Command::new(PROGRAM);
        command.args(&line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).current_dir("/");
        // With -daemonize the first process ends when the guest is set up, or with what was wrong; the guest is a session of its own.
        let done = tokio::time::timeout(LAUNCH, command.kill_on_drop(true).status()).await;
        let status = match done {
            Ok(status) => status
                .map_err(|e| err!(InsufficientResource, "{} could not be started: {}; install the package qemu-system-x86", PROGRAM, e))?,
            Err(_) => return Err(err!(Timeout, "QEMU did not get ready in {} seconds", LAUNCH.as_secs())),
        };
        if !status.success() {
            let said = std::fs::read_to_string(paths.log()).unwrap_or_default();
            let last = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("it said nothing").to_string();
            return Err(err!(InsufficientResource, "QEMU refused to start the guest: {}", last));
        }
        match self.running(&plan.guest.id).await? {
            Some(machine) => Ok(machine),
            None => Err(err!(ServiceAbnormal, "the guest's process ended right after its start; see its qemu.log")),
        }
    }
}

/// Writes what the process will open.
fn prepare(plan: &Plan, abilities: &Abilities, paths: &Paths) -> Result<()> {
    std::fs::create_dir_all(&paths.dir).map_err(|e| disk_error("the guest's directory", &e))?;
    for stale in [paths.qmp(), paths.serial(), paths.vnc(), paths.agent(), paths.pid()] {
        files::remove(&stale).map_err(|e| disk_error("a stale socket", &e))?;
    }
    let seed = seed::image(&plan.guest, Timestamp::ZERO.plus_secs(946_684_800))?;
    files::replace(&paths.seed(), &seed, 0o600).map_err(|e| disk_error("seed.iso", &e))?;
    if args::uefi(&plan.guest)
        && let Some(firmware) = &abilities.firmware
        && !paths.vars().exists()
    {
        let vars = std::fs::read(&firmware.vars).map_err(|e| disk_error("the firmware's variables", &e))?;
        files::replace(&paths.vars(), &vars, 0o600).map_err(|e| disk_error("vars.fd", &e))?;
    }
    Ok(())
}

fn disk_error(what: &str, e: &std::io::Error) -> base::Error {
    err!(OutOfResource, "{} cannot be written on this host: {}", what, e)
}

/// The pid of the process whose command line is this guest's.
fn pid_of(paths: &Paths) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(paths.pid()).ok()?.trim().parse().ok()?;
    is_ours(pid, paths).then_some(pid)
}

fn is_ours(pid: u32, paths: &Paths) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let socket = format!("unix:{},server=on,wait=off", paths.qmp().display());
    line.split(|b| *b == 0).any(|word| word == socket.as_bytes())
}

impl Hypervisor for Qemu {
    fn abilities(&self) -> BoxFuture<'_, Result<Arc<Abilities>>> {
        Box::pin(self.known())
    }

    fn find(&self) -> BoxFuture<'_, Result<HashMap<String, Arc<dyn Machine>>>> {
        Box::pin(async {
            let mut out: HashMap<String, Arc<dyn Machine>> = HashMap::new();
            for entry in std::fs::read_dir(&self.dir).map_err(base::Error::internal)? {
                let name = entry.map_err(base::Error::internal)?.file_name().to_string_lossy().into_owned();
                if let Ok(Some(machine)) = self.running(&name).await {
                    out.insert(name, machine);
                }
            }
            Ok(out)
        })
    }

    fn launch(&self, plan: Plan) -> BoxFuture<'_, Result<Arc<dyn Machine>>> {
        Box::pin(async move { self.start(plan).await.map(|m| m as Arc<dyn Machine>) })
    }

    fn upkeep<'a>(&'a self, running: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for guest in running {
                if let Ok(paths) = self.paths(guest) {
                    shorten(&paths.console());
                }
            }
        })
    }
}

/// Keeps the second half of a log that has grown too large. QEMU appends, so it goes on at the new end.
fn shorten(path: &Path) {
    use std::io::{Read, Seek, SeekFrom, Write};
    let Ok(mut file) = std::fs::OpenOptions::new().read(true).write(true).open(path) else { return };
    let Ok(size) = file.metadata().map(|m| m.len()) else { return };
    if size <= CONSOLE_MAX {
        return;
    }
    let mut tail = Vec::new();
    let kept = file.seek(SeekFrom::Start(size - CONSOLE_MAX / 2)).and_then(|_| file.read_to_end(&mut tail));
    if kept.is_ok() && file.set_len(0).is_ok() && file.seek(SeekFrom::Start(0)).is_ok() {
        let _full_disk = file.write_all(&tail);
    }
}
