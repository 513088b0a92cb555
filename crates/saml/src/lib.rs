//! Judges responses of SAML 2.0 identity providers. Asked by the identity service, through the program `wolke-saml`: an attacker's XML is read
//! in a process that has no secrets, little memory and little time, never in the one that signs tokens.
//!
//! ```text
//! base64 ─▶ tree: one parser, no DTD ─▶ shape: one assertion, signatures in their places ─▶ signature: canonical octets under the key
//!                                                                                             │
//!                                  says: who, for whom, until when ◀── tree, of these octets ─┘
//! ```
//!
//! The law that makes wrapping of signatures pointless: nothing is read from the document that came. What is read is parsed anew from octets
//! whose digest stands in a `SignedInfo` whose octets the provider's key has signed. A fault of the parser or of the canonical form can make
//! the octets differ from what was signed, and then the arithmetic says no; it cannot make them say something else.
//!
//! Must never: open a file or a socket, take a key out of the document, read the clock.

mod key;
mod metadata;
mod says;
mod shape;
mod signature;
mod tree;

use api_identity::saml::{ClaimQuestion, LoginQuestion, Question, Reason, Refusal, Verdict};
use base64::{Engine, engine::general_purpose::STANDARD};

/// The answer to a question. Never fails: what cannot be judged is refused.
pub fn answer(question: &Question) -> Verdict {
    let said = match question {
        Question::Claim(q) => claim(q),
        Question::Login(q) => login(q),
        Question::Metadata(q) => metadata::read(q).map(Verdict::Metadata),
    };
    said.unwrap_or_else(Verdict::Refused)
}

fn claim(question: &ClaimQuestion) -> Result<Verdict, Refusal> {
    let text = tree::text_of(bare(&question.response)?)?;
    says::claim(&tree::parse(&text)?).map(Verdict::Claim)
}

fn login(question: &LoginQuestion) -> Result<Verdict, Refusal> {
    let keys = question.certificates.iter().map(|c| key::Key::of_certificate(c)).collect::<Result<Vec<_>, _>>()?;
    let text = tree::text_of(bare(&question.response)?)?;
    let document = tree::parse(&text)?;
    let shape = shape::of(&document)?;
    // Both signatures, where there are two: one that does not fit is a forgery or a fault, and neither is passed over.
    let response = shape.response_signature.map(|s| signature::octets(&document, shape.response, s, &keys)).transpose()?;
    let assertion = shape.assertion_signature.map(|s| signature::octets(&document, shape.assertion, s, &keys)).transpose()?;
    says::judge(question, &document, response.as_deref(), assertion.as_deref()).map(Verdict::Login)
}

fn bare(base64: &str) -> Result<Vec<u8>, Refusal> {
    let packed: String = base64.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(packed).map_err(|e| refuse(Reason::Malformed, format!("no base64: {e}")))
}

fn refuse(reason: Reason, detail: impl Into<String>) -> Refusal {
    // A detail may quote the document; a log line is no place for all of it.
    let detail: String = detail.into().chars().filter(|c| !c.is_control()).take(400).collect();
    Refusal { reason, detail }
}
