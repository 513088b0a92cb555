//! Real files, made on the spot by the programs people use, against a table in the tree. `UPDATE_GOLDEN=1` rewrites the table.

use diskimage::{Error, Facts, HEAD_LEN, early, inspect};
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::Command;

fn run(dir: &Path, line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let out = Command::new(program).args(words).current_dir(dir).output().unwrap_or_else(|e| {
        panic!("{program}: {e}; the tests need the Debian packages qemu-utils, xorriso and genisoimage");
    });
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Name, the commands that make it. Sizes are odd on purpose where a format rounds.
const FILES: &[(&str, &[&str])] = &[
    ("raw", &["qemu-img create -q -f raw raw 3145728"]),
    ("raw-one-sector", &["qemu-img create -q -f raw raw-one-sector 512"]),
    ("qcow2", &["qemu-img create -q -f qcow2 qcow2 64M"]),
    ("qcow2-v2", &["qemu-img create -q -f qcow2 -o compat=0.10 qcow2-v2 5G"]),
    ("qcow2-zero", &["qemu-img create -q -f qcow2 qcow2-zero 0"]),
    ("qcow2-2M-clusters", &["qemu-img create -q -f qcow2 -o cluster_size=2M,preallocation=metadata qcow2-2M-clusters 100M"]),
    ("qcow2-512-clusters", &["qemu-img create -q -f qcow2 -o cluster_size=512 qcow2-512-clusters 9M"]),
    ("qcow2-extended-l2", &["qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k qcow2-extended-l2 40G"]),
    ("qcow2-zstd", &["qemu-img create -q -f qcow2 -o compression_type=zstd qcow2-zstd 1G"]),
    (
        "qcow2-compressed",
        &[
            "qemu-img create -q -f raw qc-src 8M",
            "qemu-io -f raw -c write\\ -P\\ 7\\ 0\\ 4M qc-src",
            "qemu-img convert -q -c -O qcow2 qc-src qcow2-compressed",
        ],
    ),
    (
        "qcow2-luks",
        &[
            "qemu-img create -q -f qcow2 --object secret,id=s,data=hunter22 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 qcow2-luks 8M",
        ],
    ),
    ("qcow2-overlay", &["qemu-img create -q -f qcow2 base.qcow2 1G", "qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 qcow2-overlay"]),
    ("qcow2-data-file", &["qemu-img create -q -f qcow2 -o data_file=elsewhere.raw qcow2-data-file 1G"]),
    ("qcow2-cut", &["qemu-img create -q -f qcow2 -o preallocation=metadata qcow2-cut 64M", "truncate -s 100000 qcow2-cut"]),
    ("qcow1", &["qemu-img create -q -f qcow qcow1 64M"]),
    ("qed", &["qemu-img create -q -f qed qed 64M"]),
    ("vmdk-sparse", &["qemu-img create -q -f vmdk vmdk-sparse 7G"]),
    ("vmdk-stream", &["qemu-img create -q -f vmdk -o subformat=streamOptimized vmdk-stream 7G"]),
    ("vmdk-flat", &["qemu-img create -q -f vmdk -o subformat=monolithicFlat vmdk-flat 16M"]),
    ("vmdk-split", &["qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse vmdk-split 5G"]),
    ("vmdk-child", &["qemu-img create -q -f vmdk parent.vmdk 16M", "qemu-img create -q -f vmdk -b parent.vmdk -F vmdk vmdk-child"]),
    ("vhd-dynamic", &["qemu-img create -q -f vpc vhd-dynamic 3G"]),
    ("vhd-fixed", &["qemu-img create -q -f vpc -o subformat=fixed vhd-fixed 20M"]),
    ("vhd-exact", &["qemu-img create -q -f vpc -o subformat=dynamic,force_size=on vhd-exact 3G"]),
    ("vhdx-dynamic", &["qemu-img create -q -f vhdx vhdx-dynamic 3G"]),
    ("vhdx-fixed", &["qemu-img create -q -f vhdx -o subformat=fixed vhdx-fixed 16M"]),
    ("vdi-dynamic", &["qemu-img create -q -f vdi vdi-dynamic 3G"]),
    ("vdi-static", &["qemu-img create -q -f vdi -o static=on vdi-static 16M"]),
    ("iso-plain", &["mkdir tree", "cp raw-one-sector tree/file", "genisoimage -quiet -J -r -o iso-plain tree"]),
    ("iso-udf", &["genisoimage -quiet -udf -o iso-udf tree"]),
    (
        "iso-bootable",
        &[
            "cp raw tree/boot.img",
            "truncate -s 2048 tree/boot.img",
            "genisoimage -quiet -b boot.img -c boot.cat -no-emul-boot -o iso-bootable tree",
        ],
    ),
    (
        "iso-hybrid",
        &[
            "xorriso -outdev iso-hybrid -map tree / -boot_image any bin_path=/boot.img -boot_image any platform_id=0xef -append_partition 2 0xef tree/boot.img -commit",
        ],
    ),
    ("gzip", &["cp qcow2 packed", "gzip -k packed", "mv packed.gz gzip"]),
    ("xz", &["xz -k packed", "mv packed.xz xz"]),
    ("bzip2", &["bzip2 -k packed", "mv packed.bz2 bzip2"]),
    ("tar", &["tar cf tar packed"]),
    ("empty", &["truncate -s 0 empty"]),
];

fn line(found: &Result<Facts, Error>) -> String {
    match found {
        Ok(f) => {
            let mut out = format!("{} {}", f.format, f.virtual_size);
            for (word, value) in [("", f.variant), ("compression=", f.compression)] {
                if !value.is_empty() {
                    let _ = write!(out, " {word}{value}");
                }
            }
            if f.cluster_size != 0 {
                let _ = write!(out, " cluster={}", f.cluster_size);
            }
            for (set, word) in [(f.encrypted, "encrypted"), (f.dirty, "dirty"), (f.bootable, "bootable"), (f.hybrid, "hybrid")] {
                if set {
                    let _ = write!(out, " {word}");
                }
            }
            out
        }
        Err(e) => format!("refused: {e}"),
    }
}

#[test]
fn table_of_real_files() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let mut table = String::new();
    for (name, commands) in FILES {
        for command in *commands {
            // `\ ` is a blank inside one word.
            if command.contains("\\ ") {
                let words: Vec<String> = command.replace("\\ ", "\u{1}").split(' ').map(|w| w.replace('\u{1}', " ")).collect();
                let out = Command::new(&words[0]).args(&words[1..]).current_dir(dir.path()).output().expect("qemu-utils is installed");
                assert!(out.status.success(), "{command}");
            } else {
                run(dir.path(), command);
            }
        }
        let path = dir.path().join(name);
        let found = inspect(&File::open(&path).expect("the file was made"));
        let _ = writeln!(table, "{name:20} {}", line(&found));
        agree_with_qemu(&path, name, &found);
        early_agrees(&path, name, &found);
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/real_files.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &table).expect("the table can be written");
    }
    let want = std::fs::read_to_string(&golden).expect("the table is in the tree");
    assert_eq!(table, want, "set UPDATE_GOLDEN=1 and read the difference");
}

/// QEMU's opinion of everything we accept: same virtual size when told our format.
fn agree_with_qemu(path: &Path, name: &str, found: &Result<Facts, Error>) {
    let Ok(facts) = found else { return };
    if facts.encrypted {
        return;
    }
    let out = Command::new("qemu-img")
        .args(["info", "--output", "json", "-f", facts.format.qemu_driver()])
        .arg(path)
        .output()
        .expect("qemu-utils");
    let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(info["virtual-size"].as_u64(), Some(facts.virtual_size), "{name}: {info}");
}

/// What the head of a stream is refused for, the whole file is refused for; and nothing good is refused early.
fn early_agrees(path: &Path, name: &str, found: &Result<Facts, Error>) {
    let bytes = std::fs::read(path).expect("small files");
    let head = &bytes[..bytes.len().min(HEAD_LEN)];
    if let Some(refusal) = early(head) {
        match found {
            Err(Error::Refused(whole)) => assert_eq!(*whole, refusal, "{name}"),
            other => panic!("{name}: refused early ({refusal}), but whole it is {other:?}"),
        }
    }
    let decided_by_head = ["qcow2-overlay", "qcow2-data-file", "qcow1", "vmdk-flat", "vmdk-child", "gzip", "xz", "bzip2", "tar"];
    if decided_by_head.contains(&name) {
        assert!(early(head).is_some(), "{name} must not need its last byte to be refused");
    }
}
