//! Devices as QEMU's JSON: the same for the command line and for plugging into a running machine. Pure.
//!
//! Each disk and NIC has its place by its index, so that a guest finds its devices where they were, whatever came and went between.
//!
//! | slot on `pc` | has |  | place on `q35` | has |
//! |---|---|---|---|---|
//! | 2..7 | video, USB, virtio-serial, SCSI, SATA, random | | the same slots | the same, SATA is the chipset's own |
//! | 8..15 | NIC 0..7 | | root ports at 8.0..8.7 | NIC 0..7 |
//! | 16..31 | virtio disk 0..15 | | root ports at 16.0..17.7 | virtio disk 0..15 |

use crate::disk::Attachment;
use crate::hypervisor::{PlanDisk, PlanNic, disk_device, nic_device};
use base::{Result, err};
use serde_json::{Map, Value, json};

pub type Object = Map<String, Value>;

/// Which of the two x86 boards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    Pc,
    Q35,
}

pub const NICS: i64 = 8;
pub const DISKS: i64 = 16;
const NIC_SLOT: i64 = 8;
const DISK_SLOT: i64 = 16;

impl Board {
    /// Of a machine type such as `pc-q35-10.0` or `pc-i440fx-10.0`.
    pub fn of(machine_type: &str) -> Board {
        if machine_type.contains("q35") { Board::Q35 } else { Board::Pc }
    }

    pub fn bus(self) -> &'static str {
        match self {
            Board::Pc => "pci.0",
            Board::Q35 => "pcie.0",
        }
    }

    fn nic_place(self, index: i64) -> (String, String) {
        match self {
            Board::Pc => ("pci.0".into(), format!("0x{:x}", NIC_SLOT + index)),
            Board::Q35 => (format!("nicport{index}"), "0x0".into()),
        }
    }

    fn disk_place(self, index: i64) -> (String, String) {
        match self {
            Board::Pc => ("pci.0".into(), format!("0x{:x}", DISK_SLOT + index)),
            Board::Q35 => (format!("diskport{index}"), "0x0".into()),
        }
    }

    /// Ports PCI Express devices are plugged into; they must exist before the machine runs. `nics` and `disks` of each.
    pub fn ports(self, nics: i64, disks: i64) -> Vec<Object> {
        if self == Board::Pc {
            return Vec::new();
        }
        let port = |kind: &str, index: i64, slot: i64, chassis: i64| {
            object(json!({
                "driver": "pcie-root-port", "id": format!("{kind}port{index}"), "bus": "pcie.0", "chassis": chassis,
                "addr": format!("0x{:x}.0x{:x}", slot + index / 8, index % 8), "multifunction": true,
            }))
        };
        let nics = (0..nics.min(NICS)).map(|i| port("nic", i, NIC_SLOT, 1 + i));
        nics.chain((0..disks.min(DISKS)).map(|i| port("disk", i, DISK_SLOT, 1 + NICS + i))).collect()
    }
}

pub(crate) fn object(value: Value) -> Object {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The node of a disk's content, named like its device.
pub fn disk_node(disk: &PlanDisk) -> Value {
    let at = &disk.at;
    let direct = at.direct && matches!(disk.disk.cache_mode.as_str(), "none" | "directsync" | "");
    let mut file = json!({
        "driver": "file", "filename": path(&at.path), "discard": "unmap",
        "cache": {"direct": direct, "no-flush": false},
    });
    if direct {
        // Linux native I/O works only past the host's cache.
        file["aio"] = json!("native");
    }
    let mut node = json!({"driver": at.format, "node-name": disk_device(disk.disk.index), "file": file, "discard": "unmap"});
    if at.format == "qcow2" {
        node["backing"] = backing(at);
    }
    node
}

/// What lies below, spelled out to its end: nothing is opened because a header says so.
fn backing(at: &Attachment) -> Value {
    let Some((below, format)) = &at.backing else { return Value::Null };
    let mut node = json!({"driver": format, "read-only": true, "file": {"driver": "file", "filename": path(below), "read-only": true}});
    if matches!(format.as_str(), "qcow2" | "vmdk") {
        node["backing"] = Value::Null;
    }
    node
}

fn path(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The device of a disk. `boot_index` counts from 1, 0 is none.
pub fn disk_device_of(disk: &PlanDisk, board: Board, boot_index: i64) -> Result<Object> {
    let spec = &disk.disk;
    let name = disk_device(spec.index);
    if !(0..DISKS).contains(&spec.index) {
        return Err(err!(InputParameter, "disk index {} is out of range; a guest has at most {} disks", spec.index, DISKS));
    }
    let serial: String = spec.disk_id.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
    let mut device = json!({"id": name, "drive": name, "serial": serial});
    match spec.driver.as_str() {
        "virtio" | "" => {
            let (bus, addr) = board.disk_place(spec.index);
            merge(&mut device, json!({"driver": "virtio-blk-pci", "bus": bus, "addr": addr, "disable-legacy": "on", "iothread": "io0"}));
        }
        "scsi" => merge(&mut device, json!({"driver": "scsi-hd", "bus": "scsi.0", "scsi-id": spec.index, "lun": 0})),
        "sata" if board == Board::Pc && spec.index < 6 => {
            merge(&mut device, json!({"driver": "ide-hd", "bus": format!("sata.{}", spec.index)}));
        }
        // The sixth place is that of the seed.
        "sata" | "ide" if board == Board::Q35 && spec.index < 5 => {
            merge(&mut device, json!({"driver": "ide-hd", "bus": format!("ide.{}", spec.index)}));
        }
        "ide" if board == Board::Pc && spec.index < 3 => {
            merge(&mut device, json!({"driver": "ide-hd", "bus": format!("ide.{}", spec.index / 2), "unit": spec.index % 2}));
        }
        "ide" | "sata" => {
            return Err(err!(InputParameter, "there is no place for disk {} on {}; use virtio or scsi", spec.index, spec.driver));
        }
        other => return Err(err!(InputParameter, "disk driver {} is not supported; use virtio, scsi, sata or ide", other)),
    }
    if matches!(spec.cache_mode.as_str(), "writethrough" | "directsync") {
        device["write-cache"] = json!("off");
    }
    if boot_index > 0 {
        device["bootindex"] = json!(boot_index);
    }
    Ok(object(device))
}

pub fn netdev(nic: &PlanNic) -> Value {
    json!({
        "type": "tap", "id": format!("net{}", nic.nic.index), "ifname": nic.tap.ifname, "script": "no", "downscript": "no",
        "vhost": false, "vnet_hdr": nic.tap.vnet_hdr,
    })
}

/// The device of a NIC. `boot_index` counts from 1, 0 is none; only with one it gets the memory with code to boot from the network, which
/// costs seconds at each start.
pub fn nic_device_of(nic: &PlanNic, board: Board, boot_index: i64) -> Result<Object> {
    let spec = &nic.nic;
    if !(0..NICS).contains(&spec.index) {
        return Err(err!(InputParameter, "interface index {} is out of range; a guest has at most {} interfaces", spec.index, NICS));
    }
    let (bus, addr) = board.nic_place(spec.index);
    let mut device =
        json!({"id": nic_device(spec.index), "netdev": format!("net{}", spec.index), "mac": spec.mac, "bus": bus, "addr": addr});
    match spec.driver.as_str() {
        "virtio" | "" => {
            merge(&mut device, json!({"driver": "virtio-net-pci", "disable-legacy": "on"}));
            if nic.mtu > 0 {
                device["host_mtu"] = json!(nic.mtu);
            }
        }
        "e1000" => device["driver"] = json!("e1000-82545em"),
        model @ ("vmxnet3" | "rtl8139" | "e1000e") => device["driver"] = json!(model),
        other => return Err(err!(InputParameter, "interface driver {} is not supported; use virtio, e1000 or vmxnet3", other)),
    }
    if boot_index > 0 {
        device["bootindex"] = json!(boot_index);
    } else {
        device["romfile"] = json!("");
    }
    Ok(object(device))
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}
