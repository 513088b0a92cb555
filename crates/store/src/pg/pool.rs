//! The connections to PostgreSQL. The driver's own pool asks for a sign of life after every use, which is a second way there and back for each statement;
//! here only what may have been left in the middle of something, or lay idle for long, is asked.
//!
//! The last connection given back is taken first: its plans and caches are warm.

use super::Cut;
use crate::fault::{self, Fault};
use base::Error;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a free connection is waited for, and a server that starts just now.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection not used for longer is let go when a younger one is given back.
const IDLE: Duration = Duration::from_secs(600);

pub(super) struct Pool {
    options: PgConnectOptions,
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<(PgConnection, Instant)>>,
    cut: Cut,
}

/// A connection on loan. Unless [`Lent::give`] is called it is put right in the background before it serves again.
pub(crate) struct Lent {
    conn: Option<PgConnection>,
    /// Whether a transaction is open.
    pub(super) inside: bool,
    home: Option<(Arc<Pool>, OwnedSemaphorePermit)>,
}

impl Pool {
    pub(super) fn new(options: PgConnectOptions, connections: u32, cut: Cut) -> Arc<Pool> {
        Arc::new(Pool { options, slots: Arc::new(Semaphore::new(connections as usize)), idle: Mutex::default(), cut })
    }

    pub(super) async fn take(self: &Arc<Pool>) -> Result<Lent, Fault> {
        let slot = tokio::time::timeout(PATIENCE, self.slots.clone().acquire_owned()).await;
        let slot = slot.map_err(|_| fault::read(sqlx::Error::PoolTimedOut, "connect"))?.map_err(Error::internal)?;
        let lend = |conn| Lent { conn: Some(conn), inside: false, home: Some((self.clone(), slot)) };
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((mut conn, since)) = idle else { break };
            if !self.cut.suspects(since.elapsed()) || conn.ping().await.is_ok() {
                return Ok(lend(conn));
            }
        }
        self.connect().await.map(lend)
    }

    async fn connect(&self) -> Result<PgConnection, Fault> {
        let (began, mut pause) = (Instant::now(), Duration::from_millis(10));
        loop {
            let failed = match tokio::time::timeout(PATIENCE, self.options.connect()).await {
                Ok(Ok(conn)) => return Ok(conn),
                Ok(Err(failed)) => failed,
                Err(_) => sqlx::Error::PoolTimedOut,
            };
            if !starting(&failed) || began.elapsed() + pause > PATIENCE {
                return Err(fault::read(failed, "connect"));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    fn put(&self, conn: PgConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((conn, Instant::now()));
        if idle.first().is_some_and(|(_, since)| since.elapsed() > IDLE) {
            drop(idle.remove(0));
        }
    }
}

/// Whether the server is about to listen: not yet there, still reading its log (57P03), or with too many clients for a moment (53300).
fn starting(failed: &sqlx::Error) -> bool {
    match failed {
        sqlx::Error::Io(e) => e.kind() == std::io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(e) => matches!(e.code().as_deref(), Some("57P03" | "53300")),
        _ => false,
    }
}

impl Lent {
    pub(super) fn conn(&mut self) -> Result<&mut PgConnection, Fault> {
        self.conn.as_mut().ok_or_else(|| Error::internal("the connection was given back").into())
    }

    /// Gives the connection back as it is: every answer was read, and no transaction is open.
    pub(super) fn give(mut self) {
        if let (Some(conn), Some((pool, slot))) = (self.conn.take(), self.home.take()) {
            pool.put(conn);
            drop(slot);
        }
    }

    /// Lets go of a connection that is no more.
    pub(super) fn discard(mut self) {
        self.conn = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(mut conn), Some((pool, slot))) = (self.conn.take(), self.home.take()) else { return };
        // Without a runtime the process ends, and the server ends what is open with the connection.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let inside = self.inside;
        runtime.spawn(async move {
            let put_right = async { if inside { sqlx::raw_sql("ROLLBACK").execute(&mut conn).await.map(drop) } else { conn.ping().await } };
            match put_right.await {
                Ok(()) => pool.put(conn),
                Err(e) => tracing::debug!(error = %e, "a connection could not be put right; the server ends what was open on it"),
            }
            drop(slot);
        });
    }
}
