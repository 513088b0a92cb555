//! The change feed: what happened, in an order that no reader can be overtaken by.
//!
//! Numbers are dense and rise in the order in which changes became visible. On SQLite the one writing transaction numbers its changes itself. On
//! PostgreSQL a transaction puts them into `feed_pending`, unnumbered, and after its commit a short transaction of anybody's locks the one row of
//! `feed_head` and moves what it then sees to `feed`: the next one starts after this one has committed, so whoever sees a number sees all below it.
//!
//! Followers keep a cursor, the number of the last change they handled: [`Feed::after`] and [`Feed::wait`], or [`Subscription`] which is the two in
//! a loop.

mod recent;

use crate::db::{Core, Engine};
use crate::query::{Cond, Op, Order, Pick, Select};
use crate::sql::{self, Arg, Dialect, Wish, Writer};
use crate::tx::Tx;
use base::{Error, Json, Kind, Result, Timestamp, Value};
pub(crate) use recent::Recent;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

const COLUMNS: [&str; 8] = ["at", "kind", "object", "op", "version", "domain_id", "project_id", "data"];

/// Changes written by one statement.
const CHUNK: usize = 200;

/// Changes numbered by one transaction: it holds the row that all other numbering waits for.
const NUMBERED: i64 = 1000;

/// Changes a follower is handed at once.
const FOLLOWED: u64 = 500;

/// Rows trimmed by one transaction, so that writers need not wait long.
const TRIMMED: i64 = 5000;

/// How often a waiter looks for changes that other processes committed: the first pause and the longest.
const POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeOp {
    Create,
    Update,
    Delete,
}

impl ChangeOp {
    /// The word on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            ChangeOp::Create => "create",
            ChangeOp::Update => "update",
            ChangeOp::Delete => "delete",
        }
    }

    pub fn from_name(name: &str) -> Option<ChangeOp> {
        [ChangeOp::Create, ChangeOp::Update, ChangeOp::Delete].into_iter().find(|op| op.name() == name)
    }
}

/// One change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Singular keyword of the object's kind: `server`.
    pub kind: String,
    pub id: String,
    pub op: ChangeOp,
    /// The object's `update_version` after the change.
    pub version: i64,
    /// Whose the object is, for followers that may not see everything; empty where it belongs to nobody.
    pub domain_id: String,
    pub project_id: String,
    /// Something small that spares followers a question; often null.
    pub data: Json,
}

/// Number, time of the transaction, change.
pub type Numbered = (i64, Timestamp, Arc<Change>);

/// Some changes in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub changes: Vec<Numbered>,
    /// The cursor to go on with.
    pub cursor: i64,
    /// The cursor asked with is older than the oldest kept change (or from another life of the database): what lay between is gone. Take a snapshot of what
    /// you follow, then go on with `cursor`.
    pub lost: bool,
}

/// The change feed of a database.
#[derive(Clone)]
pub struct Feed {
    pub(crate) core: Arc<Core>,
}

impl Feed {
    /// The number of the last change. Read it before a snapshot, and follow from there after it.
    pub async fn head(&self) -> Result<i64> {
        let head = head(&self.core).await?;
        self.core.heard(head);
        Ok(head)
    }

    /// The next changes after a cursor, at most `limit`; they may be fewer though more follow, only none means the end. 0 is the beginning, and a negative
    /// cursor is always lost.
    pub async fn after(&self, cursor: i64, limit: u64) -> Result<Batch> {
        let limit = limit.max(1);
        let recent = &self.core.recent;
        let known = || recent.after(cursor, limit).and_then(|changes| Some(Batch { cursor: changes.last()?.0, changes, lost: false }));
        if let Some(batch) = known() {
            return Ok(batch);
        }
        // Who goes first asks for those who follow; who lies far behind has the way to himself.
        let _asking = if recent.leads(cursor) { Some(recent.asking.lock().await) } else { None };
        if let Some(batch) = known() {
            return Ok(batch);
        }
        let mut q = Select::from("feed").column("seq", Kind::Int).column("at", Kind::Time);
        for column in &COLUMNS[1..] {
            q = q.column(*column, kind(column));
        }
        let q = q.filter(Cond::cmp("seq", Op::Gt, cursor)).order(Order::asc("seq")).page(limit, 0);
        let rows = self.core.fetch(sql::select(self.core.dialect(), &q, Wish::default())?).await?;
        let changes: Vec<_> = rows.into_iter().map(read).collect::<Result<_>>()?;
        match (changes.first(), changes.last()) {
            (Some((first, ..)), Some((last, ..))) if cursor >= 0 && cursor.checked_add(1) == Some(*first) => {
                let cursor = *last;
                if let Engine::Sqlite(crate::sqlite::Engine { durable: Some(durable), .. }) = &self.core.engine {
                    durable.flush_change(cursor).await?;
                }
                self.core.totals.heard(changes.iter().map(|(seq, _, change)| (*seq, &**change)));
                recent.put(&changes);
                self.core.heard(cursor);
                Ok(Batch { changes, cursor, lost: false })
            }
            // Numbers are dense: a gap at the front is what was trimmed.
            (Some(_), _) => self.lost().await,
            (None, _) if cursor < 0 => self.lost().await,
            (None, _) => {
                let head = self.head().await?;
                if cursor <= head {
                    return Ok(Batch { changes, cursor, lost: false });
                }
                // The database is not the one it was.
                recent.forget(i64::MAX);
                self.core.head.send_replace(head);
                Ok(Batch { changes, cursor: head, lost: true })
            }
        }
    }

    async fn lost(&self) -> Result<Batch> {
        Ok(Batch { changes: Vec::new(), cursor: self.head().await?, lost: true })
    }

    /// The number of the last change of all that is committed by now: whoever follows up to it meets his own writes. On PostgreSQL changes get their
    /// numbers after the commit, here or by another process; on SQLite they have them.
    pub async fn settle(&self) -> Result<i64> {
        number(&self.core).await
    }

    /// Returns when something may lie beyond the cursor, or after the timeout. Commits of this process wake it at once; on PostgreSQL those of others
    /// are looked for, first every 100 ms, then less often down to every 500 ms.
    pub async fn wait(&self, cursor: i64, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        let mut head = self.core.head.subscribe();
        let mut pause = POLL.0;
        loop {
            if *head.borrow_and_update() > cursor {
                return Ok(());
            }
            if let Engine::Sqlite(_) = self.core.engine {
                let _ = timeout_at(end, head.changed()).await;
                if Instant::now() >= end {
                    return Ok(());
                }
                continue;
            }
            let next = (Instant::now() + pause).min(end);
            if timeout_at(next, head.changed()).await.is_ok() {
                continue;
            }
            if next == end {
                return Ok(());
            }
            // One waiter asks for all of this process.
            if let Ok(_asking) = self.core.poll.try_lock() {
                number(&self.core).await?;
            }
            pause = (pause * 2).min(POLL.1);
        }
    }

    /// Forgets changes older than `keep`, and the oldest ones beyond `max_rows`; the newest always stays. Answers how many went.
    pub async fn trim(&self, keep: Duration, max_rows: u64) -> Result<u64> {
        let dialect = self.core.dialect();
        let before = Timestamp(self.core.clock.now().micros().saturating_sub(i64::try_from(keep.as_micros()).unwrap_or(i64::MAX)));
        let head = self.head().await?;
        // Times need not rise with the numbers, so the boundary is the first change that is young enough.
        let young = Select::from("feed").pick(Pick::Min("seq".into(), Kind::Int)).filter(Cond::cmp("at", Op::Ge, before));
        let rows = self.core.fetch(sql::select(dialect, &young, Wish::default())?).await?;
        let oldest_kept = rows.first().and_then(|row| row[0].as_int()).unwrap_or(head);
        let by_count = head.saturating_sub(i64::try_from(max_rows).unwrap_or(i64::MAX)).saturating_add(1);
        let keep_from = oldest_kept.max(by_count).min(head);
        let db_core = &self.core;
        let mut gone = 0;
        loop {
            let first = Select::from("feed").pick(Pick::Min("seq".into(), Kind::Int));
            let rows = db_core.fetch(sql::select(dialect, &first, Wish::default())?).await?;
            let Some(first) = rows.first().and_then(|row| row[0].as_int()).filter(|first| *first < keep_from) else { return Ok(gone) };
            let upto = keep_from.min(first + TRIMMED);
            let mut tx = Tx::begin(db_core.clone(), 0).await?;
            gone += tx.delete("feed", Cond::cmp("seq", Op::Lt, upto)).await?;
            tx.commit().await?;
            db_core.recent.forget(upto);
        }
    }

    /// Follows the feed from a cursor.
    pub fn subscribe(&self, cursor: i64) -> Subscription {
        Subscription { feed: self.clone(), cursor, level: false }
    }
}

/// A follower: remembers its cursor and waits for what comes after it.
pub struct Subscription {
    feed: Feed,
    cursor: i64,
    /// Whether the last question was answered with all there was.
    level: bool,
}

impl Subscription {
    /// The next changes, at least one; or a batch that is `lost`, after which it goes on from the end of the feed. The cursor moves when this returns, so a
    /// dropped call loses nothing.
    pub async fn next(&mut self) -> Result<Batch> {
        loop {
            if self.level {
                self.feed.wait(self.cursor, Duration::from_secs(30)).await?;
            }
            let batch = self.feed.after(self.cursor, FOLLOWED).await?;
            self.level = (batch.changes.len() as u64) < FOLLOWED;
            if batch.lost || !batch.changes.is_empty() {
                self.cursor = batch.cursor;
                return Ok(batch);
            }
        }
    }

    /// The number of the last change handed out.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }
}

fn kind(column: &str) -> Kind {
    match column {
        "at" => Kind::Time,
        "version" => Kind::Int,
        "data" => Kind::Json,
        _ => Kind::Text,
    }
}

fn read(row: Vec<Value>) -> Result<Numbered> {
    let Ok(
        [Value::Int(seq), Value::Time(at), Value::Text(kind), Value::Text(id), Value::Text(op), Value::Int(version), domain, project, data],
    ) = <[Value; 9]>::try_from(row)
    else {
        return Err(Error::internal("a row of the change feed is not as it was written"));
    };
    let op = ChangeOp::from_name(&op).ok_or_else(|| Error::internal(format!("the change feed has an operation {op}")))?;
    let text = |value: Value| if let Value::Text(text) = value { text } else { String::new() };
    let data = if let Value::Json(json) = data { json } else { Json::Null };
    Ok((seq, at, Arc::new(Change { kind, id, op, version, domain_id: text(domain), project_id: text(project), data })))
}

pub(crate) async fn head(core: &Core) -> Result<i64> {
    let q = match core.dialect() {
        Dialect::Sqlite => Select::from("feed").pick(Pick::Max("seq".into(), Kind::Int)),
        Dialect::Postgres => Select::from("feed_head").column("head", Kind::Int),
    };
    let rows = core.fetch(sql::select(core.dialect(), &q, Wish::default())?).await?;
    Ok(rows.first().and_then(|row| row[0].as_int()).unwrap_or(0))
}

/// Writes a transaction's changes as its last statements. Answers the last number on SQLite; 0 where there is none yet.
pub(crate) async fn write(tx: &mut Tx, changes: &[Change]) -> Result<i64> {
    let dialect = tx.dialect();
    let mut last = 0;
    for chunk in changes.chunks(CHUNK) {
        let mut w = Writer::new(dialect);
        w.raw("INSERT INTO ").name(if dialect == Dialect::Sqlite { "feed" } else { "feed_pending" })?.raw(" (");
        for (i, column) in COLUMNS.iter().enumerate() {
            w.raw(if i > 0 { ", " } else { "" }).name(column)?;
        }
        for (i, change) in chunk.iter().enumerate() {
            w.raw(if i > 0 { "), (" } else { ") VALUES (" });
            let texts = [&change.kind, &change.id, &change.domain_id, &change.project_id].map(Value::from);
            let [kind, id, domain, project] = texts;
            let (op, data) = (Value::from(change.op.name()), Value::Json(change.data.clone()));
            let values = [Value::Time(tx.now()), kind, id, op, Value::Int(change.version), domain, project, data];
            for (j, value) in values.iter().enumerate() {
                w.raw(if j > 0 { ", " } else { "" }).value(value)?;
            }
        }
        w.raw(")");
        let mut sql = w.done(Vec::new());
        sql.cached = chunk.len() <= 8;
        last = tx.run(sql).await?.last;
    }
    Ok(last)
}

/// Reads where the feed stands; on PostgreSQL also starts the task that numbers what this process commits.
pub(crate) async fn start(core: &Arc<Core>) -> Result<()> {
    if let Engine::Postgres(_) = core.engine {
        number(core).await?;
        let (weak, pending) = (Arc::downgrade(core), core.pending.clone());
        tokio::spawn(async move {
            loop {
                pending.notified().await;
                let Some(core) = weak.upgrade() else { return };
                if let Err(e) = number(&core).await {
                    // Whoever waits for the feed tries again, here or in another process.
                    tracing::info!(error = %e, context = e.context(), "changes could not be numbered");
                }
            }
        });
    }
    core.heard(head(core).await?);
    Ok(())
}

/// On PostgreSQL gives numbers to what is committed and has none. Answers the number of the last change of all that was committed when it began.
async fn number(core: &Arc<Core>) -> Result<i64> {
    if core.dialect() == Dialect::Sqlite {
        let head = head(core).await?;
        core.heard(head);
        return Ok(head);
    }
    loop {
        let mut w = Writer::new(Dialect::Postgres);
        w.raw("SELECT head, EXISTS (SELECT 1 FROM feed_pending) FROM feed_head");
        let absent = || Error::internal("feed_head has no row");
        let rows = core.fetch(w.done(vec![Kind::Int, Kind::Bool])).await?;
        let row = rows.first().ok_or_else(absent)?;
        let (head, waiting) = (row[0].as_int().unwrap_or(0), row[1].as_bool());
        if waiting == Some(false) {
            core.heard(head);
            return Ok(head);
        }
        let mut tx = Tx::begin(core.clone(), 0).await?;
        let lock = sql::select(Dialect::Postgres, &Select::from("feed_head").column("head", Kind::Int), Wish { facts: None, lock: true })?;
        let before = tx.ask(lock).await?.first().and_then(|row| row[0].as_int()).ok_or_else(absent)?;
        // The statement begins after the lock is ours, so it sees all that earlier holders committed.
        let mut w = Writer::new(Dialect::Postgres);
        let columns = COLUMNS.join(", ");
        w.raw("WITH moved AS (DELETE FROM feed_pending WHERE id IN (SELECT id FROM feed_pending ORDER BY id LIMIT ")
            .arg(Arg::Int(NUMBERED));
        w.raw(") RETURNING id, ")
            .raw(&columns)
            .raw("), put AS (INSERT INTO feed (seq, ")
            .raw(&columns)
            .raw(") SELECT ")
            .arg(Arg::Int(before));
        w.raw(" + row_number() OVER (ORDER BY id), ").raw(&columns).raw(" FROM moved RETURNING seq)");
        w.raw(" UPDATE feed_head SET head = head + (SELECT COUNT(*) FROM put) WHERE id = 1 RETURNING head");
        let rows = tx.ask(w.done(vec![Kind::Int])).await?;
        let head = rows.first().and_then(|row| row[0].as_int()).ok_or_else(absent)?;
        tx.commit().await?;
        core.heard(head);
        if head - before < NUMBERED {
            return Ok(head);
        }
    }
}
