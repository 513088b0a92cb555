//! The processes of guests: found by what they were started with, held by a descriptor that a reused number cannot fool.

use crate::records::guest_dir;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes the kernel keeps of a program's name.
const COMM: usize = 15;

/// One process; after its end no signal sent through this reaches another.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: u32,
    fd: Arc<OwnedFd>,
}

impl Process {
    /// Holds a process by its number. Errors when it is gone.
    pub fn open(pid: u32) -> io::Result<Process> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("not a process number"))?;
        Ok(Process { pid, fd: Arc::new(pidfd_open(number, PidfdFlags::NONBLOCK)?) })
    }

    pub fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
    }

    /// Returns when it has ended.
    pub async fn ended(&self) -> io::Result<()> {
        // The newer constructor is unsafe code, for a descriptor that is closed while it is watched; this one is ours alone.
        #[expect(deprecated, reason = "a descriptor nobody else has")]
        let watched = AsyncFd::with_interest(self.fd.try_clone()?, Interest::READABLE)?;
        loop {
            let mut ready = watched.readable().await?;
            if self.is_gone() {
                return Ok(());
            }
            ready.clear_ready();
        }
    }

    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Guests of this data directory that run now, by id. Also one is found whose launch was cut short by the death of an earlier agent and
/// which has written no file yet.
pub fn running(data: &Path) -> io::Result<HashMap<String, Process>> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Some(id) = guest_of(pid, data) else { continue };
        let Ok(process) = Process::open(pid) else { continue };
        // Asked again now that the number cannot change hands unseen: what is alive after the answer gave it.
        if guest_of(pid, data).as_ref() != Some(&id) || process.is_gone() {
            continue;
        }
        if let Some(other) = found.insert(id.clone(), process) {
            // A launch of an earlier agent caught between fork and exec shows both; the child is the guest.
            tracing::warn!(guest = %id, first = other.pid, second = pid, "two processes say they are this guest");
        }
    }
    Ok(found)
}

/// Hypervisor processes on their way out. Such a one has given back its memory, and with it the command line it was known by, while its
/// last threads still hold ports and disks: it is nobody's guest any more, but a new start has to wait for it.
pub fn leaving(program: &Path) -> io::Result<Vec<Process>> {
    let name = program.file_name().unwrap_or_default().as_encoded_bytes();
    let name = &name[..name.len().min(COMM)];
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let ours = std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_ascii_end() == name);
        if ours
            && std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
            && let Ok(process) = Process::open(pid)
            && !process.is_gone()
        {
            found.push(process);
        }
    }
    Ok(found)
}

/// The machine type a process was started with.
pub fn machine_type(pid: u32) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut args = line.split(|b| *b == 0);
    args.find(|a| *a == b"-machine")?;
    let value = std::str::from_utf8(args.next()?).ok()?;
    Some(value.split(',').next().unwrap_or(value).to_string())
}

/// The guest a process was started for, if it is one of this data directory.
fn guest_of(pid: u32, data: &Path) -> Option<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    guest_of_line(&line, data)
}

fn guest_of_line(line: &[u8], data: &Path) -> Option<String> {
    let args: Vec<&str> = line.split(|b| *b == 0).filter_map(|a| std::str::from_utf8(a).ok()).collect();
    let after = |option: &str| args.iter().position(|a| *a == option).and_then(|at| args.get(at + 1)).copied();
    let (id, pid_file) = (after("-uuid")?, after("-pidfile")?);
    (Path::new(pid_file) == guest_dir(data, id).join("pid")).then(|| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_our_own() {
        let data = Path::new("/var/lib/wolke/host");
        let line =
            |id: &str, file: &str| format!("/usr/bin/qemu-system-x86_64\0-name\0a\0-uuid\0{id}\0-pidfile\0{file}\0-S\0").into_bytes();
        assert_eq!(guest_of_line(&line("g1", "/var/lib/wolke/host/guests/g1/pid"), data), Some("g1".into()));
        assert_eq!(guest_of_line(&line("g1", "/var/lib/wolke/host/guests/g2/pid"), data), None);
        assert_eq!(guest_of_line(&line("g1", "/elsewhere/guests/g1/pid"), data), None);
        assert_eq!(guest_of_line(b"", data), None);
        assert_eq!(guest_of_line(b"-uuid\0", data), None);
    }

    /// A process whose threads outlive its first one looks as one does that is being torn down: it has no command line any more.
    #[tokio::test(flavor = "multi_thread")]
    async fn one_on_its_way_out_is_waited_for() {
        // The thread that is left reads until its input ends: as long as it is looked for.
        let script = "import ctypes,os,threading\nthreading.Thread(target=os.read,args=(0,1)).start()\n\
                      ctypes.CDLL(None).syscall(60,0)\n";
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("leaving-machine-with-a-long-name");
        let python = ["/usr/bin/python3", "/usr/local/bin/python3"].into_iter().find(|p| Path::new(p).exists()).expect("package python3");
        std::os::unix::fs::symlink(python, &program).unwrap();
        let mut child = std::process::Command::new(&program).args(["-c", script]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let began = std::time::Instant::now();
        let found = loop {
            let found = leaving(&program).unwrap();
            if !found.is_empty() {
                break found;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "never seen leaving");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(found.iter().map(|p| p.pid).collect::<Vec<_>>(), [child.id()]);
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(60), found[0].ended()).await.unwrap().unwrap();
        assert!(leaving(&program).unwrap().is_empty());
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn the_end_is_seen_and_a_later_signal_hits_nobody() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        assert!(!process.is_gone());
        let waiting = tokio::spawn({
            let process = process.clone();
            async move { process.ended().await }
        });
        process.signal(Signal::KILL).unwrap();
        tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap().unwrap();
        child.wait().unwrap();
        assert!(process.is_gone());
        process.signal(Signal::TERM).unwrap();
        assert!(Process::open(child.id()).is_err());
    }
}
