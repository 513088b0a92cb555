//! Writes small ISO 9660 images: the configuration disks guests read at their first boot (NoCloud's `cidata`).
//!
//! One flat directory, whole files in memory. Every file has three names, because guests differ in what they read: the plain one in capital
//! letters, Joliet's (Windows), and Rock Ridge's (Linux, BSD). The same input gives the same bytes. The crate never touches the disk.
//!
//! Sources: ECMA-119 (sector and record layout; numbers in brackets below are its sections), the Joliet specification, SUSP 1.09 and RRIP 1.09.

mod record;

use base::{Result, Timestamp, err};
use record::{Record, both16, both32};

/// Bytes of a sector and of a logical block here.
pub const SECTOR: usize = 2048;

/// Sectors before the directories: 16 of system area, three descriptors, four path tables.
const FIXED: usize = 23;

/// A file of the root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// 1 to 64 characters, none of them a control character, `/`, `\`, `*`, `:`, `;` or `?`.
    pub name: String,
    pub content: Vec<u8>,
}

impl File {
    pub fn new(name: &str, content: impl Into<Vec<u8>>) -> File {
        File { name: name.to_string(), content: content.into() }
    }
}

/// The image of a volume. `label` has 1 to 16 characters of ASCII; `at` becomes every date in it.
pub fn write(label: &str, files: &[File], at: Timestamp) -> Result<Vec<u8>> {
    check(label, files)?;
    let (mut plain, mut joliet) = (plain_names(files), joliet_names(files));
    // Both directories are sorted by their own names [9.3].
    plain.sort();
    joliet.sort();
    let (plain_sectors, joliet_sectors) = (directory_sectors(&plain, files, true), directory_sectors(&joliet, files, false));
    let first_file = FIXED + plain_sectors + joliet_sectors;
    let mut extents = Vec::with_capacity(files.len());
    let mut next = first_file;
    for file in files {
        extents.push(next as u32);
        next += file.content.len().div_ceil(SECTOR);
    }
    let layout = Layout { at, total: next as u32, extents, files };

    let mut image = vec![0; 16 * SECTOR];
    let roots = [(FIXED, plain_sectors), (FIXED + plain_sectors, joliet_sectors)];
    image.extend(layout.descriptor(1, roots[0], &ascii(label, 32), 19));
    image.extend(layout.descriptor(2, roots[1], &ucs2_padded(label, 32), 21));
    image.extend(sector(&[b"\xffCD001\x01"]));
    for (root, _) in roots {
        let (le, be) = ((root as u32).to_le_bytes(), (root as u32).to_be_bytes());
        // The root only: identifier of length 1, its extent, its own number as parent [9.4].
        image.extend(sector(&[&[1, 0], &le, &1u16.to_le_bytes(), &[0, 0]]));
        image.extend(sector(&[&[1, 0], &be, &1u16.to_be_bytes(), &[0, 0]]));
    }
    image.extend(layout.directory(&plain, roots[0], true));
    image.extend(layout.directory(&joliet, roots[1], false));
    for file in files {
        image.extend_from_slice(&file.content);
        image.resize(image.len().next_multiple_of(SECTOR), 0);
    }
    Ok(image)
}

fn check(label: &str, files: &[File]) -> Result<()> {
    if label.is_empty() || label.len() > 16 || !label.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(err!(InputParameter, "volume label {} must have 1 to 16 printable ASCII characters", label));
    }
    let mut size = 0u64;
    for (i, file) in files.iter().enumerate() {
        let legal = |c: char| !c.is_control() && !"/\\*:;?".contains(c) && (c as u32) < 0x1_0000;
        let special = file.name == "." || file.name == "..";
        if file.name.is_empty() || file.name.chars().count() > 64 || file.name.len() > 128 || special || !file.name.chars().all(legal) {
            return Err(err!(InputParameter, "file name {} must have 1 to 64 characters without / \\ * : ; ?", file.name));
        }
        if files[..i].iter().any(|f| f.name == file.name) {
            return Err(err!(InputParameter, "file name {} is given twice", file.name));
        }
        size += file.content.len() as u64;
    }
    if size > 1 << 30 || files.len() > 1000 {
        return Err(err!(InputParameter, "{} files of {} bytes are too much for a configuration disk", files.len(), size));
    }
    Ok(())
}

/// An on-disk name and the number of its file.
type Name = (Vec<u8>, usize);

/// `META_DAT.;1`: at most eight capitals, digits and underscores [7.5, level 1]; a clash gets the file's number into its name.
fn plain_names(files: &[File]) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::with_capacity(files.len());
    for (i, file) in files.iter().enumerate() {
        let mangle = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let stem: String = file.name.chars().take(8).map(mangle).collect();
        let mut name = format!("{stem}.;1").into_bytes();
        if names.iter().any(|(n, _)| *n == name) {
            name = format!("{:_<5.5}{i:03}.;1", stem).into_bytes();
        }
        names.push((name, i));
    }
    names
}

/// Without the version number, as other writers do: old readers show it to the user.
fn joliet_names(files: &[File]) -> Vec<Name> {
    files.iter().enumerate().map(|(i, f)| (ucs2(&f.name), i)).collect()
}

struct Layout<'a> {
    at: Timestamp,
    total: u32,
    extents: Vec<u32>,
    files: &'a [File],
}

impl Layout<'_> {
    /// Primary (kind 1) or Joliet's supplementary (kind 2) volume descriptor [8.4, 8.5].
    fn descriptor(&self, kind: u8, (root, sectors): (usize, usize), label: &[u8; 32], path_table: u32) -> Vec<u8> {
        let joliet = kind == 2;
        let blank = |n: usize| if joliet { [0, b' '].repeat(n / 2 + 1)[..n].to_vec() } else { vec![b' '; n] };
        let mut escapes = [0; 32];
        if joliet {
            // UCS-2 level 3.
            escapes[..3].copy_from_slice(b"%/E");
        }
        let date = long_date(self.at);
        let root =
            Record { extent: root as u32, size: (sectors * SECTOR) as u32, directory: true, at: self.at, name: &[0], system_use: &[] };
        let none = b"0000000000000000\0";
        sector(&[
            &[kind],
            b"CD001\x01\0",
            &blank(32),
            label,
            &[0; 8],
            &both32(self.total),
            &escapes,
            &both16(1),
            &both16(1),
            &both16(SECTOR as u16),
            &both32(10),
            &path_table.to_le_bytes(),
            &[0; 4],
            &(path_table + 1).to_be_bytes(),
            &[0; 4],
            &root.bytes(),
            &blank(128 * 4 + 37 * 3),
            &date,
            &date,
            none,
            &date,
            &[1],
        ])
    }

    fn directory(&self, names: &[Name], (root, sectors): (usize, usize), rock_ridge: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(sectors * SECTOR);
        let (extent, size) = (root as u32, (sectors * SECTOR) as u32);
        for name in [&[0u8], &[1u8]] {
            let system_use = system_use_of_dot(name[0] == 0, rock_ridge);
            append(&mut out, Record { extent, size, directory: true, at: self.at, name, system_use: &system_use }.bytes());
        }
        for (name, i) in names {
            let file = &self.files[*i];
            let system_use = if rock_ridge { record::file_system_use(&file.name) } else { Vec::new() };
            let (extent, size) = (self.extents[*i], file.content.len() as u32);
            append(&mut out, Record { extent, size, directory: false, at: self.at, name, system_use: &system_use }.bytes());
        }
        out.resize(out.len().next_multiple_of(SECTOR), 0);
        out
    }
}

fn system_use_of_dot(own: bool, rock_ridge: bool) -> Vec<u8> {
    match (rock_ridge, own) {
        (false, _) => Vec::new(),
        (true, true) => record::root_system_use(),
        (true, false) => record::directory_mode(),
    }
}

/// Puts a record behind the others; none crosses a sector's end [6.8.1.1].
fn append(directory: &mut Vec<u8>, record: Vec<u8>) {
    let room = SECTOR - directory.len() % SECTOR;
    if record.len() > room {
        directory.resize(directory.len() + room, 0);
    }
    directory.extend(record);
}

/// Sizes do not depend on extents, which are not known yet, so a draft measures.
fn directory_sectors(names: &[Name], files: &[File], rock_ridge: bool) -> usize {
    let draft = Layout { at: Timestamp::ZERO, total: 0, extents: vec![0; files.len()], files };
    draft.directory(names, (0, 0), rock_ridge).len() / SECTOR
}

/// One sector of these pieces and zeros.
fn sector(pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = pieces.concat();
    out.resize(SECTOR, 0);
    out
}

fn ascii(text: &str, width: usize) -> [u8; 32] {
    let mut out = [b' '; 32];
    let n = text.len().min(width);
    out[..n].copy_from_slice(&text.as_bytes()[..n]);
    out
}

fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn ucs2_padded(text: &str, width: usize) -> [u8; 32] {
    let mut out = [0; 32];
    for (i, unit) in ucs2(text).into_iter().chain([0, b' '].into_iter().cycle()).take(width).enumerate() {
        out[i] = unit;
    }
    out
}

/// Digits of the year to the hundredth of a second, and the offset from UTC [8.4.26.1].
fn long_date(at: Timestamp) -> [u8; 17] {
    let mut out = [b'0'; 17];
    let text = at.to_string();
    for (place, digit) in out.iter_mut().zip(text.bytes().filter(u8::is_ascii_digit).take(16)) {
        *place = digit;
    }
    out[16] = 0;
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn le32(image: &[u8], at: usize) -> usize {
        u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize
    }

    /// Files by their Joliet or Rock Ridge names, read the way a guest does.
    fn read(image: &[u8], descriptor: usize) -> Vec<(String, Vec<u8>)> {
        let base = descriptor * SECTOR;
        assert_eq!(&image[base + 1..base + 6], b"CD001");
        assert_eq!(le32(image, base + 80) * SECTOR, image.len(), "the volume is the image");
        let (mut at, size) = (le32(image, base + 158) * SECTOR, le32(image, base + 166));
        let end = at + size;
        let mut out = Vec::new();
        while at < end {
            let len = image[at] as usize;
            if len == 0 {
                at = (at + 1).next_multiple_of(SECTOR);
                continue;
            }
            assert!(at / SECTOR == (at + len - 1) / SECTOR, "a record crosses a sector");
            let record = &image[at..at + len];
            let (extent, size, name_len) = (le32(record, 2) * SECTOR, le32(record, 10), record[32] as usize);
            let name = &record[33..33 + name_len];
            if record[25] & 2 == 0 {
                let content = image[extent..extent + size].to_vec();
                if descriptor == 17 {
                    let units: Vec<u16> = name.chunks(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
                    out.push((String::from_utf16(&units).unwrap(), content));
                } else {
                    let mut rest = &record[(33 + name_len).next_multiple_of(2)..];
                    while rest.len() > 4 && &rest[..2] != b"NM" {
                        rest = &rest[rest[2] as usize..];
                    }
                    out.push((String::from_utf8(rest[5..rest[2] as usize].to_vec()).unwrap(), content));
                }
            }
            at += len;
        }
        out.sort();
        out
    }

    #[test]
    fn clashing_short_names_differ() {
        let files = [File::new("network-config", ""), File::new("network-data", ""), File::new("NETWORK_X", "")];
        let names: Vec<_> = plain_names(&files).into_iter().map(|(n, _)| String::from_utf8(n).unwrap()).collect();
        assert_eq!(names, ["NETWORK_.;1", "NETWO001.;1", "NETWO002.;1"]);
    }

    #[test]
    fn refuses_what_cannot_be_written() {
        let at = Timestamp::ZERO;
        for (label, name) in [("", "a"), ("seventeen-letters", "a"), ("ok", ""), ("ok", ".."), ("ok", "a/b"), ("ok", "a;1"), ("ok", "a\n")]
        {
            assert!(write(label, &[File::new(name, "")], at).is_err(), "{label} {name}");
        }
        assert!(write("ok", &[File::new("a", ""), File::new("a", "")], at).is_err());
        assert!(write("ok", &[File::new(&"x".repeat(65), "")], at).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Whatever the names and sizes, both directories give every file back.
        #[test]
        fn round_trip(files in proptest::collection::btree_map("[a-zA-Z0-9._ -]{1,64}", proptest::collection::vec(any::<u8>(), 0..5000), 0..40)) {
            prop_assume!(!files.contains_key(".") && !files.contains_key(".."));
            let given: Vec<File> = files.iter().map(|(n, c)| File::new(n, c.clone())).collect();
            let image = write("cidata", &given, Timestamp(1_700_000_000_000_000)).unwrap();
            let want: Vec<(String, Vec<u8>)> = files.into_iter().collect();
            prop_assert_eq!(read(&image, 16), want.clone());
            prop_assert_eq!(read(&image, 17), want);
        }
    }
}
