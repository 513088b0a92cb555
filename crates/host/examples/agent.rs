//! The agent as a process of its own, over real QEMU and real disks but without a switch: `agent DATA-DIR STORAGE-DIR REGION-URL TOKEN`.
//! Tests kill it in every way. QEMU makes the taps it is given itself.

use base::Clock;
use host::disk::LocalDisks;
use host::qemu::{Choice, Qemu, Settings};
use host::records::FileRecords;
use host::{Agent, Parts, RegionHttp, Talk};
use host_net::SimNetwork;
use std::path::PathBuf;
use std::sync::Arc;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

#[tokio::main]
async fn main() -> base::Result<()> {
    let filter: Targets = "debug,hyper=warn,hyper_util=warn,reqwest=warn".parse().map_err(base::Error::internal)?;
    tracing_subscriber::registry().with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false)).with(filter).init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [data, storage, region, token] = args.as_slice() else {
        return Err(base::err!(MissingParameter, "usage: agent DATA-DIR STORAGE-DIR REGION-URL TOKEN"));
    };
    let (data, storage) = (PathBuf::from(data), PathBuf::from(storage));
    let region = Arc::new(RegionHttp::new(region, "")?);
    let room = host::probe::Host::new(vec![storage.clone()], "br0".into(), String::new(), String::new(), "test".into());
    let settings = Settings {
        program: "qemu-system-x86_64".into(),
        data: data.clone(),
        accelerator: Choice::Tcg,
        sandbox: true,
        host_memory_mb: room.memory_mb(),
    };
    let parts = Parts {
        hypervisor: Arc::new(Qemu::new(settings)),
        disks: Arc::new(LocalDisks::new(vec![storage], "qemu-img".into(), region.clone())),
        network: Arc::new(SimNetwork::default()),
        records: Arc::new(FileRecords::new(data)),
        region,
        machine_room: Arc::new(room),
        clock: Clock::real(),
    };
    let _agent = Agent::start(parts, Talk { enroll_token: token.clone(), ..Talk::default() }).await?;
    // Whoever started us holds the other end.
    let _ = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await;
    Ok(())
}
