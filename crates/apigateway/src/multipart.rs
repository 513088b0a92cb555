//! Forms with files (RFC 7578), read as they come: small fields into memory, files piece by piece.

use base::{Result, err};
use futures_util::StreamExt;
use http::{ByteStream, Bytes, Request};

/// Longest head of a part, bytes.
const HEAD: usize = 16 << 10;

/// One part; its content is read from the form.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub name: String,
    /// Of a file.
    pub filename: Option<String>,
}

pub struct Multipart {
    from: ByteStream,
    /// `\r\n--` and the boundary.
    mark: Vec<u8>,
    have: Vec<u8>,
    ended: bool,
    /// Whether a part's content is being read.
    inside: bool,
    last: bool,
}

impl Multipart {
    /// The form of a request; `None` when its body is none.
    pub fn begin(request: &mut Request) -> Option<Multipart> {
        let kind = request.header("content-type")?;
        let boundary = boundary(kind)?;
        Some(Multipart::new(request.stream(), &boundary))
    }

    fn new(from: ByteStream, boundary: &str) -> Multipart {
        // The first mark may stand at the very beginning.
        Multipart { from, mark: format!("\r\n--{boundary}").into_bytes(), have: b"\r\n".to_vec(), ended: false, inside: true, last: false }
    }

    async fn more(&mut self) -> Result<()> {
        match self.from.next().await {
            Some(piece) => self.have.extend_from_slice(&piece?),
            None => self.ended = true,
        }
        Ok(())
    }

    /// The next part. What is left of the one before is passed over.
    pub async fn next(&mut self) -> Result<Option<Part>> {
        while self.inside {
            self.piece().await?;
        }
        if self.last {
            return Ok(None);
        }
        let broken = || err!(InputParameter, "the form in the request body is broken off or malformed");
        loop {
            if self.have.starts_with(b"--") {
                self.last = true;
                return Ok(None);
            }
            if let Some(end) = find(&self.have, b"\r\n\r\n") {
                let head: Vec<u8> = self.have.drain(..end + 4).collect();
                self.inside = true;
                return part(&String::from_utf8_lossy(&head[..end])).map(Some).ok_or_else(broken);
            }
            if self.have.len() > HEAD || self.ended {
                return Err(broken());
            }
            self.more().await?;
        }
    }

    /// The next piece of this part's content; `None` at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            if !self.inside {
                return Ok(None);
            }
            if let Some(at) = find(&self.have, &self.mark) {
                let content: Vec<u8> = self.have.drain(..at).collect();
                self.have.drain(..self.mark.len());
                self.inside = false;
                // What follows decides: two dashes end the form, a line end begins a part.
                while self.have.len() < 2 && !self.ended {
                    self.more().await?;
                }
                return Ok((!content.is_empty()).then(|| Bytes::from(content)));
            }
            // All but what may be the beginning of a mark.
            let sure = self.have.len().saturating_sub(self.mark.len());
            if sure > 0 {
                return Ok(Some(Bytes::from(self.have.drain(..sure).collect::<Vec<u8>>())));
            }
            if self.ended {
                return Err(err!(InputParameter, "the form in the request body is broken off or malformed"));
            }
            self.more().await?;
        }
    }

    /// The whole content of this part, of at most `limit` bytes.
    pub async fn bytes(&mut self, limit: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        while let Some(piece) = self.piece().await? {
            if out.len() + piece.len() > limit {
                return Err(err!(TooLargeEntity, "a field of the form is larger than {} bytes", limit));
            }
            out.extend_from_slice(&piece);
        }
        Ok(out)
    }
}

fn boundary(kind: &str) -> Option<String> {
    let mut parts = kind.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parts.find_map(|p| p.split_once('=').filter(|(k, _)| k.trim().eq_ignore_ascii_case("boundary")))?;
    let text = found.1.trim().trim_matches('"');
    ((1..=70).contains(&text.len()) && text.is_ascii()).then(|| text.to_string())
}

fn part(head: &str) -> Option<Part> {
    let line = head.split("\r\n").find(|l| l.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let mut part = Part::default();
    for item in line.split_once(':')?.1.split(';').map(str::trim) {
        match item.split_once('=') {
            Some((key, value)) if key.trim().eq_ignore_ascii_case("name") => part.name = value.trim().trim_matches('"').to_string(),
            Some((key, value)) if key.trim().eq_ignore_ascii_case("filename") => {
                part.filename = Some(value.trim().trim_matches('"').to_string())
            }
            _ => {}
        }
    }
    (!part.name.is_empty()).then_some(part)
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = hay[from..].iter().position(|b| *b == first) {
        let at = from + at;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &[u8], size: usize) -> Multipart {
        let pieces: Vec<Result<Bytes>> = text.chunks(size).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        Multipart::new(Box::pin(futures_util::stream::iter(pieces)), "xYx")
    }

    #[tokio::test(flavor = "current_thread")]
    async fn fields_and_files_however_they_are_cut() {
        let file: Vec<u8> = (0..5000u32).flat_map(|n| n.to_le_bytes()).chain(*b"\r\n--xY\r\n--x").collect();
        let mut text = b"--xYx\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nimage one\r\n--xYx\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--xYx\r\n\
            content-disposition: form-data; name=\"image\"; filename=\"a.raw\"\r\nContent-Type: application/octet-stream\r\n\r\n".to_vec();
        text.extend(&file);
        text.extend(b"\r\n--xYx--\r\n");
        for size in [1, 2, 7, 100, 65_536] {
            let mut form = form(&text, size);
            let part = form.next().await.expect("sound").expect("a part");
            assert_eq!(part.name, "name");
            assert_eq!(form.bytes(100).await.expect("small"), b"image one");
            assert_eq!(form.next().await.expect("sound").expect("a part").name, "empty");
            assert_eq!(form.bytes(100).await.expect("small"), b"");
            let part = form.next().await.expect("sound").expect("a part");
            assert_eq!((part.name.as_str(), part.filename.as_deref()), ("image", Some("a.raw")));
            assert_eq!(form.bytes(1 << 20).await.expect("whole"), file, "pieces of {size}");
            assert!(form.next().await.expect("sound").is_none());
        }
        assert!(form(&text, 64).next().await.is_ok());
        let mut cut = form(&text[..text.len() - 20], 64);
        for _ in 0..2 {
            cut.next().await.expect("sound");
        }
        cut.next().await.expect("the head is there");
        assert!(cut.bytes(1 << 20).await.is_err(), "broken off");
        let mut large = form(&text, 64);
        large.next().await.expect("sound");
        assert!(large.bytes(3).await.is_err(), "too large");
    }

    #[test]
    fn boundaries() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Some("abc".into()));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), Some("a b".into()));
        assert_eq!(boundary("application/json"), None);
        assert_eq!(boundary("multipart/form-data"), None);
    }
}
