//! Directory records and their system-use fields.

use base::Timestamp;

/// A directory record [9.1].
pub(crate) struct Record<'a> {
    /// First sector.
    pub extent: u32,
    /// Bytes.
    pub size: u32,
    pub directory: bool,
    pub at: Timestamp,
    pub name: &'a [u8],
    pub system_use: &'a [u8],
}

impl Record<'_> {
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0, 0];
        out.extend(both32(self.extent));
        out.extend(both32(self.size));
        out.extend(short_date(self.at));
        out.extend([if self.directory { 2 } else { 0 }, 0, 0]);
        out.extend(both16(1));
        out.push(self.name.len() as u8);
        out.extend(self.name);
        if out.len() % 2 == 1 {
            out.push(0);
        }
        out.extend(self.system_use);
        if out.len() % 2 == 1 {
            out.push(0);
        }
        // A name has at most 128 bytes and the fields below at most 5 + 128 + 36, which the record's one-byte length holds only together
        // with short plain names: 34 + 12 + 169.
        out[0] = out.len() as u8;
        out
    }
}

/// Least significant byte first, then again most significant first [7.2.3].
pub(crate) fn both16(value: u16) -> [u8; 4] {
    let (le, be) = (value.to_le_bytes(), value.to_be_bytes());
    [le[0], le[1], be[0], be[1]]
}

/// The same for 32 bits [7.3.3].
pub(crate) fn both32(value: u32) -> [u8; 8] {
    let (le, be) = (value.to_le_bytes(), value.to_be_bytes());
    [le[0], le[1], le[2], le[3], be[0], be[1], be[2], be[3]]
}

/// Years since 1900, month, day, hour, minute, second, offset from UTC [9.1.5]. Held within 1900 to 2155.
fn short_date(at: Timestamp) -> [u8; 7] {
    let text = at.to_string();
    let mut parts = text.split(['-', 'T', ':', '.']).map(|p| p.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    let year = next().clamp(1900, 2155) - 1900;
    let mut out = [year as u8, 0, 0, 0, 0, 0, 0];
    for place in &mut out[1..6] {
        *place = next() as u8;
    }
    out
}

/// POSIX attributes [RRIP 4.1.1]: mode, links, owner, group.
fn mode(mode: u32, links: u32) -> Vec<u8> {
    let mut out = b"PX\x24\x01".to_vec();
    for value in [mode, links, 0, 0] {
        out.extend(both32(value));
    }
    out
}

pub(crate) fn directory_mode() -> Vec<u8> {
    mode(0o040_555, 2)
}

/// Of the root's own record: that system-use fields follow [SUSP 5.3], which extension they are of [SUSP 5.5], and the mode.
pub(crate) fn root_system_use() -> Vec<u8> {
    let mut out = b"SP\x07\x01\xbe\xef\x00".to_vec();
    out.extend(directory_mode());
    let id = b"RRIP_1991A";
    out.extend(b"ER");
    out.extend([8 + id.len() as u8, 1, id.len() as u8, 0, 0, 1]);
    out.extend(id);
    out
}

/// Mode and full name [RRIP 4.1.4] of a file.
pub(crate) fn file_system_use(name: &str) -> Vec<u8> {
    let mut out = mode(0o100_444, 1);
    out.extend(b"NM");
    out.extend([5 + name.len() as u8, 1, 0]);
    out.extend(name.as_bytes());
    out
}
