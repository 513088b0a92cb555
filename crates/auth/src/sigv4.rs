//! Requests signed with an access key: AWS Signature Version 4, in a header or in the query, and Version 2 as EC2 and S3 clients still make it.
//!
//! Pure: the caller finds the secret of [`Signature::access_key`] and hands in the request as it was sent. Nothing a stranger writes can make
//! these functions panic, and no comparison of signatures stops at the first difference.
//!
//! ```text
//! parse (header or query) ─▶ secret of the key ─▶ canonical request ─▶ string to sign ─▶ HMAC chain ─▶ compare
//! ```

use base::Timestamp;
use ring::{digest, hmac};

/// The word of the algorithm, in headers, queries and strings to sign.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far the date of a signature may be from now, seconds.
pub const SKEW: i64 = 15 * 60;
/// The longest a signed URL may be good, seconds.
pub const LONGEST: i64 = 7 * 86_400;
/// The body was not signed: allowed to S3 clients only.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A request as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub method: &'a str,
    /// The path as sent, with its escapes, without the query.
    pub path: &'a str,
    /// Decoded parameters; the signature's own are among them when it stands there.
    pub query: &'a [(String, String)],
    /// Names in any case.
    pub headers: &'a [(String, String)],
    /// SHA-256 of the body in hex, or [`UNSIGNED`].
    pub body_hash: &'a str,
}

/// What a request says about its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub access_key: String,
    /// `YYYYMMDDTHHMMSSZ`
    pub stamp: String,
    pub day: String,
    pub region: String,
    pub service: String,
    /// Lower case, as the client ordered them.
    pub signed_headers: Vec<String>,
    pub signature: Vec<u8>,
    /// Seconds a signed URL is good; `None` for a signature in a header.
    pub expires: Option<i64>,
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Malformed,
    /// The date is too far from now, or the URL has run out.
    Stale,
    Wrong,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refused::Malformed => "the signature cannot be read",
            Refused::Stale => "the date of the signature is too far from now",
            Refused::Wrong => "the signature does not fit the request",
        })
    }
}

impl Signature {
    /// Out of `Authorization` (with `X-Amz-Date` or `Date` beside it), or else out of the query.
    pub fn find(message: &Message<'_>) -> Option<Signature> {
        match header(message.headers, "authorization") {
            Some(text) => Signature::of_header(text, header(message.headers, "x-amz-date").or_else(|| header(message.headers, "date"))?),
            None => Signature::of_query(message.query),
        }
    }

    /// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`
    pub fn of_header(text: &str, date: &str) -> Option<Signature> {
        let rest = text.trim().strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let (mut credential, mut headers, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        Signature::build(credential?, date, headers?, signature?, None)
    }

    /// `X-Amz-Algorithm`, `-Credential`, `-Date`, `-SignedHeaders`, `-Expires`, `-Signature`
    pub fn of_query(query: &[(String, String)]) -> Option<Signature> {
        let one = |name: &str| {
            let mut all = query.iter().filter(|(k, _)| k == name).map(|(_, v)| v.as_str());
            all.next().filter(|_| all.next().is_none())
        };
        if one("X-Amz-Algorithm")? != ALGORITHM {
            return None;
        }
        let expires = one("X-Amz-Expires")?.parse().ok().filter(|n| (1..=LONGEST).contains(n))?;
        Signature::build(one("X-Amz-Credential")?, one("X-Amz-Date")?, one("X-Amz-SignedHeaders")?, one("X-Amz-Signature")?, Some(expires))
    }

    fn build(credential: &str, stamp: &str, headers: &str, signature: &str, expires: Option<i64>) -> Option<Signature> {
        // A key id may hold slashes, the four words after it may not.
        let mut words = credential.rsplitn(5, '/');
        let (end, service, region, day, key) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        let dated = stamp.len() == 16 && stamp.is_ascii() && stamp.starts_with(day) && day.len() == 8 && parse_stamp(stamp).is_some();
        if end != "aws4_request" || key.is_empty() || !dated || headers.is_empty() {
            return None;
        }
        let signed_headers: Vec<String> = headers.split(';').map(str::to_string).collect();
        let plain = |name: &String| !name.is_empty() && !name.bytes().any(|b| b.is_ascii_uppercase() || b.is_ascii_whitespace());
        if !signed_headers.iter().all(plain) {
            return None;
        }
        Some(Signature {
            access_key: key.to_string(),
            stamp: stamp.to_string(),
            day: day.to_string(),
            region: region.to_string(),
            service: service.to_string(),
            signed_headers,
            signature: hex_bytes(signature).filter(|s| s.len() == 32)?,
            expires,
        })
    }

    /// Whether the secret made the signature over this request, near enough to now.
    pub fn check(&self, secret: &str, message: &Message<'_>, now: Timestamp) -> Result<(), Refused> {
        let text = self.string_to_sign(message).ok_or(Refused::Malformed)?;
        let key = signing_key(secret, &self.day, &self.region, &self.service);
        hmac::verify(&key, text.as_bytes(), &self.signature).map_err(|_| Refused::Wrong)?;
        // Time last: only who holds the secret learns how the clock here stands.
        let at = parse_stamp(&self.stamp).ok_or(Refused::Malformed)?;
        let age = now.since(at) / 1_000_000;
        if age < -SKEW || age > self.expires.unwrap_or(SKEW) { Err(Refused::Stale) } else { Ok(()) }
    }

    /// What is signed; `None` when a header that was signed is not in the request, or the host was not signed.
    pub fn string_to_sign(&self, message: &Message<'_>) -> Option<String> {
        let canonical = self.canonical(message)?;
        let hash = sha256(canonical.as_bytes());
        Some(format!("{ALGORITHM}\n{}\n{}/{}/{}/aws4_request\n{hash}", self.stamp, self.day, self.region, self.service))
    }

    fn canonical(&self, message: &Message<'_>) -> Option<String> {
        if !self.signed_headers.iter().any(|h| h == "host") {
            return None;
        }
        let path = if self.service == "s3" { encode(&decode(message.path), true) } else { encode(&normal(message.path), true) };
        let in_query = self.expires.is_some();
        let kept = message.query.iter().filter(|(k, _)| !(in_query && k == "X-Amz-Signature"));
        let mut pairs: Vec<(String, String)> = kept.map(|(k, v)| (encode(k, false), encode(v, false))).collect();
        pairs.sort();
        let query: Vec<String> = pairs.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut names = self.signed_headers.clone();
        names.sort();
        let mut headers = String::new();
        for name in &names {
            let mut values = message.headers.iter().filter(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| squeeze(v)).peekable();
            values.peek()?;
            headers.push_str(name);
            headers.push(':');
            headers.push_str(&values.collect::<Vec<_>>().join(","));
            headers.push('\n');
        }
        let path = if path.is_empty() { "/" } else { &path };
        Some(format!("{}\n{path}\n{}\n{headers}\n{}\n{}", message.method, query.join("&"), names.join(";"), message.body_hash))
    }
}

/// Version 4's chain from a secret to the key of a day, region and service.
pub fn signing_key(secret: &str, day: &str, region: &str, service: &str) -> hmac::Key {
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{secret}").as_bytes());
    for step in [day, region, service, "aws4_request"] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, step.as_bytes()).as_ref());
    }
    key
}

/// Version 2 of a request whose parameters carry the signature: EC2's query form. `Timestamp` or `Expires` decides about time.
pub fn check_v2(secret: &str, host: &str, message: &Message<'_>, now: Timestamp) -> Result<(), Refused> {
    let one = |name: &str| message.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
    let given = one("Signature").and_then(base64_bytes).ok_or(Refused::Malformed)?;
    let algorithm = match one("SignatureMethod") {
        Some("HmacSHA256") => hmac::HMAC_SHA256,
        Some("HmacSHA1") | None => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Some(_) => return Err(Refused::Malformed),
    };
    let mut pairs: Vec<(&str, &str)> =
        message.query.iter().filter(|(k, _)| k != "Signature").map(|(k, v)| (k.as_str(), v.as_str())).collect();
    pairs.sort_unstable();
    let query: Vec<String> = pairs.into_iter().map(|(k, v)| format!("{}={}", encode(k, false), encode(v, false))).collect();
    let path = if message.path.is_empty() { "/" } else { message.path };
    let text = format!("{}\n{}\n{path}\n{}", message.method, host.to_ascii_lowercase(), query.join("&"));
    hmac::verify(&hmac::Key::new(algorithm, secret.as_bytes()), text.as_bytes(), &given).map_err(|_| Refused::Wrong)?;
    let zoned = |t: &str| Timestamp::parse(t).or_else(|| Timestamp::parse(&format!("{t}Z")));
    match (one("Timestamp"), one("Expires")) {
        (Some(at), _) => {
            let at = zoned(at).ok_or(Refused::Malformed)?;
            if now.since(at).abs() > SKEW * 1_000_000 { Err(Refused::Stale) } else { Ok(()) }
        }
        (None, Some(until)) => {
            let until = zoned(until).ok_or(Refused::Malformed)?;
            if until <= now || until > now.plus_secs(LONGEST) { Err(Refused::Stale) } else { Ok(()) }
        }
        (None, None) => Err(Refused::Malformed),
    }
}

/// A string to sign with its signature, both given, as S3 gateways hand them on. The date in the string decides about time.
pub fn check_text(secret: &str, text: &str, signature: &str, now: Timestamp) -> Result<(), Refused> {
    let (right, date) = if text.starts_with(ALGORITHM) {
        let mut lines = text.split('\n');
        let (stamp, scope) = (lines.nth(1).unwrap_or(""), lines.next().unwrap_or(""));
        let words: Vec<&str> = scope.split('/').collect();
        let [day, region, service, "aws4_request"] = words[..] else { return Err(Refused::Malformed) };
        let given = hex_bytes(signature).ok_or(Refused::Malformed)?;
        (hmac::verify(&signing_key(secret, day, region, service), text.as_bytes(), &given).is_ok(), parse_stamp(stamp))
    } else {
        let given = base64_bytes(signature).ok_or(Refused::Malformed)?;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        // Method, MD5, type, date; a signed URL has its end there, in seconds.
        let date = text.split('\n').nth(3).unwrap_or("");
        if let Ok(until) = date.parse::<i64>() {
            let until = Timestamp(until.saturating_mul(1_000_000));
            let right = hmac::verify(&key, text.as_bytes(), &given).is_ok();
            return match (right, until > now && until <= now.plus_secs(LONGEST)) {
                (false, _) => Err(Refused::Wrong),
                (true, false) => Err(Refused::Stale),
                (true, true) => Ok(()),
            };
        }
        // The date may stand in a header of Amazon's instead, which is signed as well.
        let other = text.split('\n').find_map(|l| l.strip_prefix("x-amz-date:")).map(str::trim);
        let date = if date.is_empty() { other.unwrap_or("") } else { date };
        (hmac::verify(&key, text.as_bytes(), &given).is_ok(), Timestamp::parse(date).or_else(|| parse_rfc2822(date)))
    };
    if !right {
        return Err(Refused::Wrong);
    }
    let at = date.ok_or(Refused::Malformed)?;
    if now.since(at).abs() > SKEW * 1_000_000 { Err(Refused::Stale) } else { Ok(()) }
}

/// `YYYYMMDDTHHMMSSZ`
pub fn parse_stamp(stamp: &str) -> Option<Timestamp> {
    let digits = |from: usize, to: usize| stamp.get(from..to).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    if stamp.len() != 16 || stamp.get(8..9)? != "T" || stamp.get(15..16)? != "Z" {
        return None;
    }
    // A leap second would be read as the one before it: two stamps of one instant.
    if digits(13, 15)? > "59" {
        return None;
    }
    let text = format!("{}-{}-{}T{}:{}:{}Z", digits(0, 4)?, digits(4, 6)?, digits(6, 8)?, digits(9, 11)?, digits(11, 13)?, digits(13, 15)?);
    Timestamp::parse(&text)
}

/// `Tue, 27 Mar 2007 19:36:42 +0000`, the zone always Greenwich.
fn parse_rfc2822(text: &str) -> Option<Timestamp> {
    let words: Vec<&str> = text.split_once(',')?.1.split_ascii_whitespace().collect();
    let [day, month, year, time, zone] = words[..] else { return None };
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|m| *m == month)? + 1;
    if !matches!(zone, "GMT" | "UTC" | "+0000" | "-0000") {
        return None;
    }
    Timestamp::parse(&format!("{year}-{month:02}-{:0>2}T{time}Z", day))
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Parameters of a query string, decoded; a plus stays a plus.
pub fn parameters(query: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(key), decode(value))
    };
    query.split('&').filter(|p| !p.is_empty()).map(pair).collect()
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

/// Without spaces around and with one space where there are more.
fn squeeze(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Everything but letters, digits and `-._~` is escaped; slashes stay in a path.
fn encode(text: &str, path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            b'/' if path => out.push('/'),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// Undoes escapes; one that is none stays, and what is no UTF-8 afterwards counts as it was sent.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3).and_then(hex_bytes)).flatten();
        match escaped {
            Some(byte) => {
                out.extend(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_string())
}

/// A path without `.`, `..` and empty segments (RFC 3986 §5.2.4), which every service but S3 signs.
fn normal(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(out.pop()),
            other => out.push(other),
        }
    }
    let ends = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let tail = if ends && !out.is_empty() { "/" } else { "" };
    format!("/{}{tail}", out.join("/"))
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let nibble = |b: u8| char::from(b).to_digit(16);
    let bytes = text.as_bytes();
    if bytes.len() % 2 != 0 {
        return None;
    }
    bytes.chunks(2).map(|pair| Some((nibble(pair[0])? * 16 + nibble(pair[1])?) as u8)).collect()
}

fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text.trim()).ok()
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
