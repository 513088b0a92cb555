//! VirtualBox's disk image, version 1.1. Numbers are little endian.

use crate::source::{Reader, Source, le32, le64};
use crate::{Error, Facts, Format, Refusal};

const F: Format = Format::Vdi;
const SIGNATURE: u32 = 0xbeda_107f;

pub fn is(head: &[u8]) -> bool {
    head.len() >= 68 && le32(head, 64) == SIGNATURE
}

pub fn read<S: Source + ?Sized>(r: &Reader<'_, S>) -> Result<Facts, Error> {
    let corrupt = |what| Error::from(Refusal::Corrupt { format: F, what });
    let h: [u8; 512] = r.need(F, 0)?;
    if le32(&h, 68) != 0x0001_0001 {
        return Err(Refusal::Unsupported { what: "this VDI version", advice: "convert it: qemu-img convert -O qcow2 IN OUT" }.into());
    }
    let parent = || Refusal::Backing { format: F, file: "its parent disk".to_string() };
    let variant = match le32(&h, 76) {
        1 => "dynamic",
        2 => "fixed",
        3 | 4 => return Err(parent().into()),
        _ => return Err(corrupt("the image type is unknown")),
    };
    if h[440..456].iter().any(|b| *b != 0) {
        return Err(parent().into());
    }
    let (map, size, block, blocks) = (u64::from(le32(&h, 340)), le64(&h, 368), le32(&h, 376), u64::from(le32(&h, 384)));
    if !block.is_power_of_two() || block < 512 {
        return Err(corrupt("the block size is out of range"));
    }
    if blocks * u64::from(block) < size {
        return Err(corrupt("the block map is too small for the disk"));
    }
    r.reaches(F, map + blocks * 4)?;
    Ok(Facts { variant, cluster_size: block, ..Facts::new(F, size) })
}
