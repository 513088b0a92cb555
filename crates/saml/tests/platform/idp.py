"""An identity provider (pysaml2, over libxmlsec1) and the browser in front of it. One JSON command a line on standard input, one answer a line.

metadata                                       what the provider says of itself
trust {xml}                                    registers a service provider by its metadata
answer {url | form, user, …}                   what a browser that was sent there brings back, after somebody logged in

With a second argument it also listens, for real browsers: whoever comes to /redirect or /post is logged in as that person, a JSON object with `user`
and `attributes`, and goes back by a form that posts itself.
"""

import base64
import datetime
import html
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, saml
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NAMEID_FORMAT_TRANSIENT
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA1, DIGEST_SHA256, SIG_RSA_SHA1, SIG_RSA_SHA256

FOLDER, BASE = sys.argv[1], "https://idp.example.org"


class Login(BaseHTTPRequestHandler):
    """The pages of the provider, for one person who is logged in there."""

    def log_message(self, *_):
        pass

    def enter(self, fields):
        back = answer({**json.loads(sys.argv[2]), "sign": ["assertion"], **fields})
        pairs = {"SAMLResponse": base64.b64encode(back["response"].encode()).decode(), "RelayState": back["relay"] or fields.get("relay", "")}
        inputs = "".join(f'<input type="hidden" name="{k}" value="{html.escape(v)}">' for k, v in pairs.items())
        page = f'<body onload="document.forms[0].submit()"><form method="post" action="{html.escape(back["destination"])}">{inputs}</form>'
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(page.encode())

    def do_GET(self):
        if not self.path.startswith("/redirect?"):
            return self.send_error(404)
        self.enter({"url": BASE + self.path})

    def do_POST(self):
        fields = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        # Nothing may come along by address that belongs into the form.
        if self.path != "/post" or "SAMLRequest" not in fields:
            return self.send_error(404)
        self.enter({"form": fields["SAMLRequest"][0], "relay": fields.get("RelayState", [""])[0]})


if len(sys.argv) > 2:
    pages = HTTPServer(("127.0.0.1", 0), Login)
    BASE = f"http://127.0.0.1:{pages.server_port}"
    threading.Thread(target=pages.serve_forever, daemon=True).start()


def key():
    """A key and its certificate, as files."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "idp")])
    now = datetime.datetime.utcnow()
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(made.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    pem = serialization.Encoding.PEM
    with open(f"{FOLDER}/idp.pem", "wb") as f:
        f.write(builder.sign(made, hashes.SHA256()).public_bytes(pem))
    plain = (serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    with open(f"{FOLDER}/idp.key", "wb") as f:
        f.write(made.private_bytes(pem, *plain))


def config(sps):
    """A configuration that knows these service providers."""
    places = [(f"{BASE}/redirect?tenant=1", BINDING_HTTP_REDIRECT), (f"{BASE}/post", BINDING_HTTP_POST)]
    return IdPConfig().load(
        {
            "entityid": f"{BASE}/idp",
            "xmlsec_binary": "/usr/bin/xmlsec1",
            "key_file": f"{FOLDER}/idp.key",
            "cert_file": f"{FOLDER}/idp.pem",
            "metadata": {"inline": sps},
            "service": {"idp": {"endpoints": {"single_sign_on_service": places}, "policy": {"default": {"lifetime": {"minutes": 5}}}}},
        }
    )


server = None
key()


def answer(command):
    """A response to the request in an address or a form; to nobody's when there is none."""
    relay, args = "", None
    if "url" in command:
        fields = parse_qs(urlsplit(command["url"]).query)
        relay = fields.get("RelayState", [""])[0]
        request = server.parse_authn_request(fields["SAMLRequest"][0], BINDING_HTTP_REDIRECT)
        args = server.response_args(request.message, [BINDING_HTTP_POST])
    elif "form" in command:
        request = server.parse_authn_request(command["form"], BINDING_HTTP_POST)
        args = server.response_args(request.message, [BINDING_HTTP_POST])
    else:
        args = {"in_response_to": "", "destination": command["acs"], "sp_entity_id": command["sp"]}
    args = {key: args[key] for key in ("in_response_to", "destination", "sp_entity_id")}
    kind = NAMEID_FORMAT_TRANSIENT if command.get("transient") else NAMEID_FORMAT_PERSISTENT
    weak = command.get("weak", False)
    made = server.create_authn_response(
        command["attributes"],
        userid=command["user"],
        name_id=saml.NameID(format=kind, text=command["user"]),
        authn={"class_ref": saml.AUTHN_PASSWORD_PROTECTED, "authn_auth": BASE},
        sign_assertion="assertion" in command["sign"],
        sign_response="response" in command["sign"],
        sign_alg=SIG_RSA_SHA1 if weak else SIG_RSA_SHA256,
        digest_alg=DIGEST_SHA1 if weak else DIGEST_SHA256,
        **args,
    )
    return {"response": str(made), "relay": relay, **args}


for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "metadata":
        with open(f"{FOLDER}/idp.pem", encoding="ascii") as f:
            out = {"xml": str(entity_descriptor(config([]))), "base": BASE, "certificate": f.read()}
    elif command["do"] == "trust":
        server = Server(config=config([command["xml"]]))
        out = {"known": list(server.metadata.keys())}
    else:
        out = answer(command)
    print(json.dumps(out), flush=True)
