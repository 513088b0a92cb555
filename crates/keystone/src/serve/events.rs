//! `GET /v3/events/export`: the records of changes and logins as CSV or JSON lines, with the filters of the list, as far as the caller may see them.

use super::{Desk, Visit, on};
use crate::trail::Format;
use base::{Ctx, Json, Resource, Result, err};
use futures_util::stream;
use http::{Bytes, HeaderValue, Reply, Response, Router};
use resource::Params;
use std::sync::Arc;
use store::Cond;

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router.get("/v3/events/export", on(desk, |desk, visit| async move { export(desk, visit).await }))
}

/// Where an export is.
struct Export {
    desk: Arc<Desk>,
    ctx: Ctx,
    params: Json,
    format: Format,
    columns: Vec<&'static str>,
    /// Records that may still follow.
    left: i64,
    more: bool,
}

/// Records asked of the database at once.
const PAGE: i64 = 1000;

async fn export(desk: Arc<Desk>, visit: Visit) -> Reply {
    visit.who.required()?;
    let query = &visit.request.query;
    let format = Format::parse(query.text("format").unwrap_or_default())?;
    let left = query.int("limit")?.filter(|n| *n > 0).unwrap_or(i64::MAX);
    let mut params = query.json().clone();
    if let Some(map) = params.as_object_mut() {
        for word in ["format", "limit", "offset", "field", "summary_stats"] {
            map.remove(word);
        }
        map.entry("scope").or_insert_with(|| "max".into());
        map.insert("details".into(), "false".into());
    }
    let columns = resource::Event::facts().fields.iter().map(|f| f.name).collect();
    let mut export = Export { desk, ctx: visit.ctx.clone(), params, format, columns, left, more: true };
    // The first page at once: whoever may not look is told so by the status.
    let first = export.format.head(&export.columns) + &export.page().await?;
    visit.request.lift_deadline();
    let (kind, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "events.csv"),
        Format::JsonLines => ("application/x-ndjson", "events.jsonl"),
    };
    let rest = stream::unfold((Some(first), export), |(ready, mut export)| async move {
        let text = match ready {
            Some(text) => Ok(text),
            None if export.more => export.page().await,
            None => return None,
        };
        if text.is_err() {
            export.more = false;
        }
        Some((text.map(Bytes::from), (None, export)))
    });
    let answer = Response::stream(HeaderValue::from_static(kind), None, rest);
    Ok(answer.with_header("Content-Disposition", &format!("attachment; filename=\"{name}\"")).with_header("Cache-Control", "no-store"))
}

impl Export {
    /// The next records as text.
    async fn page(&mut self) -> Result<String> {
        if let Some(map) = self.params.as_object_mut() {
            map.insert("limit".into(), PAGE.min(self.left).to_string().into());
        }
        let answer = self.desk.engine.list_within(&self.ctx, "events", &Params(self.params.clone()), Cond::True).await?;
        let list: Json = serde_json::from_slice(&answer.body).map_err(base::Error::internal)?;
        let mut out = String::new();
        let records = list["events"].as_array().ok_or_else(|| base::Error::internal("a list without rows"))?;
        for record in records {
            out.push_str(&self.format.line(&self.columns, record)?);
        }
        self.left -= records.len() as i64;
        self.more = false;
        if let (Some(marker), true) = (list["next_marker"].as_str(), self.left > 0) {
            let map = self.params.as_object_mut().ok_or_else(|| err!(InputParameter, "the body must be an object"))?;
            map.insert("paging_marker".into(), marker.into());
            self.more = true;
        }
        Ok(out)
    }
}
