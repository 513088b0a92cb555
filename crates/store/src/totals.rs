//! Totals kept in memory: how many rows meet a condition, counted anew only when something changed that the condition looks at.
//!
//! A list tells its total with every page, and counting a hundred thousand rows costs more than the page. Every commit of this process notes which tables
//! gained or lost rows and which columns were changed, before [`Db::tx`] returns; a kept total counts for as long as nothing it depends on was noted. So
//! whoever wrote through this handle never meets a total from before his write. What other processes write is noted when it passes by in the change feed,
//! and no total is kept for longer than [`KEEP`], whoever wrote.

use crate::db::Db;
use crate::feed::{Change, ChangeOp};
use crate::query::{Cond, Name, Pick, Select};
use crate::sql::{self, Sql, Wish};
use base::{Facts, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a total counts at most.
const KEEP: Duration = Duration::from_secs(1);

/// Totals of one of two generations: when the young one is full, the old one is forgotten.
const GENERATION: usize = 512;

/// What a statement wrote: a table, and the column it changed; no column where rows came or went.
pub(crate) type Wrote = (String, Option<Name>);

#[derive(Default)]
pub(crate) struct Totals {
    changes: Mutex<Changes>,
    kept: Mutex<Kept>,
}

/// When what changed last, on a clock that ticks with every change.
#[derive(Default)]
struct Changes {
    tick: u64,
    tables: HashMap<String, Table>,
    /// Tables by the kind the change feed knows them by, of those that totals were asked of.
    kinds: HashMap<&'static str, &'static str>,
    /// The last number of the feed that was looked at.
    seen: i64,
}

#[derive(Default)]
struct Table {
    /// Rows came or went.
    rows: u64,
    columns: HashMap<Name, u64>,
}

#[derive(Default)]
struct Kept {
    young: HashMap<String, Arc<Slot>>,
    old: HashMap<String, Arc<Slot>>,
}

/// One question. Whoever counts holds the gate, so that a hundred who ask at once count once.
#[derive(Default)]
struct Slot {
    answer: Mutex<Option<Answer>>,
    gate: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy)]
struct Answer {
    total: i64,
    /// The tick of the last relevant change before it was counted.
    stamp: u64,
    at: Instant,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Totals {
    /// Notes what a transaction wrote, once it is committed.
    pub(crate) fn wrote(&self, what: &[Wrote]) {
        if what.is_empty() {
            return;
        }
        let mut changes = locked(&self.changes);
        changes.tick += 1;
        let tick = changes.tick;
        for (table, column) in what {
            if !changes.tables.contains_key(table) {
                changes.tables.insert(table.clone(), Table::default());
            }
            let Some(table) = changes.tables.get_mut(table) else { continue };
            match column {
                None => table.rows = tick,
                Some(column) => _ = table.columns.insert(column.clone(), tick),
            }
        }
    }

    /// Looks through changes of the feed for rows that came or went, here or in another process.
    pub(crate) fn heard<'a>(&self, news: impl Iterator<Item = (i64, &'a Change)>) {
        let mut changes = locked(&self.changes);
        for (seq, change) in news {
            if seq <= changes.seen {
                continue;
            }
            changes.seen = seq;
            if change.op == ChangeOp::Update {
                continue;
            }
            if let Some(table) = changes.kinds.get(change.kind.as_str()).copied() {
                changes.tick += 1;
                let tick = changes.tick;
                changes.tables.entry(table.to_string()).or_default().rows = tick;
            }
        }
    }

    /// When last something changed that what is said of these columns may depend on.
    pub(crate) fn stamp<'c>(&self, facts: &'static Facts, columns: impl IntoIterator<Item = &'c str>) -> u64 {
        let mut changes = locked(&self.changes);
        changes.kinds.insert(facts.name, facts.table);
        let Some(table) = changes.tables.get(facts.table) else { return 0 };
        columns.into_iter().filter_map(|c| table.columns.get(c)).copied().fold(table.rows, u64::max)
    }

    fn slot(&self, sql: &Sql) -> Arc<Slot> {
        let key = format!("{}\0{:?}", sql.text, sql.args);
        let mut kept = locked(&self.kept);
        if let Some(slot) = kept.young.get(&key) {
            return slot.clone();
        }
        let slot = kept.old.remove(&key).unwrap_or_default();
        if kept.young.len() >= GENERATION {
            kept.old = std::mem::take(&mut kept.young);
        }
        kept.young.insert(key, slot.clone());
        slot
    }
}

impl Slot {
    fn answer(&self, stamp: u64) -> Option<i64> {
        let answer = (*locked(&self.answer))?;
        (answer.stamp == stamp && answer.at.elapsed() < KEEP).then_some(answer.total)
    }
}

/// The columns a condition looks at; `None` when it looks into other tables as well.
fn columns<'c>(cond: &'c Cond, into: &mut Vec<&'c Name>) -> Option<()> {
    match cond {
        Cond::True | Cond::False => {}
        Cond::And(all) | Cond::Or(all) => {
            for one in all {
                columns(one, into)?;
            }
        }
        Cond::Not(inner) => columns(inner, into)?,
        Cond::Cmp(column, ..) | Cond::In(column, _) | Cond::IsNull(column) | Cond::Text(column, ..) => into.push(column),
        Cond::CmpCol(a, _, b) | Cond::Fits { used: a, cap: b, .. } => into.extend([a, b]),
        Cond::InSelect(..) => return None,
    }
    Some(())
}

impl Db {
    /// How many rows meet a condition, as [`crate::Read::count`] tells; from memory while nothing changed that the condition looks at. Never from before a
    /// transaction that this process has seen end; at most a second behind another process.
    pub async fn total(&self, facts: &'static Facts, cond: &Cond) -> Result<i64> {
        let q = Select::from(facts.table).pick(Pick::Count).filter(cond.clone());
        let sql = sql::select(self.dialect(), &q, Wish::default())?;
        let mut depends = Vec::new();
        if columns(cond, &mut depends).is_none() {
            return Ok(first(self.core.fetch(sql).await?));
        }
        let totals = &self.core.totals;
        let slot = totals.slot(&sql);
        if let Some(total) = slot.answer(totals.stamp(facts, depends.iter().map(|c| &***c))) {
            return Ok(total);
        }
        let _counting = slot.gate.lock().await;
        // Read before counting: what is committed meanwhile makes the answer stale, never the other way round.
        let stamp = totals.stamp(facts, depends.iter().map(|c| &***c));
        if let Some(total) = slot.answer(stamp) {
            return Ok(total);
        }
        let at = Instant::now();
        let total = first(self.core.fetch(sql).await?);
        *locked(&slot.answer) = Some(Answer { total, stamp, at });
        Ok(total)
    }
}

fn first(rows: Vec<Vec<base::Value>>) -> i64 {
    rows.first().and_then(|row| row.first()).and_then(base::Value::as_int).unwrap_or(0)
}
