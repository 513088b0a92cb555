//! What a create of servers takes besides the columns, for documents and programs made from them. The elements of lists are those of the contract's
//! [`DiskConfig`](api_compute::DiskConfig) and [`NetConfig`](api_compute::NetConfig): a test holds them together.

use base::Kind::{Bool, Int, Json, Text};
use resource::{Extra, Input};

const fn part(name: &'static str, kind: base::Kind, doc: &'static str) -> Input {
    Input { name, kind, required: false, doc }
}

const DISK: &[Input] = &[
    part("index", Int, "Position; the first is the root disk."),
    part("image_id", Text, "Image by id or name; left out: an empty disk."),
    part("disk_id", Text, "An existing disk by id or name."),
    part("size", Int, "MiB, or a text with a unit as in 10g; -1: as large as its source."),
    part("backend", Text, "Type of storage: local, nfs, …; left out: any."),
    part("storage_id", Text, "Storage by id or name; left out: the scheduler chooses."),
    part("medium", Text, "rotate, ssd or hybrid; left out: any."),
    part("fs", Text, "None is made here: leave it out."),
    part("mountpoint", Text, "Nothing is mounted here: leave it out."),
    part("format", Text, "qcow2 or raw."),
    part("driver", Text, "virtio, ide, scsi, sata or pvscsi; left out: by the guest system."),
    part("cache", Text, "none, writeback or writethrough."),
    part("disk_type", Text, "sys, data, swap or volume."),
    part("boot_index", Int, "Order among disks to boot from; left out: by position."),
    part("iops", Int, "Not bounded here: 0, or leave it out."),
    part("auto_delete", Bool, "Whether it goes with the server."),
    part("auto_reset", Bool, "Whether it is made anew at each start."),
];

const NIC: &[Input] = &[
    part("index", Int, "Position."),
    part("network", Text, "Network by id or name; left out: the scheduler chooses."),
    part("wire", Text, "Wire by id or name, where the network is left to the scheduler."),
    part("address", Text, "Wanted IPv4 address."),
    part("mac", Text, "Wanted MAC address."),
    part("addresses", Json, "Wanted addresses, one for each server of a batch."),
    part("macs", Json, "Wanted MAC addresses, one for each server of a batch."),
    part("require_designated_ip", Bool, "Fail unless that very address is free."),
    part("reserved", Bool, "Take an address that is set aside; for administrators."),
    part("exit", Bool, "Want a network with addresses of the outside."),
    part("private", Bool, "Want a network with private addresses."),
    part("driver", Text, "virtio, e1000 or vmxnet3; left out: by the guest system."),
    part("bw_limit", Int, "Mbit/s; 0: the platform's default."),
    part("is_default", Bool, "Whether the default route goes through it."),
    part("num_queues", Int, "An interface has one queue here: leave it out."),
];

pub(super) const EXTRAS: &[Extra] = &[
    Extra::create("disks", Json, "Disks, the root disk first: objects, or texts as in image:20g:ssd.").list_of(DISK),
    Extra::create("nets", Json, "Interfaces: objects, or texts as in network:10.0.0.9; left out: one on a network the scheduler chooses.")
        .list_of(NIC),
    Extra::create("password", Text, "Password of the login account: 12 to 128 characters, of all kinds.").secret(),
    Extra::create("user_data", Text, "Script or cloud-config for the guest's first boot, 64 KiB at most."),
    Extra::create("auto_start", Bool, "Power on when made."),
    Extra::create("prefer_host", Text, "Host to place it on, by id or name; for administrators."),
    Extra::create("prefer_zone", Text, "Zone to place it in, by id or name."),
    Extra::create("prefer_zones", Json, "Zones to place it in, whichever fits, by id or name."),
    Extra::create("prefer_region", Text, "Region to place it in, by id or name."),
    Extra::create("prefer_wire", Text, "Wire of the interfaces that name no network, by id or name."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_contract_is_described() {
        let keys =
            |json: serde_json::Value| json.as_object().expect("an object").keys().cloned().collect::<std::collections::BTreeSet<_>>();
        let told = |parts: &[Input]| parts.iter().map(|i| i.name.to_string()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(told(DISK), keys(serde_json::to_value(api_compute::DiskConfig::default()).expect("JSON")));
        assert_eq!(told(NIC), keys(serde_json::to_value(api_compute::NetConfig::default()).expect("JSON")));
    }
}
