//! Microsoft's Virtual Hard Disk ("Virtual Hard Disk Image Format Specification" 1.0). Numbers are big endian. The footer is the header: it
//! lies at the end, and dynamic disks repeat it at the start.

use crate::source::{Reader, Source, be32, be64};
use crate::{Error, Facts, Format, Refusal};

pub const COOKIE: &[u8] = b"conectix";

const F: Format = Format::Vhd;
const FOOTER: u64 = 512;
/// Geometry at its end: bigger disks cannot say their size in cylinders, heads and sectors.
const MAX_CHS: u64 = 65_535 * 16 * 255;
/// Writers whose size field is right although it disagrees with the geometry, as QEMU knows them.
const EXACT: [&[u8; 4]; 5] = [b"win ", b"qem2", b"d2v ", b"tap\0", b"wa\0\0"];

fn corrupt(what: &'static str) -> Error {
    Refusal::Corrupt { format: F, what }.into()
}

/// A fixed disk: plain bytes, then the footer.
pub fn fixed<S: Source + ?Sized>(r: &Reader<'_, S>) -> Result<Option<Facts>, Error> {
    let Some(at) = r.len().and_then(|len| len.checked_sub(FOOTER)) else { return Ok(None) };
    match r.maybe::<8>(at)? {
        // Only a footer that is right in itself turns a raw disk into something else: guests write into the last sector.
        Some(cookie) if cookie == COOKIE => match read(r, at) {
            Ok(facts) if facts.variant == "fixed" => Ok(Some(facts)),
            Ok(_) | Err(Error::Refused(_)) => Ok(None),
            Err(e) => Err(e),
        },
        _ => Ok(None),
    }
}

/// Reads the footer (or its copy) at `offset`.
pub fn read<S: Source + ?Sized>(r: &Reader<'_, S>, offset: u64) -> Result<Facts, Error> {
    let h: [u8; 512] = r.need(F, offset)?;
    let sum: u32 = h.iter().enumerate().filter(|(i, _)| !(64..68).contains(i)).map(|(_, b)| u32::from(*b)).sum();
    if !sum != be32(&h, 64) {
        return Err(corrupt("the checksum of the footer is wrong"));
    }
    let (variant, data_offset) = match be32(&h, 60) {
        2 => ("fixed", None),
        3 => ("dynamic", Some(be64(&h, 16))),
        4 => return Err(Refusal::Backing { format: F, file: "its parent disk".to_string() }.into()),
        _ => return Err(corrupt("the disk type is unknown")),
    };
    let current = be64(&h, 48);
    let chs = u64::from(h[56]) << 8 | u64::from(h[57]);
    let chs = chs * u64::from(h[58]) * u64::from(h[59]);
    let exact = EXACT.iter().any(|w| h[28..32] == w[..]);
    let size = if exact || chs == 0 || chs >= MAX_CHS { current } else { chs * 512 };
    if size > crate::MAX_VIRTUAL_SIZE {
        return Err(Refusal::TooLarge { format: F, virtual_size: size }.into());
    }
    let mut facts = Facts { variant, ..Facts::new(F, size) };
    if let Some(at) = data_offset {
        let d: [u8; 64] = r.need(F, at)?;
        if &d[..8] != b"cxsparse" {
            return Err(corrupt("the dynamic disk header is missing"));
        }
        let (table, entries, block) = (be64(&d, 16), u64::from(be32(&d, 28)), be32(&d, 32));
        if !block.is_power_of_two() || block < 512 || entries * u64::from(block) < size {
            return Err(corrupt("the block table is too small for the disk"));
        }
        r.reaches(F, table.checked_add(entries * 4).ok_or_else(|| corrupt("the block table is out of range"))?)?;
        facts.cluster_size = block;
    } else if offset != 0 && size > offset {
        r.reaches(F, size.saturating_add(FOOTER))?;
    }
    Ok(facts)
}
