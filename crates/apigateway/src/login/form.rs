//! A SAML request that goes to its provider by form (SAML 2.0 bindings §3.5): a page of ours that posts itself. Its one script is known to the page's
//! policy by its hash; without scripts there is a button.

use base::{Error, Json, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Response, markup::escaped};
use sha2::{Digest, Sha256};

const SCRIPT: &str = "document.forms[0].submit()";

pub struct Form {
    url: String,
    request: String,
    pub relay_state: String,
}

impl Form {
    /// Of what the identity service tells of a provider.
    pub fn of(told: &Json) -> Result<Form> {
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_string();
        let form = Form { url: text("url"), request: text("saml_request"), relay_state: text("relay_state") };
        let sound = form.url.starts_with("https://") || form.url.starts_with("http://");
        if sound && !form.request.is_empty() { Ok(form) } else { Err(Error::internal("the identity service made no request by form")) }
    }

    pub fn page(&self) -> Response {
        let [url, request, state] = [&self.url, &self.request, &self.relay_state].map(|text| escaped(text));
        let page = format!(
            "<!doctype html><html><head><meta charset=\"utf-8\"><title>&#8230;</title></head><body><form method=\"post\" action=\"{url}\">\
             <input type=\"hidden\" name=\"SAMLRequest\" value=\"{request}\"><input type=\"hidden\" name=\"RelayState\" value=\"{state}\">\
             <button>&#8594;</button></form><script>{SCRIPT}</script></body></html>"
        );
        let response = Response::bytes(HeaderValue::from_static("text/html; charset=utf-8"), page.into_bytes());
        response.with_header("content-security-policy", &self.policy())
    }

    /// The provider may lead on to another address of its own: browsers hold those to `form-action` as well. Whatever it is, it is encrypted
    /// where the provider is.
    fn policy(&self) -> String {
        let origin = |url: &str| url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let to = if self.url.starts_with("https://") { "https:".to_string() } else { origin(&self.url) };
        // An address may not add a directive of its own.
        let to = if to.contains([';', ',', ' ', '\'']) { "'none'".to_string() } else { to };
        let script = STANDARD.encode(Sha256::digest(SCRIPT.as_bytes()));
        format!("default-src 'none'; script-src 'sha256-{script}'; form-action {to}; frame-ancestors 'none'; base-uri 'none'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_gets_out_of_its_field() {
        let told =
            json!({"url": "https://idp.example.org/post?a=1&b=\"><script>x</script>", "saml_request": "PHg+", "relay_state": "'\"<"});
        let form = Form::of(&told).expect("a form");
        assert!(form.policy().contains("form-action https:;") && !form.policy().contains("unsafe"), "{}", form.policy());
        assert_eq!(escaped("'\"<&>"), "&#39;&quot;&lt;&amp;&gt;");
        let plain = |url: &str| Form::of(&json!({"url": url, "saml_request": "PHg+"}));
        assert!(plain("http://127.0.0.1:8/a/b?c").expect("a form").policy().contains("form-action http://127.0.0.1:8;"));
        assert!(plain("http://x; script-src *").expect("a form").policy().contains("form-action 'none';"));
        for url in ["javascript:alert(1)", "", "//elsewhere/"] {
            assert!(plain(url).is_err(), "{url}");
        }
    }
}
