//! What an assertion says and whether that is for us, now (SAML 2.0 profiles, section 4.1.4; core, section 2). Reads signed octets; of the
//! document that came only what restricts.

use crate::refuse;
use crate::tree::{self, ASSERTION, PROTOCOL, attribute, child, children, elements, is, text};
use api_identity::saml::{Claim, Login, LoginQuestion, Reason, Refusal};
use base::Timestamp;
use std::collections::BTreeMap;
use uppsala::{Document, NodeId};

const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";

/// `response`, `assertion`: their signed octets, where they are signed; `came` is the whole document.
pub fn judge(q: &LoginQuestion, came: &Document<'_>, response: Option<&str>, assertion: Option<&str>) -> Result<Login, Refusal> {
    let signed_response = response.map(tree::parse).transpose()?;
    let envelope = signed_response.as_ref().unwrap_or(came);
    let top = tree::root(envelope)?;
    if !is(envelope, top, PROTOCOL, "Response") {
        return Err(refuse(Reason::Malformed, "the root is no Response"));
    }
    outer(q, envelope, top, signed_response.is_some())?;
    let signed_assertion = assertion.map(tree::parse).transpose()?;
    match (&signed_assertion, &signed_response) {
        (Some(own), _) => inner(q, own, tree::root(own)?),
        (None, Some(whole)) => {
            let assertion = child(whole, top, ASSERTION, "Assertion")?.ok_or_else(|| refuse(Reason::AssertionCount, "no assertion"))?;
            inner(q, whole, assertion)
        }
        (None, None) => Err(refuse(Reason::Unsigned, "no signature")),
    }
}

/// The request a response names, in its envelope or else in its subject.
pub fn claim(document: &Document<'_>) -> Result<Claim, Refusal> {
    let top = tree::root(document)?;
    if !is(document, top, PROTOCOL, "Response") {
        return Err(refuse(Reason::Malformed, "the root is no Response of SAML 2.0"));
    }
    let named = |id: NodeId| attribute(document, id, "InResponseTo").filter(|r| !r.is_empty());
    let inside = || {
        let all = document.descendants(top).into_iter().filter(|id| is(document, *id, ASSERTION, "SubjectConfirmationData"));
        all.into_iter().find_map(named)
    };
    Ok(Claim { in_response_to: named(top).or_else(inside).unwrap_or_default().to_string() })
}

/// The status, as far as it is not success.
pub fn status(document: &Document<'_>, response: NodeId) -> Result<(), Refusal> {
    let status = child(document, response, PROTOCOL, "Status")?.ok_or_else(|| refuse(Reason::Malformed, "no Status"))?;
    let code = child(document, status, PROTOCOL, "StatusCode")?.ok_or_else(|| refuse(Reason::Malformed, "no StatusCode"))?;
    let value = attribute(document, code, "Value").unwrap_or_default();
    if value == SUCCESS {
        return Ok(());
    }
    let second = child(document, code, PROTOCOL, "StatusCode")?.and_then(|c| attribute(document, c, "Value")).unwrap_or_default();
    let message = child(document, status, PROTOCOL, "StatusMessage")?.map(|m| text(document, m)).transpose()?.unwrap_or_default();
    Err(refuse(Reason::Status, format!("{value} {second} {message}").trim()))
}

/// The envelope. Where it is not signed it can forbid and never allow.
fn outer(q: &LoginQuestion, document: &Document<'_>, response: NodeId, signed: bool) -> Result<(), Refusal> {
    if attribute(document, response, "Version") != Some("2.0") {
        return Err(refuse(Reason::Malformed, "another version than 2.0"));
    }
    match attribute(document, response, "Destination") {
        Some(to) if to == q.acs_url => {}
        None if !signed => {}
        other => return Err(refuse(Reason::Destination, format!("for {}", other.unwrap_or("nowhere in particular")))),
    }
    if let Some(issuer) = child(document, response, ASSERTION, "Issuer")? {
        let issuer = text(document, issuer)?;
        if issuer != q.idp_entity_id {
            return Err(refuse(Reason::Issuer, format!("of {issuer}")));
        }
    }
    // Some leave it out here; the subject's is signed, and always looked at.
    match attribute(document, response, "InResponseTo").unwrap_or_default() {
        "" => {}
        asked if asked == q.request_id => {}
        other => return Err(refuse(Reason::InResponseTo, format!("the response answers {other}"))),
    }
    status(document, response)
}

fn inner(q: &LoginQuestion, document: &Document<'_>, assertion: NodeId) -> Result<Login, Refusal> {
    if !is(document, assertion, ASSERTION, "Assertion") || attribute(document, assertion, "Version") != Some("2.0") {
        return Err(refuse(Reason::Malformed, "no assertion of SAML 2.0"));
    }
    let id = attribute(document, assertion, "ID").unwrap_or_default();
    let issuer = child(document, assertion, ASSERTION, "Issuer")?.map(|i| text(document, i)).transpose()?.unwrap_or_default();
    if issuer != q.idp_entity_id {
        return Err(refuse(Reason::Issuer, format!("of {issuer}")));
    }
    let issued = instant(document, assertion, "IssueInstant")?.ok_or_else(|| refuse(Reason::Malformed, "no IssueInstant"))?;
    if issued > q.now + q.clock_skew_secs {
        return Err(refuse(Reason::NotYetValid, "made in the future"));
    }
    let conditions = child(document, assertion, ASSERTION, "Conditions")?;
    conditions.map_or(Err(refuse(Reason::Audience, "no conditions, so no audience")), |c| conditioned(q, document, c))?;
    let subject = child(document, assertion, ASSERTION, "Subject")?.ok_or_else(|| refuse(Reason::Subject, "no subject"))?;
    if !children(document, subject, ASSERTION, "EncryptedID").is_empty() {
        return Err(refuse(Reason::Encrypted, "an encrypted name"));
    }
    let name = child(document, subject, ASSERTION, "NameID")?.ok_or_else(|| refuse(Reason::Subject, "no NameID"))?;
    let said = text(document, name)?;
    if said.is_empty() {
        return Err(refuse(Reason::Subject, "an empty NameID"));
    }
    let until = confirmed(q, document, subject)?;
    let session = authenticated(q, document, assertion)?;
    Ok(Login {
        subject: said,
        subject_format: attribute(document, name, "Format").unwrap_or_default().to_string(),
        session,
        assertion_id: id.to_string(),
        not_on_or_after: until,
        attributes: attributes(document, assertion)?,
    })
}

/// Seconds since 1970 of an `xs:dateTime`, which SAML wants in UTC.
fn instant(document: &Document<'_>, id: NodeId, name: &str) -> Result<Option<i64>, Refusal> {
    let Some(text) = attribute(document, id, name) else { return Ok(None) };
    let plain = text.ends_with('Z') && text.len() >= 20 && text.as_bytes()[10] == b'T';
    let at = Timestamp::parse(text).filter(|_| plain).ok_or_else(|| refuse(Reason::Malformed, format!("{name} is no instant: {text}")))?;
    Ok(Some(at.micros().div_euclid(1_000_000)))
}

/// `NotBefore` and `NotOnOrAfter` of an element, each if it is there. Answers the end.
fn current(q: &LoginQuestion, document: &Document<'_>, id: NodeId) -> Result<Option<i64>, Refusal> {
    if let Some(from) = instant(document, id, "NotBefore")?
        && from > q.now.saturating_add(q.clock_skew_secs)
    {
        return Err(refuse(Reason::NotYetValid, format!("valid in {} seconds", from - q.now)));
    }
    let until = instant(document, id, "NotOnOrAfter")?;
    if let Some(until) = until
        && until.saturating_add(q.clock_skew_secs) <= q.now
    {
        return Err(refuse(Reason::Expired, format!("invalid since {} seconds", q.now - until)));
    }
    Ok(until)
}

fn conditioned(q: &LoginQuestion, document: &Document<'_>, conditions: NodeId) -> Result<(), Refusal> {
    current(q, document, conditions)?;
    let mut restricted = false;
    for condition in elements(document, conditions) {
        if is(document, condition, ASSERTION, "AudienceRestriction") {
            let audiences = children(document, condition, ASSERTION, "Audience");
            let audiences = audiences.into_iter().map(|a| text(document, a)).collect::<Result<Vec<_>, _>>()?;
            if !audiences.contains(&q.sp_entity_id) {
                return Err(refuse(Reason::Audience, format!("for {}", audiences.join(", "))));
            }
            restricted = true;
        } else if !is(document, condition, ASSERTION, "OneTimeUse") && !is(document, condition, ASSERTION, "ProxyRestriction") {
            return Err(refuse(Reason::Condition, "a condition that is not of SAML 2.0"));
        }
    }
    if restricted { Ok(()) } else { Err(refuse(Reason::Audience, "for everybody")) }
}

/// That the bearer is the subject, here and now, for this request. Answers until when, skew included.
fn confirmed(q: &LoginQuestion, document: &Document<'_>, subject: NodeId) -> Result<i64, Refusal> {
    let mut why = refuse(Reason::Confirmation, "no bearer");
    for confirmation in children(document, subject, ASSERTION, "SubjectConfirmation") {
        if attribute(document, confirmation, "Method") != Some(BEARER) {
            continue;
        }
        match bearer(q, document, confirmation) {
            Ok(until) => return Ok(until),
            Err(e) => why = e,
        }
    }
    Err(why)
}

fn bearer(q: &LoginQuestion, document: &Document<'_>, confirmation: NodeId) -> Result<i64, Refusal> {
    let data = child(document, confirmation, ASSERTION, "SubjectConfirmationData")?;
    let data = data.ok_or_else(|| refuse(Reason::Confirmation, "a bearer anywhere, for ever"))?;
    match attribute(document, data, "Recipient") {
        Some(to) if to == q.acs_url => {}
        other => return Err(refuse(Reason::Recipient, format!("for {}", other.unwrap_or("nowhere in particular")))),
    }
    let until = current(q, document, data)?.ok_or_else(|| refuse(Reason::Confirmation, "a bearer for ever"))?;
    let asked = attribute(document, data, "InResponseTo").unwrap_or_default();
    if asked != q.request_id {
        return Err(refuse(Reason::InResponseTo, format!("the subject answers {asked:?}")));
    }
    Ok(until.saturating_add(q.clock_skew_secs))
}

/// That somebody logged in at the provider, and that this login still lasts. Answers its number.
fn authenticated(q: &LoginQuestion, document: &Document<'_>, assertion: NodeId) -> Result<String, Refusal> {
    let statements = children(document, assertion, ASSERTION, "AuthnStatement");
    let statement = *statements.first().ok_or_else(|| refuse(Reason::Subject, "nobody logged in"))?;
    for statement in &statements {
        if let Some(until) = instant(document, *statement, "SessionNotOnOrAfter")?
            && until.saturating_add(q.clock_skew_secs) <= q.now
        {
            return Err(refuse(Reason::Expired, "the login at the provider is over"));
        }
    }
    Ok(attribute(document, statement, "SessionIndex").unwrap_or_default().to_string())
}

fn attributes(document: &Document<'_>, assertion: NodeId) -> Result<BTreeMap<String, Vec<String>>, Refusal> {
    let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut friendly: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for statement in children(document, assertion, ASSERTION, "AttributeStatement") {
        if !children(document, statement, ASSERTION, "EncryptedAttribute").is_empty() {
            return Err(refuse(Reason::Encrypted, "an encrypted attribute"));
        }
        for one in children(document, statement, ASSERTION, "Attribute") {
            let values: Vec<String> = children(document, one, ASSERTION, "AttributeValue")
                .into_iter()
                .map(|value| document.text_content_deep(value).trim().to_string())
                .collect();
            if let Some(name) = attribute(document, one, "FriendlyName").filter(|n| !n.is_empty()) {
                friendly.entry(name.to_string()).or_default().extend(values.iter().cloned());
            }
            named.entry(attribute(document, one, "Name").unwrap_or_default().to_string()).or_default().extend(values);
        }
    }
    for (name, values) in friendly {
        named.entry(name).or_insert(values);
    }
    Ok(named)
}
