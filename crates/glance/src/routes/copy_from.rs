//! Images fetched from a source named by the client. Off unless an operator lists the hosts: the service stands inside the platform's own
//! network, and a client must not choose what it talks to there.

use super::Desk;
use crate::{Glance, Options};
use api_image::COMPRESS_FORMAT;
use base::{Ctx, Result, err};
use futures_util::stream;
use http::{ByteStream, Client, ClientOptions, Request};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the source's next piece.
const STALL: Duration = Duration::from_secs(60);

/// The URL, if images may be fetched from there.
pub fn check(options: &Options, url: &str, request: &Request) -> Result<String> {
    if request.header(COMPRESS_FORMAT).is_some_and(|f| !f.is_empty()) {
        return Err(err!(
            UnsupportedOperation,
            "packed images are not fetched; unpack the file at its source, or download, unpack and upload it"
        ));
    }
    let host = host(url).ok_or_else(|| err!(InputParameter, "the source {} must be a plain http or https URL without a user name", url))?;
    if options.copy_from_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
        return Ok(url.to_string());
    }
    Err(err!(
        UnsupportedOperation,
        "images are not fetched from {}; download the file and upload it, or ask an administrator to list the host in copy_from_hosts",
        host
    ))
}

/// `name` or `name:port` of an http URL.
fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let host = rest.split(['/', '?', '#']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    (!host.is_empty() && host.chars().all(plain) && !url.contains(|c: char| c.is_control() || c == ' ' || c == '\\')).then_some(host)
}

/// Fetches in the background; the image is `saving` until then.
pub fn start(desk: &Desk, ctx: &Ctx, id: &str, url: String) {
    let Some(busy) = desk.glance.take(id) else { return };
    let (glance, ctx) = (desk.glance.clone(), ctx.clone());
    tokio::spawn(async move {
        let (expect, body) = match fetch(&glance, &url).await {
            Ok(found) => found,
            // The intake ends the image for the reason the stream gives.
            Err(e) => (None, Box::pin(stream::once(async { Err(e) })) as ByteStream),
        };
        // Nobody waits for the outcome: it is in the row.
        drop(glance.receive(ctx, busy, expect, body));
    });
}

async fn fetch(glance: &Arc<Glance>, url: &str) -> Result<(Option<u64>, ByteStream)> {
    let client = match glance.fetcher.get() {
        Some(client) => client,
        None => {
            let made = Client::new(ClientOptions { stall: STALL, ..ClientOptions::default() })?;
            glance.fetcher.get_or_init(|| made)
        }
    };
    let answer = client.get(url).send().await?;
    Ok((answer.length(), Box::pin(answer.stream())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn hosts() {
        for (url, want) in [
            ("http://mirror.example.com/a.qcow2", Some("mirror.example.com")),
            ("https://10.0.0.1:8080/a?b#c", Some("10.0.0.1:8080")),
            ("http://[::1]:80/x", Some("[::1]:80")),
            ("http://good.example@169.254.169.254/", None),
            ("http://good.example\\@evil/", None),
            ("http:///x", None),
            ("file:///etc/shadow", None),
            ("ftp://a/b", None),
            ("http://a/b\r\nX: y", None),
        ] {
            assert_eq!(super::host(url), want, "{url}");
        }
    }
}
