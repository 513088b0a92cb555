//! What is remembered between two visits of a browser: in the database, so that any replica goes on; for minutes; taken once.
//!
//! Called by the drivers of single sign-on (state, nonce, request numbers; assertions and logout tokens that were used) and by the login door.

use crate::state::State;
use base::{Error, Json, Kind, Result, Value};
use store::{Cond, Name, Op, Read, Select, work};

/// How long somebody may take to log in at his authority, seconds.
pub const PATIENCE: i64 = 600;

fn columns(id: &str, sealed: &str, until: i64) -> Vec<(Name, Value)> {
    vec![("id".into(), id.into()), ("sealed".into(), sealed.into()), ("expires_at".into(), until.into())]
}

/// The row of a key, such as `("state", "…")`. The key itself is a secret and is not kept.
fn id(state: &State, what: &str, key: &str) -> String {
    state.seal.fingerprint(&format!("pending:{what}:{key}"))
}

/// Keeps something under a key for some seconds.
pub async fn put(state: &State, what: &str, key: &str, data: &Json, seconds: i64) -> Result<()> {
    let (id, sealed) = (id(state, what, key), state.seal.close(&data.to_string())?);
    let until = state.clock.now().plus_secs(seconds).micros();
    let (id, sealed) = (&id, &sealed);
    state.db.tx(|tx| work(async move { tx.upsert("pending_logins", &["id"], columns(id, sealed, until)).await })).await
}

/// What is kept under a key, left in place.
pub async fn look(state: &State, what: &str, key: &str) -> Result<Option<Json>> {
    let living = Cond::eq("id", id(state, what, key)).and(Cond::cmp("expires_at", Op::Gt, state.clock.now().micros()));
    let rows = state.db.read().rows(&Select::from("pending_logins").column("sealed", Kind::Text).filter(living)).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    serde_json::from_str(&state.seal.open(row[0].as_str())?).map(Some).map_err(Error::internal)
}

/// Takes what is kept under a key. Of several who come with the same key one gets it.
pub async fn take(state: &State, what: &str, key: &str) -> Result<Option<Json>> {
    let Some(data) = look(state, what, key).await? else { return Ok(None) };
    let this = Cond::eq("id", id(state, what, key));
    let gone = state.db.tx(|tx| {
        let this = this.clone();
        work(async move { tx.delete("pending_logins", this).await })
    });
    Ok((gone.await? == 1).then_some(data))
}

/// Whether this key comes for the first time, for some seconds.
pub async fn first(state: &State, what: &str, key: &str, seconds: i64) -> Result<bool> {
    let (id, sealed) = (id(state, what, key), state.seal.close("null")?);
    let (now, until) = (state.clock.now().micros(), state.clock.now().plus_secs(seconds).micros());
    let (id, sealed) = (&id, &sealed);
    let done = state.db.tx(|tx| {
        work(async move {
            tx.delete("pending_logins", Cond::eq("id", id.as_str()).and(Cond::cmp("expires_at", Op::Le, now))).await?;
            if tx.exists("pending_logins", Cond::eq("id", id.as_str())).await? {
                return Ok(false);
            }
            tx.insert_into("pending_logins", columns(id, sealed, until)).await?;
            Ok(true)
        })
    });
    match done.await {
        // Two at the same moment: the database lets one of them be the first.
        Err(e) if matches!(e.class(), base::Class::DuplicateId | base::Class::DuplicateResource | base::Class::DuplicateName) => Ok(false),
        outcome => outcome,
    }
}

/// Forgets what nobody came back for.
pub async fn trim(state: &State) -> Result<()> {
    let now = state.clock.now().micros();
    state.db.tx(|tx| work(async move { tx.delete("pending_logins", Cond::cmp("expires_at", Op::Le, now)).await.map(drop) })).await
}
