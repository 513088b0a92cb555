//! QEMU behind the [`Hypervisor`] trait.
//!
//! Each guest is one process in a session of its own: neither the agent's end, nor a signal to its process group, nor a hang-up of its
//! terminal reaches it. (A service manager that kills by control group must be told to kill only the agent: `KillMode=process`.) It is
//! started without `-daemonize`, because that forbids the sandbox to deny making processes.

mod command_line;
mod devices;
mod files;
mod machine;
mod probe;
mod process;
mod seed;

#[cfg(test)]
mod golden_tests;

pub use files::GuestFiles;
pub use probe::Choice;

use crate::files::{remove, replace, safe_name};
use crate::hypervisor::{Abilities, Hypervisor, Machine, Plan};
use base::{Error, Result, err};
use host_net::BoxFuture;
use machine::{QemuMachine, last_words};
use process::Process;
use qmp::{Limits, Qmp};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

/// From the start of the process to its control socket. Reading a large firmware from a slow disk takes seconds.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// A guest with much memory takes some time to give it back.
const LEFT_WITHIN: Duration = Duration::from_secs(60);
/// Of the console's log the newest part is kept, of this many bytes.
const LOG_KEPT: u64 = 1 << 20;
/// And it is cut when larger than this: a guest writes it, and could fill the host's disk.
const LOG_MAX: u64 = 8 << 20;

/// The real [`Hypervisor`].
pub struct Qemu {
    settings: Settings,
    abilities: OnceCell<Arc<Abilities>>,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub program: PathBuf,
    /// The agent's data directory.
    pub data: PathBuf,
    pub accelerator: Choice,
    pub sandbox: bool,
    /// MiB
    pub host_memory_mb: i64,
}

impl Qemu {
    pub fn new(settings: Settings) -> Qemu {
        Qemu { settings, abilities: OnceCell::new() }
    }

    async fn able(&self) -> Result<Arc<Abilities>> {
        let s = &self.settings;
        let found = self
            .abilities
            .get_or_try_init(|| async { probe::abilities(&s.program, &s.data, s.accelerator, s.host_memory_mb).await.map(Arc::new) });
        found.await.cloned()
    }

    /// Guests that run, once those that are ending have ended: a start beside one of them would find its ports and disks taken.
    async fn found(&self) -> Result<HashMap<String, Process>> {
        let unreadable = |e: io::Error| err!(Internal, "the processes of this host cannot be read: {}", e);
        let running = process::running(&self.settings.data).map_err(unreadable)?;
        for process in process::leaving(&self.settings.program).map_err(unreadable)? {
            tracing::info!(pid = process.pid, "waiting for the end of a hypervisor process");
            if timeout(LEFT_WITHIN, process.ended()).await.is_err() {
                tracing::warn!(pid = process.pid, "a hypervisor process is stuck in its end");
            }
        }
        Ok(running)
    }

    async fn start(&self, plan: Plan) -> Result<Arc<dyn Machine>> {
        safe_name(&plan.guest.id)?;
        let abilities = self.able().await?;
        let files = GuestFiles::new(&self.settings.data, &plan.guest.id)?;
        if let Some(process) = self.found().await?.remove(&plan.guest.id) {
            return Ok(Arc::new(QemuMachine::follow(&plan.guest.id, files, process, &plan.machine_type, None)));
        }
        let machine_type = command_line::machine_type(&plan, &abilities)?;
        let args = command_line::command_line(&plan, &files, &abilities, &machine_type, self.settings.sandbox)?;
        prepare(&plan, &files, &abilities)?;
        tracing::debug!(guest = %plan.guest.id, ?args, "starting");
        let mut child = self.spawn(&args, &files)?;
        let pid = child.id().ok_or_else(|| err!(Internal, "the hypervisor process ended at once"))?;
        let ready = self.ready(&mut child, &files).await;
        let link = match ready {
            Ok(link) => link,
            Err(e) => {
                let _ = child.kill().await;
                return Err(e);
            }
        };
        let process = Process::open(pid).map_err(|e| err!(Internal, "the hypervisor process is gone: {}", e))?;
        // Dropping the handle kills nothing; the runtime still collects the process when it ends.
        drop(child);
        Ok(Arc::new(QemuMachine::follow(&plan.guest.id, files, process, &machine_type, Some(link))))
    }

    fn spawn(&self, args: &[String], files: &GuestFiles) -> Result<Child> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(files.log()).map_err(|e| unusable(files, &e))?;
        let again = log.try_clone().map_err(|e| unusable(files, &e))?;
        let mut command = Command::new("setsid");
        command.arg(&self.settings.program).args(args).current_dir("/");
        command.stdin(Stdio::null()).stdout(log).stderr(again).kill_on_drop(false);
        command.spawn().map_err(|e| err!(ServiceAbnormal, "{} cannot be run: {}", "setsid", e))
    }

    /// Waits for the control socket, or for the process to say why there will be none.
    async fn ready(&self, child: &mut Child, files: &GuestFiles) -> Result<(Qmp, qmp::Events)> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = child.try_wait().map_err(Error::internal)? {
                let words = last_words(files).unwrap_or_else(|| status.to_string());
                return Err(err!(InvalidStatus, "the hypervisor did not start: {}", words));
            }
            match Qmp::connect(&files.control(), Limits { answer: READY_WITHIN, ..Limits::default() }).await {
                Ok(link) => return Ok(link),
                Err(_) if Instant::now() < until => sleep(Duration::from_millis(20)).await,
                Err(e) => return Err(err!(Timeout, "the hypervisor did not answer in time").with_context(e)),
            }
        }
    }
}

/// Files the process opens; leftovers of its last life go.
fn prepare(plan: &Plan, files: &GuestFiles, abilities: &Abilities) -> Result<()> {
    let seed = seed::image(&plan.guest)?;
    let make = || -> io::Result<()> {
        std::fs::create_dir_all(&files.dir)?;
        for old in [files.control(), files.serial(), files.vnc(), files.agent(), files.pid()] {
            remove(&old)?;
        }
        // Only the last start's words matter.
        remove(&files.log())?;
        replace(&files.seed(), &seed, 0o600)?;
        if plan.guest.bios.eq_ignore_ascii_case("UEFI")
            && let Some(firmware) = &abilities.firmware
            && !files.firmware_vars().exists()
        {
            replace(&files.firmware_vars(), &std::fs::read(&firmware.vars)?, 0o600)?;
        }
        Ok(())
    };
    make().map_err(|e| unusable(files, &e))
}

fn unusable(files: &GuestFiles, e: &io::Error) -> Error {
    if e.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) {
        return err!(OutOfResource, "the file system of {} is full; free some space", files.dir.display());
    }
    err!(Internal, "the guest's directory {} cannot be used: {}", files.dir.display(), e)
}

/// Keeps the newest part of a log beside it and empties it. The writer appends, so it goes on at the new end.
fn cut(log: &std::path::Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(log) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let size = file.metadata()?.len();
    if size <= LOG_MAX {
        return Ok(());
    }
    file.seek(SeekFrom::Start(size - LOG_KEPT))?;
    let mut newest = Vec::new();
    file.by_ref().take(LOG_KEPT).read_to_end(&mut newest)?;
    replace(&log.with_extension("log.1"), &newest, 0o600)?;
    file.set_len(0)
}

impl Hypervisor for Qemu {
    fn abilities(&self) -> BoxFuture<'_, Result<Arc<Abilities>>> {
        Box::pin(self.able())
    }

    fn find(&self) -> BoxFuture<'_, Result<HashMap<String, Arc<dyn Machine>>>> {
        Box::pin(async {
            let mut machines: HashMap<String, Arc<dyn Machine>> = HashMap::new();
            for (id, process) in self.found().await? {
                let files = GuestFiles::new(&self.settings.data, &id)?;
                let machine_type = process::machine_type(process.pid).unwrap_or_default();
                machines.insert(id.clone(), Arc::new(QemuMachine::follow(&id, files, process, &machine_type, None)));
            }
            Ok(machines)
        })
    }

    fn launch(&self, plan: Plan) -> BoxFuture<'_, Result<Arc<dyn Machine>>> {
        Box::pin(self.start(plan))
    }

    fn upkeep<'a>(&'a self, running: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for id in running {
                let Ok(files) = GuestFiles::new(&self.settings.data, id) else { continue };
                for log in [files.serial_log(), files.log()] {
                    if let Err(e) = cut(&log) {
                        tracing::warn!(log = %log.display(), error = %e, "the log cannot be cut");
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn logs_are_cut_and_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("serial.log");
        cut(&log).unwrap();
        let mut writer = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        writer.write_all(&vec![b'a'; LOG_MAX as usize]).unwrap();
        cut(&log).unwrap();
        assert_eq!(std::fs::metadata(&log).unwrap().len(), LOG_MAX, "not yet too large");
        writer.write_all(b"newest").unwrap();
        cut(&log).unwrap();
        writer.write_all(b"more").unwrap();
        assert_eq!(std::fs::read(&log).unwrap(), b"more");
        let kept = std::fs::read(dir.path().join("serial.log.1")).unwrap();
        assert!(kept.len() as u64 == LOG_KEPT && kept.ends_with(b"newest"));
    }
}
