//! The command line of a guest: a pure function, so that a golden file can hold it.
//!
//! Devices have the names [`disk_device`] and [`nic_device`] give, block nodes `<device>-node`, so that hot-plugging finds and makes the same.

use super::Paths;
use crate::hypervisor::{Abilities, Accelerator, Plan, PlanDisk, PlanNic, disk_device, nic_device};
use api_agent::GuestSpec;
use base::{Result, err};
use serde_json::{Map, Value, json};

/// Ports for hot-plugging on machines whose root bus takes none.
const ROOT_PORTS: usize = 8;

/// The machine type a guest is started with: the one it had, else the newest of the kind it asks for.
pub(super) fn machine_type(plan: &Plan, abilities: &Abilities) -> Result<String> {
    if !plan.machine_type.is_empty() && abilities.machines.iter().any(|m| m.name == plan.machine_type) {
        return Ok(plan.machine_type.clone());
    }
    let kind = match plan.guest.machine.as_str() {
        "" => "pc",
        kind => kind,
    };
    abilities
        .machines
        .iter()
        .find(|m| m.alias == kind || m.name == kind)
        .map(|m| m.name.clone())
        .ok_or_else(|| err!(InputParameter, "machine: this host's QEMU has no {}", kind))
}

fn is_q35(machine: &str) -> bool {
    machine.contains("q35")
}

/// Everything after the program's name.
pub(super) fn command_line(plan: &Plan, abilities: &Abilities, paths: &Paths, machine: &str) -> Result<Vec<String>> {
    let g = &plan.guest;
    let mut out: Vec<String> = Vec::new();
    let mut arg = |name: &str, value: String| {
        out.push(format!("-{name}"));
        if !value.is_empty() {
            out.push(value);
        }
    };
    arg("name", format!("guest={},debug-threads=on", g.id));
    arg("uuid", g.id.clone());
    arg("nodefaults", String::new());
    arg("no-user-config", String::new());
    arg("display", "none".into());
    arg("monitor", "none".into());
    let smm = if is_q35(machine) && uefi(g) { ",smm=off" } else { "" };
    arg("machine", format!("{machine},accel={},usb=off{smm}", abilities.accelerator.name()));
    arg("cpu", if abilities.accelerator == Accelerator::Kvm { "host".into() } else { "max".into() });
    arg("smp", format!("{}", g.vcpu_count));
    arg("m", format!("{}M", g.vmem_size));
    arg("rtc", "base=utc".into());
    arg("boot", format!("strict=on,menu=off{}", if g.disks.is_empty() { "" } else { ",order=c" }));
    if uefi(g) {
        let firmware = abilities
            .firmware
            .as_ref()
            .ok_or_else(|| err!(InputParameter, "bios: this host has no UEFI firmware; install the package ovmf, or use BIOS"))?;
        arg(
            "blockdev",
            json!({"driver": "raw", "node-name": "fw-code", "read-only": true, "file": {"driver": "file", "filename": firmware.code}})
                .to_string(),
        );
        arg("blockdev", json!({"driver": "raw", "node-name": "fw-vars", "file": {"driver": "file", "filename": paths.vars()}}).to_string());
        arg("machine", "pflash0=fw-code,pflash1=fw-vars".into());
    }
    arg("qmp", format!("unix:{},server=on,wait=off", paths.qmp().display()));
    arg(
        "chardev",
        format!(
            "socket,id=serial0,path={},server=on,wait=off,logfile={},logappend=on",
            paths.serial().display(),
            paths.console().display()
        ),
    );
    arg("serial", "chardev:serial0".into());
    arg("device", device("virtio-serial-pci", "agent-bus", &[]));
    arg("chardev", format!("socket,id=qga0,path={},server=on,wait=off", paths.agent().display()));
    arg(
        "device",
        device(
            "virtserialport",
            "agent0",
            &[("bus", json!("agent-bus.0")), ("chardev", json!("qga0")), ("name", json!("org.qemu.guest_agent.0"))],
        ),
    );
    if is_q35(machine) {
        for n in 0..ROOT_PORTS {
            arg("device", device("pcie-root-port", &format!("rp{n}"), &[("chassis", json!(n + 1)), ("slot", json!(n + 1))]));
        }
    }
    arg("device", device("virtio-scsi-pci", "scsi0", &[]));
    let ahci = plan.disks.iter().any(|d| d.disk.driver == "sata");
    if ahci && !is_q35(machine) {
        arg("device", device("ich9-ahci", "ahci0", &[]));
    }
    if g.vga != "none" {
        let card = match g.vga.as_str() {
            "virtio" => "virtio-vga",
            "qxl" => "qxl-vga",
            _ => "VGA",
        };
        arg("device", device(card, "video0", &[]));
        arg("vnc", format!("unix:{}", paths.vnc().display()));
    }
    for disk in &plan.disks {
        arg("blockdev", node(disk).to_string());
        arg("device", Value::Object(disk_properties(disk, is_q35(machine), None)).to_string());
    }
    let seed = json!({"driver": "raw", "node-name": "seed-node", "read-only": true, "file": {"driver": "file", "filename": paths.seed()}});
    arg("blockdev", seed.to_string());
    arg("device", device("scsi-cd", "seed", &[("bus", json!("scsi0.0")), ("drive", json!("seed-node"))]));
    for nic in &plan.nics {
        arg("netdev", netdev(nic).to_string());
        arg("device", Value::Object(nic_properties(nic, None)).to_string());
    }
    arg("device", device("virtio-rng-pci", "rng0", &[]));
    arg("device", device("virtio-balloon-pci", "balloon0", &[]));
    arg("sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".into());
    arg("daemonize", String::new());
    arg("pidfile", paths.pid().display().to_string());
    Ok(out)
}

pub(super) fn uefi(g: &GuestSpec) -> bool {
    g.bios.eq_ignore_ascii_case("UEFI")
}

fn device(driver: &str, id: &str, properties: &[(&str, Value)]) -> String {
    let mut map = Map::new();
    map.insert("driver".into(), json!(driver));
    map.insert("id".into(), json!(id));
    map.extend(properties.iter().map(|(k, v)| ((*k).to_string(), v.clone())));
    Value::Object(map).to_string()
}

pub(super) fn node_name(index: i64) -> String {
    format!("{}-node", disk_device(index))
}

/// The block nodes of a disk, as one tree.
pub(super) fn node(disk: &PlanDisk) -> Value {
    let at = &disk.at;
    // `none` bypasses the host's cache, where its filesystem can.
    let direct = at.direct && disk.disk.cache_mode != "writeback" && disk.disk.cache_mode != "writethrough";
    let cache = json!({"direct": direct, "no-flush": false});
    let file = |path: &std::path::Path, read_only: bool| json!({"driver": "file", "filename": path, "cache": cache, "read-only": read_only, "discard": "unmap", "aio": if direct { "native" } else { "threads" }});
    let mut node = json!({"driver": at.format, "node-name": node_name(disk.disk.index), "discard": "unmap", "cache": cache, "file": file(&at.path, false)});
    if let Some((path, format)) = &at.backing {
        node["backing"] = json!({"driver": format, "read-only": true, "file": file(path, true)});
    }
    node
}

pub(super) fn disk_properties(disk: &PlanDisk, q35: bool, bus: Option<&str>) -> Map<String, Value> {
    let d = &disk.disk;
    let mut map = Map::new();
    let mut set = |key: &str, value: Value| map.insert(key.to_string(), value);
    set("id", json!(disk_device(d.index)));
    set("drive", json!(node_name(d.index)));
    set("serial", json!(d.disk_id.chars().filter(|c| *c != '-').take(20).collect::<String>()));
    let write_back = d.cache_mode != "writethrough";
    set("write-cache", json!(if write_back { "on" } else { "off" }));
    set("bootindex", json!(if d.boot_index >= 0 { d.boot_index } else { d.index + 1 }));
    match d.driver.as_str() {
        "virtio" => {
            set("driver", json!("virtio-blk-pci"));
            if let Some(bus) = bus {
                set("bus", json!(bus));
            }
        }
        "sata" => {
            set("driver", json!("ide-hd"));
            set("bus", json!(format!("{}.{}", if q35 { "ide" } else { "ahci0" }, d.index)));
        }
        "ide" => {
            set("driver", json!("ide-hd"));
            set("bus", json!(format!("ide.{}", d.index / 2)));
        }
        _ => {
            set("driver", json!("scsi-hd"));
            set("bus", json!("scsi0.0"));
            set("scsi-id", json!(d.index));
        }
    }
    map
}

pub(super) fn netdev_name(index: i64) -> String {
    format!("{}-net", nic_device(index))
}

pub(super) fn netdev(nic: &PlanNic) -> Value {
    json!({"type": "tap", "id": netdev_name(nic.nic.index), "ifname": nic.tap.ifname, "script": "no", "downscript": "no", "vhost": false, "vnet_hdr": nic.tap.vnet_hdr})
}

pub(super) fn nic_properties(nic: &PlanNic, bus: Option<&str>) -> Map<String, Value> {
    let mut map = Map::new();
    let mut set = |key: &str, value: Value| map.insert(key.to_string(), value);
    let virtio = !matches!(nic.nic.driver.as_str(), "e1000" | "vmxnet3");
    set("driver", json!(if virtio { "virtio-net-pci" } else { nic.nic.driver.as_str() }));
    set("id", json!(nic_device(nic.nic.index)));
    set("netdev", json!(netdev_name(nic.nic.index)));
    set("mac", json!(nic.nic.mac));
    // Without an option ROM: the platform boots from disks, and the ROM costs seconds under emulation.
    set("romfile", json!(""));
    if virtio && nic.mtu > 0 {
        set("host_mtu", json!(nic.mtu));
    }
    if let Some(bus) = bus {
        set("bus", json!(bus));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk::Attachment, hypervisor::MachineType};
    use api_agent::{GuestDisk, GuestNic};
    use host_net::Tap;

    /// `WOLKE_GOLDEN=write` rewrites the file.
    #[test]
    fn golden() {
        let guest = GuestSpec { id: "11111111-2222-4333-8444-555555555555".into(), vcpu_count: 2, vmem_size: 512, ..GuestSpec::default() };
        let at = |name: &str| Attachment {
            path: format!("/s/disks/{name}.qcow2").into(),
            format: "qcow2".into(),
            backing: Some(("/s/imagecache/i".into(), "qcow2".into())),
            direct: false,
        };
        let disk = |index, driver: &str| PlanDisk {
            disk: GuestDisk { disk_id: format!("d{index}"), index, driver: driver.into(), boot_index: -1, ..GuestDisk::default() },
            at: at(&format!("d{index}")),
        };
        let nic = PlanNic {
            nic: GuestNic { mac: "00:22:aa:bb:cc:dd".into(), ifname: "vnet-1".into(), driver: "virtio".into(), ..GuestNic::default() },
            tap: Tap { ifname: "vnet-1".into(), vnet_hdr: false },
            mtu: 1400,
        };
        let plan = Plan { guest, disks: vec![disk(0, "scsi"), disk(1, "virtio")], nics: vec![nic], ..Plan::default() };
        let abilities = Abilities {
            machines: vec![MachineType { name: "pc-i440fx-10.0".into(), alias: "pc".into(), max_cpus: 255 }],
            ..Abilities::default()
        };
        let machine = machine_type(&plan, &abilities).unwrap();
        let lines = command_line(&plan, &abilities, &Paths::new("/m/g".into()), &machine).unwrap();
        let text = lines.join("\n").replace("\n-", "\n\n-") + "\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/qemu-command-line.txt");
        if std::env::var("WOLKE_GOLDEN").as_deref() == Ok("write") {
            std::fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text);
    }

    #[test]
    fn machine_types() {
        let abilities = Abilities {
            machines: ["pc-i440fx-9.0", "pc-i440fx-10.0"]
                .iter()
                .map(|n| MachineType {
                    name: (*n).into(),
                    alias: if n.ends_with("10.0") { "pc".into() } else { String::new() },
                    max_cpus: 255,
                })
                .collect(),
            ..Abilities::default()
        };
        let check = |had: &str, wants: &str, expect: Option<&str>| {
            let plan =
                Plan { machine_type: had.into(), guest: GuestSpec { machine: wants.into(), ..GuestSpec::default() }, ..Plan::default() };
            assert_eq!(machine_type(&plan, &abilities).ok().as_deref(), expect);
        };
        check("", "", Some("pc-i440fx-10.0"));
        check("pc-i440fx-9.0", "pc", Some("pc-i440fx-9.0"));
        check("pc-i440fx-2.1", "pc", Some("pc-i440fx-10.0"));
        check("", "virt", None);
    }
}
