//! What other services keep in memory: signing keys, revocations, bindings, and word of changes. An addition of ours: existing services ask
//! about every token instead.

use super::{Desk, Visit, on};
use crate::revoke;
use api_identity::{Changed, Changes, Revocations};
use base::Error;
use http::{Reply, Response, Router};
use serde_json::json;
use std::{sync::Arc, time::Duration};

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router
        .get("/v3/auth/keys", on(desk, |desk, _| async move { Ok(Response::json(&json!({"keys": desk.state.keys.published()}))) }))
        .get("/v3/auth/revocations", on(desk, |desk, visit| async move { revocations(&desk, visit).await }))
        .get("/v3/auth/bindings", on(desk, |desk, visit| async move { bindings(&desk, visit).await }))
        .get("/v3/auth/changes", on(desk, |desk, visit| async move { changes(&desk, visit).await }))
}

async fn revocations(desk: &Desk, visit: Visit) -> Reply {
    desk.demand_service(&visit)?;
    let cursor = desk.state.db.feed().head().await?;
    let revocations = revoke::all(&mut desk.state.db.read(), desk.state.clock.now()).await?;
    Ok(Response::json(&serde_json::to_value(Revocations { revocations, cursor }).map_err(Error::internal)?))
}

async fn bindings(desk: &Desk, visit: Visit) -> Reply {
    desk.demand_service(&visit)?;
    // Whoever asks has often just heard of a change; what is in memory may not have.
    desk.state.catch_up().await?;
    Ok(Response::json(&serde_json::to_value(desk.state.rules.export()).map_err(Error::internal)?))
}

/// Longest wait of one request, seconds.
const LONGEST_WAIT: i64 = 60;

/// `after=` is a cursor, a negative one asks where the changes stand; `wait=` seconds for something to come.
async fn changes(desk: &Desk, visit: Visit) -> Reply {
    desk.demand_service(&visit)?;
    let after = visit.request.query.int("after")?.unwrap_or(-1);
    let wait = visit.request.query.int("wait")?.unwrap_or(0).clamp(0, LONGEST_WAIT);
    let feed = desk.state.db.feed();
    if after >= 0 && wait > 0 {
        visit.request.lift_deadline();
        feed.wait(after, Duration::from_secs(wait.unsigned_abs())).await?;
    }
    let batch = feed.after(after, 500).await?;
    let changed = |(_, _, c): &store::Numbered| Changed { kind: c.kind.clone(), id: c.id.clone(), op: c.op.name().to_string() };
    let changes = batch.changes.iter().map(changed).collect();
    let out = Changes { changes, cursor: batch.cursor, lost: batch.lost };
    Ok(Response::json(&serde_json::to_value(out).map_err(Error::internal)?))
}
