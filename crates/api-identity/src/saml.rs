//! What the identity service asks the program `wolke-saml`, and what it answers: one JSON document on its standard input, one on its standard
//! output. The program holds nothing between two questions and nothing that is secret (docs/decisions/0008).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest question, bytes; both sides hold to it.
pub const LONGEST_QUESTION: usize = 2 * 1024 * 1024;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Which request does this response claim to answer? Nothing else of it is looked at.
    Claim(ClaimQuestion),
    /// Is this response of a login to be believed?
    Login(LoginQuestion),
    /// What does this description of an identity provider say?
    Metadata(MetadataQuestion),
}

/// A response, not yet believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimQuestion {
    /// The form field `SAMLResponse`: base64.
    pub response: String,
}

/// A response of the web browser single sign-on profile, HTTP POST binding (SAML 2.0 profiles, section 4.1), and what it must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginQuestion {
    /// The form field `SAMLResponse`: base64.
    pub response: String,
    /// Entity id of the identity provider, letter by letter.
    pub idp_entity_id: String,
    /// Its certificates that sign, PEM or bare base64. Only their keys count; names and dates in them do not.
    pub certificates: Vec<String>,
    /// Entity id of this platform, which the assertion must name as audience.
    pub sp_entity_id: String,
    /// Where the response was to be delivered: its destination and recipient.
    pub acs_url: String,
    /// Seconds since 1970.
    pub now: i64,
    /// How far the clocks may differ, seconds.
    pub clock_skew_secs: i64,
    /// The request it must answer; empty when nobody asked, and then it must not answer any.
    pub request_id: String,
}

/// SAML metadata of an identity provider (SAML 2.0 metadata, section 2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataQuestion {
    /// An `EntityDescriptor`, or an `EntitiesDescriptor` with several.
    pub xml: String,
    /// Which of several.
    pub entity_id: String,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Claim(Claim),
    /// Believed. Whether it has come before (`assertion_id`) is for the caller to look up.
    Login(Login),
    Metadata(Metadata),
    Refused(Refusal),
}

/// What a response says of itself; anybody may have written it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// May be empty.
    pub in_response_to: String,
}

/// What the identity provider said of somebody, every word of it under its signature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The NameID.
    pub subject: String,
    /// Its format, an address `urn:oasis:names:tc:SAML:…`; may be empty.
    pub subject_format: String,
    /// The provider's number of the login; may be empty.
    pub session: String,
    pub assertion_id: String,
    /// Nobody may use the assertion from this instant on, clock skew included; seconds since 1970. Until then it must not be taken twice.
    pub not_on_or_after: i64,
    /// By name, and by friendly name where that is nobody's name.
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// What metadata says that a service provider needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    pub entity_id: String,
    /// Where requests go by HTTP-Redirect; may be empty.
    pub redirect_url: String,
    /// Where requests go by HTTP-POST; may be empty.
    pub post_url: String,
    /// Certificates that sign, base64.
    pub certificates: Vec<String>,
}

/// Why something is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub reason: Reason,
    /// More for the log; may quote the document.
    pub detail: String,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No base64, no well-formed XML, or not what SAML says it should look like.
    Malformed,
    /// Larger or deeper than anything a provider sends.
    TooLarge,
    /// Another encoding than UTF-8.
    Encoding,
    /// A document type declaration: entities, external files.
    Doctype,
    /// A comment or a processing instruction, which signatures leave out.
    Comment,
    /// Two elements of one identifier.
    DuplicateId,
    /// The provider says that the login failed.
    Status,
    /// Encrypted, which this service provider does not read.
    Encrypted,
    /// Not exactly one assertion.
    AssertionCount,
    /// Nothing in it is signed.
    Unsigned,
    /// A signature that is not about the very element it lies in, or does more than digest it.
    SignatureForm,
    /// An algorithm that is too weak or of another kind.
    Algorithm,
    /// A certificate of the configuration that cannot be used.
    Certificate,
    /// Not signed by the provider, or changed afterwards.
    SignatureWrong,
    /// Of another provider.
    Issuer,
    /// Delivered at another address than it was meant for.
    Destination,
    /// The bearer may use it at another address only.
    Recipient,
    /// For another service.
    Audience,
    /// It answers another request, or none.
    InResponseTo,
    Expired,
    NotYetValid,
    /// Nothing confirms that the bearer is the subject.
    Confirmation,
    /// A condition nobody here knows.
    Condition,
    /// It names nobody.
    Subject,
}
