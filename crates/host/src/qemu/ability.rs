//! What this machine's QEMU can do, found by running it: machine types by QMP, hardware virtualisation by a guest of one sector.
//!
//! A device node that opens proves nothing: there are machines whose `/dev/kvm` opens and whose guests never get anywhere.

use super::PROGRAM;
use crate::hypervisor::{Abilities, Accelerator, Firmware, MachineType};
use base::{Error, Result, err};
use qmp::{Limits, Qmp, QueryMachines, Quit};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Which accelerator the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Auto,
    Always(Accelerator),
}

impl Choice {
    pub fn parse(text: &str) -> Result<Choice> {
        match text {
            "" | "auto" => Ok(Choice::Auto),
            "kvm" => Ok(Choice::Always(Accelerator::Kvm)),
            "tcg" => Ok(Choice::Always(Accelerator::Tcg)),
            other => Err(err!(InputParameter, "accel: {} is not one of {}", other, "auto, kvm, tcg")),
        }
    }
}

const QUESTION: Duration = Duration::from_secs(60);
const KVM_PROBE: Duration = Duration::from_secs(10);
/// `isa-debug-exit` ends QEMU with twice the written value plus one.
const KVM_ANSWER: i32 = (0x31 << 1) | 1;

pub(super) async fn probe(choice: Choice) -> Result<Abilities> {
    let dir = scratch()?;
    let found = look(choice, &dir).await;
    let _best_effort = std::fs::remove_dir_all(&dir);
    found
}

fn scratch() -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("wolke-probe-{}-{}", std::process::id(), &base::hex_id()[..8]));
    std::fs::create_dir_all(&dir).map_err(Error::internal)?;
    Ok(dir)
}

async fn look(choice: Choice, dir: &Path) -> Result<Abilities> {
    let socket = dir.join("q");
    let mut child = Command::new(PROGRAM)
        .args(["-machine", "none", "-nodefaults", "-display", "none", "-S", "-qmp"])
        .arg(format!("unix:{},server=on,wait=off", socket.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| err!(InsufficientResource, "{} could not be started: {}; install the package qemu-system-x86", PROGRAM, e))?;
    let (link, _events) = connect(&socket).await?;
    let version = link.version().clone();
    let machines = link.run(&QueryMachines {}).await.map_err(Error::internal)?;
    let _ending = link.run(&Quit {}).await;
    let _ended = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
    let accelerator = match choice {
        Choice::Always(accelerator) => accelerator,
        Choice::Auto if kvm_works(dir).await => Accelerator::Kvm,
        Choice::Auto => Accelerator::Tcg,
    };
    let qemu_version = format!("{}.{}.{}", version.qemu.major, version.qemu.minor, version.qemu.micro);
    tracing::info!(accelerator = accelerator.name(), qemu = qemu_version, "hypervisor probed");
    Ok(Abilities {
        accelerator,
        qemu_version,
        machines: machines
            .into_iter()
            .map(|m| MachineType { name: m.name, alias: m.alias.unwrap_or_default(), max_cpus: i64::from(m.cpu_max) })
            .collect(),
        firmware: firmware(),
        host_memory_mb: memory(),
    })
}

/// Tries until the socket is there.
pub(super) async fn connect(socket: &Path) -> Result<(Qmp, qmp::Events)> {
    let end = tokio::time::Instant::now() + QUESTION;
    loop {
        match Qmp::connect(socket, Limits::default()).await {
            Ok(link) => return Ok(link),
            Err(e) if tokio::time::Instant::now() >= end => {
                return Err(err!(ServiceAbnormal, "QEMU's control socket does not answer").with_context(e));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Boots one sector of code that writes a value to a port, with the processor guests would get.
async fn kvm_works(dir: &Path) -> bool {
    if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let mut sector = vec![0u8; 512];
    // mov dx, 0xf4; mov al, 0x31; out dx, al; hlt; jmp $-1
    sector[..9].copy_from_slice(&[0xba, 0xf4, 0x00, 0xb0, 0x31, 0xee, 0xf4, 0xeb, 0xfd]);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let disk = dir.join("sector");
    if std::fs::write(&disk, &sector).is_err() {
        return false;
    }
    let status = Command::new(PROGRAM)
        .args(["-machine", "pc,accel=kvm", "-cpu", "host", "-m", "16M", "-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"])
        .arg("-blockdev")
        .arg(format!("driver=raw,node-name=d,read-only=on,file.driver=file,file.filename={}", disk.display()))
        .args(["-device", "virtio-blk-pci,drive=d,bootindex=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    matches!(tokio::time::timeout(KVM_PROBE, status).await, Ok(Ok(status)) if status.code() == Some(KVM_ANSWER))
}

/// Debian's UEFI firmware, with its variables.
fn firmware() -> Option<Firmware> {
    let dir = Path::new("/usr/share/OVMF");
    let (code, vars) = (dir.join("OVMF_CODE_4M.fd"), dir.join("OVMF_VARS_4M.fd"));
    (code.exists() && vars.exists()).then_some(Firmware { code, vars })
}

fn memory() -> i64 {
    std::fs::read_to_string("/proc/meminfo")
        .unwrap_or_default()
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<i64>().ok())
        .unwrap_or(0)
        / 1024
}
