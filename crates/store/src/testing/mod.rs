//! Databases for tests, here and in the crates above. Never called by a running service.
//!
//! SQLite databases are temporary files. PostgreSQL is the real one, started privately; a database is made for each test.

mod server;

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

/// A new, empty database on a private PostgreSQL server, which starts with the first test that wants it.
///
/// # Panics
/// When the server cannot be started; the message names the Debian package to install.
pub async fn postgres() -> Db {
    postgres_with(Clock::real()).await
}

/// [`postgres`] with a clock.
pub async fn postgres_with(clock: Clock) -> Db {
    Db::open_with(&postgres_url().await, clock).await.expect("a database on the private PostgreSQL")
}

/// The URL of a new, empty database on the private PostgreSQL: for tests that open it more than once, as replicas do.
pub async fn postgres_url() -> String {
    server::database().await
}

/// New, empty databases for several services: their URL, with `{service}` in the place of each name.
pub async fn postgres_urls(services: &[&str]) -> String {
    server::databases(services).await
}
