//! Where bytes come from, and bounded reads of fixed-size pieces.

use crate::{Error, Format, Refusal};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that can be read at any offset.
pub trait Source {
    /// Length in bytes; `None` while the end has not arrived.
    fn length(&self) -> io::Result<Option<u64>>;

    /// Reads at most `buf.len()` bytes at `offset`; fewer only at the end of what is there.
    ///
    /// # Errors
    /// What the medium reports.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
}

impl Source for [u8] {
    fn length(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.len() as u64))
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or(&[]);
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

/// The first bytes of a stream that goes on.
pub struct Head<'a>(pub &'a [u8]);

impl Source for Head<'_> {
    fn length(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buf)
    }
}

impl Source for File {
    fn length(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.metadata()?.len()))
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            // Past i64::MAX the kernel answers EINVAL; there is nothing there either.
            let Some(at) = offset.checked_add(done as u64).filter(|at| *at <= i64::MAX as u64) else { break };
            match FileExt::read_at(self, &mut buf[done..], at) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
}

/// Reads whole pieces or says what is missing.
pub(crate) struct Reader<'a, S: ?Sized> {
    source: &'a S,
    len: Option<u64>,
    failed: Option<io::ErrorKind>,
}

impl<'a, S: Source + ?Sized> Reader<'a, S> {
    pub fn new(source: &'a S) -> Self {
        match source.length() {
            Ok(len) => Reader { source, len, failed: None },
            Err(e) => Reader { source, len: None, failed: Some(e.kind()) },
        }
    }

    /// Length, once known.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// As many first bytes as there are, up to the buffer.
    pub fn prefix(&self, buf: &mut [u8]) -> Result<usize, Error> {
        if let Some(kind) = self.failed {
            return Err(io::Error::from(kind).into());
        }
        Ok(self.source.read_at(0, buf)?)
    }

    /// Exactly `N` bytes at `offset`, or `None` when they are not there.
    pub fn maybe<const N: usize>(&self, offset: u64) -> Result<Option<[u8; N]>, Error> {
        let mut buf = [0u8; N];
        if self.source.read_at(offset, &mut buf)? == N { Ok(Some(buf)) } else { Ok(None) }
    }

    /// Exactly `N` bytes at `offset` of a header of `format`; missing ones are a truncation, or wait for more of a stream.
    pub fn need<const N: usize>(&self, format: Format, offset: u64) -> Result<[u8; N], Error> {
        match self.maybe(offset)? {
            Some(buf) => Ok(buf),
            None => Err(self.missing(format, offset.saturating_add(N as u64))),
        }
    }

    /// Exactly `len` bytes, `len` at most `max`, which the caller has chosen.
    pub fn text(&self, format: Format, offset: u64, len: usize, max: usize) -> Result<Vec<u8>, Error> {
        let len = len.min(max);
        let mut buf = vec![0u8; len];
        if self.source.read_at(offset, &mut buf)? == len { Ok(buf) } else { Err(self.missing(format, offset.saturating_add(len as u64))) }
    }

    /// Demands that the file reaches to `end`; says nothing of a stream whose end has not come.
    pub fn reaches(&self, format: Format, end: u64) -> Result<(), Error> {
        match self.len {
            Some(have) if have < end => Err(Refusal::Truncated { format, need: end, have }.into()),
            _ => Ok(()),
        }
    }

    fn missing(&self, format: Format, need: u64) -> Error {
        match self.len {
            Some(have) => Refusal::Truncated { format, need, have }.into(),
            None => Error::Undecided,
        }
    }
}

/// Big and little endian numbers inside a fixed header. Offsets are literals of ours: out of range is a bug a test meets at once.
pub(crate) fn be32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}
pub(crate) fn be64(b: &[u8], at: usize) -> u64 {
    u64::from(be32(b, at)) << 32 | u64::from(be32(b, at + 4))
}
pub(crate) fn le16(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}
pub(crate) fn le32(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}
pub(crate) fn le64(b: &[u8], at: usize) -> u64 {
    u64::from(le32(b, at + 4)) << 32 | u64::from(le32(b, at))
}

/// A name found in a file, fit to be shown: no control characters, at most 200 of the rest.
pub(crate) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).take(200).collect()
}
