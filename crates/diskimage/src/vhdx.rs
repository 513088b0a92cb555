//! Microsoft's VHDX (MS-VHDX). Numbers are little endian; the interesting values lie in a metadata region named by one of two region tables.

use crate::source::{Reader, Source, le16, le32, le64};
use crate::{Error, Facts, Format, Refusal};

pub const MAGIC: &[u8] = b"vhdxfile";

const F: Format = Format::Vhdx;
const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
const REGION_TABLES: [u64; 2] = [192 << 10, 256 << 10];
/// GUIDs in the byte order of the file.
const METADATA_REGION: [u8; 16] = [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e];
const FILE_PARAMETERS: [u8; 16] = [0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b];
const DISK_SIZE: [u8; 16] = [0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8];
/// Both tables hold at most 2047 entries of 32 bytes.
const MAX_ENTRIES: u64 = 2047;
const LEAVE_ALLOCATED: u32 = 1;
const HAS_PARENT: u32 = 2;

fn corrupt(what: &'static str) -> Error {
    Refusal::Corrupt { format: F, what }.into()
}

pub fn read<S: Source + ?Sized>(r: &Reader<'_, S>) -> Result<Facts, Error> {
    let metadata = region(r)?;
    let table: [u8; 32] = r.need(F, metadata)?;
    if &table[..8] != b"metadata" {
        return Err(corrupt("the metadata table is missing"));
    }
    let (mut parameters, mut size) = (None, None);
    for i in 0..u64::from(le16(&table, 10)).min(MAX_ENTRIES) {
        let entry: [u8; 32] = r.need(F, metadata + 32 + i * 32)?;
        let at = metadata + u64::from(le32(&entry, 16));
        if entry[..16] == FILE_PARAMETERS {
            let p: [u8; 8] = r.need(F, at)?;
            parameters = Some((le32(&p, 0), le32(&p, 4)));
        } else if entry[..16] == DISK_SIZE {
            let s: [u8; 8] = r.need(F, at)?;
            size = Some(le64(&s, 0));
        }
    }
    let (block, flags) = parameters.ok_or_else(|| corrupt("the file parameters are missing"))?;
    let size = size.ok_or_else(|| corrupt("the disk size is missing"))?;
    if flags & HAS_PARENT != 0 {
        return Err(Refusal::Backing { format: F, file: "its parent disk".to_string() }.into());
    }
    if !block.is_power_of_two() || !((1 << 20)..=(256 << 20)).contains(&block) {
        return Err(corrupt("the block size is out of range"));
    }
    let variant = if flags & LEAVE_ALLOCATED != 0 { "fixed" } else { "dynamic" };
    Ok(Facts { variant, cluster_size: block, dirty: dirty(r)?, ..Facts::new(F, size) })
}

/// Where the metadata region starts.
fn region<S: Source + ?Sized>(r: &Reader<'_, S>) -> Result<u64, Error> {
    for table in REGION_TABLES {
        let head: [u8; 16] = r.need(F, table)?;
        if &head[..4] != b"regi" {
            continue;
        }
        for i in 0..u64::from(le32(&head, 8)).min(MAX_ENTRIES) {
            let entry: [u8; 32] = r.need(F, table + 16 + i * 32)?;
            if entry[..16] == METADATA_REGION {
                let at = le64(&entry, 16);
                return if at >= 1 << 20 && at <= i64::MAX as u64 { Ok(at) } else { Err(corrupt("the metadata region is out of range")) };
            }
        }
    }
    Err(corrupt("the region table is missing"))
}

/// Whether the newer header names a log that has not been replayed.
fn dirty<S: Source + ?Sized>(r: &Reader<'_, S>) -> Result<bool, Error> {
    let mut newest: Option<(u64, bool)> = None;
    for at in HEADERS {
        let h: [u8; 64] = r.need(F, at)?;
        if &h[..4] == b"head" {
            let found = (le64(&h, 8), h[48..64].iter().any(|b| *b != 0));
            newest = newest.max(Some(found));
        }
    }
    newest.map(|(_, log)| log).ok_or_else(|| corrupt("both headers are missing"))
}
