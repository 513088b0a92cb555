//! `GET /changes` of a service: its change feed for the gateway. Service credentials only: it names every row of everybody.

use auth::{Guard, Verifier};
use base::{Error, Json, Result, Scope, err};
use http::{Reply, Request, Response, Router};
use resource::{Ask, Gate};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use store::Db;

/// One change of one row, without any of its fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Its number in the feed; dense, rising.
    pub seq: i64,
    /// Singular keyword.
    pub kind: String,
    pub id: String,
    /// `create`, `update` or `delete`.
    pub op: String,
    #[serde(default)]
    pub domain_id: String,
    #[serde(default)]
    pub project_id: String,
    /// User whose row it is, where rows are of users.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner_id: String,
    /// How far the row is shared: `system`, `domain` or `project`; empty when it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_scope: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_project_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared_domain_ids: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lines {
    pub changes: Vec<Line>,
    /// Where to go on.
    pub cursor: i64,
    /// The position asked for is not kept any more: something was missed.
    pub lost: bool,
}

/// Longest wait of one request, seconds.
const LONGEST: i64 = 60;

/// The route, for a service to be merged with: `prefix` is what its endpoint in the catalogue ends with, as `/v3`. `after=` is a position, a
/// negative one asks where the feed stands; `wait=` seconds for something to come.
pub fn routes(prefix: &str, db: Db, verifier: Arc<Verifier>, gate: Arc<dyn Gate>) -> Router {
    let guard = Guard::new(verifier);
    Router::new().get(&format!("{prefix}/changes"), move |request: Request| {
        let (db, guard, gate) = (db.clone(), guard.clone(), gate.clone());
        async move { answer(&db, &guard, gate.as_ref(), request).await }
    })
}

async fn answer(db: &Db, guard: &Guard, gate: &dyn Gate, request: Request) -> Reply {
    let who = guard.identify(&request.headers);
    who.required()?;
    // The right that lets services ask about tokens: theirs, and the administrators'.
    let ask = Ask { service: api_identity::SERVICE, resource: "tokens", action: "perform", extra: &["auth"] };
    if !gate.allows(&who.caller, request.peer, &ask, Scope::System) {
        return Err(err!(Forbidden, "only the services of the platform and its administrators may ask this"));
    }
    let after = request.query.int("after")?.unwrap_or(-1);
    let wait = request.query.int("wait")?.unwrap_or(0).clamp(0, LONGEST);
    if after >= 0 && wait > 0 {
        request.lift_deadline();
        db.feed().wait(after, Duration::from_secs(wait.unsigned_abs())).await?;
    }
    let lines = read(db, after).await?;
    Ok(Response::json(&serde_json::to_value(lines).map_err(Error::internal)?))
}

async fn read(db: &Db, after: i64) -> Result<Lines> {
    let batch = db.feed().after(after, 500).await?;
    let line = |(seq, _, c): &store::Numbered| {
        let text = |key: &str| c.data[key].as_str().unwrap_or_default().to_string();
        let ids = |key: &str| c.data[key].as_array().into_iter().flatten().filter_map(Json::as_str).map(String::from).collect();
        Line {
            seq: *seq,
            op: c.op.name().to_string(),
            owner_id: text("owner_id"),
            public_scope: text("public_scope"),
            shared_project_ids: ids("shared_project_ids"),
            shared_domain_ids: ids("shared_domain_ids"),
            kind: c.kind.clone(),
            id: c.id.clone(),
            domain_id: c.domain_id.clone(),
            project_id: c.project_id.clone(),
        }
    };
    Ok(Lines { changes: batch.changes.iter().map(line).collect(), cursor: batch.cursor, lost: batch.lost })
}
