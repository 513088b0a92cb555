//! The `Range` header (RFC 9110 §14): which bytes of a file are wanted.

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// All of it, with 200.
    Whole,
    /// `length` bytes (at least one) from `start`, with 206.
    Part { start: u64, length: u64 },
    /// Nothing lies there: 416.
    Nowhere,
}

/// Reads the header for a file of `size` bytes. What is malformed, of another unit, or several ranges at once is answered with the whole
/// file, as the RFC allows: nobody resumes an image in scattered pieces.
pub fn select(header: Option<&str>, size: u64) -> Range {
    let Some(header) = header else { return Range::Whole };
    let Some((unit, spec)) = header.split_once('=') else { return Range::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Range::Whole;
    }
    let Some((first, last)) = spec.split_once('-') else { return Range::Whole };
    match (position(first), position(last)) {
        // The last so many bytes.
        (Some(None), Some(Some(0))) => Range::Nowhere,
        (Some(None), Some(Some(_))) if size == 0 => Range::Nowhere,
        (Some(None), Some(Some(n))) => Range::Part { start: size - n.min(size), length: n.min(size) },
        (Some(Some(start)), Some(last)) => {
            if last.is_some_and(|last| last < start) {
                return Range::Whole;
            }
            if start >= size {
                return Range::Nowhere;
            }
            let end = last.map_or(size, |last| last.saturating_add(1).min(size));
            Range::Part { start, length: end - start }
        }
        _ => Range::Whole,
    }
}

/// A number, nothing (`Some(None)`), or rubbish (`None`). Numbers beyond u64 mean "the end".
fn position(text: &str) -> Option<Option<u64>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|b| b.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_thousand_bytes() {
        let part = |start, length| Range::Part { start, length };
        for (header, want) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-", part(0, 1000)),
            ("bytes=999-", part(999, 1)),
            ("bytes=10-19", part(10, 10)),
            ("bytes=990-2000", part(990, 10)),
            ("bytes=0-18446744073709551615", part(0, 1000)),
            ("bytes=0-99999999999999999999999", part(0, 1000)),
            ("bytes=-1", part(999, 1)),
            ("bytes=-5000", part(0, 1000)),
            ("Bytes = 1-2", part(1, 2)),
            ("bytes=-0", Range::Nowhere),
            ("bytes=1000-", Range::Nowhere),
            ("bytes=99999999999999999999999-", Range::Nowhere),
            ("bytes=5-4", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("bytes=0-1,5-6", Range::Whole),
            ("items=0-1", Range::Whole),
            ("bytes", Range::Whole),
            ("", Range::Whole),
        ] {
            assert_eq!(select(Some(header), 1000), want, "{header}");
        }
        assert_eq!(select(None, 1000), Range::Whole);
        assert_eq!(select(Some("bytes=0-"), 0), Range::Nowhere);
        assert_eq!(select(Some("bytes=-5"), 0), Range::Nowhere);
    }
}
