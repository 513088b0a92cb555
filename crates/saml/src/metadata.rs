//! What an identity provider's metadata says (SAML 2.0 metadata, section 2). An administrator has vouched for it by pasting it: signatures in it
//! are not looked at.

use crate::tree::{self, METADATA, SIGNATURE, attribute, children, elements, is, text};
use crate::{key::Key, refuse};
use api_identity::saml::{Metadata, MetadataQuestion, Reason, Refusal};
use uppsala::{Document, NodeId};

const REDIRECT: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect";
const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

pub fn read(question: &MetadataQuestion) -> Result<Metadata, Refusal> {
    let without = uncommented(&question.xml);
    let document = tree::parse(&without)?;
    let top = tree::root(&document)?;
    let all: Vec<NodeId> = if is(&document, top, METADATA, "EntityDescriptor") {
        vec![top]
    } else {
        document.descendants(top).into_iter().filter(|id| is(&document, *id, METADATA, "EntityDescriptor")).collect()
    };
    let wanted = |id: &NodeId| question.entity_id.is_empty() || attribute(&document, *id, "entityID") == Some(&question.entity_id);
    let all: Vec<NodeId> = all.into_iter().filter(wanted).filter(|id| describes(&document, *id).is_some()).collect();
    let [entity] = all[..] else {
        return Err(refuse(Reason::Malformed, format!("{} identity providers in this metadata, and one is wanted", all.len())));
    };
    let role = describes(&document, entity).ok_or_else(|| refuse(Reason::Malformed, "no identity provider"))?;
    let place = |binding: &str| {
        let services = children(&document, role, METADATA, "SingleSignOnService");
        let found = services.into_iter().find(|s| attribute(&document, *s, "Binding") == Some(binding));
        found.and_then(|s| attribute(&document, s, "Location")).unwrap_or_default().to_string()
    };
    let mut certificates = Vec::new();
    for descriptor in children(&document, role, METADATA, "KeyDescriptor") {
        if attribute(&document, descriptor, "use").is_some_and(|u| u != "signing") {
            continue;
        }
        for id in document.descendants(descriptor) {
            if is(&document, id, SIGNATURE, "X509Certificate") {
                let bare: String = text(&document, id)?.split_whitespace().collect();
                Key::of_certificate(&bare)?;
                if !certificates.contains(&bare) {
                    certificates.push(bare);
                }
            }
        }
    }
    let entity_id = attribute(&document, entity, "entityID").unwrap_or_default().to_string();
    Ok(Metadata { entity_id, redirect_url: place(REDIRECT), post_url: place(POST), certificates })
}

/// The part of an entity that is an identity provider of SAML 2.0.
fn describes(document: &Document<'_>, entity: NodeId) -> Option<NodeId> {
    elements(document, entity).into_iter().find(|id| {
        let speaks = attribute(document, *id, "protocolSupportEnumeration").unwrap_or_default();
        is(document, *id, METADATA, "IDPSSODescriptor") && speaks.split_ascii_whitespace().any(|p| p == tree::PROTOCOL)
    })
}

/// Metadata is written by hand and full of comments; nothing in it is believed because of a signature, so they may go.
fn uncommented(xml: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(xml.len()), xml);
    while let Some((before, after)) = rest.split_once("<!--") {
        out.push_str(before);
        rest = after.split_once("-->").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}
