//! From an element and the signature in it to the octets that were signed. Canonical forms are made by bergshamra, digests and signatures are
//! checked by ring; what happens in between is the least that XML Signature allows: one reference, to the element itself, enveloped.

use crate::key::{Key, Method, digest_named};
use crate::tree::{self, SIGNATURE, attribute, elements, is};
use crate::{bare, refuse};
use api_identity::saml::{Reason, Refusal};
use bergshamra_c14n::{C14nMode, canonicalize_doc};
use bergshamra_xml::NodeSet;
use uppsala::{Document, NodeId};

const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const INCLUSIVE: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";

/// A canonical form: which, and the prefixes it takes along.
type Canonical = (C14nMode, Vec<String>);

/// The canonical form of `parent` without its `signature`, after one of `keys` was found to have signed exactly these octets.
///
/// # Errors
/// `SignatureForm` for a signature of any other kind, `Algorithm`, `SignatureWrong`.
pub fn octets(document: &Document<'_>, parent: NodeId, signature: NodeId, keys: &[Key]) -> Result<String, Refusal> {
    let parts = elements(document, signature);
    let (info, value) = match parts[..] {
        [info, value] => (info, value),
        [info, value, key] if is(document, key, SIGNATURE, "KeyInfo") => (info, value),
        _ => return Err(form("a signature with more than a SignedInfo, a SignatureValue and a KeyInfo")),
    };
    if !is(document, info, SIGNATURE, "SignedInfo") || !is(document, value, SIGNATURE, "SignatureValue") {
        return Err(form("a signature without SignedInfo or SignatureValue"));
    }

    // What the key signed is the canonical SignedInfo. It is believed only in that form.
    let how = canonical_of(document, *elements(document, info).first().ok_or_else(|| form("an empty SignedInfo"))?)?;
    let signed = canonical(document, &how, NodeSet::tree_without_comments(info, document))?;
    let info = tree::parse(&signed)?;
    let top = tree::root(&info)?;
    if !is(&info, top, SIGNATURE, "SignedInfo") {
        return Err(form("no SignedInfo"));
    }
    let [canonicalization, method, reference] = elements(&info, top)[..] else {
        return Err(form("a SignedInfo of anything but one reference"));
    };
    if canonical_of(&info, canonicalization)? != how {
        return Err(form("two canonical forms"));
    }
    for (id, name) in [(method, "SignatureMethod"), (reference, "Reference")] {
        if !is(&info, id, SIGNATURE, name) {
            return Err(form("a SignedInfo of anything but one reference"));
        }
    }
    if !elements(&info, method).is_empty() {
        return Err(form("an algorithm with parameters"));
    }
    let method = Method::named(attribute(&info, method, "Algorithm").unwrap_or_default())?;
    let reference = Reference::of(&info, reference)?;
    let id = attribute(document, parent, "ID").unwrap_or_default();
    if id.is_empty() || reference.uri.strip_prefix('#') != Some(id) {
        return Err(form("a reference to something else than the element the signature lies in"));
    }

    let value = bare(&document.text_content_deep(value))?;
    if !method.holds(keys, signed.as_bytes(), &value) {
        return Err(refuse(Reason::SignatureWrong, "no key of the identity provider made this signature"));
    }
    let mut nodes = NodeSet::tree_without_comments(parent, document);
    for id in document.descendants(signature).into_iter().chain([signature]) {
        nodes.remove_id(id);
    }
    let octets = canonical(document, &reference.how, nodes)?;
    if ring::digest::digest(reference.digest, octets.as_bytes()).as_ref() != reference.value {
        return Err(refuse(Reason::SignatureWrong, "changed after it was signed: the digest is another"));
    }
    Ok(octets)
}

fn form(why: &str) -> Refusal {
    refuse(Reason::SignatureForm, why)
}

struct Reference {
    uri: String,
    how: Canonical,
    digest: &'static ring::digest::Algorithm,
    value: Vec<u8>,
}

impl Reference {
    fn of(info: &Document<'_>, reference: NodeId) -> Result<Reference, Refusal> {
        let [transforms, method, value] = elements(info, reference)[..] else {
            return Err(form("a reference without transforms, or with more than a digest"));
        };
        for (id, name) in [(transforms, "Transforms"), (method, "DigestMethod"), (value, "DigestValue")] {
            if !is(info, id, SIGNATURE, name) {
                return Err(form("a reference without transforms, or with more than a digest"));
            }
        }
        let steps = elements(info, transforms);
        if steps.iter().any(|step| !is(info, *step, SIGNATURE, "Transform")) {
            return Err(form("a transform that is none"));
        }
        let enveloped = |step: NodeId| attribute(info, step, "Algorithm") == Some(ENVELOPED) && elements(info, step).is_empty();
        let how = match steps[..] {
            [first] if enveloped(first) => (C14nMode::Inclusive, Vec::new()),
            [first, second] if enveloped(first) => canonical_of(info, second)?,
            _ => return Err(form("transforms other than the enveloped signature and a canonical form")),
        };
        let digest = digest_named(attribute(info, method, "Algorithm").unwrap_or_default())?;
        let value = bare(&tree::text(info, value)?)?;
        Ok(Reference { uri: attribute(info, reference, "URI").unwrap_or_default().to_string(), how, digest, value })
    }
}

/// The canonical form that a `CanonicalizationMethod` or `Transform` names.
fn canonical_of(document: &Document<'_>, id: NodeId) -> Result<Canonical, Refusal> {
    let mode = match attribute(document, id, "Algorithm").unwrap_or_default() {
        EXCLUSIVE => C14nMode::Exclusive,
        INCLUSIVE => C14nMode::Inclusive,
        other => return Err(form(&format!("the transform {other}"))),
    };
    let prefixes = match elements(document, id)[..] {
        [] => Vec::new(),
        [one] if mode == C14nMode::Exclusive && is(document, one, EXCLUSIVE, "InclusiveNamespaces") => {
            attribute(document, one, "PrefixList").unwrap_or_default().split_ascii_whitespace().map(str::to_string).collect()
        }
        _ => return Err(form("a canonical form with parameters")),
    };
    Ok((mode, prefixes))
}

fn canonical(document: &Document<'_>, how: &Canonical, nodes: NodeSet) -> Result<String, Refusal> {
    let bytes = canonicalize_doc(document, how.0, Some(&nodes), &how.1)
        .map_err(|e| refuse(Reason::Malformed, format!("it has no canonical form: {e}")))?;
    String::from_utf8(bytes).map_err(|e| refuse(Reason::Malformed, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::PROTOCOL;

    /// The second wall alone: without any look at the shape, no signature of the corpus gives octets in which a forger speaks.
    #[test]
    fn octets_never_hold_a_word_of_the_forger() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let pem = std::fs::read_to_string(folder.join("idp.pem")).expect("a certificate");
        let keys = [Key::of_certificate(&pem).expect("a key")];
        let (mut held, mut forged) = (0, 0);
        for entry in std::fs::read_dir(folder).expect("the corpus") {
            let path = entry.expect("an entry").path();
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let Ok(document) = tree::parse(&text) else { continue };
            forged += usize::from(text.contains("mallory"));
            for id in document.descendants(document.root()) {
                let parent = document.parent(id).filter(|_| is(&document, id, SIGNATURE, "Signature"));
                if let Some(Ok(octets)) = parent.map(|parent| octets(&document, parent, id, &keys)) {
                    assert!(!octets.contains("mallory"), "{}: {octets}", path.display());
                    held += 1;
                }
            }
        }
        assert!(held > 40 && forged > 10, "{held} signatures hold, {forged} documents are forged: the corpus is not whole");
    }

    #[test]
    fn a_signature_is_about_the_element_it_lies_in() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
        let keys = [Key::of_certificate(&read("idp.pem")).expect("a key")];
        let text = read("good-assertion.xml");
        let document = tree::parse(&text).expect("a document");
        let find = |space: &str, name: &str| document.get_elements_by_tag_name_ns(space, name)[0];
        let (response, assertion) = (find(PROTOCOL, "Response"), find(crate::tree::ASSERTION, "Assertion"));
        let signature = find(SIGNATURE, "Signature");
        assert!(octets(&document, assertion, signature, &keys).is_ok());
        assert_eq!(octets(&document, response, signature, &keys).unwrap_err().reason, Reason::SignatureForm);
        assert_eq!(octets(&document, assertion, signature, &[]).unwrap_err().reason, Reason::SignatureWrong);
    }
}
