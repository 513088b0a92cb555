//! Migrations: numbered SQL files, per owner and per dialect, compiled into the program of their owner.
//!
//! A file is applied once, in one transaction with the note that it was. The note is written first: a second starter waits for that row on PostgreSQL
//! (on SQLite for the writer), then finds it and leaves the file alone. No lock outlives its transaction.

use crate::db::{Db, Engine};
use crate::query::{Cond, Name, Order, Select};
use crate::read::Read;
use crate::sql::{self, Clash, Dialect};
use crate::work::work;
use base::{Error, Kind, Result, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The files of one owner, as (file name, text), in the order of their numbers: `("0001_servers.sql", include_str!(..))`.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    /// Whose tables: `identity`, `compute`.
    pub owner: &'static str,
    pub sqlite: &'static [(&'static str, &'static str)],
    pub postgres: &'static [(&'static str, &'static str)],
}

/// The store's own tables.
pub(crate) const OWN: Migrations = Migrations {
    owner: "store",
    sqlite: &[("0001_feed_and_leases.sql", include_str!("../migrations/sqlite/0001_feed_and_leases.sql"))],
    postgres: &[("0001_feed_and_leases.sql", include_str!("../migrations/postgres/0001_feed_and_leases.sql"))],
};

const TABLE: &str = "schema_migrations";
const SQLITE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (owner TEXT NOT NULL, version INTEGER NOT NULL, checksum TEXT NOT NULL, \
                      applied_at INTEGER NOT NULL, PRIMARY KEY (owner, version)) WITHOUT ROWID";
const POSTGRES: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (owner TEXT NOT NULL, version BIGINT NOT NULL, checksum TEXT NOT NULL, \
                        applied_at BIGINT NOT NULL, PRIMARY KEY (owner, version))";

/// Makes the table of notes.
pub(crate) async fn prepare(db: &Db) -> Result<()> {
    let text = if db.dialect() == Dialect::Sqlite { SQLITE } else { POSTGRES };
    // Two starters on PostgreSQL may both find the table missing, and the slower one then fails over the catalogue's own keys.
    const TRIES: usize = 5;
    for _ in 1..TRIES {
        if db.read().rows(&applied("")).await.is_ok() {
            return Ok(());
        }
        if db.tx(|tx| work(tx.script(text))).await.is_ok() {
            return Ok(());
        }
    }
    db.tx(|tx| work(tx.script(text))).await
}

fn applied(owner: &str) -> Select {
    let q = Select::from(TABLE).column("version", Kind::Int).column("checksum", Kind::Text);
    q.filter(Cond::eq("owner", owner)).order(Order::asc("version"))
}

pub(crate) async fn run(db: &Db, set: &Migrations) -> Result<()> {
    let files = numbered(set, if matches!(db.core.engine, Engine::Sqlite(_)) { set.sqlite } else { set.postgres })?;
    let mut done = notes(db, set.owner).await?;
    for file in &files {
        if !done.contains_key(&file.version) {
            apply(db, set.owner, file).await?;
            done = notes(db, set.owner).await?;
        }
        match done.get(&file.version) {
            Some(checksum) if *checksum == file.checksum => {}
            Some(_) => {
                return Err(Error::internal(format!(
                    "migration {} of {} was changed after it had been applied to this database; restore the file and put the change into a new one",
                    file.name, set.owner
                )));
            }
            None => return Err(Error::internal(format!("migration {} of {} left no note", file.name, set.owner))),
        }
    }
    match done.keys().find(|version| !files.iter().any(|f| f.version == **version)) {
        Some(version) => Err(Error::internal(format!(
            "the database has migration {version} of {}, which this program does not know; start the newer program again",
            set.owner
        ))),
        None => Ok(()),
    }
}

struct File {
    version: i64,
    name: &'static str,
    text: &'static str,
    checksum: String,
}

fn numbered(set: &Migrations, files: &'static [(&'static str, &'static str)]) -> Result<Vec<File>> {
    let mut out: Vec<File> = Vec::with_capacity(files.len());
    for (name, text) in files {
        let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let version = name[..digits].parse().map_err(|_| Error::internal(format!("migration {name} of {} has no number", set.owner)))?;
        if out.last().is_some_and(|last| last.version >= version) {
            return Err(Error::internal(format!("migration {name} of {} is out of order", set.owner)));
        }
        out.push(File { version, name, text, checksum: hex::encode(Sha256::digest(text)) });
    }
    Ok(out)
}

async fn notes(db: &Db, owner: &str) -> Result<BTreeMap<i64, String>> {
    let rows = db.read().rows(&applied(owner)).await?;
    Ok(rows.iter().map(|row| (row[0].as_int().unwrap_or(0), row[1].as_str().to_string())).collect())
}

async fn apply(db: &Db, owner: &'static str, file: &File) -> Result<()> {
    let fresh = db
        .tx(|tx| {
            work(async move {
                let note: [(Name, Value); 4] = [
                    ("owner".into(), owner.into()),
                    ("version".into(), file.version.into()),
                    ("checksum".into(), Value::from(&file.checksum)),
                    ("applied_at".into(), tx.now().into()),
                ];
                let sql = sql::insert(tx.dialect(), TABLE, &note, Clash::Keep)?;
                if tx.run(sql).await?.affected == 0 {
                    return Ok(false);
                }
                tx.script(file.text).await?;
                Ok(true)
            })
        })
        .await
        .map_err(|e| e.with_context(format!("migration {} of {owner}", file.name)))?;
    if fresh {
        tracing::info!(owner, file = file.name, "migration applied");
    }
    Ok(())
}
