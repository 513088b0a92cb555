//! What a disk image file is, told from its header bytes: format, virtual size, and why it cannot be taken.
//!
//! The image service asks before it accepts an upload, the host agent before it opens a file. All bytes come from strangers: every read is
//! bounded, nothing is allocated by a length found in the file, and a file that points at *other* files (backing file, external data,
//! extents) is refused, because whoever opens it would read them with the platform's rights. Nothing is ever written, executed or mounted,
//! and no other file is opened.
//!
//! ```text
//! stream ──first HEAD_LEN bytes──▶ early()   refuses what can be refused before gigabytes have arrived
//! file   ──random reads─────────▶ inspect()  the facts, or the refusal
//! ```

mod archive;
mod iso;
mod qcow2;
mod refusal;
mod source;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

pub use refusal::{Error, Refusal};
pub use source::{Head, Source};

use source::Reader;
use std::fmt;

/// How many first bytes of a stream [`early`] can make use of: covers every magic and the first ISO 9660 descriptors.
pub const HEAD_LEN: usize = 64 * 1024;

/// Largest virtual size taken for true, in bytes (64 PiB): beyond what any hypervisor opens, and far from overflow.
pub const MAX_VIRTUAL_SIZE: u64 = 1 << 56;

/// A format a guest disk or CD can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Raw,
    Qcow2,
    Vmdk,
    /// Microsoft's older format, "vpc" to QEMU.
    Vhd,
    Vhdx,
    Vdi,
    Iso,
}

impl Format {
    pub const ALL: [Format; 7] = [Format::Raw, Format::Qcow2, Format::Vmdk, Format::Vhd, Format::Vhdx, Format::Vdi, Format::Iso];

    /// The word of the wire: `disk_format` of an image.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
            Format::Vhd => "vhd",
            Format::Vhdx => "vhdx",
            Format::Vdi => "vdi",
            Format::Iso => "iso",
        }
    }

    /// Reads the word of the wire, QEMU's own words included.
    pub fn parse(word: &str) -> Option<Format> {
        let word = word.trim().to_ascii_lowercase();
        match word.as_str() {
            "vpc" => Some(Format::Vhd),
            "img" => Some(Format::Raw),
            _ => Format::ALL.into_iter().find(|f| f.name() == word),
        }
    }

    /// The driver word QEMU wants; a CD is raw bytes to it.
    pub fn qemu_driver(self) -> &'static str {
        match self {
            Format::Vhd => "vpc",
            Format::Iso => "raw",
            other => other.name(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    pub format: Format,
    /// Size of the disk the guest sees, bytes.
    pub virtual_size: u64,
    /// The kind within the format: `v3`, `streamOptimized`, `dynamic`, `udf`; empty for raw.
    pub variant: &'static str,
    /// Allocation unit, bytes; 0 where there is none.
    pub cluster_size: u32,
    /// How clusters are compressed where they are: `zlib`, `zstd`, `deflate`; empty where the format has no such thing.
    pub compression: &'static str,
    /// Whether opening needs a key.
    pub encrypted: bool,
    /// Whether it was not closed properly; it is repaired by whoever opens it for writing.
    pub dirty: bool,
    /// CDs only: whether firmware can start it (El Torito).
    pub bootable: bool,
    /// CDs only: whether it also carries a partition table, to be written to a stick.
    pub hybrid: bool,
}

impl Facts {
    pub(crate) fn new(format: Format, virtual_size: u64) -> Facts {
        Facts {
            format,
            virtual_size,
            variant: "",
            cluster_size: 0,
            compression: "",
            encrypted: false,
            dirty: false,
            bootable: false,
            hybrid: false,
        }
    }

    /// Virtual size in whole MiB, rounded up.
    pub fn min_disk_mb(&self) -> u64 {
        self.virtual_size.div_ceil(1 << 20)
    }
}

/// The facts of a complete image, or why it is refused.
///
/// Order matters: a format with a magic wins over an ISO file system further in, and only what nothing else claims is raw.
///
/// # Errors
/// [`Error::Refused`] with the reason, [`Error::Io`] when the source cannot be read.
pub fn inspect<S: Source + ?Sized>(source: &S) -> Result<Facts, Error> {
    let r = Reader::new(source);
    if r.len() == Some(0) {
        return Err(Refusal::Empty.into());
    }
    let mut head = [0u8; 512];
    let have = r.prefix(&mut head)?;
    let head = &head[..have];
    let facts = if head.starts_with(qcow2::MAGIC) {
        qcow2::read(&r)?
    } else if head.starts_with(vmdk::SPARSE) {
        vmdk::read_sparse(&r)?
    } else if let Some(refusal) = vmdk::other(head) {
        return Err(refusal.into());
    } else if head.starts_with(vhdx::MAGIC) {
        vhdx::read(&r)?
    } else if head.starts_with(vhd::COOKIE) {
        vhd::read(&r, 0)?
    } else if vdi::is(head) {
        vdi::read(&r)?
    } else if let Some(refusal) = archive::recognise(head) {
        return Err(refusal.into());
    } else if let Some(facts) = iso::read(&r)? {
        facts
    } else if let Some(facts) = vhd::fixed(&r)? {
        facts
    } else {
        // A stream whose end has not come is raw only as far as we know; its size is not.
        Facts::new(Format::Raw, r.len().unwrap_or(0))
    };
    if facts.virtual_size > MAX_VIRTUAL_SIZE {
        return Err(Refusal::TooLarge { format: facts.format, virtual_size: facts.virtual_size }.into());
    }
    Ok(facts)
}

/// Looks at the first bytes of a stream: a reason to refuse that no further byte can change, or nothing.
pub fn early(head: &[u8]) -> Option<Refusal> {
    match inspect(&Head(head)) {
        Err(Error::Refused(refusal)) if !head.is_empty() => Some(refusal),
        _ => None,
    }
}
