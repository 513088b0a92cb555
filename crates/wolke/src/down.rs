//! `wolke down`: ends what a data directory's platform runs on this machine, and takes away what it made.
//!
//! A process is ours only when its command line names the directory: a pid in a file may have been given to another since.

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

#[derive(Args, Clone, Debug)]
pub struct Down {
    /// Directory given to `wolke up`.
    #[arg(long, env = "WOLKE_DATA", default_value_os_t = crate::data::default_dir())]
    pub data: PathBuf,
    /// Remove the directory too: databases, images, disks.
    #[arg(long)]
    pub purge: bool,
}

/// Time for an orderly end before the kill.
const POLITE: Duration = Duration::from_secs(20);

pub async fn run(down: Down) -> Result<()> {
    let Ok(data) = down.data.canonicalize() else {
        println!("{} does not exist: nothing to end", down.data.display());
        return Ok(());
    };
    if !["lock", "secret.key", "credential"].iter().any(|name| data.join(name).exists()) && fs::read_dir(&data)?.next().is_some() {
        bail!("{} is no data directory of wolke; name the right one with --data", data.display());
    }
    let host = data.join("host");
    // Whoever would start something anew goes first.
    end("the control plane", &running(|line| is(line, "up", &data))).await?;
    end("the host agent", &running(|line| is(line, "host", &host))).await?;
    let guests = running(|line| line.windows(2).any(|pair| pair[0] == "-pidfile" && Path::new(&pair[1]).starts_with(host.join("guests"))));
    end("servers", &guests).await?;
    if host.join("net").exists() {
        host_net::down(host_net::Config::new(host.join("net"))).await.context("the network of the servers could not be taken down")?;
        println!("ended the network of the servers");
    }
    if down.purge {
        fs::remove_dir_all(&data).with_context(|| format!("{} cannot be removed", data.display()))?;
        println!("removed {}", data.display());
    }
    Ok(())
}

/// Whether a command line is `wolke WORD … --data DIR`.
fn is(line: &[String], word: &str, dir: &Path) -> bool {
    let mut given = line.windows(2).filter(|pair| pair[0] == "--data").map(|pair| pair[1].as_str());
    let same = |text: &str| Path::new(text).canonicalize().is_ok_and(|path| path == dir);
    let program = line.first().map(|p| Path::new(p).file_name().is_some_and(|n| n == "wolke")).unwrap_or(false);
    let default = crate::data::default_dir();
    let default = if word == "host" { default.join("host") } else { default };
    program && line.get(1).is_some_and(|w| w == word) && given.next().map_or(default.as_path() == dir, same)
}

/// Processes whose command line fits.
fn running(fits: impl Fn(&[String]) -> bool) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let me = rustix::process::getpid();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line: Vec<String> = text.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
            fits(&line)
        })
        .filter_map(Pid::from_raw)
        .filter(|pid| *pid != me)
        .collect()
}

fn alive(pid: Pid) -> bool {
    // A zombie has ended; its parent is just slow.
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

async fn end(what: &str, pids: &[Pid]) -> Result<()> {
    if pids.is_empty() {
        return Ok(());
    }
    for (signal, patience) in [(Signal::TERM, POLITE), (Signal::KILL, POLITE)] {
        for pid in pids.iter().filter(|p| alive(**p)) {
            match kill_process(*pid, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(e) => bail!("{what}: process {} cannot be ended ({e}); run this as the user that started it", pid.as_raw_nonzero()),
            }
        }
        let started = Instant::now();
        while started.elapsed() < patience {
            if !pids.iter().any(|p| alive(*p)) {
                println!("ended {what} ({})", pids.len());
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    bail!("{what} did not end; see `ps` for what holds it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_command_line_of_this_directory_is_ours() {
        let dir = std::env::temp_dir().canonicalize().expect("a directory");
        let text = dir.display().to_string();
        let line = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
        assert!(is(&line(&["/opt/wolke", "up", "--data", &text]), "up", &dir));
        assert!(!is(&line(&["/opt/wolke", "up", "--data", "/nowhere"]), "up", &dir));
        assert!(!is(&line(&["/opt/wolke", "host", "--data", &text]), "up", &dir));
        assert!(!is(&line(&["/usr/bin/vi", "up", "--data", &text]), "up", &dir));
        assert!(!is(&line(&["wolke", "up"]), "up", &dir), "the default directory is another");
    }
}
