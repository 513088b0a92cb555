//! The last changes that this process has read: its followers want the same ones at the same moment, and the database is asked for them once. Called by
//! [`super::Feed`]; holds only what the database has shown, and never a gap.

use super::Numbered;
use crate::totals::locked;
use std::collections::VecDeque;
use std::sync::Mutex;

/// Changes kept. Whoever is further behind asks the database.
const KEPT: usize = 1024;

#[derive(Default)]
pub(crate) struct Recent {
    kept: Mutex<VecDeque<Numbered>>,
    /// Held by the one follower that asks the database.
    pub asking: tokio::sync::Mutex<()>,
}

impl Recent {
    /// Those after a cursor, at least one; `None` when the next one is not here.
    pub fn after(&self, cursor: i64, limit: u64) -> Option<Vec<Numbered>> {
        let kept = locked(&self.kept);
        let (first, ..) = kept.front()?;
        // Numbers are dense.
        let from = usize::try_from(cursor.checked_add(1)?.checked_sub(*first)?).ok()?;
        let upto = kept.len().min(from.saturating_add(usize::try_from(limit).unwrap_or(usize::MAX)));
        (from < upto).then(|| kept.range(from..upto).cloned().collect())
    }

    /// Keeps what was read, unless it lies before what is kept: that is for somebody who comes late.
    pub fn put(&self, read: &[Numbered]) {
        let (Some((first, ..)), Some((last, ..))) = (read.first(), read.last()) else { return };
        let mut kept = locked(&self.kept);
        let next = kept.back().map_or(*first, |(seq, ..)| seq + 1);
        if *last < next {
            return;
        }
        if *first > next {
            kept.clear();
        }
        let known = usize::try_from(next - first).unwrap_or(0);
        kept.extend(read[known..].iter().cloned());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }

    /// Forgets what lies before a number; all of it when the database is not the one it was.
    pub fn forget(&self, before: i64) {
        locked(&self.kept).retain(|(seq, ..)| *seq >= before);
    }
}
