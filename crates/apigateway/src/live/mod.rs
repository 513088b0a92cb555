//! `GET /api/{ver}/live?resources=servers,disks`: one `text/event-stream` (WHATWG HTML §9.2) for each page, of changes the user may know of.
//! An event names a row and never a field: the page asks for what it shows with its own rights.

pub mod feed;
mod hub;
mod place;
mod sight;

pub use hub::{Hub, follow};
pub use place::Places;

use crate::{Gateway, door::Visit, on, proxy};
use base::Ctx;
use http::{Bytes, Reply, Request, Response, Router};
use hub::{News, Position};
use place::Place;
use serde_json::json;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};

/// Changes put into one piece.
const PIECE: usize = 64;

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router.get("/api/{ver}/live", on(gateway, |g, r| async move { open(g, r).await }))
}

/// One page.
struct Page {
    gateway: Arc<Gateway>,
    session: String,
    token: String,
    ctx: Ctx,
    /// Words of the resources; all when empty.
    wanted: Vec<String>,
    news: Receiver<Arc<News>>,
    at: Position,
    first: VecDeque<Bytes>,
    /// When the next sign of life is due, for proxies and for pages; with it the session is looked at again, however much there is to tell.
    beat: Instant,
    _place: Place,
}

async fn open(gateway: Arc<Gateway>, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    let place = gateway.streams.take(&visit.session.user_id, &gateway.options)?;
    let Visit { session, mut ctx, request, claims } = visit;
    // Policies speak of where the login came from, as in the services.
    ctx.peer = claims.ip.or(ctx.peer);
    let wanted: Vec<String> =
        request.query.text("resources").unwrap_or_default().split(',').map(str::trim).filter(|w| !w.is_empty()).map(String::from).collect();
    let since = request.header("last-event-id").or_else(|| request.query.text("last_event_id")).filter(|s| !s.is_empty());
    let since = since.map(|s| position(s).unwrap_or_default());
    let (news, at, missed) = gateway.hub.listen(since.as_ref());
    let beat = Instant::now() + gateway.beat();
    let mut page =
        Page { gateway, session: session.id, token: session.token, ctx, wanted, news, at, first: VecDeque::new(), beat, _place: place };
    // Proxies hold back the first bytes of an answer until there are some. An event, so that scripts learn the position too: a page that goes on to
    // other resources goes on from there.
    page.first.push_back(Bytes::from(format!("retry: 2000\nid: {}\nevent: position\ndata: {{}}\n\n", text(&page.at))));
    match missed {
        None => page.first.push_back(reset(&page.at)),
        Some(missed) => {
            let lines: String = missed.iter().filter_map(|n| page.tell(n)).collect();
            page.first.push_back(Bytes::from(lines));
        }
    }
    request.lift_deadline();
    let stream = futures_util::stream::unfold(Some(page), |page| async move {
        let mut page = page?;
        let piece = page.next().await?;
        Some((Ok(piece), Some(page)))
    });
    let kind = http::HeaderValue::from_static("text/event-stream");
    Ok(Response::stream(kind, None, stream).with_header("x-accel-buffering", "no").with_header("cache-control", "no-cache, no-transform"))
}

impl Gateway {
    fn beat(&self) -> Duration {
        Duration::from_secs(self.options.live_beat_seconds.max(1))
    }
}

impl Page {
    /// The next piece; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        while let Some(piece) = self.first.pop_front() {
            if !piece.is_empty() {
                return Some(piece);
            }
        }
        let draining = self.gateway.draining.clone();
        loop {
            let news = tokio::select! {
                biased;
                () = draining.wait() => return None,
                () = tokio::time::sleep_until(self.beat) => {
                    self.beat = Instant::now() + self.gateway.beat();
                    let stands = self.gateway.verifier.verify(&self.token).is_ok();
                    let lives = self.gateway.sessions.lives(&self.session).await.unwrap_or(true);
                    return (stands && lives).then(|| Bytes::from_static(b": beat\n\n"));
                }
                news = self.news.recv() => news,
            };
            let mut out = String::new();
            let mut next = news;
            for _ in 0..PIECE {
                match next {
                    Ok(news) if matches!(*news, News::Lost) => return Some(self.lost()),
                    Ok(news) => out.extend(self.tell(&news)),
                    Err(RecvError::Lagged(_)) => return Some(self.lost()),
                    Err(RecvError::Closed) => return None,
                }
                match self.news.try_recv() {
                    Ok(more) => next = Ok(more),
                    Err(_) => break,
                }
            }
            if !out.is_empty() {
                return Some(Bytes::from(out));
            }
        }
    }

    /// Something was missed: the page asks for everything again, and goes on from here.
    fn lost(&mut self) -> Bytes {
        let (news, at, _) = self.gateway.hub.listen(None);
        self.news = news;
        self.at = at;
        reset(&self.at)
    }

    /// A change as the page reads it, if it is wanted and the user may know of it, and what follows from it.
    fn tell(&mut self, news: &News) -> Option<String> {
        let News::Change { service, line, module } = news else { return None };
        self.at.insert((*service).to_string(), line.seq);
        if !sight::may_know(self.gateway.gate.as_ref(), &self.ctx, module, line) {
            return None;
        }
        let wants = |word: &str| self.wanted.iter().any(|w| w == word);
        let own = format!("{}-{}", module.service, module.plural);
        let word = if wants(&own) { &own } else { &module.plural };
        let mut out = String::new();
        if self.wanted.is_empty() || wants(word) {
            let data =
                json!({"resource": word, "id": line.id, "kind": line.op, "project_id": line.project_id, "domain_id": line.domain_id});
            out = format!("id: {}\ndata: {data}\n\n", text(&self.at));
        }
        // Which row that is, is not known here: the page asks for what it shows of them.
        for word in sight::following(module).into_iter().filter(|word| wants(word)) {
            let data = json!({"resource": word, "id": "", "kind": "update", "project_id": line.project_id, "domain_id": line.domain_id});
            out += &format!("id: {}\ndata: {data}\n\n", text(&self.at));
        }
        (!out.is_empty()).then_some(out)
    }
}

fn reset(at: &Position) -> Bytes {
    Bytes::from(format!("event: reset\nid: {}\ndata: {{}}\n\n", text(at)))
}

fn text(at: &Position) -> String {
    at.iter().map(|(service, seq)| format!("{service}={seq}")).collect::<Vec<_>>().join(",")
}

fn position(text: &str) -> Option<Position> {
    text.split(',').map(|part| part.split_once('=').and_then(|(s, n)| Some((s.to_string(), n.parse().ok()?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_as_text() {
        let at = Position::from([("compute".to_string(), 12), ("image".to_string(), 0)]);
        assert_eq!(text(&at), "compute=12,image=0");
        assert_eq!(position(&text(&at)), Some(at));
        assert_eq!((position("nonsense"), position("a=b")), (None, None));
    }
}
