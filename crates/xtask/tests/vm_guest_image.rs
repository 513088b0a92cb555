//! The guest image under real QEMU: identity from each kind of source, logins, hot-plug, power button.

mod guest;

use guest::{Cloud, Drive, Firmware, Guest, key_pair, metadata_drive};

/// EC2 paths over the network, and everything that needs only one boot: key login, password login, hot-plugged NIC, agent, power-off.
#[test]
fn vm_identity_from_the_metadata_service() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = key_pair(dir.path());
    let cloud = Cloud::start(&[
        ("/latest/meta-data/instance-id", "i-0017"),
        ("/latest/meta-data/local-hostname", "web-1.example.test"),
        ("/latest/meta-data/public-keys", "0=operator"),
        ("/latest/meta-data/public-keys/0/openssh-key", &key.public),
        (
            "/latest/user-data",
            "#cloud-config\npassword: first-secret\nchpasswd:\n  expire: false\n  list: |\n    root:s3cret: of the guest\nruncmd:\n- echo ran > /root/ran\n",
        ),
    ]);
    let mut guest = Guest::boot(dir.path(), Firmware::Bios, Some(&cloud), &[]);
    let ready = guest.event("ready");
    assert_eq!(
        (&ready["source"], &ready["instance_id"], &ready["hostname"]),
        (&"ec2".into(), &"i-0017".into(), &"web-1.example.test".into()),
        "{ready}"
    );
    assert!(ready["addresses"]["eth0"].as_str().is_some_and(|address| address.starts_with("169.254.169.")), "{ready}");
    guest.console_shows("web-1.example.test login: ");

    assert_eq!(guest.ssh_with_key(&key, "hostname; cat /root/ran; id -u").as_deref(), Ok("web-1.example.test\nran\n0\n"));
    assert_eq!(guest.ssh_with_password("s3cret: of the guest", "uname -s").as_deref(), Ok("Linux\n"), "the later password counts");
    assert!(guest.ssh_with_password("first-secret", "true").is_err(), "an overwritten password must not work");
    assert!(guest.ssh_with_password("", "true").is_err(), "an empty password must not work");

    guest.qmp("netdev_add", serde_json::json!({"type": "user", "id": "n1", "net": "10.9.0.0/24"}));
    guest.qmp("device_add", serde_json::json!({"driver": "virtio-net-pci", "netdev": "n1", "id": "nic1", "romfile": ""}));
    let lease = guest.event_where("dhcp", |event| event["interface"] == "eth1");
    assert!(lease["address"].as_str().is_some_and(|address| address.starts_with("10.9.0.")), "{lease}");

    let slots = guest.qmp("query-hotpluggable-cpus", serde_json::json!({}));
    let slot = slots.as_array().and_then(|all| all.iter().find(|slot| slot.get("qom-path").is_none())).expect("a free CPU slot").clone();
    let mut device = slot["props"].clone();
    device["driver"] = slot["type"].clone();
    guest.qmp("device_add", device);
    assert_eq!(guest.event("online")["cpu"], "cpu1");
    assert_eq!(guest.ssh_with_key(&key, "nproc").as_deref(), Ok("2\n"));

    guest.qmp("object-add", serde_json::json!({"qom-type": "memory-backend-ram", "id": "m1", "size": 128 << 20}));
    guest.qmp("device_add", serde_json::json!({"driver": "pc-dimm", "id": "dimm1", "memdev": "m1"}));
    let more = "n=0; until [ $(awk '/^MemTotal/ { print $2 }' /proc/meminfo) -gt 150000 ]; do n=$((n + 1)); [ $n -lt 600 ] || exit 1; usleep 100000; done; echo more";
    assert_eq!(guest.ssh_with_key(&key, more).as_deref(), Ok("more\n"));

    assert_eq!(guest.agent("guest-get-host-name", serde_json::json!({}))["host-name"], "web-1.example.test");
    // "changed", as the agent wants it: base64.
    guest.agent("guest-set-user-password", serde_json::json!({"username": "root", "password": "Y2hhbmdlZA==", "crypted": false}));
    assert_eq!(guest.ssh_with_password("changed", "echo in").as_deref(), Ok("in\n"));

    guest.qmp("system_powerdown", serde_json::json!({}));
    guest.event("power-button");
    guest.event("shutdown");
    guest.ended();
    assert!(cloud.asked().iter().any(|path| path == "/latest/meta-data/public-keys"), "{:?}", cloud.asked());
}

/// A NoCloud drive, and UEFI.
#[test]
fn vm_identity_from_a_drive_under_uefi() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = key_pair(dir.path());
    let drive = metadata_drive(
        dir.path(),
        Drive::Iso9660,
        "cidata",
        &[
            ("meta-data", "instance-id: \"i-77\"\nlocal-hostname: db-1\n"),
            ("user-data", &format!("#!/bin/sh\nmkdir -p /root/.ssh\necho '{}' > /root/.ssh/authorized_keys\nexit 3\n", key.public)),
        ],
    );
    let mut guest = Guest::boot(dir.path(), Firmware::Uefi, None, &[drive]);
    assert_eq!(guest.event("user-data")["exit"], 3);
    let ready = guest.event("ready");
    assert_eq!(
        (&ready["source"], &ready["instance_id"], &ready["hostname"]),
        (&"nocloud".into(), &"i-77".into(), &"db-1".into()),
        "{ready}"
    );
    assert_eq!(guest.ssh_with_key(&key, "[ -d /sys/firmware/efi ] && echo efi").as_deref(), Ok("efi\n"));
    guest.qmp("system_powerdown", serde_json::json!({}));
    guest.ended();
}

/// OpenStack's JSON, from the service and from a drive; the drive wins when both are there.
#[test]
fn vm_identity_in_openstack_form() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = key_pair(dir.path());
    let json = |id: &str, name: &str| {
        serde_json::json!({"uuid": id, "hostname": name, "admin_pass": "pa\"ss", "keys": [{"name": "k", "type": "ssh", "data": "x"}],
            "public_keys": {"my key": key.public.as_str()}, "meta": {"hostname": "not this"}})
        .to_string()
    };
    let cloud = Cloud::start(&[
        ("/openstack/latest/meta_data.json", &json("u-1", "svc-1")),
        ("/openstack/latest/user_data", "#cloud-config\nhostname: svc-2\n"),
    ]);
    let mut guest = Guest::boot(dir.path(), Firmware::Bios, Some(&cloud), &[]);
    let ready = guest.event("ready");
    assert_eq!(
        (&ready["source"], &ready["instance_id"], &ready["hostname"]),
        (&"openstack".into(), &"u-1".into(), &"svc-2".into()),
        "{ready}"
    );
    assert_eq!(guest.ssh_with_key(&key, "hostname").as_deref(), Ok("svc-2\n"));
    assert_eq!(guest.ssh_with_password("pa\"ss", "echo in").as_deref(), Ok("in\n"));
    guest.qmp("system_powerdown", serde_json::json!({}));
    guest.ended();

    let other = tempfile::tempdir().expect("a directory");
    let drive = metadata_drive(other.path(), Drive::Fat, "CONFIG-2", &[("openstack/latest/meta_data.json", &json("u-2", "drv-1"))]);
    let mut guest = Guest::boot(other.path(), Firmware::Bios, Some(&cloud), &[drive]);
    let ready = guest.event("ready");
    assert_eq!(
        (&ready["source"], &ready["instance_id"], &ready["hostname"]),
        (&"config-drive".into(), &"u-2".into(), &"drv-1".into()),
        "{ready}"
    );
    guest.qmp("system_powerdown", serde_json::json!({}));
    guest.ended();
}
