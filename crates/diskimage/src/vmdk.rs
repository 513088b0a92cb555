//! VMware's virtual disk, the one-file kinds (VMware's "Virtual Disk Format 5.0"). Numbers are little endian, sizes in sectors of 512 bytes.

use crate::source::{Reader, Source, le16, le32, le64, printable};
use crate::{Error, Facts, Format, Refusal};

pub const SPARSE: &[u8] = b"KDMV";
const COWD: &[u8] = b"COWD";
const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile";

const F: Format = Format::Vmdk;
const SECTOR: u64 = 512;
const COMPRESSED: u32 = 1 << 16;
/// The grain directory lies at the end: a stream.
const GD_AT_END: u64 = u64::MAX;
const MAX_DESCRIPTOR: usize = 64 * 1024;

fn corrupt(what: &'static str) -> Error {
    Refusal::Corrupt { format: F, what }.into()
}

/// VMDK files that are not an image by themselves.
pub fn other(head: &[u8]) -> Option<Refusal> {
    if head.starts_with(COWD) {
        let advice = "export the disk again as one sparse or stream-optimised file";
        return Some(Refusal::Unsupported { what: "an ESX redo log or sparse extent", advice });
    }
    // Some writers put a comment or blank lines first.
    let text = head.trim_ascii_start();
    if text.get(..DESCRIPTOR.len()).is_some_and(|t| t.eq_ignore_ascii_case(DESCRIPTOR)) {
        let extents = extents(head);
        let file = extents.first().cloned().unwrap_or_else(|| "its extents".to_string());
        return Some(Refusal::ExternalData { format: F, file });
    }
    None
}

pub fn read_sparse<S: Source + ?Sized>(r: &Reader<'_, S>) -> Result<Facts, Error> {
    let h: [u8; 79] = r.need(F, 0)?;
    let (version, flags, capacity, grain) = (le32(&h, 4), le32(&h, 8), le64(&h, 12), le64(&h, 20));
    let (desc_offset, desc_sectors) = (le64(&h, 28), le64(&h, 36));
    let entries = le32(&h, 44);
    let gd_offset = le64(&h, 56);
    if !(1..=3).contains(&version) {
        return Err(Refusal::Unsupported { what: "this VMDK version", advice: "convert it: qemu-img convert -O qcow2 IN OUT" }.into());
    }
    let size = capacity.checked_mul(SECTOR).ok_or(Refusal::TooLarge { format: F, virtual_size: u64::MAX })?;
    if !grain.is_power_of_two() || !(8..=(1 << 17)).contains(&grain) || entries == 0 || entries > 512 {
        return Err(corrupt("the grain size is out of range"));
    }
    let stream = gd_offset == GD_AT_END;
    let mut variant = if stream || flags & COMPRESSED != 0 { "streamOptimized" } else { "monolithicSparse" };
    if desc_offset != 0 && desc_sectors != 0 {
        let offset = desc_offset.checked_mul(SECTOR).ok_or_else(|| corrupt("the descriptor is out of range"))?;
        let len = desc_sectors.saturating_mul(SECTOR).min(MAX_DESCRIPTOR as u64) as usize;
        variant = descriptor(&r.text(F, offset, len, MAX_DESCRIPTOR)?, variant)?;
    }
    if !stream {
        let end = gd_offset.checked_mul(SECTOR).ok_or_else(|| corrupt("the grain directory is out of range"))?;
        r.reaches(F, end.saturating_add(4))?;
    }
    let compression = match le16(&h, 77) {
        0 => "",
        1 => "deflate",
        _ => {
            return Err(
                Refusal::Unsupported { what: "this VMDK compression", advice: "convert it: qemu-img convert -O qcow2 IN OUT" }.into()
            );
        }
    };
    Ok(Facts { variant, cluster_size: (grain * SECTOR) as u32, compression, ..Facts::new(F, size) })
}

/// Reads the embedded text: refuses parents and foreign extents, tells the kind.
fn descriptor(text: &[u8], by_header: &'static str) -> Result<&'static str, Error> {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    let text = &text[..end];
    if let Some(parent) = value(text, b"parentCID").filter(|cid| !cid.eq_ignore_ascii_case(b"ffffffff")) {
        let file = value(text, b"parentFileNameHint").unwrap_or(parent);
        return Err(Refusal::Backing { format: F, file: printable(file) }.into());
    }
    let extents = extents(text);
    if extents.len() > 1 {
        return Err(Refusal::ExternalData { format: F, file: extents[1].clone() }.into());
    }
    Ok(match value(text, b"createType") {
        Some(b"monolithicSparse") => "monolithicSparse",
        Some(b"streamOptimized") => "streamOptimized",
        None => by_header,
        Some(other) => return Err(Refusal::ExternalData { format: F, file: printable(other) }.into()),
    })
}

/// The value of `key = "value"`.
fn value<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    text.split(|b| *b == b'\n' || *b == b'\r').find_map(|line| {
        let at = line.iter().position(|b| *b == b'=')?;
        let (name, rest) = (line[..at].trim_ascii(), line[at + 1..].trim_ascii());
        let rest = rest.strip_prefix(b"\"").unwrap_or(rest);
        name.eq_ignore_ascii_case(key).then(|| rest.strip_suffix(b"\"").unwrap_or(rest))
    })
}

/// File names of the extent lines: `RW 4192256 SPARSE "disk.vmdk"`.
fn extents(text: &[u8]) -> Vec<String> {
    let is_extent = |line: &&[u8]| [&b"RW "[..], b"RDONLY ", b"NOACCESS "].iter().any(|word| line.starts_with(word));
    let name = |line: &[u8]| line.split(|b| *b == b'"').nth(1).map(printable).unwrap_or_default();
    text.split(|b| *b == b'\n' || *b == b'\r').map(<[u8]>::trim_ascii).filter(is_extent).map(name).take(16).collect()
}
