//! Changes as a page of the console is told of them.

use super::{PATIENCE, browser::Browser};
use futures_util::StreamExt;
use http::Method;
use serde_json::Value as Json;

/// A stream of live changes, read by hand.
pub struct Live {
    pub encoding: Option<String>,
    stream: std::pin::Pin<Box<dyn futures_util::Stream<Item = base::Result<http::Bytes>> + Send>>,
    have: String,
    pub last: String,
    reset: bool,
    pub seen: Vec<Json>,
}

impl Live {
    pub async fn open(browser: &Browser, since: &str, resources: &str) -> Live {
        let call = browser.call(Method::GET, &format!("/api/v1/live?resources={resources}")).header("accept-encoding", "gzip, br");
        let call = if since.is_empty() { call } else { call.header("last-event-id", since) };
        let answer = call.send().await.expect("a stream");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        let encoding = answer.header("content-encoding").map(String::from);
        let mut live =
            Live { encoding, stream: Box::pin(answer.stream()), have: String::new(), last: String::new(), reset: false, seen: Vec::new() };
        while live.last.is_empty() {
            live.frame().await.expect("it opens");
        }
        live
    }

    /// One frame; `None` at the end of the stream.
    pub async fn frame(&mut self) -> Option<Option<Json>> {
        loop {
            if let Some((frame, rest)) = self.have.split_once("\n\n") {
                let (frame, rest) = (frame.to_string(), rest.to_string());
                self.have = rest;
                let field = |name: &str| frame.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim().to_string());
                if let Some(id) = field("id:") {
                    self.last = id;
                }
                if field("event:").as_deref() == Some("reset") {
                    self.reset = true;
                    return Some(None);
                }
                return Some(field("data:").map(|d| serde_json::from_str(&d).expect("JSON")));
            }
            let piece = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("something comes");
            self.have.push_str(&String::from_utf8_lossy(&piece?.ok()?));
        }
    }

    pub async fn until(&mut self, fits: impl Fn(&Json) -> bool) -> Json {
        loop {
            if let Some(event) = self.frame().await.expect("the stream goes on") {
                self.seen.push(event.clone());
                if fits(&event) {
                    return event;
                }
            }
        }
    }

    pub async fn until_reset(&mut self) {
        while !self.reset {
            self.frame().await.expect("the stream goes on");
        }
    }

    pub async fn until_end(&mut self) {
        while self.frame().await.is_some() {}
    }
}
