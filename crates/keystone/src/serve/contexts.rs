//! Lists of one kind inside a row of another, tied by assignments and memberships (spec 02 §1).

use super::{Desk, Visit, on};
use crate::grants;
use base::{Result, Row};
use http::{Reply, Response, Router};
use resource::Params;
use std::sync::Arc;
use store::{Cond, Select};

/// Outer kind and plural, inner plural, and the condition on the inner rows.
type Context = (&'static str, &'static str, &'static str, fn(&Row) -> Cond);

const CONTEXTS: [Context; 6] = [
    ("user", "users", "projects", |user| Cond::in_select("id", grants::projects_of(user.id()))),
    ("user", "users", "groups", |user| Cond::in_select("id", grants::groups_of(user.id()))),
    ("group", "groups", "users", |group| grants::users_of(group.id())),
    ("group", "groups", "projects", |group| {
        Cond::in_select("id", Select::from("assignments").column("target_id", base::Kind::Text).filter(Cond::eq("actor_id", group.id())))
    }),
    ("project", "projects", "users", |project| grants::users_in(project.id())),
    ("project", "projects", "groups", |project| grants::groups_in(project.id())),
];

pub(super) fn routes(mut router: Router, desk: &Arc<Desk>) -> Router {
    for (kind, outer, inner, within) in CONTEXTS {
        let path = format!("/v3/{outer}/{{outer}}/{inner}");
        router = router.get(&path, on(desk, move |desk, visit| async move { list(&desk, visit, kind, inner, within).await }));
    }
    router
}

async fn list(desk: &Desk, visit: Visit, kind: &str, inner: &str, within: fn(&Row) -> Cond) -> Reply {
    let row = desk.engine.resolve(&visit.ctx, kind, visit.request.param("outer")).await?;
    let params = breadth(&visit, &row)?;
    Ok(Response::json_bytes(desk.engine.list_within(&visit.ctx, inner, &params, within(&row)).await?.body))
}

/// A user looks at all that is his own, whatever project he is in just now; others as far as they may.
pub(super) fn breadth(visit: &Visit, row: &Row) -> Result<Params> {
    let mut params = visit.request.query.json().clone();
    let said = params.get("scope").is_some() || params.get("admin").is_some();
    if !said && let Some(map) = params.as_object_mut() {
        let own = row.facts.name == "user" && row.id() == visit.ctx.caller.user_id;
        map.insert("scope".into(), if own { "user" } else { "max" }.into());
    }
    Ok(Params(params))
}
