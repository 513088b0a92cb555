//! Databases for tests, here and in the crates above. Never called by a running service.

use crate::db::Db;
use base::Clock;

/// A new, empty SQLite database, gone with its last handle.
///
/// # Panics
/// When it cannot be made.
pub async fn sqlite() -> Db {
    sqlite_with(Clock::real()).await
}

/// [`sqlite`] with a clock.
pub async fn sqlite_with(clock: Clock) -> Db {
    Db::open_with("sqlite::memory:", clock).await.expect("a temporary SQLite database")
}
