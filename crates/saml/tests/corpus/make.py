#!/usr/bin/python3
"""Makes the corpus: responses as identity providers send them, and every known way to forge one.

Run in this folder: `python3 make.py`. Needs xmlsec1 (Debian package xmlsec1) and openssl; nothing else. Keys are made anew, used, and thrown
away: the corpus keeps certificates only. `cases.json` says what must become of each document; the test reads it.

The signatures are libxmlsec1's, so that accepting the good ones also proves that two canonical forms agree.
"""

import json
import os
import re
import subprocess
import tempfile

NOW = "2026-02-03T04:05:06Z"
SOON, PAST, EARLIER = "2026-02-03T04:10:06Z", "2026-02-03T03:05:06Z", "2026-02-03T04:05:00Z"
IDP, SP, ACS = "https://idp.example.org/saml", "https://cloud.example.org/saml", "https://cloud.example.org/api/v1/auth/ssologin"
REQUEST = "_request-1"
EXC = "http://www.w3.org/2001/10/xml-exc-c14n#"
INC = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
SHA256, SHA1 = "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
RSA256 = MORE + "rsa-sha256"
WORK = tempfile.mkdtemp()
CASES = []


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def pair(name, *kind):
    """A key and its certificate."""
    key, pem = f"{WORK}/{name}.key", f"{name}.pem"
    run("openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-sha256", "-days", "36500", "-subj", f"/CN={name}", "-keyout", key, "-out", pem)
    with open(pem) as f:
        return "".join(line.strip() for line in f if "-----" not in line)


CERT = {
    "idp": pair("idp", "rsa:2048"),
    "curve": pair("curve", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
    "mallory": pair("mallory", "rsa:2048"),
    "weak": pair("weak", "rsa:1024"),
}


def template(target, method=RSA256, digest=SHA256, c14n=EXC, transforms=None, uri=None, extra="", more="", prefixes="", cert="idp", tail=""):
    """A signature still to be filled in."""
    inside = f'<ec:InclusiveNamespaces xmlns:ec="{EXC}" PrefixList="{prefixes}"/>' if prefixes else ""
    if transforms is None:
        transforms = f'<ds:Transform Algorithm="{ENVELOPED}"/><ds:Transform Algorithm="{c14n}">{inside}</ds:Transform>'
    reference = (
        f'<ds:Reference URI="{"#" + target if uri is None else uri}"><ds:Transforms>{transforms}</ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{digest}"/><ds:DigestValue/></ds:Reference>'
    )
    info = f'<ds:CanonicalizationMethod Algorithm="{c14n}"/><ds:SignatureMethod Algorithm="{method}">{extra}</ds:SignatureMethod>'
    return (
        f'<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>{info}{reference}{more}</ds:SignedInfo>'
        f"<ds:SignatureValue/><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{CERT[cert]}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        f"{tail}</ds:Signature>"
    )


def attr(name, value):
    return f' {name}="{value}"' if value else ""


def assertion(**o):
    """An assertion; every part can be replaced."""
    name, ident = o.get("name", "alice@example.org"), o.get("id", "_assertion-1")
    asked, until = attr("InResponseTo", o.get("asked", REQUEST)), attr("NotOnOrAfter", o.get("bearer_until", SOON))
    recipient = attr("Recipient", o.get("recipient", ACS))
    audience = o.get("audience", f"<saml:AudienceRestriction><saml:Audience>{SP}</saml:Audience></saml:AudienceRestriction>")
    nameid = o.get("nameid", f'<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">{name}</saml:NameID>')
    attributes = o.get(
        "attributes",
        '<saml:Attribute Name="urn:oid:0.9.2342.19200300.100.1.3" FriendlyName="mail"><saml:AttributeValue xmlns:xs='
        '"http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">'
        f"{name}</saml:AttributeValue></saml:Attribute>"
        '<saml:Attribute Name="groups"><saml:AttributeValue>staff</saml:AttributeValue><saml:AttributeValue>R&amp;D Zürich</saml:AttributeValue>'
        "</saml:Attribute>",
    )
    return (
        f'<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{ident}" Version="{o.get("version", "2.0")}" '
        f'IssueInstant="{o.get("issued", EARLIER)}"><saml:Issuer>{o.get("issuer", IDP)}</saml:Issuer>{o.get("signature", "")}'
        f"<saml:Subject>{nameid}"
        f'<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:{o.get("method", "bearer")}">'
        f"<saml:SubjectConfirmationData{until}{recipient}{asked}/></saml:SubjectConfirmation></saml:Subject>"
        f'<saml:Conditions NotBefore="{o.get("since", EARLIER)}" NotOnOrAfter="{o.get("until", SOON)}">{audience}{o.get("condition", "")}</saml:Conditions>'
        f'<saml:AuthnStatement AuthnInstant="{EARLIER}" SessionIndex="_session-1"{o.get("session", "")}><saml:AuthnContext><saml:AuthnContextClassRef>'
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"
        f"<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>"
    )


OK = '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>'


def response(body, **o):
    asked, to = attr("InResponseTo", o.get("asked", REQUEST)), attr("Destination", o.get("destination", ACS))
    return (
        f'<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="{o.get("id", "_response-1")}" Version="2.0" '
        f'IssueInstant="{EARLIER}"{to}{asked}><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">{o.get("issuer", IDP)}</saml:Issuer>'
        f'{o.get("signature", "")}{o.get("extensions", "")}{o.get("status", OK)}{body}</samlp:Response>'
    )


def sign(xml, key="idp", what="Assertion", hmac=False):
    """Fills in the first signature that is empty inside the first element of this name."""
    path, out = f"{WORK}/in.xml", f"{WORK}/out.xml"
    with open(path, "w", encoding="utf-8") as f:
        f.write(xml)
    space = {"Assertion": "urn:oasis:names:tc:SAML:2.0:assertion", "Response": "urn:oasis:names:tc:SAML:2.0:protocol"}
    ids = [a for name, ns in space.items() for a in (f"--id-attr:ID", f"{ns}:{name}")]
    secret = ["--hmackey", f"{key}.pem"] if hmac else ["--privkey-pem", f"{WORK}/{key}.key,{key}.pem"]
    where = ["--node-xpath", f"//*[local-name()='{what}']/*[local-name()='Signature']"]
    run("xmlsec1", "--sign", *secret, *ids, *where, "--output", out, path)
    with open(out, encoding="utf-8") as f:
        return f.read().removeprefix('<?xml version="1.0" encoding="UTF-8"?>\n').removeprefix('<?xml version="1.0"?>\n').rstrip("\n")


def signed_assertion(key="idp", hmac=False, outer=None, sig=None, **o):
    sig = {"cert": key, **(sig or {})}
    return sign(response(assertion(signature=template(o.get("id", "_assertion-1"), **sig), **o), **(outer or {})), key, hmac=hmac)


def signed_response(body=None, key="idp", sig=None, **o):
    return sign(response(assertion() if body is None else body, signature=template("_response-1", cert=key, **(sig or {})), **o), key, "Response")


def case(name, xml, refused="", **question):
    data = xml if isinstance(xml, bytes) else xml.encode()
    with open(f"{name}.xml", "wb") as f:
        f.write(data)
    entry = {"file": f"{name}.xml"}
    if refused:
        entry["refused"] = refused
    if question:
        entry["question"] = question
    CASES.append(entry)


def part(xml, name):
    """The first element of this name, as text."""
    return re.search(rf"<(?:\w+:)?{name}[ >].*?</(?:\w+:)?{name}>", xml, re.S).group(0)


def good():
    case("good-assertion", signed_assertion())
    case("good-response", signed_response())
    inner = part(signed_assertion(), "Assertion")
    case("good-both", signed_response(inner))
    case("good-curve", signed_assertion(key="curve", sig={"method": MORE + "ecdsa-sha256"}), certificates=["curve"])
    case("good-sha512", signed_assertion(sig={"method": MORE + "rsa-sha512", "digest": "http://www.w3.org/2001/04/xmlenc#sha512"}))
    case("good-sha384", signed_response(sig={"method": MORE + "rsa-sha384", "digest": MORE + "sha384"}))
    case("good-inclusive", signed_assertion(sig={"c14n": INC}))
    case("good-inclusive-response", signed_response(sig={"c14n": INC}))
    case("good-prefixes", signed_assertion(sig={"prefixes": "xs xsi saml #default"}))
    case("good-enveloped-only", signed_response(sig={"transforms": f'<ds:Transform Algorithm="{ENVELOPED}"/>'}))
    case("good-no-destination", signed_assertion(outer={"destination": ""}))
    case("good-envelope-asks-nothing", signed_assertion(outer={"asked": ""}))
    case("good-unsolicited", signed_assertion(asked="", outer={"asked": ""}), request_id="")
    case("good-in-the-skew", signed_assertion(since="2026-02-03T04:05:50Z", until="2026-02-03T04:04:30Z"))
    plain = response(assertion(signature=template("_assertion-1"))).replace("saml:", "").replace("xmlns:saml=", "xmlns=").replace("samlp:", "p:").replace("xmlns:samlp", "xmlns:p")
    case("good-default-namespace", sign(plain))
    spaced = response(assertion(signature=template("_assertion-1"))).replace("><", ">\n  <")
    case("good-spaced", sign('<?xml version="1.0" encoding="UTF-8"?>\n' + spaced))
    odd = '<saml:Attribute Name="odd" NameFormat="a&#9;b&#10;&quot;"><saml:AttributeValue>x&#13;y &lt;z&gt; \U0001F600</saml:AttributeValue></saml:Attribute>'
    case("good-odd-characters", signed_assertion(attributes=odd))
    case("good-cdata", signed_assertion(attributes='<saml:Attribute Name="c"><saml:AttributeValue><![CDATA[a<b]]></saml:AttributeValue></saml:Attribute>'))


EVIL = assertion(name="mallory", id="_evil")


def wrapping():
    """The eight wrappings, numbered as in "On Breaking SAML" and the tools after it."""
    whole = signed_response()
    signature = part(whole, "Signature")
    original = whole.replace(signature, "")
    case("xsw1", response(EVIL, id="_evil-response", signature=signature.replace("</ds:Signature>", original + "</ds:Signature>")), "assertion_count")
    case("xsw2", response(EVIL, id="_evil-response", signature=original + signature), "assertion_count")
    own = part(signed_assertion(), "Assertion")
    signature = part(own, "Signature")
    bare = own.replace(signature, "")
    case("xsw3", response(EVIL + own), "assertion_count")
    case("xsw4", response(EVIL.replace("</saml:Assertion>", own + "</saml:Assertion>")), "assertion_count")
    stolen = assertion(name="mallory", id="_evil", signature=signature)
    case("xsw5", response(stolen + bare), "assertion_count")
    case("xsw6", response(assertion(name="mallory", id="_evil", signature=signature.replace("</ds:Signature>", bare + "</ds:Signature>"))), "assertion_count")
    case("xsw7", response(own, extensions=f"<samlp:Extensions>{EVIL}</samlp:Extensions>"), "assertion_count")
    hidden = signature.replace("</ds:Signature>", f"<ds:Object>{bare}</ds:Object></ds:Signature>")
    case("xsw8", response(assertion(name="mallory", id="_evil", signature=hidden)), "assertion_count")
    case("xsw-same-id", response(assertion(name="mallory") + own), "duplicate_id")
    case("xsw-nested-response", response(whole, id="_outer"), "assertion_count")
    case("xsw-elsewhere", response("<x>" + own + "</x>"), "assertion_count")
    case("signature-moved-to-response", response(bare, signature=signature), "signature_form")
    case("signature-elsewhere", response(bare, extensions=f"<samlp:Extensions>{signature}</samlp:Extensions>"), "signature_form")
    case("assertion-swapped", whole.replace(part(whole, "Assertion"), EVIL), "signature_wrong")
    case("two-signatures", response(own.replace(signature, signature * 2)), "signature_form")
    case("object-in-signature", response(own.replace("</ds:Signature>", "<ds:Object/></ds:Signature>")), "signature_form")
    broken = signed_response(own.replace("alice@", "carol@"))
    case("assertion-signature-broken", broken, "signature_wrong")
    case("other-namespace", response(own).replace("SAML:2.0:assertion", "SAML:2.0:assertion2"), "assertion_count")


def signatures():
    case("stripped", response(assertion()), "unsigned")
    case("changed-name", signed_assertion().replace("alice@", "mallory@"), "signature_wrong")
    case("changed-attribute", signed_response().replace(">staff<", ">admin<"), "signature_wrong")
    case("changed-digest", re.sub(r"<ds:DigestValue>....", "<ds:DigestValue>AAAA", signed_assertion()), "signature_wrong")
    case("other-key", signed_assertion(key="mallory"), "signature_wrong")
    case("other-key-right-certificate", signed_assertion(key="mallory").replace(CERT["mallory"], CERT["idp"]), "signature_wrong")
    case("key-of-other-kind", signed_assertion(), "signature_wrong", certificates=["curve"])
    case("certificate-of-weak-key", signed_assertion(), "certificate", certificates=["weak"])
    case("sha1-signature", signed_assertion(sig={"method": "http://www.w3.org/2000/09/xmldsig#rsa-sha1"}), "algorithm")
    case("sha1-digest", signed_assertion(sig={"digest": SHA1}), "algorithm")
    case("hmac-of-certificate", signed_assertion(key="idp", hmac=True, sig={"method": MORE + "hmac-sha256"}), "algorithm")
    short = signed_assertion(hmac=True, sig={"method": MORE + "hmac-sha256", "extra": "<ds:HMACOutputLength>160</ds:HMACOutputLength>"})
    case("hmac-shortened", short, "signature_form")
    case("no-algorithm", signed_assertion().replace(RSA256, ""), "algorithm")
    enveloped = f'<ds:Transform Algorithm="{ENVELOPED}"/>'
    xslt = (
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xslt-19991116"><xsl:stylesheet version="1.0" '
        'xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/"><alice/></xsl:template></xsl:stylesheet></ds:Transform>'
    )
    case("xslt", signed_assertion(sig={"transforms": enveloped + xslt + f'<ds:Transform Algorithm="{EXC}"/>'}), "signature_form")
    xpath = (
        '<ds:Transform Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"><ds:XPath xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">'
        "not(ancestor-or-self::saml:NameID)</ds:XPath></ds:Transform>"
    )
    case("xpath", signed_assertion(sig={"transforms": enveloped + xpath}).replace("alice@", "mallory@"), "signature_form")
    case("reference-to-everything", signed_response(sig={"uri": ""}), "signature_form")
    case("reference-by-xpointer", signed_response(sig={"uri": "#xpointer(id('_response-1'))"}), "signature_form")
    with open(f"{WORK}/outside.xml", "w") as f:
        f.write("<a/>")
    case("reference-to-file", signed_assertion(sig={"uri": f"file://{WORK}/outside.xml", "transforms": f'<ds:Transform Algorithm="{EXC}"/>'}).replace(WORK, ""), "signature_form")
    second = f'<ds:Reference URI="#_response-1"><ds:Transforms>{enveloped}<ds:Transform Algorithm="{EXC}"/></ds:Transforms><ds:DigestMethod Algorithm="{SHA256}"/><ds:DigestValue/></ds:Reference>'
    case("two-references", signed_assertion(sig={"more": second}), "signature_form")
    case("with-comments", signed_assertion(sig={"c14n": EXC + "WithComments"}), "signature_form")


def meanings():
    case("expired", signed_assertion(until=PAST, since=PAST), "expired")
    case("expired-bearer", signed_assertion(bearer_until=PAST), "expired")
    case("expired-session", signed_assertion(session=f' SessionNotOnOrAfter="{PAST}"'), "expired")
    case("expired-by-the-skew", signed_assertion(until="2026-02-03T04:04:06Z"), "expired")
    case("not-yet-valid", signed_assertion(since=SOON), "not_yet_valid")
    case("made-in-the-future", signed_assertion(issued=SOON), "not_yet_valid")
    case("no-instant", signed_assertion(until="tomorrow"), "malformed")
    case("local-time", signed_assertion(until="2026-02-03T04:10:06+09:00"), "malformed")
    other = "<saml:AudienceRestriction><saml:Audience>https://other.example.org</saml:Audience></saml:AudienceRestriction>"
    case("wrong-audience", signed_assertion(audience=other), "audience")
    both = f"<saml:AudienceRestriction><saml:Audience>{SP}</saml:Audience></saml:AudienceRestriction>" + other
    case("wrong-second-audience", signed_assertion(audience=both), "audience")
    case("no-audience", signed_assertion(audience=""), "audience")
    case("audience-longer", signed_assertion(audience=other.replace("https://other.example.org", SP + "/")), "audience")
    case("wrong-recipient", signed_assertion(recipient="https://evil.example.org/acs"), "recipient")
    case("no-recipient", signed_assertion(recipient=""), "recipient")
    case("wrong-destination", signed_assertion(outer={"destination": "https://evil.example.org/acs"}), "destination")
    case("no-destination-though-signed", signed_response(destination=""), "destination")
    case("other-issuer", signed_assertion(issuer="https://other.example.org"), "issuer")
    case("other-issuer-outside", signed_assertion(outer={"issuer": "https://other.example.org"}), "issuer")
    case("other-request-outside", signed_assertion(outer={"asked": "_request-2"}), "in_response_to")
    case("request-only-outside", signed_assertion(asked=""), "in_response_to")
    case("unsolicited", signed_assertion(asked="", outer={"asked": ""}), "in_response_to")
    case("solicited-though-nobody-asked", signed_assertion(), "in_response_to", request_id="")
    case("other-request", signed_assertion(), "in_response_to", request_id="_request-2")
    case("holder-of-key", signed_assertion(method="holder-of-key"), "confirmation")
    case("bearer-for-ever", signed_assertion(bearer_until=""), "confirmation")
    case("unknown-condition", signed_assertion(condition='<saml:Condition xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x:Lunar" xmlns:x="urn:x"/>'), "condition")
    case("no-name", signed_assertion(nameid=""), "subject")
    case("empty-name", signed_assertion(name=" "), "subject")
    case("encrypted-name", signed_assertion(nameid="<saml:EncryptedID/>"), "encrypted")
    case("version-1.1", signed_assertion(version="1.1"), "malformed")
    denied = (
        '<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Responder"><samlp:StatusCode '
        'Value="urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"/></samlp:StatusCode><samlp:StatusMessage>no</samlp:StatusMessage></samlp:Status>'
    )
    case("login-failed", response("", status=denied), "status")
    case("login-failed-with-assertion", signed_assertion(outer={"status": denied}), "status")
    case("no-assertion", response(""), "assertion_count")
    case("encrypted", response('<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>'), "encrypted")
    two = part(signed_assertion(), "Assertion") + part(signed_assertion(id="_assertion-2", name="bob@example.org"), "Assertion")
    case("two-assertions", response(two), "assertion_count")


def parsers():
    base = signed_assertion()
    case("comment-in-name", signed_assertion(name="admin@example.org.evil.example.com").replace("admin@example.org.", "admin@example.org<!---->."), "comment")
    case("comment-around", "<!-- -->" + base, "comment")
    case("instruction-in-name", base.replace("alice@example", "alice@<?x?>example"), "comment")
    xxe = '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    case("external-entity", xxe + base.replace(">staff<", ">&x;<"), "doctype")
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    case("entity-expansion", f'<!DOCTYPE r [<!ENTITY l0 "ha">{laughs}]>' + base.replace(">staff<", ">&l9;<"), "doctype")
    case("external-dtd", '<!DOCTYPE r SYSTEM "http://evil.example.org/r.dtd">' + base, "doctype")
    case("id-by-dtd", '<!DOCTYPE r [<!ATTLIST saml:Subject Evil ID #IMPLIED>]>' + base, "doctype")
    case("duplicate-id", base.replace('ID="_response-1"', 'ID="_assertion-1"'), "duplicate_id")
    case("duplicate-xml-id", base.replace("<saml:Subject>", '<saml:Subject xml:id="_assertion-1">'), "duplicate_id")
    case("truncated", base[: len(base) // 2], "malformed")
    case("truncated-at-the-end", base[:-1], "malformed")
    case("empty", b"", "malformed")
    case("two-roots", base + base, "malformed")
    case("undeclared-prefix", base.replace("<saml:Subject>", "<q:Subject>").replace("</saml:Subject>", "</q:Subject>"), "malformed")
    case("attribute-twice", base.replace('Version="2.0" ', 'Version="2.0" Version="2.0" ', 1), "malformed")
    case("utf-16", ('<?xml version="1.0" encoding="UTF-16"?>' + base).encode("utf-16"), "encoding")
    case("latin-1", ('<?xml version="1.0" encoding="ISO-8859-1"?>' + base).encode("latin-1"), "encoding")
    case("declared-latin-1", '<?xml version="1.0" encoding="ISO-8859-1"?>' + base.replace("Zürich", "Bern"), "encoding")
    case("overlong-utf-8", base.encode().replace(b">staff<", b">\xc0\xbcx<"), "encoding")
    case("no-saml", "<html/>", "malformed")
    case("metadata-instead", f'<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{IDP}"/>', "malformed")


for old in os.listdir("."):
    if old.endswith(".xml"):
        os.remove(old)
good()
wrapping()
signatures()
meanings()
parsers()
with open("cases.json", "w") as f:
    json.dump({"now": NOW, "idp": IDP, "sp": SP, "acs": ACS, "cases": CASES}, f, indent=1)
    f.write("\n")
print(len(CASES), "cases")
