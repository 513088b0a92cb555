//! Cuts a byte stream into lines. QEMU ends every message with CR LF and the guest agent with LF, and JSON has no raw line feed inside.

use crate::{Error, Result};

/// Collects bytes and hands out whole lines, never holding more than the bound.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// Bytes at the front already handed out; removed lazily.
    taken: usize,
    /// Bytes known to hold no line feed.
    scanned: usize,
    max: usize,
}

impl Frames {
    pub fn new(max: usize) -> Frames {
        Frames { buffer: Vec::new(), taken: 0, scanned: 0, max }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.scanned -= self.taken;
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line without its end, or `None` until more bytes arrive. Empty lines are skipped.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let Some(at) = self.buffer[self.scanned..].iter().position(|&b| b == b'\n') else {
                self.scanned = self.buffer.len();
                if self.buffer.len() - self.taken > self.max {
                    return Err(Error::TooLarge(self.max));
                }
                return Ok(None);
            };
            let (start, end) = (self.taken, self.scanned + at);
            self.taken = end + 1;
            self.scanned = end + 1;
            if end - start > self.max {
                return Err(Error::TooLarge(self.max));
            }
            let line = self.buffer[start..end].trim_ascii();
            if !line.is_empty() {
                // Found again by range, because a loop may not return a borrow it also drops.
                let offset = line.as_ptr() as usize - self.buffer.as_ptr() as usize;
                let range = offset..offset + line.len();
                return Ok(Some(&self.buffer[range]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(frames: &mut Frames) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(line) = frames.next_line().unwrap() {
            out.push(line.to_vec());
        }
        out
    }

    #[test]
    fn lines_across_pushes() {
        let mut frames = Frames::new(16);
        frames.push(b"{\"a\":1}\r\n\r\n{\"b\"");
        assert_eq!(lines(&mut frames), [b"{\"a\":1}".to_vec()]);
        frames.push(b":2}\n{}\n");
        assert_eq!(lines(&mut frames), [b"{\"b\":2}".to_vec(), b"{}".to_vec()]);
    }

    #[test]
    fn bound_holds_with_and_without_end() {
        let mut frames = Frames::new(4);
        frames.push(b"12345");
        assert!(matches!(frames.next_line(), Err(Error::TooLarge(4))));
        let mut frames = Frames::new(4);
        frames.push(b"1234\n12345\n");
        assert_eq!(frames.next_line().unwrap(), Some(&b"1234"[..]));
        assert!(matches!(frames.next_line(), Err(Error::TooLarge(4))));
    }

    proptest! {
        /// However the stream is cut, the same lines come out.
        #[test]
        fn cuts_do_not_matter(stream in proptest::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'\n')], 0..200), cut in 1usize..50) {
            let mut whole = Frames::new(1000);
            whole.push(&stream);
            let mut parts = Frames::new(1000);
            let mut got = Vec::new();
            for piece in stream.chunks(cut) {
                parts.push(piece);
                got.extend(lines(&mut parts));
            }
            prop_assert_eq!(lines(&mut whole), got);
        }
    }
}
