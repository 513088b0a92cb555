//! Questions to authorities over HTTP: only to addresses that are fit for it, bounded in time and size, redirects not followed. Used by the drivers
//! of single sign-on; knows none of their words.

use base::{Error, Json, Result, Timestamp, err};
use http::{Client, ClientOptions, Trust};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Largest answer, bytes: keys and claims are a few thousand.
const LARGEST: usize = 1 << 20;

/// An authority as it is reached: its connections, and what it last said of itself.
pub struct Site {
    client: Client,
    /// Whether plain HTTP to this machine itself is allowed.
    loopback: bool,
    /// Name of the provider, for messages.
    name: String,
    pub known: Mutex<Known>,
}

/// What an authority said of itself; the driver knows what that means.
#[derive(Default)]
pub struct Known {
    pub document: Option<(Timestamp, Arc<Json>)>,
    pub keys: Option<(Timestamp, Arc<Json>)>,
    /// When keys were asked for lately.
    pub asked: Vec<Timestamp>,
}

/// Sites by provider and version of its configuration.
#[derive(Default)]
pub struct Sites(Mutex<HashMap<String, (i64, Arc<Site>)>>);

impl Sites {
    /// The site of a provider; made anew when its configuration has changed.
    pub fn of(&self, id: &str, version: i64, make: impl FnOnce() -> Result<Site>) -> Result<Arc<Site>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(id) {
            Some((v, site)) if *v == version => Ok(site.clone()),
            _ => {
                let site = Arc::new(make()?);
                all.insert(id.to_string(), (version, site.clone()));
                Ok(site)
            }
        }
    }
}

/// What an authority answered.
#[derive(Debug)]
pub struct Answered {
    pub status: u16,
    pub body: http::Bytes,
}

impl Answered {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Site {
    /// `ca` (PEM) counts beside the authorities of the system.
    pub fn new(name: &str, ca: &str, timeout: Duration, loopback: bool) -> Result<Site> {
        let trust = if ca.is_empty() { Trust::System } else { Trust::SystemAnd(ca.to_string()) };
        let options = ClientOptions {
            trust,
            deadline: timeout,
            connect: timeout,
            stall: timeout,
            retries: 0,
            answer: LARGEST,
            use_proxy: true,
            ..ClientOptions::default()
        };
        let client = Client::new(options)?;
        Ok(Site { client, loopback, name: name.to_string(), known: Mutex::default() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for something, with further headers.
    pub async fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answered> {
        self.send(self.client.get(url), url, headers).await
    }

    /// Posts a form.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Result<Answered> {
        let call = self.client.post(url).header("content-type", "application/x-www-form-urlencoded").bytes(encode(form));
        self.send(call, url, headers).await
    }

    /// Posts JSON.
    pub async fn post_json(&self, url: &str, headers: &[(&str, &str)], body: &Json) -> Result<Answered> {
        self.send(self.client.post(url).json(body), url, headers).await
    }

    async fn send(&self, call: http::Call, url: &str, headers: &[(&str, &str)]) -> Result<Answered> {
        check_url("url", url, self.loopback)?;
        let mut call = call.header("accept", "application/json, */*;q=0.5");
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let away = |e: Error| {
            err!(BadGateway, "the identity provider {} cannot be asked now, so nobody can log in there", self.name)
                .with_context(e.context().unwrap_or_default())
        };
        let answer = call.send_any().await.map_err(away)?;
        let status = answer.status;
        let body = answer.bytes(LARGEST).await.map_err(away)?;
        if status >= 500 {
            return Err(away(Error::internal(format!("status {status}"))));
        }
        Ok(Answered { status, body })
    }

    /// JSON of an answer of 200.
    pub async fn get_json(&self, url: &str, headers: &[(&str, &str)]) -> Result<Json> {
        let answer = self.get(url, headers).await?;
        match (answer.status, answer.json()) {
            (200, json @ Json::Object(_)) => Ok(json),
            (status, _) => {
                Err(err!(BadGateway, "the identity provider {} answers something else than was asked for at {}", self.name, host_of(url))
                    .with_context(format!("status {status}, no object")))
            }
        }
    }
}

/// Pairs as a form, or as a query.
pub fn encode(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(k, v)| format!("{}={}", http::path::encode(k), http::path::encode(v))).collect::<Vec<_>>().join("&")
}

/// An address with more parameters.
pub fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    format!("{url}{}{}", if url.contains('?') { '&' } else { '?' }, encode(pairs))
}

/// Host of an address, without user and port.
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// Refuses an address that is not fit to be asked: other schemes than https, plain HTTP anywhere but on this machine (and there only when the
/// operator allows it), credentials in it, and the addresses at which clouds keep their machines' secrets.
pub fn check_url(key: &str, url: &str, loopback: bool) -> Result<()> {
    let odd = || err!(InputParameter, "{}: {} is no https address that can be asked", key, url);
    let (scheme, rest) = url.split_once("://").ok_or_else(odd)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    if authority.is_empty()
        || authority.contains('@')
        || url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\')
        || url.contains('#')
    {
        return Err(odd());
    }
    let host = host_of(url);
    let ip: Option<IpAddr> = host.parse().ok();
    let here = ip.map_or(host.eq_ignore_ascii_case("localhost"), |ip| ip.to_canonical().is_loopback());
    let never = ip.is_some_and(|ip| match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast(),
    });
    match scheme {
        _ if host.is_empty() || never => Err(odd()),
        "https" => Ok(()),
        "http" if here && loopback => Ok(()),
        "http" if here => Err(err!(
            InputParameter,
            "{}: {} is plain HTTP; set sso_http_on_loopback of the identity service to allow it on this machine",
            key,
            url
        )),
        _ => Err(odd()),
    }
}

/// Text of so many random bytes, base64url. It begins with a letter or digit: command lines take a dash for an option.
pub fn random(bytes: usize) -> Result<String> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut out = vec![0u8; bytes];
    loop {
        getrandom::fill(&mut out).map_err(Error::internal)?;
        let text = URL_SAFE_NO_PAD.encode(&out);
        if text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One in 32 would begin with a dash or an underscore.
    #[test]
    fn random_texts_are_no_options() {
        for _ in 0..2_000 {
            let text = random(15).expect("random bytes");
            assert!(text.len() == 20 && text.starts_with(|c: char| c.is_ascii_alphanumeric()), "{text}");
        }
    }

    #[test]
    fn addresses_that_are_asked() {
        for (url, strict, loose) in [
            ("https://id.example.org", true, true),
            ("https://id.example.org:8443/realms/x?y=z", true, true),
            ("https://10.0.0.5/a", true, true),
            ("https://[2001:db8::1]/a", true, true),
            ("http://127.0.0.1:9000/x", false, true),
            ("http://localhost:9000", false, true),
            ("http://[::1]:9000", false, true),
            ("http://id.example.org", false, false),
            ("http://127.0.0.1.example.org", false, false),
            ("http://localhost@example.org", false, false),
            ("https://user:secret@id.example.org", false, false),
            ("https://169.254.169.254/latest", false, false),
            ("https://[::ffff:169.254.169.254]/", false, false),
            ("https://[fe80::1]/", false, false),
            ("https://0.0.0.0/", false, false),
            ("https:///etc/passwd", false, false),
            ("https://id.example.org\\@evil.example", false, false),
            ("https://id.example.org/#x", false, false),
            ("file:///etc/passwd", false, false),
            ("id.example.org", false, false),
        ] {
            assert_eq!((check_url("u", url, false).is_ok(), check_url("u", url, true).is_ok()), (strict, loose), "{url}");
        }
        assert_eq!(with_query("https://a/b?c=d", &[("x", "1 &2")]), "https://a/b?c=d&x=1%20%262");
    }
}
