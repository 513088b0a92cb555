//! The corpus through the program itself: what is good is believed, every forgery is refused for its own reason. `corpus/make.py` says what each
//! document is.

use api_identity::saml::{Claim, ClaimQuestion, Login, LoginQuestion, MetadataQuestion, Question, Reason, Refusal, Verdict};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn certificate(name: &str) -> String {
    String::from_utf8(read(&format!("{name}.pem"))).expect("PEM")
}

/// Runs the program.
fn run(stdin: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wolke-saml"));
    let mut child =
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    // A program that has seen enough closes its end.
    let _closed = child.stdin.take().expect("a pipe").write_all(stdin);
    child.wait_with_output().expect("it ends")
}

fn ask(question: &Question) -> Verdict {
    let out = run(&serde_json::to_vec(question).expect("a question"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("an answer")
}

fn cases() -> Value {
    serde_json::from_slice(&read("cases.json")).expect("cases.json")
}

/// What a response is asked with, unless its case says otherwise.
fn question(all: &Value, document: &[u8]) -> LoginQuestion {
    let text = |key: &str| all[key].as_str().expect(key).to_string();
    LoginQuestion {
        response: STANDARD.encode(document),
        idp_entity_id: text("idp"),
        certificates: vec![certificate("idp")],
        sp_entity_id: text("sp"),
        acs_url: text("acs"),
        now: base::Timestamp::parse(&text("now")).expect("an instant").micros() / 1_000_000,
        clock_skew_secs: 60,
        request_id: "_request-1".into(),
    }
}

fn login(verdict: Verdict) -> Login {
    match verdict {
        Verdict::Login(login) => login,
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_document_of_the_corpus() {
    let all = cases();
    let (mut good, mut wrong, mut faults) = (0, 0, Vec::new());
    for case in all["cases"].as_array().expect("cases") {
        let file = case["file"].as_str().expect("a file");
        let mut asked = question(&all, &read(file));
        if let Some(names) = case["question"]["certificates"].as_array() {
            asked.certificates = names.iter().map(|n| certificate(n.as_str().expect("a name"))).collect();
        }
        if let Some(request) = case["question"]["request_id"].as_str() {
            asked.request_id = request.to_string();
        }
        match (ask(&Question::Login(asked)), case["refused"].as_str()) {
            (Verdict::Login(login), None) if login.subject == "alice@example.org" && login.session == "_session-1" => good += 1,
            (Verdict::Refused(refusal), Some(reason)) if json!(refusal.reason) == json!(reason) => wrong += 1,
            (verdict, expected) => faults.push(format!("{file}: {verdict:?}, expected {expected:?}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(good >= 15 && wrong >= 80, "{good} believed, {wrong} refused: the corpus is not whole");
}

#[test]
fn what_a_good_response_says() {
    let all = cases();
    let said = login(ask(&Question::Login(question(&all, &read("good-both.xml")))));
    let text = |key: &str| said.attributes.get(key).cloned().unwrap_or_default();
    assert_eq!(said.subject_format, "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent");
    assert_eq!(said.assertion_id, "_assertion-1");
    assert_eq!(text("groups"), ["staff", "R&D Zürich"]);
    assert_eq!(text("mail"), text("urn:oid:0.9.2342.19200300.100.1.3"));
    // 04:10:06, and the skew of a minute.
    assert_eq!(said.not_on_or_after, question(&all, b"").now + 300 + 60);
    let odd = login(ask(&Question::Login(question(&all, &read("good-odd-characters.xml")))));
    assert_eq!(odd.attributes["odd"], ["x\ry <z> \u{1F600}"]);
}

#[test]
fn a_response_claims_to_answer_a_request() {
    let claim = |file: &str| ask(&Question::Claim(ClaimQuestion { response: STANDARD.encode(read(file)) }));
    for (file, request) in [
        ("good-response.xml", "_request-1"),
        ("good-envelope-asks-nothing.xml", "_request-1"),
        ("good-unsolicited.xml", ""),
        // Nothing of it is believed yet.
        ("stripped.xml", "_request-1"),
    ] {
        assert_eq!(claim(file), Verdict::Claim(Claim { in_response_to: request.into() }), "{file}");
    }
    assert_eq!(refused(claim("external-entity.xml")).reason, Reason::Doctype);
    assert_eq!(refused(claim("no-saml.xml")).reason, Reason::Malformed);
}

#[test]
fn base64_in_lines_is_read_and_other_things_are_not() {
    let all = cases();
    let mut asked = question(&all, &read("good-response.xml"));
    asked.response = asked.response.as_bytes().chunks(76).map(|c| String::from_utf8_lossy(c) + "\r\n").collect();
    login(ask(&Question::Login(asked.clone())));
    for wrong in ["%%%".to_string(), asked.response.trim_end().trim_end_matches('=')[..101].to_string()] {
        assert_eq!(refused(ask(&Question::Login(LoginQuestion { response: wrong, ..asked.clone() }))).reason, Reason::Malformed);
    }
}

#[test]
fn size_and_depth_have_an_end_and_the_program_its_limits() {
    let all = cases();
    let good = String::from_utf8(read("good-assertion.xml")).expect("text");
    let padded = good.replace(">staff<", &format!(">{}<", "x".repeat(600 * 1024)));
    let deep = good.replace(">staff<", &format!(">{}{}<", "<a>".repeat(100_000), "</a>".repeat(100_000)));
    let deep_enough = good.replace(">staff<", &format!(">{}{}<", "<a>".repeat(100), "</a>".repeat(100)));
    let wide = good.replace(">staff<", &format!(">{}<", "<a/>".repeat(100_000)));
    for document in [padded, deep, deep_enough, wide] {
        assert_eq!(refused(ask(&Question::Login(question(&all, document.as_bytes())))).reason, Reason::TooLarge);
    }
    let attributes: String = (0..2_000).map(|n| format!(" a{n}=\"\"")).collect();
    let many = good.replace("<saml:Subject>", &format!("<saml:Subject{attributes}>"));
    assert_eq!(refused(ask(&Question::Login(question(&all, many.as_bytes())))).reason, Reason::SignatureWrong);
    let out = run(&vec![b' '; 3 * 1024 * 1024]);
    assert_eq!(out.status.code(), Some(2), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(run(b"{}").status.code(), Some(2));
}

#[test]
fn one_changed_byte_is_never_believed_to_say_something_else() {
    let all = cases();
    let good = read("good-both.xml");
    let believed = saml::answer(&Question::Login(question(&all, &good)));
    // Every place in turn, in this process: the program itself adds nothing to what is looked at here.
    for at in (0..good.len()).step_by(31) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let verdict = saml::answer(&Question::Login(question(&all, &changed)));
        assert!(matches!(verdict, Verdict::Refused(_)) || verdict == believed, "byte {at}: {verdict:?}");
    }
}

#[test]
fn metadata_is_read_and_what_cannot_be_used_is_said() {
    let bare = certificate("idp").lines().filter(|l| !l.starts_with("---")).collect::<Vec<_>>().join("\n");
    let entity = |id: &str, use_of_key: &str| {
        format!(
            r#"<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{id}"><!-- by hand -->
            <IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"><KeyDescriptor{use_of_key}>
            <KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>{bare}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>
            <SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://i/r"/>
            <SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://i/p"/>
            </IDPSSODescriptor></EntityDescriptor>"#
        )
    };
    let ask = |xml: String, entity_id: &str| ask(&Question::Metadata(MetadataQuestion { xml, entity_id: entity_id.into() }));
    let Verdict::Metadata(read) = ask(entity("a", ""), "") else { panic!("refused") };
    assert_eq!((read.entity_id.as_str(), read.redirect_url.as_str(), read.post_url.as_str()), ("a", "https://i/r", "https://i/p"));
    assert_eq!(read.certificates, [bare.replace('\n', "")]);
    let several = format!(
        r#"<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata">{}{}</EntitiesDescriptor>"#,
        entity("a", ""),
        entity("b", r#" use="encryption""#)
    );
    let Verdict::Metadata(read) = ask(several.clone(), "b") else { panic!("refused") };
    assert_eq!((read.entity_id.as_str(), read.certificates.len()), ("b", 0));
    assert_eq!(refused(ask(several, "")).reason, Reason::Malformed);
    assert_eq!(refused(ask(entity("a", "").replace(&bare, "AAAA"), "")).reason, Reason::Certificate);
    assert_eq!(refused(ask(format!("<!DOCTYPE a>{}", entity("a", "")), "")).reason, Reason::Doctype);
}
