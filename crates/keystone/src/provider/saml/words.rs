//! What is written in SAML's words: requests, our metadata, and the encodings of the bindings (SAML 2.0 bindings, sections 3.4 and 3.5). Pure.

use base::Timestamp;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{markup::escaped, path::encode};

const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";
const UNSPECIFIED: &str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified";

pub struct Ask<'a> {
    pub id: &'a str,
    pub at: Timestamp,
    /// Where it goes.
    pub destination: &'a str,
    /// Where the response is to come.
    pub acs_url: &'a str,
    pub sp_entity_id: &'a str,
    pub name_id_format: &'a str,
}

/// `AuthnRequest` (SAML 2.0 core, section 3.4.1).
pub fn authn_request(ask: &Ask<'_>) -> String {
    let format = if ask.name_id_format.is_empty() { String::new() } else { format!(r#" Format="{}""#, escaped(ask.name_id_format)) };
    format!(
        concat!(
            r#"<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="{}" Version="2.0" IssueInstant="{}" "#,
            r#"Destination="{}" ProtocolBinding="{}" AssertionConsumerServiceURL="{}">"#,
            r#"<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{}</saml:Issuer>"#,
            r#"<samlp:NameIDPolicy{} AllowCreate="true"/></samlp:AuthnRequest>"#
        ),
        ask.id,
        ask.at,
        escaped(ask.destination),
        POST,
        escaped(ask.acs_url),
        escaped(ask.sp_entity_id),
        format,
    )
}

/// What a provider needs to know of this platform (SAML 2.0 metadata, section 2.4.4). No encryption key: assertions come in clear, over TLS.
pub fn metadata(sp_entity_id: &str, acs_url: &str, name_id_format: &str, pretty: bool) -> String {
    let (line, indent) = if pretty { ("\n", "  ") } else { ("", "") };
    let format = if name_id_format.is_empty() { UNSPECIFIED } else { name_id_format };
    [
        format!(r#"<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{}">"#, escaped(sp_entity_id)),
        format!(
            r#"{indent}<md:SPSSODescriptor AuthnRequestsSigned="false" WantAssertionsSigned="true" protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">"#
        ),
        format!("{indent}{indent}<md:NameIDFormat>{}</md:NameIDFormat>", escaped(format)),
        format!(
            r#"{indent}{indent}<md:AssertionConsumerService Binding="{POST}" Location="{}" index="0" isDefault="true"/>"#,
            escaped(acs_url)
        ),
        format!("{indent}</md:SPSSODescriptor>"),
        "</md:EntityDescriptor>".to_string(),
    ]
    .join(line)
}

/// A page that posts a request by itself, and by a button where scripts are off.
pub fn page(url: &str, request: &str, relay_state: &str) -> String {
    let relay = match relay_state {
        "" => String::new(),
        state => format!(r#"<input type="hidden" name="RelayState" value="{}">"#, escaped(state)),
    };
    format!(
        concat!(
            r#"<!doctype html><meta charset="utf-8"><title>&#8230;</title><body onload="document.forms[0].submit()">"#,
            r#"<form method="post" action="{}"><input type="hidden" name="SAMLRequest" value="{}">{}<button>&#8594;</button></form>"#
        ),
        escaped(url),
        escaped(request),
        relay
    )
}

/// For the HTTP-POST binding.
pub fn packed(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// For the HTTP-Redirect binding: DEFLATE (RFC 1951) and base64. Stored blocks: a request of 700 bytes is not worth a compressor.
pub fn deflated(xml: &str) -> String {
    let mut out = Vec::with_capacity(xml.len() + 16);
    let blocks = xml.as_bytes().chunks(0xffff);
    let last = blocks.len().saturating_sub(1);
    for (at, block) in blocks.enumerate() {
        // A chunk is at most 65535 bytes.
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(at == last));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    packed(&out)
}

/// An address with further fields of its query.
pub fn with_query(url: &str, pairs: &[(&str, String)]) -> String {
    let fields: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    format!("{url}{}{}", if url.contains('?') { "&" } else { "?" }, fields.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_put_in_stays_a_value() {
        let ask = Ask {
            id: "_1",
            at: Timestamp(1_000_000),
            destination: "https://i/?a=1&b=2",
            acs_url: r#"https://s/"><x>"#,
            sp_entity_id: "<s>",
            name_id_format: "",
        };
        let xml = authn_request(&ask);
        assert!(xml.contains(r#"Destination="https://i/?a=1&amp;b=2""#) && xml.contains("&lt;s&gt;") && !xml.contains("<x>"), "{xml}");
        assert!(xml.contains(r#"IssueInstant="1970-01-01T00:00:01.000000Z""#), "{xml}");
        assert!(!page("https://i", "r", r#""><script>"#).contains("<script>"));
    }

    #[test]
    fn a_query_is_gone_on_with() {
        assert_eq!(with_query("https://i/?a=1", &[("b", "+ /".into())]), "https://i/?a=1&b=%2B%20%2F");
        assert_eq!(with_query("https://i", &[("b", "c".into())]), "https://i?b=c");
    }

    #[test]
    fn stored_blocks_are_what_rfc_1951_says() {
        assert_eq!(STANDARD.decode(deflated("ab")).unwrap(), [1, 2, 0, 0xfd, 0xff, b'a', b'b']);
        let long = STANDARD.decode(deflated(&"x".repeat(0xffff + 1))).unwrap();
        assert_eq!((&long[..5], &long[5 + 0xffff..]), (&[0, 0xff, 0xff, 0, 0][..], &[1, 1, 0, 0xfe, 0xff, b'x'][..]));
    }
}
