//! The last changes that this process has read: its followers want the same ones at the same moment, and the database is asked for them once. Called by
//! [`super::Feed`]; holds only what the database has shown and keeps, and never a gap.

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

    /// Whether the next question of somebody there is one that others have as well.
    pub fn leads(&self, cursor: i64) -> bool {
        locked(&self.kept).back().is_none_or(|(last, ..)| cursor >= *last)
    }

    /// Keeps what was read, unless it lies before what is kept: that is for somebody who comes late.
    pub fn put(&self, read: &[Numbered]) {
        let (Some((first, ..)), Some((last, ..))) = (read.first(), read.last()) else { return };
        if last - first + 1 != read.len() as i64 {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, ChangeOp};
    use base::{Json, Timestamp};
    use std::sync::Arc;

    fn changes(numbers: impl IntoIterator<Item = i64>) -> Vec<Numbered> {
        let text = String::new;
        let change = |n: i64| Change {
            kind: text(),
            id: n.to_string(),
            op: ChangeOp::Update,
            version: n,
            domain_id: text(),
            project_id: text(),
            data: Json::Null,
        };
        numbers.into_iter().map(|n| (n, Timestamp(0), Arc::new(change(n)))).collect()
    }

    fn numbers(recent: &Recent, cursor: i64, limit: u64) -> Option<Vec<i64>> {
        recent.after(cursor, limit).map(|all| all.iter().map(|(seq, ..)| *seq).collect())
    }

    #[test]
    fn never_a_gap() {
        let recent = Recent::default();
        assert!(recent.leads(0) && numbers(&recent, 0, 9).is_none());
        recent.put(&changes(5..8));
        assert_eq!(numbers(&recent, 4, 9), Some(vec![5, 6, 7]));
        assert_eq!(numbers(&recent, 5, 1), Some(vec![6]));
        for cursor in [i64::MIN, -1, 0, 3, 7, 8, i64::MAX] {
            assert_eq!(numbers(&recent, cursor, 9), None, "{cursor}");
        }
        assert!(recent.leads(7) && !recent.leads(6));
        recent.put(&changes(1..5));
        assert_eq!(numbers(&recent, 4, 9), Some(vec![5, 6, 7]), "what lies before is for who asked");
        recent.put(&changes(6..10));
        assert_eq!(numbers(&recent, 4, 9), Some(vec![5, 6, 7, 8, 9]), "what overlaps is kept once");
        recent.put(&changes([10, 12]));
        assert_eq!(numbers(&recent, 9, 9), None, "what has a hole is not kept");
        recent.put(&changes(20..22));
        assert_eq!((numbers(&recent, 4, 9), numbers(&recent, 19, 9)), (None, Some(vec![20, 21])));
        recent.forget(21);
        assert_eq!((numbers(&recent, 19, 9), numbers(&recent, 20, 9)), (None, Some(vec![21])));
        recent.put(&changes(22..22 + 2 * KEPT as i64));
        assert_eq!(locked(&recent.kept).len(), KEPT);
        assert_eq!(numbers(&recent, 20 + 2 * KEPT as i64, 9), Some(vec![21 + 2 * KEPT as i64]));
        recent.forget(i64::MAX);
        assert!(recent.leads(0));
    }
}
