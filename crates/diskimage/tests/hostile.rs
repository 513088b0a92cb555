//! Bytes made up to hurt: nothing may panic, overflow, loop or be believed.

use diskimage::{Error, Format, HEAD_LEN, MAX_VIRTUAL_SIZE, Refusal, early, inspect};
use proptest::prelude::*;

const MAGICS: [(&[u8], usize); 12] = [
    (b"QFI\xfb\0\0\0\x03", 0),
    (b"QFI\xfb\0\0\0\x02", 0),
    (b"KDMV\x01\0\0\0", 0),
    (b"COWD", 0),
    (b"# Disk DescriptorFile\n", 0),
    (b"conectix", 0),
    (b"vhdxfile", 0),
    (b"\x7f\x10\xda\xbe\x01\0\x01\0", 64),
    (b"\x01CD001", 16 * 2048),
    (b"\x00CD001\x01EL TORITO SPECIFICATION", 16 * 2048),
    (b"ustar", 257),
    (b"", 0),
];

/// A valid version 3 header of one cluster, a 1 MiB disk.
fn qcow2() -> Vec<u8> {
    let mut b = vec![0u8; 4 * 65536];
    b[..4].copy_from_slice(b"QFI\xfb");
    b[7] = 3;
    b[23] = 16;
    b[24..32].copy_from_slice(&(1u64 << 20).to_be_bytes());
    b[39] = 1;
    b[40..48].copy_from_slice(&0x30000u64.to_be_bytes());
    b[96..100].copy_from_slice(&4u32.to_be_bytes());
    b[100..104].copy_from_slice(&104u32.to_be_bytes());
    b
}

fn put64(b: &mut [u8], at: usize, n: u64) {
    b[at..at + 8].copy_from_slice(&n.to_be_bytes());
}

fn sound(bytes: &[u8]) {
    let whole = inspect(bytes);
    if let Ok(facts) = &whole {
        assert!(facts.virtual_size <= MAX_VIRTUAL_SIZE, "{facts:?}");
    }
    assert!(!matches!(whole, Err(Error::Undecided | Error::Io(_))), "a slice is complete: {whole:?}");
    if let Some(refusal) = early(&bytes[..bytes.len().min(HEAD_LEN)]) {
        assert!(refusal.to_string().len() < 1000, "a message never grows with the file");
        assert!(matches!(whole, Err(Error::Refused(_))), "refused early ({refusal}) but taken whole: {whole:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_behind_any_magic(which in 0..MAGICS.len(), mut bytes in proptest::collection::vec(any::<u8>(), 0..2048), pad in 0usize..90_000) {
        let (magic, at) = MAGICS[which];
        let noise = bytes.clone();
        bytes.resize(bytes.len().max(at + magic.len()), 0);
        bytes[at..at + magic.len()].copy_from_slice(magic);
        bytes.extend(noise);
        bytes.resize(bytes.len() + pad, 0);
        sound(&bytes);
    }

    #[test]
    fn damaged_qcow2(hits in proptest::collection::vec((0usize..160, any::<u8>()), 0..6), cut in 0usize..=4 * 65536) {
        let mut bytes = qcow2();
        for (at, value) in hits {
            bytes[at] = value;
        }
        bytes.truncate(cut);
        sound(&bytes);
    }

    #[test]
    fn damaged_vhd(hits in proptest::collection::vec((0usize..1024, any::<u8>()), 0..4), kind in 0u8..6) {
        let mut bytes = vec![0u8; 8192];
        bytes[..8].copy_from_slice(b"conectix");
        put64(&mut bytes, 16, 512);
        put64(&mut bytes, 48, 1 << 20);
        bytes[63] = kind;
        bytes[512..520].copy_from_slice(b"cxsparse");
        put64(&mut bytes, 528, 1536);
        bytes[543] = 1;
        bytes[545] = 0x20;
        for (at, value) in hits {
            bytes[at] = value;
        }
        // A right checksum, so that the damage is looked at.
        let sum: u32 = bytes[..512].iter().enumerate().filter(|(i, _)| !(64..68).contains(i)).map(|(_, b)| u32::from(*b)).sum();
        bytes[64..68].copy_from_slice(&(!sum).to_be_bytes());
        sound(&bytes);
    }
}

fn refused(bytes: &[u8]) -> Refusal {
    match inspect(bytes) {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn qcow2_cases() {
    let sane = qcow2();
    assert_eq!(inspect(&sane[..]).expect("the template is right").virtual_size, 1 << 20);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut b = qcow2();
        change(&mut b);
        b
    };
    // A backing name out of every range is still a backing file.
    let b = with(&|b| put64(b, 8, u64::MAX));
    assert_eq!(refused(&b), Refusal::Backing { format: Format::Qcow2, file: "another file".into() });
    // Names come from strangers and go into messages.
    let b = with(&|b| {
        put64(b, 8, 512);
        b[19] = 15;
        b[512..527].copy_from_slice(b"/etc/\x1b[2Jpasswd");
    });
    assert_eq!(refused(&b), Refusal::Backing { format: Format::Qcow2, file: "/etc/[2Jpasswd".into() });
    // The extension alone betrays the data file, whatever the feature bit says.
    let b = with(&|b| {
        b[104..108].copy_from_slice(b"DATA");
        b[111] = 8;
        b[112..120].copy_from_slice(b"/dev/sda");
    });
    assert_eq!(refused(&b), Refusal::ExternalData { format: Format::Qcow2, file: "/dev/sda".into() });
    let b = with(&|b| b[79] = 4);
    assert!(matches!(refused(&b), Refusal::ExternalData { .. }));
    // Both at once must not slip through between the checks.
    let b = with(&|b| {
        put64(b, 8, 512);
        b[79] = 6;
    });
    assert!(matches!(refused(&b), Refusal::Backing { .. }));
    let b = with(&|b| b[72] = 0x80);
    assert!(matches!(refused(&b), Refusal::Unsupported { .. }), "an unknown incompatible feature");
    let b = with(&|b| b[79] = 2);
    assert!(matches!(refused(&b), Refusal::Corrupt { .. }));
    let b = with(&|b| put64(b, 24, 1 << 62));
    assert!(matches!(refused(&b), Refusal::TooLarge { .. }));
    let b = with(&|b| put64(b, 24, 1 << 40));
    assert!(matches!(refused(&b), Refusal::Corrupt { .. }), "a first-level table that cannot map the disk");
    let b = with(&|b| b[35] = 1);
    assert!(matches!(refused(&b), Refusal::Unsupported { .. }), "AES");
    let b = with(&|b| b.truncate(0x30007));
    assert_eq!(refused(&b), Refusal::Truncated { format: Format::Qcow2, need: 0x30008, have: 0x30007 });
    let b = with(&|b| b[79] = 1);
    assert!(inspect(&b[..]).expect("repairable").dirty);
}

/// A guest owns the bytes of its raw disk: planting a footer or a disc's label must not make the file point anywhere.
#[test]
fn guests_cannot_turn_raw_disks_into_differences() {
    let mut disk = vec![0u8; 1 << 20];
    let at = disk.len() - 512;
    disk[at..at + 8].copy_from_slice(b"conectix");
    disk[at + 63] = 4;
    let sum: u32 = disk[at..].iter().enumerate().filter(|(i, _)| !(64..68).contains(i)).map(|(_, b)| u32::from(*b)).sum();
    disk[at + 64..at + 68].copy_from_slice(&(!sum).to_be_bytes());
    assert_eq!(inspect(&disk[..]).expect("raw").format, Format::Raw);
}

#[test]
fn words() {
    for format in Format::ALL {
        assert_eq!(Format::parse(format.name()), Some(format));
    }
    assert_eq!(Format::parse(" VPC "), Some(Format::Vhd));
    assert_eq!(Format::parse("docker"), None);
}
