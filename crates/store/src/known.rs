//! Rows known by heart: a few columns of rows that every page names again, such as zones, hosts and networks, kept in memory by identifier.
//!
//! A kept row counts for as long as this process noted no write to those columns, and no row that came or went, in its table; that is noted before
//! [`Db::tx`] returns. So whoever wrote through this handle never meets a row from before his write. What other processes write is looked for in the change
//! feed, by whoever asks and at most every [`LOOK`]; rows named there are forgotten. What is changed past the feed as well, by hand, is seen after [`KEEP`].

use crate::db::{Core, Db};
use crate::query::{Cond, Op, Order, Select};
use crate::sql::{self, Wish};
use crate::totals::locked;
use base::{Facts, Kind, Result, Value};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a row counts at most.
const KEEP: Duration = Duration::from_secs(30);

/// How often the feed is looked through for what other processes wrote.
const LOOK: Duration = Duration::from_millis(500);

/// Changes looked through at once.
const BATCH: u64 = 2000;

/// Rows of one of two generations of a shelf: when the young one is full, the old one is forgotten.
const GENERATION: usize = 8192;

/// Cells of a row, in the order of the columns asked for.
pub type Cells = Arc<[Value]>;

/// A table and some of its columns.
type Place = (&'static str, &'static [&'static str]);

#[derive(Default)]
pub(crate) struct Known {
    shelves: Mutex<Shelves>,
    /// Held by the one who looks through the feed.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Shelves {
    kept: HashMap<Place, Shelf>,
    /// The last number of the feed that was looked at, and when.
    looked: Option<(i64, Instant)>,
    /// How often the feed had news. A row read before and put down after may be from before them.
    news: u64,
}

struct Shelf {
    /// Singular keyword of the table's kind, by which the feed calls it.
    kind: &'static str,
    young: HashMap<String, Entry>,
    old: HashMap<String, Entry>,
}

#[derive(Clone)]
struct Entry {
    cells: Cells,
    /// The tick of the last relevant write before it was read.
    stamp: u64,
    at: Instant,
}

impl Shelf {
    fn get(&mut self, id: &str, stamp: u64) -> Option<Cells> {
        let counts = |entry: &&Entry| entry.stamp == stamp && entry.at.elapsed() < KEEP;
        if let Some(entry) = self.young.get(id) {
            return Some(entry).filter(counts).map(|entry| entry.cells.clone());
        }
        let (id, entry) = self.old.remove_entry(id)?;
        let cells = Some(&entry).filter(counts).map(|entry| entry.cells.clone())?;
        self.put(id, entry);
        Some(cells)
    }

    fn put(&mut self, id: String, entry: Entry) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, entry);
    }
}

impl Known {
    /// Forgets what other processes have changed, as far as the feed tells.
    async fn look(&self, core: &Core) -> Result<()> {
        let age = || locked(&self.shelves).looked.map(|(_, at)| at.elapsed());
        let _looking = match age() {
            Some(age) if age < LOOK => return Ok(()),
            // Somebody looks just now: what he will find is hardly older than this question.
            Some(age) if age < 2 * LOOK => match self.looking.try_lock() {
                Ok(looking) => looking,
                Err(_) => return Ok(()),
            },
            _ => self.looking.lock().await,
        };
        if age().is_some_and(|age| age < LOOK) {
            return Ok(());
        }
        let cursor = locked(&self.shelves).looked.map(|(cursor, _)| cursor);
        let at = Instant::now();
        let Some(mut cursor) = cursor else {
            // Nothing is kept yet, so nothing before this can be missed.
            let head = crate::feed::head(core).await?;
            locked(&self.shelves).looked = Some((head, at));
            return Ok(());
        };
        loop {
            let q = Select::from("feed")
                .column("seq", Kind::Int)
                .column("kind", Kind::Text)
                .column("object", Kind::Text)
                .filter(Cond::cmp("seq", Op::Gt, cursor))
                .order(Order::asc("seq"))
                .page(BATCH, 0);
            let rows = core.fetch(sql::select(core.dialect(), &q, Wish::default())?).await?;
            let (first, last) = (number(rows.first()), number(rows.last()));
            // The feed was trimmed, or began anew with another life of the database.
            let lost = match (first, last) {
                (Some(first), _) => first != cursor + 1,
                _ => crate::feed::head(core).await? < cursor,
            };
            let upto = if lost { crate::feed::head(core).await? } else { last.unwrap_or(cursor) };
            let mut shelves = locked(&self.shelves);
            if lost {
                shelves.kept.clear();
                shelves.news += 1;
            } else if !rows.is_empty() {
                shelves.forget(&rows);
            }
            cursor = upto;
            shelves.looked = Some((cursor, at));
            if lost || (rows.len() as u64) < BATCH {
                return Ok(());
            }
        }
    }
}

fn number(row: Option<&Vec<Value>>) -> Option<i64> {
    row?.first()?.as_int()
}

impl Shelves {
    /// Forgets the rows that changes name: number, kind, object.
    fn forget(&mut self, changes: &[Vec<Value>]) {
        self.news += 1;
        for shelf in self.kept.values_mut() {
            let named: HashSet<&str> = changes.iter().filter(|c| c[1].as_str() == shelf.kind).map(|c| c[2].as_str()).collect();
            for id in named {
                shelf.young.remove(id);
                shelf.old.remove(id);
            }
        }
    }
}

impl Db {
    /// Some columns of the rows with these identifiers, whether or not they are marked deleted; from memory where they are known. Never from before a
    /// transaction that this process has seen end; behind another process by half a second and what its changes take to reach the feed.
    ///
    /// For tables of which every page names the same few rows again. `columns` is a constant of the caller's; what is kept is kept by it.
    pub async fn known(
        &self,
        facts: &'static Facts,
        columns: &'static [&'static str],
        ids: impl IntoIterator<Item = &str>,
    ) -> Result<HashMap<String, Cells>> {
        let mut missing: Vec<&str> = ids.into_iter().filter(|id| !id.is_empty()).collect();
        missing.sort_unstable();
        missing.dedup();
        let mut out = HashMap::with_capacity(missing.len());
        if missing.is_empty() {
            return Ok(out);
        }
        let known = &self.core.known;
        known.look(&self.core).await?;
        // Read before the rows are: what is committed meanwhile makes them stale, never the other way round.
        let stamp = self.core.totals.stamp(facts, columns.iter().copied());
        let place = (facts.table, columns);
        let news = {
            let mut shelves = locked(&known.shelves);
            if let Some(shelf) = shelves.kept.get_mut(&place) {
                missing.retain(|id| match shelf.get(id, stamp) {
                    Some(cells) => out.insert(id.to_string(), cells).is_some(),
                    None => true,
                });
            }
            shelves.news
        };
        if missing.is_empty() {
            return Ok(out);
        }
        let at = Instant::now();
        let q = Select::of(facts, columns).column("id", Kind::Text).filter(Cond::is_in("id", missing));
        let rows = self.core.fetch(sql::select(self.dialect(), &q, Wish::default())?).await?;
        let mut shelves = locked(&known.shelves);
        let keep = shelves.news == news;
        let shelf = shelves.kept.entry(place).or_insert_with(|| Shelf { kind: facts.name, young: HashMap::new(), old: HashMap::new() });
        for mut row in rows {
            let Some(Value::Text(id)) = row.pop() else { continue };
            let cells: Cells = row.into();
            if keep {
                shelf.put(id.clone(), Entry { cells: cells.clone(), stamp, at });
            }
            out.insert(id, cells);
        }
        Ok(out)
    }
}
