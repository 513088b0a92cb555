//! Command lines as files: a change of one is a change somebody should look at. `UPDATE_GOLDEN=1` writes them anew.

use super::command_line::{command_line, machine_type};
use super::files::GuestFiles;
use crate::disk::Attachment;
use crate::hypervisor::*;
use api_agent::{GuestDisk, GuestNic, GuestSpec};
use host_net::Tap;
use std::path::{Path, PathBuf};

pub(super) fn abilities() -> Abilities {
    let machine = |name: &str, alias: &str| MachineType { name: name.into(), alias: alias.into(), max_cpus: 255 };
    Abilities {
        accelerator: Accelerator::Tcg,
        qemu_version: "10.0.2".into(),
        machines: vec![
            machine("pc-i440fx-9.2", ""),
            machine("pc-i440fx-10.0", "pc"),
            machine("pc-q35-10.0", "q35"),
            machine("microvm", ""),
        ],
        firmware: Some(Firmware { code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(), vars: "/usr/share/OVMF/OVMF_VARS_4M.fd".into() }),
        host_memory_mb: 65_536,
    }
}

fn small() -> Plan {
    Plan {
        guest: GuestSpec {
            id: "8a7e0f4c-1111-4222-8333-444455556666".into(),
            name: "web".into(),
            vcpu_count: 1,
            vmem_size: 128,
            machine: "pc".into(),
            vga: "none".into(),
            ..GuestSpec::default()
        },
        disks: vec![disk(0, "virtio", Some("img"))],
        nics: vec![nic(0, "virtio")],
        ..Plan::default()
    }
}

fn disk(index: i64, driver: &str, image: Option<&str>) -> PlanDisk {
    let disk_id = format!("d{index}000000-1111-4222-8333-444455556666");
    let path = PathBuf::from(format!("/st/disks/{disk_id}.qcow2"));
    let backing = image.map(|i| (PathBuf::from(format!("/st/imagecache/{i}")), "qcow2".to_string()));
    let disk = GuestDisk { disk_id, index, driver: driver.into(), cache_mode: "none".into(), boot_index: -1 };
    PlanDisk { disk, at: Attachment { path, format: "qcow2".into(), backing, direct: true } }
}

fn nic(index: i64, driver: &str) -> PlanNic {
    let (mac, ifname) = (format!("00:22:aa:00:00:0{index}"), format!("tap-{index}"));
    let spec = GuestNic { index, mac, driver: driver.into(), ifname: ifname.clone(), ..Default::default() };
    PlanNic { nic: spec, tap: Tap { ifname, vnet_hdr: index == 0 }, mtu: 1400 * index }
}

fn golden(name: &str, plan: &Plan, abilities: &Abilities) {
    let files = GuestFiles::new(Path::new("/var/lib/wolke/host"), &plan.guest.id).unwrap();
    let args = command_line(plan, &files, abilities, &machine_type(plan, abilities).unwrap(), true).unwrap();
    let mut text = String::new();
    for arg in &args {
        let option = arg.starts_with('-') && arg.chars().nth(1).is_some_and(|c| c.is_ascii_alphabetic());
        text.push_str(if option && !text.is_empty() {
            "\n"
        } else if text.is_empty() {
            ""
        } else {
            " "
        });
        text.push_str(arg);
    }
    text.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(want == text, "{} is not what is made now; look at the difference and run with UPDATE_GOLDEN=1:\n{text}", path.display());
}

#[test]
fn small_emulated_guest() {
    golden("small.txt", &small(), &abilities());
}

#[test]
fn large_uefi_guest_with_kvm() {
    let mut plan = small();
    plan.guest.machine = "q35".into();
    plan.guest.bios = "UEFI".into();
    plan.guest.vga = "virtio".into();
    plan.guest.name = "a,b=\"c\"\n".into();
    plan.guest.vcpu_count = 4;
    plan.guest.vmem_size = 8192;
    plan.disks = vec![disk(0, "virtio", None), disk(1, "scsi", None), disk(2, "sata", None)];
    plan.disks[0].disk.cache_mode = "writethrough".into();
    plan.disks[1].disk.boot_index = 0;
    plan.disks[2].at = Attachment { path: "/st/disks/x.raw".into(), format: "raw".into(), backing: None, direct: false };
    plan.nics = vec![nic(0, "virtio"), nic(1, "virtio"), nic(2, "e1000")];
    golden("large.txt", &plan, &Abilities { accelerator: Accelerator::Kvm, ..abilities() });
}

/// Processors, memory, sockets, and what QEMU is told: each socket with as many, never more than the machine takes.
#[test]
fn processors_lie_in_the_sockets_that_were_asked_for() {
    let mut plan = small();
    let cases = [
        ((1, 128, 0), "cpus=1,maxcpus=1,sockets=1,cores=1,threads=1"),
        ((4, 128, 2), "cpus=4,maxcpus=4,sockets=2,cores=2,threads=1"),
        ((4, 8192, 2), "cpus=4,maxcpus=8,sockets=2,cores=4,threads=1"),
        ((3, 128, 2), "cpus=3,maxcpus=4,sockets=2,cores=2,threads=1"),
        ((6, 8192, 5), "cpus=6,maxcpus=15,sockets=5,cores=3,threads=1"),
        ((2, 128, 8), "cpus=2,maxcpus=2,sockets=2,cores=1,threads=1"),
    ];
    for ((cpus, memory, sockets), want) in cases {
        (plan.guest.vcpu_count, plan.guest.vmem_size, plan.guest.cpu_sockets) = (cpus, memory, sockets);
        let files = GuestFiles::new(Path::new("/var/lib/wolke/host"), &plan.guest.id).unwrap();
        let args = command_line(&plan, &files, &abilities(), &machine_type(&plan, &abilities()).unwrap(), true).unwrap();
        let at = args.iter().position(|a| a == "-smp").unwrap();
        assert_eq!(args[at + 1], want);
    }
}

#[test]
fn guest_that_boots_from_the_network() {
    let mut plan = small();
    plan.guest.boot_order = "ncd".into();
    plan.guest.vga = String::new();
    plan.guest.vmem_size = 1024;
    plan.disks = vec![disk(0, "ide", None), disk(1, "sata", None)];
    plan.machine_type = "pc-i440fx-9.2".into();
    golden("network-boot.txt", &plan, &abilities());
}

#[test]
fn refused() {
    let files = GuestFiles::new(Path::new("/d"), "g").unwrap();
    let says = |change: &dyn Fn(&mut Plan)| {
        let mut plan = small();
        change(&mut plan);
        let made = machine_type(&plan, &abilities()).and_then(|m| command_line(&plan, &files, &abilities(), &m, true));
        made.expect_err("refused").to_string()
    };
    for (want, change) in [
        ("not a UUID", (&|p: &mut Plan| p.guest.id = "g".into()) as &dyn Fn(&mut Plan)),
        ("use pc or q35", &|p| p.guest.machine = "virt".into()),
        ("must have a processor", &|p| p.guest.vcpu_count = 0),
        ("disk driver floppy", &|p| p.disks[0].disk.driver = "floppy".into()),
        ("at most 16 disks", &|p| p.disks[0].disk.index = 16),
        ("no place for disk 3 on ide", &|p| p.disks = vec![disk(3, "ide", None)]),
        ("at most 8 interfaces", &|p| p.nics[0].nic.index = 8),
        ("interface driver x", &|p| p.nics[0].nic.driver = "x".into()),
        ("display big", &|p| p.guest.vga = "big".into()),
    ] {
        let got = says(change);
        assert!(got.contains(want), "{want}: {got}");
    }
    let without = Abilities { firmware: None, ..abilities() };
    let mut plan = small();
    plan.guest.bios = "UEFI".into();
    let e = command_line(&plan, &files, &without, "pc-i440fx-10.0", true).unwrap_err();
    assert!(e.to_string().contains("install the package ovmf"), "{e}");
    assert!(GuestFiles::new(Path::new(&format!("/{}", "x".repeat(100))), "g").is_err());
    assert!(GuestFiles::new(Path::new("/a,b"), "g").is_err());
}
