//! Image metadata in HTTP headers, both directions (spec 21 §10.1).
//!
//! `X-Image-Meta-<Field>` is one field, `X-Image-Meta-Property-<Key>` one member of `properties`, `X-Image-Meta-Metadata` a JSON object of
//! tags. Senders write raw UTF-8; receivers unescape percent signs until nothing changes. Names are read without regard to case, `-` for `_`.
//! Pure: bytes in, a JSON object out, and back. Both sides treat the other as a stranger.

use base::{Json, Result, err};
use std::collections::BTreeMap;

pub type Map = serde_json::Map<String, Json>;

const PREFIX: &str = "x-image-meta-";
const PROPERTY: &str = "property_";
/// Fields whose value is a JSON object on the wire.
const OBJECTS: [&str; 2] = ["metadata", "project_metadata"];
/// An image has some forty fields and a dozen properties.
const MAX_HEADERS: usize = 300;
/// Longest field or property name: what a tag key may have.
const MAX_NAME: usize = 64;
/// Longest value, bytes: what a tag value may have.
const MAX_VALUE: usize = 65_535;
/// "Until stable" needs an end: nobody escapes more often.
const MAX_UNESCAPE: usize = 8;

/// Reads the metadata headers of a request or an answer; all other headers are passed over. Values stay texts (the readers of fields are
/// lenient), properties are gathered under `properties`, tags are parsed.
///
/// # Errors
/// `InputParameter` for values that are not UTF-8, tags that are not a JSON object, names and numbers beyond all measure.
pub fn read<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Map> {
    let (mut map, mut properties) = (Map::new(), BTreeMap::new());
    for (name, value) in headers {
        let Some(field) = field_of(name) else { continue };
        if map.len() + properties.len() >= MAX_HEADERS {
            return Err(err!(InputParameter, "more than {} image metadata headers; leave some out", MAX_HEADERS));
        }
        let key = field.strip_prefix(PROPERTY).unwrap_or(&field);
        if key.is_empty() || key.len() > MAX_NAME {
            return Err(err!(InputParameter, "the image metadata name {} must have 1 to {} characters", brief(key), MAX_NAME));
        }
        let value = text(key, value)?;
        if field.len() != key.len() {
            properties.insert(key.to_string(), Json::String(value));
        } else if OBJECTS.contains(&key) {
            map.insert(key.to_string(), object(key, &value)?);
        } else {
            map.insert(field, Json::String(value));
        }
    }
    if !properties.is_empty() {
        map.insert("properties".into(), Json::Object(properties.into_iter().collect()));
    }
    Ok(map)
}

/// Writes an image (a row as answered, or the fields of a request) as headers: names in the wire's spelling, values ready to send. What has
/// no header form (lists, nested objects, impossible names) is left out. No value can end its line or start another.
pub fn write(image: &Map) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::with_capacity(image.len());
    for (key, value) in image {
        match (key.as_str(), value) {
            ("properties", Json::Object(properties)) => {
                for (name, value) in properties.iter().filter(|(name, _)| is_token(name)) {
                    if let Some(text) = scalar(value) {
                        out.push((format!("X-Image-Meta-Property-{}", capital(name)), escape(&text)));
                    }
                }
            }
            (name, Json::Object(tags)) if OBJECTS.contains(&name) && !tags.is_empty() => {
                out.push((format!("X-Image-Meta-{}", capital(name)), escape(&value.to_string())));
            }
            (name, value) if is_token(name) => {
                if let Some(text) = scalar(value) {
                    out.push((format!("X-Image-Meta-{}", capital(name)), escape(&text)));
                }
            }
            _ => {}
        }
    }
    out
}

/// The field a header carries, in its column spelling, or nothing.
fn field_of(name: &str) -> Option<String> {
    let head = name.get(..PREFIX.len())?;
    head.eq_ignore_ascii_case(PREFIX).then(|| name[PREFIX.len()..].to_ascii_lowercase().replace('-', "_"))
}

fn text(key: &str, value: &[u8]) -> Result<String> {
    if value.len() > MAX_VALUE {
        return Err(err!(InputParameter, "the image metadata {} is longer than {} bytes", key, MAX_VALUE));
    }
    let text = std::str::from_utf8(value).map_err(|_| err!(InputParameter, "the image metadata {} is not UTF-8 text", key))?;
    let mut text = text.trim().to_string();
    for _ in 0..MAX_UNESCAPE {
        match unescape(&text) {
            Some(next) if next != text => text = next,
            _ => break,
        }
    }
    if text.contains('\0') {
        return Err(err!(InputParameter, "the image metadata {} contains a NUL character; remove it", key));
    }
    Ok(text)
}

/// One round of percent-decoding; `None` when it is no escaped text (a broken escape, or bytes that are not UTF-8): then it means itself.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let mut digit = || bytes.next().and_then(|d| (d as char).to_digit(16));
            let (high, low) = (digit()?, digit()?);
            out.push((high << 4 | low) as u8);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// Control characters would end the line; everything else goes as it is.
fn escape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for b in text.bytes() {
        if b < 0x20 || b == 0x7f {
            out.extend(format!("%{b:02X}").bytes());
        } else {
            out.push(b);
        }
    }
    out
}

fn object(key: &str, text: &str) -> Result<Json> {
    match serde_json::from_str(text) {
        Ok(Json::Object(map)) => Ok(Json::Object(map)),
        _ => Err(err!(InputParameter, "the image metadata {} must be a JSON object of texts", key)),
    }
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(s) => Some(s.clone()),
        Json::Number(n) => Some(n.to_string()),
        Json::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// Whether a name can be a part of a header name (RFC 9110 §5.6.2, the characters we use of it).
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + chars.as_str())
}

fn brief(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(headers: &[(&str, &[u8])], want: Json) {
        assert_eq!(Json::Object(read(headers.iter().copied()).expect("readable")), want);
    }

    fn refused(name: &str, value: &[u8]) {
        assert_eq!(read([(name, value)]).expect_err(name).class().http(), 400, "{name}");
    }

    #[test]
    fn as_a_real_client_sends_them() {
        check(
            &[
                ("content-length", b"196616"),
                ("x-image-meta-disk-format", b"qcow2"),
                ("x-image-meta-is_public", b"true"),
                ("X-Image-Meta-Name", b"tiny"),
                ("x-image-meta-property-os_type", b"Linux"),
                ("X-Image-Meta-Property-Os-Version", b"12"),
            ],
            json!({"disk_format": "qcow2", "is_public": "true", "name": "tiny", "properties": {"os_type": "Linux", "os_version": "12"}}),
        );
        check(&[("x-image-meta-metadata", br#"{"user:env":"prod"}"#)], json!({"metadata": {"user:env": "prod"}}));
    }

    #[test]
    fn names_in_any_script() {
        check(&[("x-image-meta-name", "系统镜像".as_bytes())], json!({"name": "系统镜像"}));
        check(&[("x-image-meta-name", b"%E7%B3%BB%E7%BB%9F")], json!({"name": "系统"}));
        check(&[("x-image-meta-name", b"%25E7%25B3%25BB")], json!({"name": "系"}));
        check(&[("x-image-meta-name", b"100% pure")], json!({"name": "100% pure"}));
        check(&[("x-image-meta-name", b"%FF")], json!({"name": "%FF"}));
        check(&[("x-image-meta-name", b"a+b")], json!({"name": "a+b"}));
    }

    #[test]
    fn hostile_headers() {
        refused("x-image-meta-name", b"\xff\xfe");
        refused("x-image-meta-name", b"a%00b");
        refused("x-image-meta-", b"v");
        refused("x-image-meta-property-", b"v");
        refused(&format!("x-image-meta-{}", "a".repeat(65)), b"v");
        refused("x-image-meta-name", &[b'a'; 65_536]);
        refused("x-image-meta-metadata", b"[1]");
        refused("x-image-meta-metadata", b"{");
        let many: Vec<String> = (0..301).map(|i| format!("x-image-meta-k{i}")).collect();
        assert!(read(many.iter().map(|n| (n.as_str(), &b"v"[..]))).is_err());
        check(&[("x-image-met\u{e9}-name", b"v"), ("x", b"v")], json!({}));
        // A property cannot smuggle itself into a field, nor a field overwrite the gathered properties.
        check(&[("x-image-meta-property-status", b"active")], json!({"properties": {"status": "active"}}));
        check(&[("x-image-meta-properties", b"mine"), ("x-image-meta-property-a", b"b")], json!({"properties": {"a": "b"}}));
    }

    #[test]
    fn answers() {
        let image = json!({
            "name": "a\r\nX-Evil: 1", "size": 5, "is_public": true, "shared_projects": [{"id": "p"}], "nothing": null,
            "properties": {"os_type": "Linux", "bad key": "x", "nested": {}}, "metadata": {"user:a": "b"},
        });
        let Json::Object(image) = image else { unreachable!() };
        let lines: Vec<String> = write(&image).into_iter().map(|(k, v)| format!("{k}: {}", String::from_utf8(v).expect("text"))).collect();
        assert_eq!(
            lines,
            [
                "X-Image-Meta-Name: a%0D%0AX-Evil: 1",
                "X-Image-Meta-Size: 5",
                "X-Image-Meta-Is_public: true",
                "X-Image-Meta-Property-Os_type: Linux",
                "X-Image-Meta-Metadata: {\"user:a\":\"b\"}",
            ]
        );
    }

    proptest! {
        #[test]
        fn any_headers_are_read_or_refused(name in "(?i)(x-image-meta-)?(property-)?\\PC{0,20}", value in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read([(name.as_str(), value.as_slice())]);
        }

        #[test]
        fn what_is_written_is_read_again(name in "[^%\\s\\x00][^%\\x00]{0,20}[^%\\s\\x00]", key in "[a-z][a-z0-9_]{0,20}", value in "[^%\\s\\x00]{1,20}") {
            let image = json!({"name": name, "properties": {key: value}});
            let Json::Object(image) = image else { unreachable!() };
            let headers = write(&image);
            for (_, value) in &headers {
                prop_assert!(value.iter().all(|b| *b >= 0x20 && *b != 0x7f), "a header line stays one line");
            }
            prop_assert_eq!(read(headers.iter().map(|(k, v)| (k.as_str(), v.as_slice()))).unwrap(), image);
        }
    }
}
