//! Many rows at once: one call for each, a few at a time, and an answer of 207 that tells how each fared (spec 03 §4.1).

use super::{Ask, Speaker, envelope};
use crate::{Gateway, catalog::Module};
use base::{Json, Result, err};
use futures_util::{StreamExt, stream};
use http::{Reply, Response, StatusCode};
use serde_json::json;
use std::{collections::HashMap, sync::Arc};

/// Rows of one request.
pub const MOST: usize = 1000;
/// Calls under way at once, for one request.
const AT_ONCE: usize = 8;

pub async fn carry_out(gateway: &Arc<Gateway>, visit: &Arc<Speaker>, module: &'static Module, asks: Vec<(String, Ask)>) -> Reply {
    if asks.len() > MOST {
        return Err(err!(InputParameter, "at most {} rows at once; {} were named", MOST, asks.len()));
    }
    let calls: Vec<http::BoxFuture<Json>> = asks
        .into_iter()
        .map(|(id, ask)| {
            let (gateway, visit) = (gateway.clone(), visit.clone());
            Box::pin(async move { one(&gateway, &visit, module, id, ask).await }) as http::BoxFuture<Json>
        })
        .collect();
    let data: Vec<Json> = stream::iter(calls).buffer_unordered(AT_ONCE).collect().await;
    Ok(Response::json(&json!({ "data": data })).with_status(StatusCode::MULTI_STATUS))
}

async fn one(gateway: &Gateway, visit: &Speaker, module: &Module, id: String, ask: Ask) -> Json {
    let method = ask.method.clone();
    let (status, data) = match gateway.tell(visit, ask).await {
        Ok(told) if told.status < 300 => (told.status, envelope::bare(module, told.body)),
        Ok(told) => (told.status, failed(told.body, told.status, &method, &id)),
        Err(e) => {
            let body = http::error_body::body(&e, visit.ctx.lang, &visit.ctx.request_id);
            (e.class().http(), failed(body, e.class().http(), &method, &id))
        }
    };
    json!({"status": status, "id": id, "data": data})
}

/// An error with what was asked.
fn failed(mut body: Json, status: u16, method: &http::Method, id: &str) -> Json {
    if !body.is_object() {
        body = json!({"code": status, "class": "BadGateway", "details": body});
    }
    body["request"] = json!({"method": method.as_str(), "id": id});
    body
}

/// The body of each id: the same for all, or its own out of an array (`batch_params=true`).
pub fn bodies(ids: &[String], body: Option<Json>, own: bool) -> Result<HashMap<String, Json>> {
    let body = body.unwrap_or(Json::Null);
    let items = match (&body, own) {
        (Json::Array(items), true) => items.clone(),
        (_, true) => return Err(err!(InputParameter, "with batch_params the body is a list")),
        _ => return Ok(ids.iter().map(|id| (id.clone(), body.clone())).collect()),
    };
    if items.len() != ids.len() {
        return Err(err!(InputParameter, "{} bodies for {} rows; give one for each", items.len(), ids.len()));
    }
    // By the id they name, else in the order of the query.
    let named = |item: &Json| item["id"].as_str().filter(|id| ids.iter().any(|i| i == id)).map(str::to_string);
    Ok(items.into_iter().zip(ids).map(|(item, id)| (named(&item).unwrap_or_else(|| id.clone()), item)).collect())
}
