//! What the services changed lately, once for all pages: one follower for each service, a short memory for pages that come back, and a
//! broadcast.

use super::feed::{Line, Lines};
use crate::{
    Gateway,
    catalog::{Module, TABLE},
};
use base::{Error, Result};
use http::Method;
use service::Process;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::broadcast;

/// Changes kept for pages that come back, of each service.
const KEPT: usize = 8192;
/// Changes that a slow page may be behind.
const BEHIND: usize = 2048;
/// How long one question to a service waits, seconds.
const WAIT: u64 = 25;

/// One change, or the news that some were missed.
#[derive(Debug)]
pub enum News {
    Change { service: &'static str, line: Line, module: &'static Module },
    Lost,
}

/// Where a page stands in every feed.
pub type Position = BTreeMap<String, i64>;

#[derive(Default)]
struct Memory {
    /// Everything after this position is in `kept`.
    floor: i64,
    head: i64,
    kept: VecDeque<Arc<News>>,
    known: bool,
}

pub struct Hub {
    tell: broadcast::Sender<Arc<News>>,
    memory: Mutex<BTreeMap<&'static str, Memory>>,
}

impl Default for Hub {
    fn default() -> Hub {
        Hub { tell: broadcast::Sender::new(BEHIND), memory: Mutex::default() }
    }
}

impl Hub {
    /// Listens from now on: with what was missed since a position, or `None` when that is not known any more.
    pub fn listen(&self, since: Option<&Position>) -> (broadcast::Receiver<Arc<News>>, Position, Option<Vec<Arc<News>>>) {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that nothing is told twice or not at all.
        let receiver = self.tell.subscribe();
        let heads: Position = memory.iter().filter(|(_, m)| m.known).map(|(s, m)| (s.to_string(), m.head)).collect();
        let Some(since) = since else { return (receiver, heads, Some(Vec::new())) };
        let mut missed = Vec::new();
        for (service, m) in memory.iter().filter(|(_, m)| m.known) {
            let Some(at) = since.get(*service) else { return (receiver, heads, None) };
            if *at < m.floor || *at > m.head {
                return (receiver, heads, None);
            }
            missed.extend(m.kept.iter().filter(|n| matches!(&***n, News::Change { line, .. } if line.seq > *at)).cloned());
        }
        (receiver, heads, Some(missed))
    }

    fn hear(&self, service: &'static str, lines: Lines) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let m = memory.entry(service).or_default();
        if lines.lost || !m.known {
            let told = m.known;
            *m = Memory { floor: lines.cursor, head: lines.cursor, kept: VecDeque::new(), known: true };
            if told {
                // Nobody listening is no failure.
                let _nobody = self.tell.send(Arc::new(News::Lost));
            }
            return;
        }
        for line in lines.changes {
            m.head = line.seq;
            let Some(module) = TABLE.named(service, &line.kind) else { continue };
            let news = Arc::new(News::Change { service, line, module });
            m.kept.push_back(news.clone());
            let _nobody = self.tell.send(news);
        }
        m.head = m.head.max(lines.cursor);
        while m.kept.len() > KEPT {
            if let Some(old) = m.kept.pop_front()
                && let News::Change { line, .. } = &*old
            {
                m.floor = line.seq;
            }
        }
    }
}

/// Starts a follower for each service that has resources.
pub fn follow(gateway: &Arc<Gateway>, process: &Process) {
    let mut services: Vec<(&'static str, &'static str)> = TABLE.all().iter().map(|m| (m.service.as_str(), m.kind.as_str())).collect();
    services.sort_unstable();
    services.dedup();
    for (word, kind) in services {
        let gateway = gateway.clone();
        process.worker(&format!("gateway live {word}"), move |stop| {
            let gateway = gateway.clone();
            async move {
                let mut cursor = -1;
                loop {
                    match stop.or(ask(&gateway, kind, cursor)).await {
                        None => return Ok(()),
                        Some(Ok(lines)) => {
                            cursor = lines.cursor;
                            gateway.hub.hear(word, lines);
                        }
                        Some(Err(e)) => {
                            tracing::debug!(service = word, error = %e, cause = e.context(), "changes cannot be followed; asking again");
                            if stop.or(tokio::time::sleep(Duration::from_secs(1))).await.is_none() {
                                return Ok(());
                            }
                        }
                    }
                }
            }
        });
    }
}

async fn ask(gateway: &Gateway, kind: &str, cursor: i64) -> Result<Lines> {
    let token = gateway.services.client().session().await?;
    let url = format!("{}/changes?after={cursor}&wait={WAIT}", gateway.services.endpoint(kind, "").await?);
    let answer = gateway.services.call(Method::GET, &url).token(&token.token).send().await?.json().await?;
    serde_json::from_value(answer).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: i64) -> Line {
        let text = format!(r#"{{"seq": {seq}, "kind": "server", "id": "s{seq}", "op": "update", "project_id": "p"}}"#);
        serde_json::from_str(&text).expect("a line")
    }

    #[test]
    fn a_page_that_comes_back_misses_nothing_or_is_told() {
        let hub = Hub::default();
        hub.hear("compute", Lines { changes: vec![], cursor: 10, lost: false });
        hub.hear("compute", Lines { changes: (11..=20).map(line).collect(), cursor: 20, lost: false });
        let at = |n: i64| Position::from([("compute".to_string(), n)]);
        let missed = |n: i64| hub.listen(Some(&at(n))).2.map(|m| m.len());
        assert_eq!((missed(10), missed(15), missed(20)), (Some(10), Some(5), Some(0)));
        assert_eq!((missed(9), missed(21)), (None, None), "before what is kept, and from another life");
        assert_eq!(hub.listen(Some(&Position::new())).2.map(|m| m.len()), None, "a position without this service");
        let (mut receiver, heads, _) = hub.listen(None);
        assert_eq!(heads, at(20));
        hub.hear("compute", Lines { changes: vec![line(21)], cursor: 21, lost: false });
        assert!(matches!(&*receiver.try_recv().expect("news"), News::Change { line, .. } if line.seq == 21));
        hub.hear("compute", Lines { changes: vec![], cursor: 99, lost: true });
        assert!(matches!(&*receiver.try_recv().expect("news"), News::Lost));
        hub.hear(
            "compute",
            Lines { changes: (100..100 + KEPT as i64 + 5).map(line).collect(), cursor: 100 + KEPT as i64 + 4, lost: false },
        );
        assert_eq!((missed(99), missed(104)), (None, Some(KEPT)), "the memory is short");
    }
}
