//! Where things are in a response: one assertion directly under the root, signatures directly under what they sign, nothing of either anywhere
//! else. Every known wrapping attack needs a second one of something.

use crate::refuse;
use crate::tree::{ASSERTION, PROTOCOL, SIGNATURE, children, identifiers, is, root};
use api_identity::saml::{Reason, Refusal};
use std::collections::HashSet;
use uppsala::{Document, NodeId};

#[derive(Debug)]
pub struct Shape {
    pub response: NodeId,
    pub assertion: NodeId,
    pub response_signature: Option<NodeId>,
    pub assertion_signature: Option<NodeId>,
}

/// # Errors
/// The first thing that is out of place. A response without assertion is looked at for the reason the provider gives.
pub fn of(document: &Document<'_>) -> Result<Shape, Refusal> {
    let response = root(document)?;
    if !is(document, response, PROTOCOL, "Response") {
        return Err(refuse(Reason::Malformed, "the root is no Response of SAML 2.0"));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = identifiers(document).into_iter().find(|id| !seen.insert(id.clone())) {
        return Err(refuse(Reason::DuplicateId, format!("two elements have the identifier {twice}")));
    }
    let all = |space: &str, name: &str| -> Vec<NodeId> {
        document.descendants(response).into_iter().filter(|id| is(document, *id, space, name)).collect()
    };
    let assertions = all(ASSERTION, "Assertion");
    let encrypted = all(ASSERTION, "EncryptedAssertion");
    if assertions.is_empty() && encrypted.is_empty() {
        crate::says::status(document, response)?;
    }
    if !encrypted.is_empty() {
        return Err(refuse(Reason::Encrypted, "an encrypted assertion"));
    }
    let [assertion] = assertions[..] else {
        return Err(refuse(Reason::AssertionCount, format!("{} assertions", assertions.len())));
    };
    if document.parent(assertion) != Some(response) {
        return Err(refuse(Reason::AssertionCount, "the assertion does not lie directly in the response"));
    }
    if all(PROTOCOL, "Response").iter().any(|id| *id != response) {
        return Err(refuse(Reason::Malformed, "a response in a response"));
    }
    let one = |parent: NodeId| match children(document, parent, SIGNATURE, "Signature")[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(refuse(Reason::SignatureForm, "several signatures in one element")),
    };
    let (response_signature, assertion_signature) = (one(response)?, one(assertion)?);
    let placed = usize::from(response_signature.is_some()) + usize::from(assertion_signature.is_some());
    if all(SIGNATURE, "Signature").len() != placed {
        return Err(refuse(Reason::SignatureForm, "a signature that lies in neither the response nor the assertion"));
    }
    if placed == 0 {
        return Err(refuse(Reason::Unsigned, "no signature"));
    }
    Ok(Shape { response, assertion, response_signature, assertion_signature })
}
