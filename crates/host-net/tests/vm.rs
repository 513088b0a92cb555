//! A real guest: its firmware, kernel, DHCP client and identity service against this network. Boots the test guest of `images/testvm`.

mod lab;

use host_net::{Config, Network, OvsNetwork};
use lab::{guest_spec, nat_network, on_a_machine, sh, try_sh, wait};
use std::path::Path;

#[test]
fn a_virtual_machine_finds_itself() {
    on_a_machine("a_virtual_machine_finds_itself", async |lab| {
        let disk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/guest/testvm.qcow2");
        assert!(
            disk.exists(),
            "the disk of the test guest is missing: run `cargo xtask test`, or images/testvm/build.sh target/guest/testvm.qcow2"
        );
        for (program, package) in [("qemu-system-x86_64", "qemu-system-x86"), ("ssh-keygen", "openssh-client")] {
            assert!(try_sh(&format!("command -v {program}")).status.success(), "this test needs `{program}`: install package {package}");
        }
        let outside = lab.outside();
        let _who = outside.says_who_calls(8000);
        let key = lab.path("key");
        sh(&format!("ssh-keygen -q -t ed25519 -N '' -f {}", key.display()));

        let network = OvsNetwork::start(Config::new(lab.path("net"))).unwrap();
        let net = nat_network("n", "10.0.1.0/24", "10.0.1.1");
        let mut guest = guest_spec(5, "n", "10.0.1.5");
        guest.meta.ssh_keys = vec![std::fs::read_to_string(key.with_extension("pub")).unwrap().trim().into()];
        network.apply(std::slice::from_ref(&net), std::slice::from_ref(&guest)).await.unwrap();
        let tap = network.plug(&guest.nics[0], &net, &guest).await.unwrap();

        let (own, serial) = (lab.path("vm.qcow2"), lab.path("serial"));
        sh(&format!("qemu-img create -q -f qcow2 -F qcow2 -b $(realpath {}) {}", disk.display(), own.display()));
        let offload = if tap.vnet_hdr { "on" } else { "off" };
        let vm = format!(
            "qemu-system-x86_64 -machine pc -accel tcg -cpu max -m 128 -display none -nodefaults -monitor none -serial file:{} \
             -blockdev driver=qcow2,node-name=root,file.driver=file,file.filename={} -device virtio-blk-pci,drive=root,bootindex=1 \
             -netdev tap,id=n0,ifname={},script=no,downscript=no,vhost=off,vnet_hdr={offload} -device virtio-net-pci,netdev=n0,mac={},romfile=",
            serial.display(),
            own.display(),
            tap.ifname,
            guest.nics[0].mac,
        );
        let words: Vec<&str> = vm.split_whitespace().collect();
        let _vm = lab::Process::new(std::process::Command::new(words[0]).args(&words[1..]).spawn().unwrap());
        let said = |event: &str| {
            let text = std::fs::read_to_string(&serial).unwrap_or_default();
            text.lines().find(|l| l.contains(&format!(r#""event":"{event}""#))).map(str::to_string)
        };
        let until = std::time::Instant::now() + lab::PATIENCE * 4;
        let ready = loop {
            if let Some(line) = said("ready") {
                break line;
            }
            assert!(
                std::time::Instant::now() < until,
                "the guest did not get ready: {}",
                std::fs::read_to_string(&serial).unwrap_or_default()
            );
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        };
        let dhcp = said("dhcp").unwrap();
        for part in [r#""address":"10.0.1.5"#, r#""router":"10.0.1.1""#, r#""mtu":"#, "1442", r#""hostname":"vm-5""#, "169.254.169.254/32"]
        {
            assert!(dhcp.contains(part), "{part} in {dhcp}");
        }
        for part in [r#""source":"ec2""#, r#""instance_id":"guest-5""#, r#""hostname":"vm-5""#] {
            assert!(ready.contains(part), "{part} in {ready}");
        }

        let ssh = |command: &str| {
            let options =
                "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=20";
            try_sh(&format!("ssh -i {} {options} root@10.0.1.5 '{command}'", key.display()))
        };
        let name = wait("a login from the host", || Some(ssh("hostname")).filter(|o| o.status.success()));
        assert_eq!(String::from_utf8_lossy(&name.stdout).trim(), "vm-5");
        let called = ssh("nc 192.0.2.2 8000");
        assert_eq!(String::from_utf8_lossy(&called.stdout).trim(), "192.0.2.1", "{}", String::from_utf8_lossy(&called.stderr));
        // Enough bytes in both directions to find wrong checksums.
        let blob = lab.path("blob");
        sh(&format!("head -c 500000 /dev/urandom > {}", blob.display()));
        let options = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR";
        let back = sh(&format!(
            "ssh -i {} {options} root@10.0.1.5 'cat > /tmp/x; cat /tmp/x' < {1} | cmp - {1} && echo same",
            key.display(),
            blob.display()
        ));
        assert_eq!(back, "same\n");
        network.unplug(&tap.ifname).await.unwrap();
        network.down().await.unwrap();
    });
}
