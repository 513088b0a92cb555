//! Making tokens void before they run out (spec 02 §2.5). A revocation is a row and a line of the feed, so every service learns of it at once.

use crate::grants::change;
use api_identity::Revocation;
use base::{Result, Timestamp, Value};
use store::{ChangeOp, Cond, Db, Name, Op, Read, Select, Tx};

/// Longest life a token can have, seconds: after that a revocation has nothing left to do.
pub const LONGEST: i64 = 31 * 86_400;

/// The token with this audit id and all that were made from it.
pub async fn chain(tx: &mut Tx, audit_id: &str, token: &str) -> Result<()> {
    write(tx, "chain", audit_id, token).await
}

/// All tokens of a user.
pub async fn user(tx: &mut Tx, id: &str) -> Result<()> {
    write(tx, "user", id, "").await
}

/// All tokens scoped to a project.
pub async fn project(tx: &mut Tx, id: &str) -> Result<()> {
    write(tx, "project", id, "").await
}

/// All tokens of the users of a domain, and all that are scoped to it.
pub async fn domain(tx: &mut Tx, id: &str) -> Result<()> {
    write(tx, "domain", id, "").await
}

/// All tokens of a user that are scoped to a project or domain: a role there was taken away.
pub async fn grant(tx: &mut Tx, user: &str, target: &str) -> Result<()> {
    write(tx, "grant", &format!("{user}:{target}"), "").await
}

/// All tokens that came from an access key.
pub async fn access_key(tx: &mut Tx, id: &str) -> Result<()> {
    write(tx, "key", id, "").await
}

async fn write(tx: &mut Tx, kind: &str, value: &str, token: &str) -> Result<()> {
    let now = tx.now();
    let id = format!("{kind}:{value}");
    let columns: Vec<(Name, Value)> = vec![
        ("id".into(), id.as_str().into()),
        ("kind".into(), kind.into()),
        ("value".into(), value.into()),
        ("before".into(), now.micros().into()),
        ("expires_at".into(), now.plus_secs(LONGEST).micros().into()),
        ("token".into(), token.into()),
    ];
    tx.upsert("revocations", &["id"], columns).await?;
    tx.emit(change("revocation", &id, ChangeOp::Create, "")).await
}

/// The revocations that still matter.
pub async fn all(read: &mut impl Read, now: Timestamp) -> Result<Vec<Revocation>> {
    use base::Kind::{Int, Text};
    let select = Select::from("revocations")
        .column("kind", Text)
        .column("value", Text)
        .column("before", Int)
        .column("expires_at", Int)
        .filter(Cond::cmp("expires_at", Op::Gt, now.micros()));
    let rows = read.rows(&select).await?;
    let int = |v: &Value| v.as_int().unwrap_or(0);
    let revocation = |r: &Vec<Value>| Revocation {
        kind: r[0].as_str().to_string(),
        value: r[1].as_str().to_string(),
        before: int(&r[2]),
        expires_at: int(&r[3]),
    };
    Ok(rows.iter().map(revocation).collect())
}

/// Tokens revoked by name: `GET /v3/auth/tokens/invalid`.
pub async fn tokens(mut db: &Db, now: Timestamp) -> Result<Vec<String>> {
    db.texts("revocations", "token", Cond::ne("token", "").and(Cond::cmp("expires_at", Op::Gt, now.micros()))).await
}

/// Forgets what has nothing left to do.
pub async fn trim(db: &Db) -> Result<u64> {
    let now = db.clock().now().micros();
    db.tx(|tx| store::work(async move { tx.delete("revocations", Cond::cmp("expires_at", Op::Le, now)).await })).await
}
