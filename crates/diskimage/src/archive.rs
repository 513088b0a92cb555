//! Archives, compressed files and foreign formats around or instead of an image, recognised to say what to do.

use crate::Refusal;

/// Magic, offset, what it is, how to get at the image.
const PACKED: [(&[u8], usize, &str, &str); 9] = [
    (b"\x1f\x8b\x08", 0, "gzip", "gunzip FILE"),
    (b"\xfd7zXZ\0", 0, "xz", "unxz FILE"),
    (b"1AY&SY", 4, "bzip2", "bunzip2 FILE"),
    (b"\x28\xb5\x2f\xfd", 0, "zstd", "unzstd FILE"),
    (b"\x04\x22\x4d\x18", 0, "lz4", "unlz4 FILE"),
    (b"PK\x03\x04", 0, "zip", "unzip FILE"),
    (b"7z\xbc\xaf\x27\x1c", 0, "7-zip", "7z x FILE"),
    (b"Rar!\x1a\x07", 0, "RAR", "unrar x FILE"),
    (b"ustar", 257, "tar (or OVA)", "tar xf FILE, then upload the disk inside it"),
];

const FOREIGN: [(&[u8], &str); 3] =
    [(b"QED\0", "a QED file"), (b"WithoutFreeSpace", "a Parallels disk"), (b"WithouFreSpacExt", "a Parallels disk")];

pub fn recognise(head: &[u8]) -> Option<Refusal> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if let Some((_, _, kind, unpack)) = PACKED.iter().find(|(magic, offset, ..)| at(*offset, magic)) {
        return Some(Refusal::Packed { kind, unpack });
    }
    let advice = "convert it: qemu-img convert -O qcow2 IN OUT";
    FOREIGN.iter().find(|(magic, _)| at(0, magic)).map(|(_, what)| Refusal::Unsupported { what, advice })
}
