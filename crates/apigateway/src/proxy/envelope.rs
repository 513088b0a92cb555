//! Envelopes: `{"server": {…}}` and `{"servers": […], "total"…}` of a service, bare objects and `{"data": […], "total"…}` of a console
//! (spec 03 §4.1).

use super::{Ask, Speaker, Told};
use crate::{Gateway, catalog::Module};
use base::{Json, Result};
use http::Method;
use serde_json::{Map, json};

/// A console's body as a service takes it.
pub fn wrap(module: &Module, body: Option<Json>) -> Json {
    match body {
        // Already in its envelope: a console that speaks to both.
        Some(Json::Object(map)) if map.len() == 1 && map.get(&module.name).is_some_and(Json::is_object) => Json::Object(map),
        None | Some(Json::Null) => json!({ module.name.as_str(): {} }),
        Some(body) => json!({ module.name.as_str(): body }),
    }
}

/// A service's list as a console reads it.
pub fn list(module: &Module, body: Json) -> Json {
    let Json::Object(map) = body else { return json!({"data": body}) };
    let key = if map.contains_key(&module.plural) {
        Some(module.plural.clone())
    } else {
        map.iter().find(|(_, v)| v.is_array()).map(|(k, _)| k.clone())
    };
    // No list at all: a property of that name.
    let Some(key) = key else { return bare(module, Json::Object(map)) };
    let mut out = Map::new();
    for (k, v) in map {
        let k = if k == key { "data".to_string() } else { k };
        out.insert(k, v);
    }
    if !out.contains_key("total") {
        let count = out["data"].as_array().map_or(0, Vec::len);
        out.insert("total".into(), count.into());
    }
    Json::Object(out)
}

/// A service's object without its envelope.
pub fn bare(module: &Module, body: Json) -> Json {
    let Json::Object(mut map) = body else { return body };
    for key in [&module.name, &module.plural] {
        if let Some(inner) = map.get_mut(key.as_str()) {
            return inner.take();
        }
    }
    if map.len() == 1
        && let Some(inner) = map.values_mut().next().filter(|v| v.is_object())
    {
        return inner.take();
    }
    Json::Object(map)
}

/// One image, shown or changed: its service speaks of it in headers.
pub async fn image(gateway: &Gateway, visit: &Speaker, region: &str, ask: Ask) -> Result<Told> {
    let path = if ask.query.is_empty() { ask.path.clone() } else { format!("{}?{}", ask.path, ask.query) };
    let method = if ask.method == Method::GET { Method::HEAD } else { ask.method.clone() };
    let mut call = gateway.services.for_user(&visit.ctx, method, "image", region, &path).await?;
    if let Some(fields) = ask.body.as_ref().map(|b| &b["image"]).and_then(Json::as_object) {
        for (name, value) in api_image::headers::write(fields) {
            // What the contract wrote can be a header.
            call = call.header(&name, &String::from_utf8_lossy(&value));
        }
    }
    let answer = call.send_any().await?;
    let status = answer.status;
    if ask.method == Method::GET && status < 300 {
        let headers: Vec<(String, Vec<u8>)> =
            answer.headers().iter().map(|(n, v)| (n.as_str().to_string(), v.as_bytes().to_vec())).collect();
        let fields = api_image::headers::read(headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())))?;
        // Headers have texts only; the list has the types.
        let id = fields.get("id").and_then(Json::as_str).unwrap_or_default();
        let listed = gateway
            .services
            .for_user(&visit.ctx, Method::GET, "image", region, &format!("/images/detail?details=true&id={}", http::path::encode(id)))
            .await?;
        let listed = listed.send().await?.json().await?;
        let row = listed["images"].as_array().and_then(|rows| rows.iter().find(|r| r["id"] == id)).cloned();
        return Ok(Told { status, body: json!({"image": row.unwrap_or(Json::Object(fields))}) });
    }
    if status >= 300 && ask.method == Method::GET {
        // An answer to HEAD has no body that could say why: its status says enough.
        let error = http::error_body::parse(status, b"");
        let error = match status {
            404 => base::err!(ResourceNotFound, "{} {} not found", "image", ask.path.rsplit('/').next().unwrap_or_default()),
            _ => error,
        };
        return Ok(Told { status, body: http::error_body::body(&error, visit.ctx.lang, &visit.ctx.request_id) });
    }
    Ok(Told { status, body: answer.json().await? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TABLE;

    #[test]
    fn on_and_off() {
        let servers = TABLE.find("servers").expect("servers");
        let check = |want: Json, got: Json| assert_eq!(got, want);
        check(json!({"server": {"name": "a"}}), wrap(servers, Some(json!({"name": "a"}))));
        check(json!({"server": {"name": "a"}}), wrap(servers, Some(json!({"server": {"name": "a"}}))));
        check(json!({"server": {}}), wrap(servers, None));
        check(json!({"data": [1], "total": 7, "limit": 1}), list(servers, json!({"servers": [1], "total": 7, "limit": 1})));
        check(json!({"data": [1, 2], "total": 2}), list(servers, json!({"guestdisks": [1, 2]})));
        check(json!({"id": "a"}), bare(servers, json!({"server": {"id": "a"}})));
        check(json!({"id": "a"}), list(servers, json!({"server": {"id": "a"}})));
        check(json!({"a": 1, "b": 2}), bare(servers, json!({"a": 1, "b": 2})));
    }
}
