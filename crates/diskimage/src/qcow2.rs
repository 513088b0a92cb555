//! QEMU's copy-on-write format, versions 2 and 3 (QEMU's own `docs/interop/qcow2`). All numbers are big endian.

use crate::source::{Reader, Source, be32, be64, printable};
use crate::{Error, Facts, Format, Refusal};

pub const MAGIC: &[u8] = b"QFI\xfb";

const F: Format = Format::Qcow2;
/// Incompatible feature bits.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;
/// Header extensions.
const EXT_END: u32 = 0;
const EXT_DATA_FILE: u32 = 0x4441_5441;
/// The first-level table at its largest, in bytes: what QEMU opens.
const MAX_L1: u64 = 32 << 20;
const MAX_NAME: usize = 1023;

fn corrupt(what: &'static str) -> Error {
    Refusal::Corrupt { format: F, what }.into()
}

pub fn read<S: Source + ?Sized>(r: &Reader<'_, S>) -> Result<Facts, Error> {
    let h: [u8; 72] = r.need(F, 0)?;
    let version = be32(&h, 4);
    let variant = match version {
        1 => {
            return Err(
                Refusal::Unsupported { what: "qcow version 1", advice: "convert it: qemu-img convert -f qcow -O qcow2 IN OUT" }.into()
            );
        }
        2 => "v2",
        3 => "v3",
        _ => {
            return Err(Refusal::Unsupported {
                what: "this qcow version",
                advice: "convert it to version 3: qemu-img convert -O qcow2 IN OUT",
            }
            .into());
        }
    };
    let cluster_bits = be32(&h, 20);
    if !(9..=21).contains(&cluster_bits) {
        return Err(corrupt("the cluster size is out of range"));
    }
    let cluster_size = 1u64 << cluster_bits;
    let (size, crypt) = (be64(&h, 24), be32(&h, 32));
    let (l1_entries, l1_offset) = (u64::from(be32(&h, 36)), be64(&h, 40));

    let (mut features, mut header_len, mut compression) = (0, 72u64, "zlib");
    if version == 3 {
        let more: [u8; 32] = r.need(F, 72)?;
        features = be64(&more, 0);
        header_len = u64::from(be32(&more, 28));
        if header_len < 104 || header_len > cluster_size {
            return Err(corrupt("the header length is out of range"));
        }
        if features & COMPRESSION != 0 {
            if header_len < 105 {
                return Err(corrupt("the compression type is missing"));
            }
            let [kind] = r.need(F, 104)?;
            compression = match kind {
                0 => "zlib",
                1 => "zstd",
                _ => {
                    return Err(Refusal::Unsupported {
                        what: "this qcow2 compression",
                        advice: "convert it: qemu-img convert -O qcow2 IN OUT",
                    }
                    .into());
                }
            };
        }
    }
    if features & !(DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION | EXTENDED_L2) != 0 {
        let advice = "convert it without that feature: qemu-img convert -O qcow2 IN OUT";
        return Err(Refusal::Unsupported { what: "a qcow2 file with an unknown incompatible feature", advice }.into());
    }
    // Before anything else is doubted: a file that names another must never get further than this line.
    backing(r, &h, cluster_size)?;
    data_file(r, features, header_len, cluster_size)?;
    if features & CORRUPT != 0 {
        return Err(corrupt("it is marked as corrupt"));
    }
    let encrypted = match crypt {
        0 => false,
        2 => true,
        1 => {
            let advice = "convert it to LUKS or to no encryption with qemu-img convert";
            return Err(Refusal::Unsupported { what: "the old qcow2 AES encryption", advice }.into());
        }
        _ => return Err(corrupt("the encryption method is unknown")),
    };
    if size > crate::MAX_VIRTUAL_SIZE {
        return Err(Refusal::TooLarge { format: F, virtual_size: size }.into());
    }
    if l1_entries * 8 > MAX_L1 || !l1_offset.is_multiple_of(cluster_size) {
        return Err(corrupt("the first-level table is out of range"));
    }
    // Each first-level entry names one table of cluster_size / 8 (extended: / 16) clusters.
    let covered = cluster_size * (cluster_size / if features & EXTENDED_L2 != 0 { 16 } else { 8 });
    if size.div_ceil(covered) > l1_entries {
        return Err(corrupt("the first-level table is too small for the disk"));
    }
    let l1_end = l1_offset.checked_add(l1_entries * 8).ok_or_else(|| corrupt("the first-level table is out of range"))?;
    r.reaches(F, l1_end)?;
    Ok(Facts { variant, cluster_size: cluster_size as u32, compression, encrypted, dirty: features & DIRTY != 0, ..Facts::new(F, size) })
}

fn backing<S: Source + ?Sized>(r: &Reader<'_, S>, h: &[u8], cluster_size: u64) -> Result<(), Error> {
    let (offset, len) = (be64(h, 8), be32(h, 16) as usize);
    if offset == 0 {
        return Ok(());
    }
    let file = if offset < cluster_size && len <= MAX_NAME {
        match r.text(F, offset, len, MAX_NAME) {
            Ok(name) => printable(&name),
            Err(Error::Refused(_) | Error::Undecided) => "another file".to_string(),
            Err(io) => return Err(io),
        }
    } else {
        "another file".to_string()
    };
    Err(Refusal::Backing { format: F, file }.into())
}

/// An external data file, by its feature bit or its header extension: either alone is enough to refuse.
fn data_file<S: Source + ?Sized>(r: &Reader<'_, S>, features: u64, header_len: u64, cluster_size: u64) -> Result<(), Error> {
    let refused = |file: String| Err(Refusal::ExternalData { format: F, file }.into());
    let mut at = header_len.next_multiple_of(8);
    // Each round consumes eight bytes at least, so a cluster bounds the loop.
    while at + 8 <= cluster_size {
        let Some(ext) = r.maybe::<8>(at)? else { break };
        let (kind, len) = (be32(&ext, 0), u64::from(be32(&ext, 4)));
        match kind {
            EXT_END => break,
            EXT_DATA_FILE => {
                let name = r.text(F, at + 8, len as usize, MAX_NAME).unwrap_or_default();
                return refused(printable(&name));
            }
            _ => at += 8 + len.next_multiple_of(8),
        }
    }
    if features & EXTERNAL_DATA != 0 {
        return refused("unnamed".to_string());
    }
    Ok(())
}
