//! The command line of a guest: a pure function of its plan, its files and what the host can do. Changes show in `tests/golden/`.

use super::devices::{Board, DISKS, NICS, Object, disk_device_of, disk_node, netdev, nic_device_of, object};
use super::files::GuestFiles;
use crate::hypervisor::{Abilities, Accelerator, Plan};
use base::{Result, err};
use serde_json::{Value, json};

/// Guests smaller than this get no room for hot-plug: with it Linux sets memory aside for devices (32 MiB of 128), which they cannot spare.
const ROOM_FROM_MB: i64 = 512;

/// Arguments after the program's name. `machine_type` comes from [`machine_type`].
pub fn command_line(plan: &Plan, files: &GuestFiles, abilities: &Abilities, machine_type: &str, sandbox: bool) -> Result<Vec<String>> {
    let guest = &plan.guest;
    let uuid = uuid::Uuid::try_parse(&guest.id).map_err(|_| err!(InputParameter, "guest id {} is not a UUID", guest.id))?;
    if guest.vcpu_count < 1 || guest.vmem_size < 16 {
        return Err(err!(InputParameter, "guest {} must have a processor and 16 MiB of memory", guest.name));
    }
    let board = Board::of(machine_type);
    let uefi = guest.bios.eq_ignore_ascii_case("UEFI");
    let kvm = abilities.accelerator == Accelerator::Kvm;
    let mut out = Out::default();

    out.plain(&["-name", &format!("guest={},debug-threads=on", escaped(&guest.name))]);
    out.plain(&["-uuid", &uuid.to_string(), "-pidfile", &text(&files.pid())]);
    out.plain(&["-nodefaults", "-no-user-config", "-display", "none", "-msg", "timestamp=on", "-k", "en-us"]);
    if sandbox {
        out.plain(&["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    }
    let mut machine = format!("{machine_type},usb=off,dump-guest-core=off,hpet=off");
    if uefi {
        machine.push_str(",pflash0=firmware,pflash1=vars");
    }
    if board == Board::Q35 {
        machine.push_str(",smm=off");
    }
    out.plain(&["-machine", &machine, "-accel", abilities.accelerator.name(), "-cpu", if kvm { "host" } else { "max" }]);
    out.plain(&["-rtc", "base=utc,clock=host"]);
    if kvm {
        out.plain(&["-global", "kvm-pit.lost_tick_policy=discard"]);
    }
    out.plain(&["-smp", &processors(plan, abilities, machine_type), "-m", &memory(plan, abilities)]);
    out.plain(&["-boot", "menu=off,strict=on"]);
    if uefi {
        let Some(firmware) = &abilities.firmware else {
            return Err(err!(InputParameter, "this host has no UEFI firmware; install the package ovmf"));
        };
        let flash = |node: &str, file: &std::path::Path, read_only: bool| json!({"driver": "raw", "node-name": node, "read-only": read_only, "file": {"driver": "file", "filename": text(file)}});
        out.json("-blockdev", flash("firmware", &firmware.code, true));
        out.json("-blockdev", flash("vars", &files.firmware_vars(), false));
    }

    let socket = |id: &str, path: &std::path::Path| format!("socket,id={id},path={},server=on,wait=off", text(path));
    out.plain(&["-chardev", &socket("control", &files.control()), "-mon", "chardev=control,mode=control"]);
    let log = format!("{},logfile={},logappend=on", socket("serial0", &files.serial()), text(&files.serial_log()));
    out.plain(&["-chardev", &log]);
    out.device(json!({"driver": "isa-serial", "id": "serial0", "chardev": "serial0"}));
    out.device(json!({"driver": "pvpanic", "ioport": 0x505}));
    display(&mut out, plan, files, board)?;
    out.device(json!({"driver": "virtio-serial-pci", "id": "vserial0", "bus": board.bus(), "addr": "0x4", "disable-legacy": "on"}));
    out.plain(&["-chardev", &socket("qga0", &files.agent())]);
    out.device(json!({"driver": "virtserialport", "bus": "vserial0.0", "chardev": "qga0", "name": "org.qemu.guest_agent.0"}));
    out.plain(&["-object", "rng-builtin,id=rng0"]);
    out.device(json!({"driver": "virtio-rng-pci", "rng": "rng0", "bus": board.bus(), "addr": "0x7", "disable-legacy": "on"}));

    let most = |indexes: &mut dyn Iterator<Item = i64>| indexes.max().map_or(0, |i| i + 1);
    let nics = most(&mut plan.nics.iter().map(|n| n.nic.index));
    let disks = most(&mut plan.disks.iter().map(|d| d.disk.index));
    // Some more than used, for what is plugged later.
    for port in board.ports((nics + 2).min(NICS), (disks + 4).min(DISKS)) {
        out.device(Value::Object(port));
    }
    storage(&mut out, plan, files, board)?;
    let order = boot_order(plan);
    for nic in &plan.nics {
        out.json("-netdev", netdev(nic));
        out.device(Value::Object(nic_device_of(nic, board, order.place(Boots::Nic(nic.nic.index)))?));
    }
    Ok(out.0)
}

/// The versioned type of a guest's machine: that of its first start if the host still has it, else the newest of its kind.
pub fn machine_type(plan: &Plan, abilities: &Abilities) -> Result<String> {
    if abilities.machines.iter().any(|m| m.name == plan.machine_type) {
        return Ok(plan.machine_type.clone());
    }
    let kind = if plan.guest.machine.is_empty() { "pc" } else { plan.guest.machine.as_str() };
    match abilities.machines.iter().find(|m| m.alias == kind || m.name == kind) {
        Some(m) if matches!(kind, "pc" | "q35") || m.name == kind => Ok(m.name.clone()),
        _ => Err(err!(InputParameter, "machine {} is not supported by this host; use pc or q35", kind)),
    }
}

fn processors(plan: &Plan, abilities: &Abilities, machine_type: &str) -> String {
    let has = plan.guest.vcpu_count;
    let limit = abilities.machines.iter().find(|m| m.name == machine_type).map_or(has, |m| m.max_cpus.max(has));
    let room = if plan.guest.vmem_size < ROOM_FROM_MB { has } else { (has * 2).max(8).min(limit) };
    // As many processors in each socket; a server may have shrunk since its sockets were chosen. Room is rounded up, or left out where the machine takes
    // no more.
    let each = |all: i64, sockets: i64| (all + sockets - 1) / sockets;
    let fits = |all: i64, sockets: i64| each(all, sockets) * sockets <= limit;
    let sockets = (1..=plan.guest.cpu_sockets.min(has)).rev().find(|sockets| fits(has, *sockets)).unwrap_or(1);
    let cores = each(if fits(room, sockets) { room } else { has }, sockets);
    format!("cpus={has},maxcpus={},sockets={sockets},cores={cores},threads=1", sockets * cores)
}

fn memory(plan: &Plan, abilities: &Abilities) -> String {
    let has = plan.guest.vmem_size;
    let room = (has * 4).max(16_384).min(abilities.host_memory_mb);
    if has < ROOM_FROM_MB || room <= has { format!("size={has}M") } else { format!("size={has}M,slots=8,maxmem={room}M") }
}

fn display(out: &mut Out, plan: &Plan, files: &GuestFiles, board: Board) -> Result<()> {
    let driver = match plan.guest.vga.as_str() {
        "none" => return Ok(()),
        "std" | "" => "VGA",
        "virtio" => "virtio-vga",
        "qxl" => "qxl-vga",
        "cirrus" => "cirrus-vga",
        "vmware" => "vmware-svga",
        other => return Err(err!(InputParameter, "display {} is not supported; use std, virtio, qxl or none", other)),
    };
    out.device(json!({"driver": driver, "id": "video0", "bus": board.bus(), "addr": "0x2"}));
    // A tablet, for with a mouse the pointers of viewer and guest drift apart.
    out.device(json!({"driver": "qemu-xhci", "id": "usb", "bus": board.bus(), "addr": "0x3"}));
    out.device(json!({"driver": "usb-tablet", "bus": "usb.0"}));
    out.plain(&["-vnc", &format!("unix:{}", text(&files.vnc()))]);
    Ok(())
}

fn storage(out: &mut Out, plan: &Plan, files: &GuestFiles, board: Board) -> Result<()> {
    let uses = |driver: &str| plan.disks.iter().any(|d| d.disk.driver == driver);
    out.plain(&["-object", "iothread,id=io0"]);
    // Also without a SCSI disk: one may be plugged later.
    out.device(
        json!({"driver": "virtio-scsi-pci", "id": "scsi", "bus": board.bus(), "addr": "0x5", "disable-legacy": "on", "iothread": "io0"}),
    );
    if uses("sata") && board == Board::Pc {
        out.device(json!({"driver": "ahci", "id": "sata", "bus": board.bus(), "addr": "0x6"}));
    }
    let order = boot_order(plan);
    for disk in &plan.disks {
        out.json("-blockdev", disk_node(disk));
        out.device(Value::Object(disk_device_of(disk, board, order.place(Boots::Disk(disk.disk.index)))?));
    }
    let seed =
        json!({"driver": "raw", "node-name": "seed", "read-only": true, "file": {"driver": "file", "filename": text(&files.seed())}});
    out.json("-blockdev", seed);
    // A guest that gets its disks over IDE or SATA may have no drivers for anything newer.
    let old = plan.disks.iter().any(|d| matches!(d.disk.driver.as_str(), "ide" | "sata"));
    let place = match (old, board) {
        (false, _) => json!({"driver": "scsi-cd", "id": "seed", "drive": "seed", "bus": "scsi.0", "scsi-id": DISKS, "lun": 0}),
        (true, Board::Pc) => json!({"driver": "ide-cd", "id": "seed", "drive": "seed", "bus": "ide.1", "unit": 1}),
        (true, Board::Q35) => json!({"driver": "ide-cd", "id": "seed", "drive": "seed", "bus": "ide.5"}),
    };
    out.device(place);
    Ok(())
}

/// Devices to boot from, first to last.
struct BootOrder(Vec<Boots>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Boots {
    Disk(i64),
    Nic(i64),
}

impl BootOrder {
    /// From 1, 0 when it is none.
    fn place(&self, of: Boots) -> i64 {
        self.0.iter().position(|b| *b == of).map_or(0, |at| at as i64 + 1)
    }
}

/// `cdn`: disks, CDs, network, in the order of the letters. The network only if it is first or there is no disk: offering it costs every
/// start seconds that only a guest without a bootable disk would use.
fn boot_order(plan: &Plan) -> BootOrder {
    let letters = if plan.guest.boot_order.is_empty() { "cdn" } else { plan.guest.boot_order.as_str() };
    let mut disks: Vec<_> = plan.disks.iter().map(|d| &d.disk).collect();
    disks.sort_by_key(|d| (if d.boot_index < 0 { i64::MAX } else { d.boot_index }, d.index));
    let mut nics: Vec<_> = plan.nics.iter().map(|n| n.nic.index).collect();
    nics.sort_unstable();
    let mut order = Vec::new();
    for (at, letter) in letters.chars().enumerate() {
        match letter {
            'c' => order.extend(disks.iter().map(|d| Boots::Disk(d.index))),
            'n' if at == 0 || disks.is_empty() => order.extend(nics.iter().map(|i| Boots::Nic(*i))),
            _ => {}
        }
    }
    BootOrder(order)
}

#[derive(Default)]
struct Out(Vec<String>);

impl Out {
    fn plain(&mut self, args: &[&str]) {
        self.0.extend(args.iter().map(ToString::to_string));
    }
    fn json(&mut self, option: &str, value: Value) {
        self.0.extend([option.to_string(), value.to_string()]);
    }
    fn device(&mut self, value: Value) {
        let device: Object = object(value);
        self.json("-device", Value::Object(device));
    }
}

/// Names come from users: no commas that begin an option, nothing unprintable.
fn escaped(name: &str) -> String {
    let clean: String = name.chars().filter(|c| !c.is_control()).collect();
    if clean.is_empty() { "guest".into() } else { clean.replace(',', ",,") }
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
