//! Reading connections, opened when first needed. The last one given back is taken first: its caches are warm.

use super::{Long, Opener, SHORT, STEPS, statement};
use crate::fault::Fault;
use crate::sql::Sql;
use base::{Error, Result, Value};
use rusqlite::Connection;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(super) struct Readers {
    pool: Arc<Pool>,
    slots: Arc<Semaphore>,
}

struct Pool {
    opener: Opener,
    long: Arc<Long>,
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    conn: Connection,
    /// Looks left before the statement is stopped.
    allowance: Arc<AtomicI64>,
}

impl Pool {
    fn take(&self) -> Result<Reader> {
        if let Some(reader) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(reader);
        }
        let conn = self.opener.open(false)?;
        let allowance = Arc::new(AtomicI64::new(0));
        let left = allowance.clone();
        conn.progress_handler(STEPS, Some(move || left.fetch_sub(1, Ordering::Relaxed) <= 0)).map_err(Error::internal)?;
        Ok(Reader { conn, allowance })
    }

    fn give(&self, reader: Reader) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
    }
}

/// Stops a statement on another thread when nobody waits for it any more.
struct Waiting {
    allowance: Arc<AtomicI64>,
    gone: Arc<AtomicBool>,
    /// The statement is over, and the connection may serve somebody else.
    over: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.over {
            self.gone.store(true, Ordering::Release);
            self.allowance.store(0, Ordering::Release);
        }
    }
}

impl Readers {
    pub(super) fn new(opener: Opener, long: Arc<Long>, count: usize) -> Readers {
        let pool = Pool { opener, long, idle: Mutex::new(Vec::with_capacity(count)) };
        Readers { pool: Arc::new(pool), slots: Arc::new(Semaphore::new(count)) }
    }

    #[cfg(test)]
    pub(super) fn knows_as_long(&self, text: &str) -> bool {
        self.pool.long.knows(text)
    }

    /// The allowance of the connection that is used next.
    #[cfg(test)]
    pub(super) fn allowance(&self) -> Option<Arc<AtomicI64>> {
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).last().map(|reader| reader.allowance.clone())
    }

    pub(super) async fn read(&self, sql: &Sql) -> Result<Vec<Vec<Value>>, Fault> {
        let slot = self.slots.clone().acquire_owned().await.map_err(Error::internal)?;
        let reader = self.pool.take()?;
        if !self.pool.long.knows(&sql.text) {
            reader.allowance.store(SHORT, Ordering::Relaxed);
            let done = statement::query(&reader.conn, sql);
            if !done.as_ref().is_err_and(|fault| fault.stopped) {
                self.pool.give(reader);
                return done;
            }
            self.pool.long.learn(&sql.text);
        }
        self.elsewhere(reader, sql.clone(), slot).await
    }

    /// On a thread that may take its time.
    async fn elsewhere(&self, reader: Reader, sql: Sql, slot: OwnedSemaphorePermit) -> Result<Vec<Vec<Value>>, Fault> {
        let gone = Arc::new(AtomicBool::new(false));
        let mut waiting = Waiting { allowance: reader.allowance.clone(), gone: gone.clone(), over: false };
        let pool = self.pool.clone();
        let work = move || {
            let done = loop {
                reader.allowance.store(i64::MAX, Ordering::Release);
                let done = statement::query(&reader.conn, &sql);
                // An earlier reader's asker may have left in the very moment it was over, and stopped this one.
                if gone.load(Ordering::Acquire) || !done.as_ref().is_err_and(|fault| fault.stopped) {
                    break done;
                }
            };
            pool.give(reader);
            drop(slot);
            done
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(Error::internal)?;
        waiting.over = true;
        done
    }
}
