//! Who waits for which object. The index is in memory: a wait that is not here is in no process, and the replay of its task puts it back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// (kind, id)
pub(crate) type Watched = (String, String);

/// Kind under which a task waits to be cancelled; no keyword has a `!`.
pub(crate) const CANCEL: &str = "task!cancel";
/// Kind under which a parent waits for the end of a child.
pub(crate) const END: &str = "task!end";

#[derive(Default)]
struct Index {
    next: u64,
    waiters: HashMap<Watched, HashMap<u64, Arc<Notify>>>,
}

/// The index; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<Index>>);

/// A registered wait; leaves the index when dropped.
pub(crate) struct Waiting {
    waits: Waits,
    number: u64,
    watched: Vec<Watched>,
    pub woken: Arc<Notify>,
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers before the first look, so that a change between the look and the wait is not missed.
    pub fn register(&self, watched: Vec<Watched>) -> Waiting {
        let woken = Arc::new(Notify::new());
        let mut index = self.lock();
        index.next += 1;
        let number = index.next;
        for key in &watched {
            index.waiters.entry(key.clone()).or_default().insert(number, woken.clone());
        }
        drop(index);
        Waiting { waits: self.clone(), number, watched, woken }
    }

    pub fn wake(&self, kind: &str, id: &str) {
        let key = (kind.to_string(), id.to_string());
        if let Some(waiters) = self.lock().waiters.get(&key) {
            waiters.values().for_each(|w| w.notify_one());
        }
    }

    /// The feed lost changes: everybody looks again.
    pub fn wake_all(&self) {
        for waiters in self.lock().waiters.values() {
            waiters.values().for_each(|w| w.notify_one());
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().waiters.len()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut index = self.waits.lock();
        for key in &self.watched {
            if let Some(waiters) = index.waiters.get_mut(key) {
                waiters.remove(&self.number);
                if waiters.is_empty() {
                    index.waiters.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn wakes_only_who_watches_and_forgets_who_left() {
        let waits = Waits::default();
        let key = |id: &str| ("disk".to_string(), id.to_string());
        let (a, b) = (waits.register(vec![key("1"), key("2")]), waits.register(vec![key("2")]));
        waits.wake("disk", "1");
        waits.wake("server", "2");
        assert!(a.woken.notified().now_or_never().is_some());
        assert!(b.woken.notified().now_or_never().is_none());
        waits.wake("disk", "2");
        assert!(a.woken.notified().now_or_never().is_some() && b.woken.notified().now_or_never().is_some());
        waits.wake_all();
        assert!(a.woken.notified().now_or_never().is_some() && b.woken.notified().now_or_never().is_some());
        drop((a, b));
        assert_eq!(waits.len(), 0);
    }
}
