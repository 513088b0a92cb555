//! Questions of one caller that come at the same moment are asked as one. Called by [`crate::show`]; knows neither rows nor the database.
//!
//! ```text
//! first ones ─▶ ask for themselves ─▶ done: whoever came meanwhile ─▶ one of them asks for all ─▶ ...
//! ```
//!
//! Nobody waits for company: as long as fewer ask than there are processors, everybody asks at once. What is answered is never older than the question,
//! as whoever asks for others begins after they came.

use crate::{BoxFuture, engine::Op};
use base::{Lang, Result};
use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Asked for at once at most.
const MOST: usize = 64;

/// Whose questions have the same answer: those with the same token from the same address, about the same kind, in the same words.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    kind: &'static str,
    token: Arc<str>,
    peer: Option<IpAddr>,
    lang: Lang,
    params: String,
}

impl Key {
    /// `None` for whoever has no token: nothing else says that two are the same.
    pub fn of(op: &Op<'_>) -> Option<Key> {
        let token = op.ctx.bearer.0.clone()?;
        Some(Key { kind: op.kind.facts.name, token, peer: op.ctx.peer, lang: op.ctx.lang, params: op.params.0.to_string() })
    }
}

/// Those who ask, by what they have in common.
pub(crate) struct Crowd<T> {
    lines: Mutex<HashMap<Key, Line<T>>>,
    at_once: usize,
}

struct Line<T> {
    /// How many ask just now.
    asking: usize,
    waiting: VecDeque<Waiter<T>>,
}

struct Waiter<T> {
    id: String,
    turn: oneshot::Sender<Turn<T>>,
}

enum Turn<T> {
    /// Somebody else asked.
    Told(Option<T>),
    Ask(Lead<T>),
}

/// The right to ask, for oneself and for others. Given on when it is dropped, whatever became of the question.
struct Lead<T> {
    crowd: Arc<Crowd<T>>,
    key: Key,
    others: Vec<Waiter<T>>,
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        self.crowd.next(&self.key);
    }
}

impl<T> Crowd<T> {
    pub fn new(at_once: usize) -> Arc<Crowd<T>> {
        Arc::new(Crowd { lines: Mutex::default(), at_once })
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Key, Line<T>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, key: Key, id: &str) -> Result<Lead<T>, oneshot::Receiver<Turn<T>>> {
        let mut lines = self.lines();
        let line = lines.entry(key.clone()).or_insert_with(|| Line { asking: 0, waiting: VecDeque::new() });
        if line.asking < self.at_once {
            line.asking += 1;
            return Ok(Lead { crowd: self.clone(), key, others: Vec::new() });
        }
        let (turn, wait) = oneshot::channel();
        line.waiting.push_back(Waiter { id: id.to_string(), turn });
        Err(wait)
    }

    /// Somebody is done: the first who still waits asks for those behind.
    fn next(self: &Arc<Self>, key: &Key) {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(key) else { return };
        line.waiting.retain(|w| !w.turn.is_closed());
        let Some(first) = line.waiting.pop_front() else {
            line.asking -= 1;
            if line.asking == 0 {
                lines.remove(key);
            }
            return;
        };
        let others = line.waiting.drain(..line.waiting.len().min(MOST - 1)).collect();
        // If he has just gone away, the turn comes back here when it is dropped: not under the lock.
        drop(lines);
        drop(first.turn.send(Turn::Ask(Lead { crowd: self.clone(), key: key.clone(), others })));
    }
}

impl<T: Clone> Crowd<T> {
    /// The answer about `id`; `None` when whoever was asked knows nothing of it. `ask` is not called when somebody else asks.
    ///
    /// # Errors
    /// Those of the question about `id` alone: one that failed for several is asked again by each for himself.
    pub async fn about<'a>(
        self: &Arc<Self>,
        key: Key,
        id: &str,
        ask: impl Fn(Vec<String>) -> BoxFuture<'a, Result<HashMap<String, T>>>,
    ) -> Result<Option<T>> {
        let lead = match self.enter(key, id) {
            Ok(lead) => Some(lead),
            Err(wait) => match wait.await {
                Ok(Turn::Told(told)) => return Ok(told),
                Ok(Turn::Ask(lead)) => Some(lead),
                // Whoever asked failed, or went away.
                Err(_) => None,
            },
        };
        let mut ids = vec![id.to_string()];
        ids.extend(lead.iter().flat_map(|lead| &lead.others).map(|other| other.id.clone()));
        ids.sort_unstable();
        ids.dedup();
        let alone = ids.len() == 1;
        let mut told = match ask(ids).await {
            Err(_) if !alone => {
                drop(lead);
                return Ok(ask(vec![id.to_string()]).await?.remove(id));
            }
            told => told?,
        };
        for other in lead.into_iter().flat_map(|mut lead| std::mem::take(&mut lead.others)) {
            // Nobody listens where a client has gone away.
            let _ = other.turn.send(Turn::Told(told.get(&other.id).cloned()));
        }
        Ok(told.remove(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use tokio::sync::Semaphore;

    /// Something to ask that answers with the id itself, but for ids in capitals, and counts how often it was asked.
    struct Oracle {
        crowd: Arc<Crowd<String>>,
        asked: AtomicUsize,
        open: Semaphore,
        fails: Semaphore,
    }

    impl Oracle {
        fn new(at_once: usize) -> Arc<Oracle> {
            let (open, fails) = (Semaphore::new(0), Semaphore::new(0));
            Arc::new(Oracle { crowd: Crowd::new(at_once), asked: AtomicUsize::new(0), open, fails })
        }

        async fn about(self: Arc<Self>, token: &str, id: String) -> Result<Option<String>> {
            let key = Key { kind: "server", token: token.into(), peer: None, lang: Lang::En, params: String::new() };
            let ask = |ids: Vec<String>| -> BoxFuture<'_, Result<HashMap<String, String>>> {
                let this = &self;
                Box::pin(async move {
                    assert!(ids.len() <= MOST, "{}", ids.len());
                    this.asked.fetch_add(1, Relaxed);
                    this.open.acquire().await.expect("open").forget();
                    match this.fails.try_acquire() {
                        Ok(fails) => {
                            fails.forget();
                            Err(base::Error::internal("no answer"))
                        }
                        Err(_) => Ok(ids.into_iter().filter(|id| *id == id.to_lowercase()).map(|id| (id.clone(), id)).collect()),
                    }
                })
            };
            self.crowd.about(key, &id, ask).await
        }

        fn start(self: &Arc<Self>, token: &'static str, id: &str) -> tokio::task::JoinHandle<Result<Option<String>>> {
            tokio::spawn(self.clone().about(token, id.to_string()))
        }

        /// One that has its turn, and waits for its answer.
        async fn asking(self: &Arc<Self>, id: &str) -> tokio::task::JoinHandle<Result<Option<String>>> {
            let first = self.start("t", id);
            while self.asked.load(Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            first
        }

        async fn waiting(&self, most: usize) {
            while self.crowd.lines().values().map(|line| line.waiting.len()).sum::<usize>() != most {
                tokio::task::yield_now().await;
            }
        }

        /// Nobody is left, and nothing of anybody.
        fn quiet(&self) -> bool {
            self.crowd.lines().is_empty()
        }
    }

    #[tokio::test]
    async fn those_who_come_meanwhile_are_asked_for_together() {
        let o = Oracle::new(1);
        let first = o.asking("a").await;
        let ids: Vec<String> = (0..2 * MOST).map(|i| format!("b{}", i / 2)).chain(["NOBODY".to_string()]).collect();
        let others: Vec<_> = ids.iter().map(|id| o.start("t", id)).collect();
        o.waiting(ids.len()).await;
        o.open.add_permits(1000);
        assert_eq!(first.await.expect("ended").expect("answered").as_deref(), Some("a"));
        for (id, other) in ids.iter().zip(others) {
            let told = other.await.expect("ended").expect("answered");
            assert_eq!(told.as_deref(), (id != "NOBODY").then_some(id.as_str()));
        }
        assert_eq!(o.asked.load(Relaxed), 1 + (2 * MOST + 1).div_ceil(MOST));
        assert!(o.quiet());
    }

    #[tokio::test]
    async fn as_many_as_there_are_places_ask_at_once_and_strangers_never_share() {
        let o = Oracle::new(2);
        let all: Vec<_> = ["t", "u"].into_iter().flat_map(|token| ["a", "b", "c", "d"].map(|id| (token, id))).collect();
        let all: Vec<_> = all.into_iter().map(|(token, id)| o.start(token, id)).collect();
        o.waiting(4).await;
        assert_eq!(o.asked.load(Relaxed), 4, "two places for each token");
        o.open.add_permits(1000);
        for one in all {
            assert!(one.await.expect("ended").expect("answered").is_some());
        }
        assert_eq!(o.asked.load(Relaxed), 6);
        assert!(o.quiet());
    }

    #[tokio::test]
    async fn whoever_goes_away_takes_nobody_along() {
        let o = Oracle::new(1);
        let first = o.asking("a").await;
        let gone = o.start("t", "b");
        o.waiting(1).await;
        let (stays, also) = (o.start("t", "c"), o.start("t", "d"));
        o.waiting(3).await;
        gone.abort();
        let _ = gone.await;
        first.abort();
        let _ = first.await;
        // The next asks for both; it goes away in the middle, and the last asks for itself.
        while o.asked.load(Relaxed) == 1 {
            tokio::task::yield_now().await;
        }
        stays.abort();
        let _ = stays.await;
        o.open.add_permits(1000);
        assert_eq!(also.await.expect("ended").expect("answered").as_deref(), Some("d"));
        assert_eq!(o.asked.load(Relaxed), 3);
        assert!(o.quiet());
    }

    #[tokio::test]
    async fn a_failure_is_its_own() {
        let o = Oracle::new(1);
        let first = o.asking("a").await;
        let (second, third) = (o.start("t", "b"), o.start("t", "c"));
        o.waiting(2).await;
        o.open.add_permits(1);
        assert!(first.await.expect("ended").is_ok());
        // Together, and the second once more by itself.
        o.fails.add_permits(2);
        o.open.add_permits(2);
        assert!(second.await.expect("ended").is_err());
        o.open.add_permits(1000);
        assert_eq!(third.await.expect("ended").expect("answered").as_deref(), Some("c"), "it asks again for itself");
        assert!(o.quiet());
    }
}
