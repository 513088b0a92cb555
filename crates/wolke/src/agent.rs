//! The host agent: run in the foreground by `wolke host`, or kept alive as a child process by `wolke up`.

use crate::{data::Data, frame::Frame, up::Up};
use anyhow::{Context, Result};
use clap::Args;
use std::{path::PathBuf, process::Stdio, time::Duration};

#[derive(Args, Clone, Debug)]
pub struct Host {
    /// Directory of guests, disks and the agent's own records.
    #[arg(long, env = "WOLKE_HOST_DATA", default_value = "/var/lib/wolke/host")]
    pub data: PathBuf,
    /// URL of the region, as http://127.0.0.1:7780/compute.
    #[arg(long, env = "WOLKE_REGION_URL")]
    pub region: String,
    /// One-time token for the first start; made with: wolke host-token create.
    #[arg(long, env = "WOLKE_HOST_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Bridge guests are plugged into, at most 15 bytes.
    #[arg(long, default_value = "wolke0")]
    pub bridge: String,
    /// Zone to join; left out: the only one.
    #[arg(long, default_value = "")]
    pub zone: String,
    /// Address the machine is reached at; left out: found.
    #[arg(long, default_value = "")]
    pub address: String,
    /// kvm, tcg or auto: probed by running a small machine.
    #[arg(long, default_value = "auto")]
    pub accel: String,
    /// PEM file of the CA that signed the region's certificate; left out: one the machine trusts.
    #[arg(long, env = "WOLKE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// Runs the agent until a signal.
pub async fn run(args: Host) -> Result<()> {
    let data = Data::open(&args.data)?;
    let config = host::Config {
        data_dir: data.dir.clone(),
        region_url: args.region,
        token: args.token.unwrap_or_default(),
        bridge: args.bridge,
        zone: args.zone,
        access_ip: args.address,
        accel: args.accel,
        version: telemetry::version().to_string(),
        ca: match &args.ca {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("--ca: {} cannot be read", file.display()))?,
            None => String::new(),
        },
    };
    let stop = service::Shutdown::new();
    let waiting = stop.clone();
    tokio::spawn(async move {
        let mut term = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(term) => term,
            Err(e) => {
                tracing::error!(error = %e, "no signals: stop the agent by killing it");
                return;
            }
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        waiting.trigger();
    });
    host::run(config, async move { stop.wait().await }).await?;
    Ok(())
}

/// Keeps an agent alive beside the control plane. The agent is in a session of its own and stays when we are killed; the next start finds it
/// by its data directory's lock and leaves it alone.
pub async fn supervise(frame: &Frame, up: &Up, region: &region::Region) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        tracing::warn!(
            "not root: the control plane runs, but no host agent; run `sudo wolke host` with a token for servers to run on this machine"
        );
        return Ok(());
    }
    let dir = frame.data.path("host");
    let agents = region.agents.clone();
    let program = std::env::current_exe().context("our own program cannot be found")?;
    let mut words = vec!["--region".to_string(), format!("{}/compute", frame.front.local), "--bridge".to_string(), up.bridge.clone()];
    if let Some(ca) = &frame.front.ca {
        words.extend(["--ca".to_string(), ca.display().to_string()]);
    }
    frame.process.worker("host agent", move |stop| {
        let (program, dir, words, agents) = (program.clone(), dir.clone(), words.clone(), agents.clone());
        async move {
            // An agent of an earlier life of ours goes on working; it is left alone until it ends, or we are told to.
            while let Some(pid) = Data::holder(&dir) {
                if stop.or(tokio::time::sleep(Duration::from_secs(1))).await.is_none() {
                    terminate(pid);
                    return Ok(());
                }
            }
            // Anew for each life: an earlier one may have used its token up and died before it wrote the credential down, or outlived it.
            let enrolled = dir.join("credential").exists();
            let token = if enrolled { String::new() } else { agents.new_token("default", 3600).await? };
            let mut child = tokio::process::Command::new(&program)
                .arg("host")
                .arg("--data")
                .arg(&dir)
                .args(&words)
                .env("WOLKE_HOST_TOKEN", token)
                .stdin(Stdio::null())
                .process_group(0)
                .spawn()
                .map_err(base::Error::internal)?;
            let pid = child.id();
            tokio::select! {
                status = child.wait() => {
                    let status = status.map_err(base::Error::internal)?;
                    if status.success() { Ok(()) } else { Err(base::Error::internal(format!("the agent ended with {status}"))) }
                }
                () = stop.wait() => {
                    if let Some(pid) = pid {
                        terminate(pid);
                        let _late = tokio::time::timeout(Duration::from_secs(8), child.wait()).await;
                    }
                    Ok(())
                }
            }
        }
    });
    Ok(())
}

/// Asks a process to end; one that is gone already has.
fn terminate(pid: u32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
        let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}
