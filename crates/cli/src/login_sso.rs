//! Logging in by a browser: on this machine (a code comes back to 127.0.0.1, RFC 8252), or on another one (a code is typed in, RFC 8628). The pages
//! are the identity service's, so that every way of logging in there is one here: passwords, second factors, identity providers.
//!
//! Both functions end with an unscoped token; whoever calls them enters a project with it. Nothing is kept here, and no browser is started: that is
//! for `open`, which is given the address.

use crate::fail::{Fail, Result};
use base::Json;
use http::Client;
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout_at},
};

/// How long somebody may take in the browser.
const PATIENCE: Duration = Duration::from_secs(600);
/// Longest request of a browser that is read, bytes.
const LONGEST: usize = 16 << 10;
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Somebody the door has let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetIn {
    /// An unscoped token.
    pub token: String,
    pub user: String,
    pub domain: String,
}

/// What a person on another machine needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Typed in at `uri`.
    pub user_code: String,
    pub uri: String,
    /// The same with the code in it, for a picture.
    pub complete: String,
}

/// Logs in by a browser on this machine. `identity` is the address of the service, ending in `/v3`; `open` shows its argument to the person or a
/// browser.
pub async fn by_browser(client: &Client, identity: &str, open: impl FnOnce(&str)) -> Result<LetIn> {
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| Fail::file("a port of this machine for the browser's answer", &e))?;
    let port = listener.local_addr().map_err(|e| Fail::file("a port of this machine for the browser's answer", &e))?.port();
    let redirect_uri = format!("http://127.0.0.1:{port}/callback");
    let fault = |e: base::Error| Fail::refused(&e, 0, "");
    let (verifier, state) = (auth::pkce::verifier().map_err(fault)?, auth::pkce::verifier().map_err(fault)?);
    let pairs = [
        ("redirect_uri", redirect_uri.as_str()),
        ("state", &state),
        ("code_challenge", &auth::pkce::challenge(&verifier)),
        ("code_challenge_method", "S256"),
    ];
    open(&format!("{}?{}", door(identity, "browser"), encode(&pairs)));
    let late = || Fail::usage("nobody logged in within ten minutes; try again");
    let code = timeout_at(Instant::now() + PATIENCE, answer(&listener, &state)).await.map_err(|_| late())??;
    let form = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", &verifier), ("redirect_uri", &redirect_uri)];
    match token(client, identity, &form).await? {
        Told::LetIn(who) => Ok(who),
        Told::Not(word) => Err(refused(&word)),
    }
}

/// Logs in by a browser anywhere: `tell` shows the code, then it is waited until somebody has typed it in.
pub async fn by_device(client: &Client, identity: &str, tell: impl FnOnce(&Device)) -> Result<LetIn> {
    let begun = ask(client, &door(identity, "device"), &[("client_id", "wolke")]).await?;
    let text = |key: &str| begun[key].as_str().unwrap_or_default().to_string();
    let code = text("device_code");
    if code.is_empty() {
        return Err(Fail::usage("the identity service does not know logins by a code"));
    }
    tell(&Device { user_code: text("user_code"), uri: text("verification_uri"), complete: text("verification_uri_complete") });
    let mut every = Duration::from_secs(begun["interval"].as_u64().unwrap_or(5).clamp(1, 60));
    let until = Instant::now() + Duration::from_secs(begun["expires_in"].as_u64().unwrap_or(600).clamp(1, 3600));
    while Instant::now() < until {
        tokio::time::sleep(every).await;
        match token(client, identity, &[("grant_type", DEVICE_GRANT), ("device_code", &code)]).await? {
            Told::LetIn(who) => return Ok(who),
            Told::Not(word) if word == "authorization_pending" => {}
            // RFC 8628 §3.5: from now on five seconds more.
            Told::Not(word) if word == "slow_down" => every += Duration::from_secs(5),
            Told::Not(word) => return Err(refused(&word)),
        }
    }
    Err(refused("expired_token"))
}

fn door(identity: &str, what: &str) -> String {
    format!("{}/auth/door/{what}", identity.trim_end_matches('/'))
}

fn encode(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(k, v)| format!("{k}={}", http::path::encode(v))).collect::<Vec<_>>().join("&")
}

fn refused(word: &str) -> Fail {
    Fail::usage(match word {
        "access_denied" => "the login was denied in the browser".to_string(),
        "expired_token" => "nobody logged in in time; try again".to_string(),
        "invalid_grant" => "the browser's answer was used already or came too late; try again".to_string(),
        other => format!("the identity service refuses the login: {other}"),
    })
}

enum Told {
    LetIn(LetIn),
    Not(String),
}

async fn token(client: &Client, identity: &str, form: &[(&str, &str)]) -> Result<Told> {
    let answer = ask(client, &door(identity, "token"), form).await?;
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_string();
    if text("access_token").is_empty() {
        let word = text("error");
        return Ok(Told::Not(if word.is_empty() { "no token".to_string() } else { word }));
    }
    Ok(Told::LetIn(LetIn { token: text("access_token"), user: text("user"), domain: text("domain") }))
}

/// Posts a form; answers of 400 are words of the protocol, others are errors.
async fn ask(client: &Client, url: &str, form: &[(&str, &str)]) -> Result<Json> {
    let call = client.post(url).header("content-type", "application/x-www-form-urlencoded").bytes(encode(form));
    let answer = call.send_any().await.map_err(|e| Fail::refused(&e, 0, ""))?;
    let status = answer.status;
    let body = answer.bytes(1 << 20).await.map_err(|e| Fail::refused(&e, status, ""))?;
    if matches!(status, 200 | 400) {
        Ok(serde_json::from_slice(&body).unwrap_or(json!({})))
    } else {
        Err(Fail::refused(&http::error_body::parse(status, &body), status, ""))
    }
}

/// Waits for the browser that brings our state back; answers the code. Whoever else connects is told that this is nothing for him.
async fn answer(listener: &TcpListener, state: &str) -> Result<String> {
    loop {
        let (mut stream, _) = listener.accept().await.map_err(|e| Fail::file("the browser's answer", &e))?;
        // A connection that says nothing keeps nobody waiting: browsers open some in advance.
        let target = match tokio::time::timeout(Duration::from_secs(5), target(&mut stream)).await {
            Ok(Some(target)) => target,
            _ => continue,
        };
        let query = target.strip_prefix("/callback?").and_then(|q| http::Query::parse(q).ok());
        let word = |key: &str| query.as_ref().and_then(|q| q.text(key)).unwrap_or_default().to_string();
        if query.is_none() || word("state") != state {
            say(&mut stream, "404 Not Found", "There is nothing here.").await;
            continue;
        }
        if word("code").is_empty() {
            say(&mut stream, "200 OK", "Nobody was logged in. This page can be closed.").await;
            return Err(refused(&word("error")));
        }
        say(&mut stream, "200 OK", "Logged in. Go back to the terminal; this page can be closed.").await;
        return Ok(word("code"));
    }
}

/// The target of a GET request.
async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        let mut piece = [0u8; 2048];
        let n = stream.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        head.extend_from_slice(&piece[..n]);
        if head.len() > LONGEST {
            return None;
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next()?.to_string();
    let mut words = line.split(' ');
    (words.next() == Some("GET")).then(|| words.next().map(str::to_string))?
}

async fn say(stream: &mut TcpStream, status: &str, text: &str) {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    // The browser may be gone; what it was to say is known by then.
    let _gone = stream.write_all(answer.as_bytes()).await;
    let _gone = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_answer_that_was_asked_for_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let send = async |text: &str| {
            let mut stream = TcpStream::connect(at).await.expect("connected");
            stream.write_all(text.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            answer
        };
        let waiting = tokio::spawn(async move { answer(&listener, "s1").await });
        for other in ["GET /favicon.ico", "GET /callback?code=x&state=other", "POST /callback?code=x&state=s1"] {
            let told = send(&format!("{other} HTTP/1.1\r\n\r\n")).await;
            assert!(told.is_empty() || told.starts_with("HTTP/1.1 404"), "{other}: {told}");
        }
        assert!(send("GET /callback?code=c%201&state=s1 HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
        assert_eq!(waiting.await.expect("ended").expect("a code"), "c 1");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let waiting = tokio::spawn(async move { answer(&listener, "s1").await });
        let mut stream = TcpStream::connect(at).await.expect("connected");
        stream.write_all(b"GET /callback?error=access_denied&state=s1 HTTP/1.1\r\n\r\n").await.expect("sent");
        assert!(waiting.await.expect("ended").expect_err("refused").message().contains("denied"));
    }
}
