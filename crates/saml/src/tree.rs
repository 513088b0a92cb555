//! The one way from octets to a tree, and the few questions asked of trees. The same parser reads what came and what was signed.

use crate::refuse;
use api_identity::saml::{Reason, Refusal};
use uppsala::{Document, Element, NodeId, NodeKind, Parser};

pub const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
pub const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
pub const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
pub const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Largest document, bytes. Responses with a few hundred groups have 50 KiB.
pub const LARGEST: usize = 512 * 1024;
/// Deepest nesting of elements.
const DEEPEST: u32 = 64;
/// Most nodes.
const MOST: usize = 50_000;

/// UTF-8, and nothing that says it were something else.
pub fn text_of(bytes: Vec<u8>) -> Result<String, Refusal> {
    if bytes.len() > LARGEST {
        return Err(refuse(Reason::TooLarge, format!("{} bytes, at most {LARGEST}", bytes.len())));
    }
    if bytes.contains(&0) {
        return Err(refuse(Reason::Encoding, "zero bytes: UTF-16 or UTF-32"));
    }
    String::from_utf8(bytes).map_err(|e| refuse(Reason::Encoding, format!("no UTF-8: {e}")))
}

/// Parses a document as strictly as SAML allows (SAML 2.0 core, section 1.3; security considerations of XML Signature).
pub fn parse(text: &str) -> Result<Document<'_>, Refusal> {
    if text.len() > LARGEST {
        return Err(refuse(Reason::TooLarge, format!("{} bytes, at most {LARGEST}", text.len())));
    }
    // The parser refuses it as well; here it gets its name.
    if text.contains("<!DOCTYPE") {
        return Err(refuse(Reason::Doctype, "a document type declaration"));
    }
    let deep = usize::try_from(DEEPEST).unwrap_or(usize::MAX);
    let parser = Parser::new().with_forbid_dtd(true).with_forbid_entities(true).with_max_depth(DEEPEST);
    let document = parser.parse(text).map_err(|e| {
        let reason = if depth(text) > deep { Reason::TooLarge } else { Reason::Malformed };
        refuse(reason, e.to_string())
    })?;
    if let Some(encoding) = document.xml_declaration.as_ref().and_then(|d| d.encoding.as_deref())
        && !encoding.eq_ignore_ascii_case("utf-8")
    {
        return Err(refuse(Reason::Encoding, format!("it declares {encoding}")));
    }
    let nodes = document.descendants(document.root());
    if nodes.len() > MOST {
        return Err(refuse(Reason::TooLarge, format!("{} nodes, at most {MOST}", nodes.len())));
    }
    for id in nodes {
        if matches!(document.node_kind(id), Some(NodeKind::Comment(_) | NodeKind::ProcessingInstruction(_))) {
            return Err(refuse(Reason::Comment, "a comment or processing instruction"));
        }
    }
    Ok(document)
}

/// A rough upper bound of the nesting, to name the refusal of the parser.
fn depth(text: &str) -> usize {
    let (mut now, mut most) = (0usize, 0usize);
    for tag in text.split('<').skip(1) {
        if tag.starts_with('/') {
            now = now.saturating_sub(1);
        } else if !tag.split('>').next().is_some_and(|t| t.ends_with('/')) {
            now += 1;
            most = most.max(now);
        }
    }
    most
}

pub fn root(document: &Document<'_>) -> Result<NodeId, Refusal> {
    document.document_element().ok_or_else(|| refuse(Reason::Malformed, "no root element"))
}

pub fn is(document: &Document<'_>, id: NodeId, space: &str, name: &str) -> bool {
    document.element(id).is_some_and(|e| e.matches_name_ns(space, name))
}

/// Child elements, in order.
pub fn elements(document: &Document<'_>, id: NodeId) -> Vec<NodeId> {
    document.children(id).into_iter().filter(|c| document.element(*c).is_some()).collect()
}

/// Child elements of one name, in order.
pub fn children(document: &Document<'_>, id: NodeId, space: &str, name: &str) -> Vec<NodeId> {
    document.children(id).into_iter().filter(|c| is(document, *c, space, name)).collect()
}

/// The one child element of a name, or none; two are refused.
pub fn child(document: &Document<'_>, id: NodeId, space: &str, name: &str) -> Result<Option<NodeId>, Refusal> {
    match children(document, id, space, name)[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(refuse(Reason::Malformed, format!("several {name}"))),
    }
}

/// An attribute without a namespace: `x:ID` is not `ID`.
pub fn attribute<'d>(document: &'d Document<'_>, id: NodeId, name: &str) -> Option<&'d str> {
    let element: &Element<'_> = document.element(id)?;
    let found = element.attributes.iter().find(|a| a.name.local_name == name && a.name.namespace_uri.as_deref().is_none_or(str::is_empty));
    found.map(|a| &*a.value)
}

/// The text of an element that has nothing but text, without surrounding space.
pub fn text(document: &Document<'_>, id: NodeId) -> Result<String, Refusal> {
    if !elements(document, id).is_empty() {
        return Err(refuse(Reason::Malformed, "elements where only text belongs"));
    }
    Ok(document.text_content_deep(id).trim().to_string())
}

/// Values of everything that any reader may take for an identifier.
pub fn identifiers(document: &Document<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for id in document.descendants(document.root()) {
        for attribute in document.element(id).map(|e| e.attributes.as_slice()).unwrap_or_default() {
            let space = attribute.name.namespace_uri.as_deref().unwrap_or_default();
            let name = &*attribute.name.local_name;
            if (space.is_empty() || space == XML) && (name.eq_ignore_ascii_case("id") || name == "AssertionID") {
                all.push(attribute.value.to_string());
            }
        }
    }
    all
}
