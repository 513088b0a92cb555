//! Finds out what this host's QEMU can do, by running it.
//!
//! That `/dev/kvm` opens proves nothing: in a nested or restricted host guests then stand still. So a guest of 512 bytes is started: it
//! switches to protected mode, counts to 200 million, which a processor does in a tenth of a second and a software interpreter in minutes, and
//! ends QEMU through a debug port. Only an accelerator that gets it there in time is used.

use crate::files::replace;
use crate::hypervisor::{Abilities, Accelerator, Firmware, MachineType};
use base::{Result, err};
use qmp::{Limits, Qmp, QueryMachines, QueryVersion, Quit};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// `isa-debug-exit` ends QEMU with twice the byte written plus one.
const ARRIVED: i32 = (0x15 << 1) | 1;
const KVM_WITHIN: Duration = Duration::from_secs(10);
/// The emulator needs about a second; a busy host may make it a minute.
const TCG_WITHIN: Duration = Duration::from_secs(120);

/// Which accelerator the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// KVM if guests really run with it.
    #[default]
    Auto,
    Kvm,
    Tcg,
}

impl Choice {
    /// `auto`, `kvm` or `tcg`.
    pub fn parse(text: &str) -> Result<Choice> {
        match text {
            "" | "auto" => Ok(Choice::Auto),
            "kvm" => Ok(Choice::Kvm),
            "tcg" => Ok(Choice::Tcg),
            other => Err(err!(InputParameter, "accelerator {} is not one of auto, kvm, tcg", other)),
        }
    }
}

/// The abilities, found anew or as found earlier in this boot of the host with the same program: an agent that was restarted should not keep
/// guests waiting.
pub(super) async fn abilities(program: &Path, data: &Path, choice: Choice, host_memory_mb: i64) -> Result<Abilities> {
    let (file, key) = (data.join("abilities.json"), key(program, choice));
    if let Some(known) = known(&file, &key) {
        return Ok(Abilities { host_memory_mb, firmware: firmware(Path::new("/")), ..known });
    }
    let dir = data.join("probe");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|e| err!(Internal, "directory {} cannot be made: {}", dir.display(), e))?;
    let accelerator = accelerator(program, &dir, choice).await?;
    let (qemu_version, machines) = ask(program, &dir).await?;
    let _ = std::fs::remove_dir_all(&dir);
    tracing::info!(%qemu_version, accelerator = accelerator.name(), "hypervisor");
    let found = Abilities { accelerator, qemu_version, machines, firmware: firmware(Path::new("/")), host_memory_mb };
    let noted = serde_json::to_vec(&(&key, &found)).map_err(std::io::Error::other).and_then(|n| replace(&file, &n, 0o600));
    if let Err(e) = noted {
        tracing::warn!(error = %e, "what the hypervisor can do will be found out again at the next start");
    }
    Ok(found)
}

/// What the answer depends on. Without the program's facts there is nothing to compare, and the probe says what is wrong.
fn key(program: &Path, choice: Choice) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|dir| dir.join(program));
    let facts = candidates.filter_map(|p| std::fs::metadata(p).ok()).find(std::fs::Metadata::is_file)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(format!("{choice:?} {} {} {} {}", facts.ino(), facts.size(), facts.mtime(), boot.trim()))
}

fn known(file: &Path, key: &Option<String>) -> Option<Abilities> {
    key.as_ref()?;
    let (of, known): (Option<String>, Abilities) = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    (of == *key).then_some(known)
}

async fn accelerator(program: &Path, dir: &Path, choice: Choice) -> Result<Accelerator> {
    if choice != Choice::Tcg {
        let there = Path::new("/dev/kvm").exists();
        if there && runs(program, dir, Accelerator::Kvm, KVM_WITHIN).await? {
            return Ok(Accelerator::Kvm);
        }
        if choice == Choice::Kvm {
            return Err(err!(ServiceAbnormal, "guests do not run with KVM on this host; enable it or choose accelerator tcg"));
        }
        if there {
            tracing::warn!("/dev/kvm is there but guests do not run with it; they will be emulated");
        }
    }
    if runs(program, dir, Accelerator::Tcg, TCG_WITHIN).await? {
        return Ok(Accelerator::Tcg);
    }
    Err(err!(ServiceAbnormal, "no guest runs on this host, not even emulated; see whether {} works", program.display()))
}

/// Whether the probe's guest arrives in time.
async fn runs(program: &Path, dir: &Path, accelerator: Accelerator, within: Duration) -> Result<bool> {
    let image = dir.join("probe.img");
    std::fs::write(&image, boot_sector()).map_err(|e| err!(Internal, "file {} cannot be written: {}", image.display(), e))?;
    let cpu = if accelerator == Accelerator::Kvm { "host" } else { "max" };
    let disk = serde_json::json!({"driver": "file", "node-name": "d", "filename": image, "read-only": true}).to_string();
    let args = ["-machine", "pc", "-accel", accelerator.name(), "-cpu", cpu, "-m", "16", "-no-reboot", "-blockdev", &disk];
    let devices = ["-device", "virtio-blk-pci,drive=d,bootindex=1", "-device", "isa-debug-exit,iobase=0xf4,iosize=1"];
    let mut child = spawn(program, args.iter().chain(&devices))?;
    let began = Instant::now();
    match timeout(within, child.wait()).await {
        Ok(Ok(status)) => {
            tracing::debug!(accelerator = accelerator.name(), ?status, took = ?began.elapsed(), "probe ended");
            Ok(status.code() == Some(ARRIVED))
        }
        Ok(Err(e)) => Err(err!(Internal, "the probe cannot be waited for: {}", e)),
        Err(_) => {
            let _ = child.kill().await;
            Ok(false)
        }
    }
}

fn spawn<'a>(program: &Path, args: impl IntoIterator<Item = &'a &'a str>) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().map_err(|e| err!(ServiceAbnormal, "{} cannot be run ({}); install the package qemu-system-x86", program.display(), e))
}

/// Version and machine types, over the control socket of a QEMU without a machine.
async fn ask(program: &Path, dir: &Path) -> Result<(String, Vec<MachineType>)> {
    let socket = dir.join("qmp");
    let option = format!("unix:{},server=on,wait=off", socket.display());
    let mut child = spawn(program, ["-machine", "none", "-S", "-qmp", &option].iter())?;
    let until = Instant::now() + TCG_WITHIN;
    let (link, _events) = loop {
        match Qmp::connect(&socket, Limits::default()).await {
            Ok(link) => break link,
            Err(e) if Instant::now() >= until => return Err(unanswered(program, e)),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    };
    let version = link.run(&QueryVersion {}).await.map_err(|e| unanswered(program, e))?;
    let machines = link.run(&QueryMachines {}).await.map_err(|e| unanswered(program, e))?;
    let _ = link.run(&Quit {}).await;
    let _ = timeout(Duration::from_secs(10), child.wait()).await;
    let machine = |m: qmp::MachineInfo| MachineType { name: m.name, alias: m.alias.unwrap_or_default(), max_cpus: i64::from(m.cpu_max) };
    Ok((version.qemu.to_string(), machines.into_iter().map(machine).collect()))
}

fn unanswered(program: &Path, e: qmp::Error) -> base::Error {
    err!(ServiceAbnormal, "{} does not answer on its control socket", program.display()).with_context(e)
}

/// Where distributions put OVMF.
fn firmware(root: &Path) -> Option<Firmware> {
    let pairs = [
        ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
        ("usr/share/edk2/ovmf/OVMF_CODE.fd", "usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("usr/share/edk2/x64/OVMF_CODE.4m.fd", "usr/share/edk2/x64/OVMF_VARS.4m.fd"),
        ("usr/share/qemu/ovmf-x86_64-code.bin", "usr/share/qemu/ovmf-x86_64-vars.bin"),
    ];
    let at = |p: &str| -> PathBuf { root.join(p) };
    let found = pairs.iter().find(|(code, vars)| at(code).exists() && at(vars).exists())?;
    Some(Firmware { code: at(found.0), vars: at(found.1) })
}

/// The probe's guest, on a disk large enough for the BIOS to take it for one.
fn boot_sector() -> Vec<u8> {
    let mut code: Vec<u8> = Vec::with_capacity(1 << 20);
    code.extend([0xfa]); // cli
    code.extend([0x31, 0xc0, 0x8e, 0xd8]); // xor ax,ax; mov ds,ax
    code.extend([0x0f, 0x01, 0x16, 0x48, 0x7c]); // lgdt [0x7c48]
    code.extend([0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0]); // mov eax,cr0; or al,1; mov cr0,eax
    code.extend([0xea, 0x17, 0x7c, 0x08, 0x00]); // jmp 0x08:0x7c17, the next line
    code.extend([0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8]); // mov ax,0x10; mov ds,eax
    code.push(0xb9); // mov ecx, count
    code.extend(200_000_000u32.to_le_bytes());
    code.extend([0x49, 0x75, 0xfd]); // dec ecx; jnz back to it
    code.extend([0xb0, 0x15, 0xe6, 0xf4]); // mov al,0x15; out 0xf4,al
    code.extend([0xf4, 0xeb, 0xfd]); // hlt, again and again
    code.resize(0x30, 0);
    code.extend([0; 8]); // descriptor table at 0x7c30: none, flat code, flat data
    code.extend([0xff, 0xff, 0, 0, 0, 0x9a, 0xcf, 0]);
    code.extend([0xff, 0xff, 0, 0, 0, 0x92, 0xcf, 0]);
    code.extend([0x17, 0]); // at 0x7c48: its limit and address
    code.extend(0x7c30u32.to_le_bytes());
    code.resize(510, 0);
    code.extend([0x55, 0xaa]);
    code.resize(1 << 20, 0);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real QEMU, package qemu-system-x86.
    #[tokio::test]
    async fn the_probe_arrives_emulated() {
        let dir = tempfile::tempdir().unwrap();
        let found = abilities(Path::new("qemu-system-x86_64"), dir.path(), Choice::Tcg, 1000).await.unwrap();
        assert_eq!(found.accelerator, Accelerator::Tcg);
        assert!(found.qemu_version.split('.').count() == 3, "{}", found.qemu_version);
        let alias = |a: &str| found.machines.iter().find(|m| m.alias == a).map(|m| m.name.clone()).unwrap_or_default();
        assert!(alias("pc").starts_with("pc-i440fx-") && alias("q35").starts_with("pc-q35-"));

        // A second agent of this boot takes it as known; another choice of the operator is probed anew.
        let file = dir.path().join("abilities.json");
        let again = known(&file, &key(Path::new("qemu-system-x86_64"), Choice::Tcg)).unwrap();
        assert_eq!(again, found);
        assert_eq!(known(&file, &key(Path::new("qemu-system-x86_64"), Choice::Auto)), None);
        std::fs::write(&file, "half").unwrap();
        assert_eq!(known(&file, &key(Path::new("qemu-system-x86_64"), Choice::Tcg)), None);
    }

    #[tokio::test]
    async fn a_guest_that_does_not_arrive_is_no_accelerator() {
        let dir = tempfile::tempdir().unwrap();
        let sleeper = dir.path().join("qemu");
        std::fs::write(&sleeper, "#!/bin/sh\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(&sleeper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(!runs(&sleeper, dir.path(), Accelerator::Kvm, Duration::from_millis(200)).await.unwrap());
        let e = abilities(Path::new("/nonexistent/qemu"), dir.path(), Choice::Tcg, 1000).await.unwrap_err();
        assert!(e.to_string().contains("qemu-system-x86"), "{e}");
    }

    #[test]
    fn firmware_of_any_distribution() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(firmware(root.path()), None);
        let dir = root.path().join("usr/share/edk2/ovmf");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("OVMF_CODE.fd"), "").unwrap();
        assert_eq!(firmware(root.path()), None, "half of it is none of it");
        std::fs::write(dir.join("OVMF_VARS.fd"), "").unwrap();
        assert_eq!(firmware(root.path()).unwrap().code, dir.join("OVMF_CODE.fd"));
    }
}
