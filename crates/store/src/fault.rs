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
    /// We stopped it ourselves: it took longer than it was allowed to.
    pub stopped: bool,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault { error, again: false, lost: false, stopped: false }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        fault.error
    }
}

fn plain(error: Error, text: &str) -> Fault {
    Fault::from(error.with_context(brief(text)))
}

/// Reads an error of the PostgreSQL driver; `text` is the statement, for the log.
pub(crate) fn read(cause: sqlx::Error, text: &str) -> Fault {
    match &cause {
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default().into_owned();
            if e.is_unique_violation() {
                // The message names no columns, the index is named after them.
                let index = e.constraint().unwrap_or_default();
                let words = e.table().and_then(|t| index.strip_prefix(t)).unwrap_or(index);
                return plain(unique(words, words.ends_with("_pkey")).with_context(&cause), text);
            }
            match code.as_str() {
                // serialization_failure, deadlock_detected, lock_not_available.
                "40001" | "40P01" | "55P03" => again(&cause, text),
                // disk_full, out_of_memory.
                "53100" | "53200" => full(&cause, text),
                // Connection exceptions, shutdown, start-up, too many connections.
                "57P01" | "57P02" | "57P03" | "53300" => lost(&cause, text),
                c if c.starts_with("08") => lost(&cause, text),
                _ => plain(Error::internal(&cause), text),
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => lost(&cause, text),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Fault { lost: false, ..lost(&cause, text) },
        _ => plain(Error::internal(&cause), text),
    }
}

/// Reads an error of SQLite.
pub(crate) fn sqlite(cause: &rusqlite::Error, text: &str) -> Fault {
    use rusqlite::ErrorCode;
    let Some(failure) = cause.sqlite_error() else { return plain(Error::internal(cause), text) };
    match failure.code {
        // SQLITE_CONSTRAINT_PRIMARYKEY, _UNIQUE, _ROWID.
        ErrorCode::ConstraintViolation if matches!(failure.extended_code, 1555 | 2067 | 2579) => {
            // "UNIQUE constraint failed: guests.name, guests.domain_id" or "..: index 'guests_name_key'"
            let message = cause.to_string();
            let columns = message.rsplit(": ").next().unwrap_or_default();
            let words = columns.split(", ").map(|c| c.rsplit('.').next().unwrap_or(c)).collect::<Vec<_>>().join("_");
            plain(unique(&words, failure.extended_code != 2067).with_context(cause), text)
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => again(cause, text),
        ErrorCode::DiskFull => full(cause, text),
        ErrorCode::OperationInterrupted => Fault { stopped: true, ..plain(Error::internal(cause), text) },
        _ => plain(Error::internal(cause), text),
    }
}

fn full(cause: &dyn std::fmt::Display, text: &str) -> Fault {
    plain(err!(OutOfResource, "the database has no space left").with_context(cause), text)
}

fn again(cause: &dyn std::fmt::Display, text: &str) -> Fault {
    let error = err!(ResourceBusy, "the objects are being changed by other requests; try again");
    Fault { again: true, ..plain(error.with_context(cause), text) }
}

fn lost(cause: &dyn std::fmt::Display, text: &str) -> Fault {
    let error = err!(ServiceAbnormal, "the database does not answer; try again later");
    Fault { lost: true, ..plain(error.with_context(cause), text) }
}

/// A unique key that is taken, by the names of its columns.
fn unique(words: &str, primary: bool) -> Error {
    if primary || words == "id" {
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
