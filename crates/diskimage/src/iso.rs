//! CD and DVD file systems: ISO 9660 (ECMA-119), UDF's recognition area (ECMA-167) and the El Torito boot record. Numbers little endian.

use crate::source::{Reader, Source, le16, le32};
use crate::{Error, Facts, Format};

const F: Format = Format::Iso;
const SECTOR: u64 = 2048;
const FIRST: u64 = 16;
/// Descriptors looked at; real discs have three to six.
const MAX_DESCRIPTORS: u64 = 32;

/// The facts of a disc, or nothing when this is none. The size is the file's: a disc has no header that a reader must trust.
pub fn read<S: Source + ?Sized>(r: &Reader<'_, S>) -> Result<Option<Facts>, Error> {
    let (mut found, mut bootable) = (false, false);
    let mut variant = "";
    for sector in FIRST..FIRST + MAX_DESCRIPTORS {
        let Some(d) = r.maybe::<75>(sector * SECTOR)? else { break };
        match (d[0], &d[1..6]) {
            (0, b"CD001") => bootable |= boot_catalog(r, &d)?,
            (1, b"CD001") => (found, variant) = (true, if variant.is_empty() { "iso9660" } else { variant }),
            (_, b"CD001") => {}
            (0, b"NSR02" | b"NSR03") => (found, variant) = (true, "udf"),
            (0, b"BEA01" | b"TEA01" | b"BOOT2") => {}
            _ => break,
        }
    }
    if !found {
        return Ok(None);
    }
    let hybrid = match r.maybe::<66>(446)? {
        // A boot sector's signature and at least one partition that has a type and a length.
        Some(table) => table[64..] == [0x55, 0xaa] && table[..64].chunks_exact(16).any(|p| p[4] != 0 && le32(p, 12) != 0),
        None => false,
    };
    Ok(Some(Facts { variant, bootable, hybrid, cluster_size: SECTOR as u32, ..Facts::new(F, r.len().unwrap_or(0)) }))
}

/// Whether a boot record leads to a catalogue with an entry that firmware would start (El Torito 1.0 §2).
fn boot_catalog<S: Source + ?Sized>(r: &Reader<'_, S>, d: &[u8; 75]) -> Result<bool, Error> {
    if !d[7..39].starts_with(b"EL TORITO SPECIFICATION") {
        return Ok(false);
    }
    let Some(catalog) = r.maybe::<{ 32 * 32 }>(u64::from(le32(d, 71)) * SECTOR)? else { return Ok(false) };
    let validation = &catalog[..32];
    let sum = validation.chunks_exact(2).fold(0u16, |sum, word| sum.wrapping_add(le16(word, 0)));
    if validation[0] != 1 || validation[30..] != [0x55, 0xaa] || sum != 0 {
        return Ok(false);
    }
    Ok(catalog[32..].chunks_exact(32).any(|entry| entry[0] == 0x88))
}
