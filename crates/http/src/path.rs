//! Paths: split first, then decoded segment by segment, so an identifier may contain `%2F` (spec 01 §1).

use base::{Result, err};
use hyper::Uri;

/// Segments a path may have. The deepest route of the platform has 8.
const MAX_SEGMENTS: usize = 64;

/// The segments of a path. Empty ones (`//`, a trailing `/`) do not count.
pub fn segments(path: &str) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        if out.len() == MAX_SEGMENTS {
            return Err(err!(InputParameter, "the path has more than {} segments", MAX_SEGMENTS));
        }
        out.push(
            decode(part, false).ok_or_else(|| err!(InputParameter, "path segment {} is not valid percent-encoded UTF-8", brief(part)))?,
        );
    }
    Ok(out)
}

/// Percent-decodes; `plus` also turns `+` into a space (forms and query strings). `None` for a broken escape or bytes that are not UTF-8.
pub(crate) fn decode(text: &str, plus: bool) -> Option<String> {
    if !text.bytes().any(|b| b == b'%' || (plus && b == b'+')) {
        return Some(text.to_string());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|d| d as u8)
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 §2.3, so that the result is one segment or one query value.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(text, &mut out);
    out
}

pub(crate) fn encode_into(text: &str, out: &mut String) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            out.push(b as char);
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(HEX[usize::from(b >> 4)] as char);
            out.push(HEX[usize::from(b & 15)] as char);
        }
    }
}

/// What a request asked for, as it came.
#[derive(Clone, Debug)]
pub struct Path {
    uri: Uri,
    pub(crate) segments: Vec<String>,
}

impl Path {
    pub(crate) fn new(uri: Uri) -> Result<Path> {
        Ok(Path { segments: segments(uri.path())?, uri })
    }

    /// The path as it came, still encoded, with the prefix the service is mounted under.
    pub fn raw(&self) -> &str {
        self.uri.path()
    }

    /// The query as it came, without `?`.
    pub fn raw_query(&self) -> &str {
        self.uri.query().unwrap_or("")
    }
}

fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_then_decode() {
        let check = |path: &str, want: &[&str]| assert_eq!(segments(path).unwrap(), want, "{path}");
        check("/", &[]);
        check("/servers/", &["servers"]);
        check("//servers//a%2Fb", &["servers", "a/b"]);
        check("/servers/a+b/%E4%BA%91", &["servers", "a+b", "云"]);
        for bad in ["/a%2", "/a%zz", "/%", "/%ff", "/a%C3%28"] {
            assert_eq!(segments(bad).unwrap_err().class().http(), 400, "{bad}");
        }
        assert!(segments(&"/a".repeat(65)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_survives_as_one_segment(text in "\\PC{1,40}") {
            proptest::prop_assert_eq!(segments(&format!("/{}", encode(&text))).unwrap(), vec![text]);
        }
    }
}
