//! Why an image is not taken, and what its owner can do about it.

use crate::Format;
use std::{fmt, io};

/// Why an image is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No bytes at all.
    Empty,
    /// It holds only the difference to another file.
    Backing { format: Format, file: String },
    /// Its data lie in other files.
    ExternalData { format: Format, file: String },
    /// A kind that nobody downstream can open.
    Unsupported { what: &'static str, advice: &'static str },
    /// The header contradicts itself.
    Corrupt { format: Format, what: &'static str },
    /// It ends before its header says it does.
    Truncated { format: Format, need: u64, have: u64 },
    /// An archive or a compressed file around an image.
    Packed { kind: &'static str, unpack: &'static str },
    /// A virtual size no hypervisor opens.
    TooLarge { format: Format, virtual_size: u64 },
}

impl From<Refusal> for base::Error {
    fn from(refusal: Refusal) -> base::Error {
        use base::err;
        match refusal {
            Refusal::Empty => err!(InvalidFormat, "the image has no bytes; upload the file again"),
            Refusal::Backing { format, file } => err!(
                InvalidFormat,
                "the {} image holds only the difference to {}; make it complete first: qemu-img convert -O qcow2 IN OUT",
                format,
                file
            ),
            Refusal::ExternalData { format, file } => err!(
                InvalidFormat,
                "the {} image keeps its data in another file ({}); make one file of it first: qemu-img convert -O qcow2 IN OUT",
                format,
                file
            ),
            Refusal::Unsupported { what, advice } => err!(InvalidFormat, "{} cannot be used as an image; {}", what, advice),
            Refusal::Corrupt { format, what } => {
                err!(InvalidFormat, "the {} header is damaged: {}; check the file with qemu-img check", format, what)
            }
            Refusal::Truncated { format, need, have } => err!(
                InvalidFormat,
                "the {} image is cut short: its header needs {} bytes, {} are there; transfer the file again",
                format,
                need,
                have
            ),
            Refusal::Packed { kind, unpack } => {
                err!(InvalidFormat, "the file is a {} archive, not an image; unpack it first: {}", kind, unpack)
            }
            Refusal::TooLarge { format, virtual_size } => {
                err!(InvalidFormat, "the {} image claims {} bytes of disk, more than can be opened", format, virtual_size)
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base::Error::from(self.clone()).fmt(f)
    }
}

/// A refusal, or a source that cannot be read.
#[derive(Debug)]
pub enum Error {
    Refused(Refusal),
    /// More bytes are needed than have arrived; only from an incomplete [`crate::Head`].
    Undecided,
    Io(io::Error),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(refusal)
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::Io(e)
    }
}

impl From<Error> for base::Error {
    fn from(e: Error) -> base::Error {
        match e {
            Error::Refused(refusal) => refusal.into(),
            Error::Undecided => base::Error::internal("an image head was inspected as if it were complete"),
            Error::Io(e) => base::Error::internal(e).with_context("reading an image header"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(refusal) => refusal.fmt(f),
            Error::Undecided => f.write_str("more bytes are needed"),
            Error::Io(_) => f.write_str("the image cannot be read"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(e) => Some(e),
            _ => None,
        }
    }
}
