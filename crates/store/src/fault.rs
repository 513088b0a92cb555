//! What a driver's error means to us. Called wherever a statement ran; the driver's words go to the log, never to the user.

use base::{Error, err};

/// A failed statement.
#[derive(Debug)]
pub(crate) struct Fault {
    pub error: Error,
    /// The database asks for the whole transaction again: serialisation failure, deadlock, busy file.
    pub again: bool,
    /// The connection is gone, and with it whatever ran on it.
    pub lost: bool,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault { error, again: false, lost: false }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        fault.error
    }
}

/// Reads a driver's error; `text` is the statement, for the log.
pub(crate) fn read(cause: sqlx::Error, text: &str) -> Fault {
    let plain = |error: Error| Fault { error: error.with_context(brief(text)), again: false, lost: false };
    match &cause {
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default().into_owned();
            if e.is_unique_violation() {
                return plain(unique(e.as_ref()).with_context(&cause));
            }
            match code.as_str() {
                // PostgreSQL: serialization_failure, deadlock_detected, lock_not_available.
                "40001" | "40P01" | "55P03" => again(&cause, text),
                // PostgreSQL: disk_full, out_of_memory; SQLite: SQLITE_FULL.
                "53100" | "53200" | "13" => plain(err!(OutOfResource, "the database has no space left").with_context(&cause)),
                // PostgreSQL: connection exceptions, shutdown, start-up, too many connections.
                "57P01" | "57P02" | "57P03" | "53300" => lost(&cause, text),
                c if c.len() == 5 && c.starts_with("08") => lost(&cause, text),
                // SQLite: the low byte is the primary code, SQLITE_BUSY or SQLITE_LOCKED.
                c if c.len() < 5 && c.parse::<u32>().is_ok_and(|n| matches!(n & 0xff, 5 | 6)) => again(&cause, text),
                _ => plain(Error::internal(&cause)),
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => lost(&cause, text),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Fault { lost: false, ..lost(&cause, text) },
        _ => plain(Error::internal(&cause)),
    }
}

fn again(cause: &sqlx::Error, text: &str) -> Fault {
    let error = err!(ResourceBusy, "the objects are being changed by other requests; try again");
    Fault { error: error.with_context(cause).with_context(brief(text)), again: true, lost: false }
}

fn lost(cause: &sqlx::Error, text: &str) -> Fault {
    let error = err!(ServiceAbnormal, "the database does not answer; try again later");
    Fault { error: error.with_context(cause).with_context(brief(text)), again: false, lost: true }
}

/// A unique key that is taken. Both databases tell by whose columns: SQLite names them, PostgreSQL names the index, which the house names after them.
fn unique(e: &dyn sqlx::error::DatabaseError) -> Error {
    let words: String = match e.constraint() {
        Some(index) => match e.table().and_then(|t| index.strip_prefix(t)) {
            Some(rest) => rest.to_string(),
            None => index.to_string(),
        },
        // "UNIQUE constraint failed: guests.name, guests.domain_id" or "..: index 'guests_name_key'"
        None => e
            .message()
            .rsplit(": ")
            .next()
            .unwrap_or_default()
            .split(", ")
            .map(|c| c.rsplit('.').next().unwrap_or(c))
            .collect::<Vec<_>>()
            .join("_"),
    };
    let primary = e.code().is_some_and(|c| c == "1555" || c == "2579") || words.ends_with("_pkey") || words == "id";
    if primary {
        err!(DuplicateId, "an object with this identifier exists already")
    } else if words.trim_matches('\'').split(['_', ' ']).any(|w| w == "name") {
        err!(DuplicateName, "an object with this name exists already")
    } else {
        err!(DuplicateResource, "such an object exists already")
    }
}

fn brief(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_string(),
    }
}
