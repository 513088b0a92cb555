//! The console's dialect over the services' resources (spec 03 §4): `/api/{ver}/{plural}/…` for every resource of every service, with bare
//! objects, lists under `data`, and many rows at once in answers of 207.
//!
//! ```text
//! path ─▶ which service (catalog) ─▶ one call │ one call for each id ─▶ the service's envelope off, the console's on
//! ```

mod batch;
mod envelope;
mod rpc;

use crate::{
    Gateway,
    catalog::{Module, TABLE},
    door::METHODS,
    export, on,
};
use base::{Ctx, Json, Result, err};
use http::{Method, Reply, Request, Response, Router, StatusCode};
use std::sync::Arc;

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router
        .get("/api/{ver}/rpc/{*path}", on(gateway, |g, r| async move { rpc::call(&g, r).await }))
        .post("/api/{ver}/rpc/{*path}", on(gateway, |g, r| async move { rpc::call(&g, r).await }))
        .any(&METHODS, "/api/{ver}/{*path}", on(gateway, |g, r| async move { resources(&g, r).await }))
}

/// What one call to a service is.
#[derive(Clone, Debug)]
struct Ask {
    module: &'static Module,
    method: Method,
    /// With a slash before each segment, encoded.
    path: String,
    /// Encoded, without `?`.
    query: String,
    body: Option<Json>,
}

/// For whom services are asked.
struct Speaker {
    ctx: Ctx,
    /// The region his console chose.
    region: String,
}

/// What a service answered.
struct Told {
    status: u16,
    body: Json,
}

impl Gateway {
    /// Carries out one call with the user's token. An answer of any status is an answer.
    async fn tell(&self, speaker: &Speaker, ask: Ask) -> Result<Told> {
        let region = speaker.region.as_str();
        // A cookie of an installation this browser saw before shall not lock its user out.
        let region = if self.services.regions().await?.iter().any(|r| r == region) { region } else { "" };
        let query = if ask.query.is_empty() { String::new() } else { format!("?{}", ask.query) };
        let path = format!("{}{query}", ask.path);
        if ask.module.kind == "image" && image_is_described_by_headers(&ask) {
            return envelope::image(self, speaker, region, ask).await;
        }
        let call = self.services.for_user(&speaker.ctx, ask.method, &ask.module.kind, region, &path).await?;
        let call = match &ask.body {
            Some(body) => call.json(body),
            None => call,
        };
        let answer = call.send_any().await?;
        let status = answer.status;
        let body = answer.json().await?;
        Ok(Told { status, body })
    }
}

/// One image is not JSON to its service: what describes it stands in headers (spec 21 §10.1).
fn image_is_described_by_headers(ask: &Ask) -> bool {
    const CLASS: [&str; 7] =
        ["detail", "statistics", "distinct-field", "distinct-fields", "tag-value-pairs", "project-statistics", "domain-statistics"];
    let parts: Vec<&str> = ask.path.split('/').skip(1).collect();
    ask.module.plural == "images"
        && match (ask.method.as_str(), &parts[..]) {
            ("POST", ["images"]) => true,
            ("GET", [_, which]) => !CLASS.contains(which),
            ("PUT" | "PATCH", [_, _]) => true,
            _ => false,
        }
}

/// Segments as one path, each encoded.
fn join(segments: &[&str]) -> String {
    segments.iter().map(|s| format!("/{}", http::path::encode(s))).collect()
}

/// The query without some keys.
pub(crate) fn encoded_without(request: &Request, leave_out: &[&str]) -> String {
    let pair = |(key, value): (&str, Option<&str>)| match value {
        Some(value) => format!("{}={}", http::path::encode(key), http::path::encode(value)),
        None => http::path::encode(key),
    };
    request.query.pairs().filter(|(key, _)| !leave_out.contains(key)).map(pair).collect::<Vec<_>>().join("&")
}

async fn resources(gateway: &Arc<Gateway>, request: Request) -> Reply {
    version(&request)?;
    let visit = gateway.enter(request).await?;
    let region = visit.request.cookie("region").unwrap_or_default().to_string();
    let (ctx, mut request) = (visit.ctx, visit.request);
    let body = request.json().await?;
    let speaker = Arc::new(Speaker { ctx, region });
    let path: Vec<String> = request.tail().to_vec();
    let Some((word, rest)) = path.split_first() else { return Err(nothing(&request)) };
    if let Some(dots) = path.iter().find(|s| matches!(s.as_str(), "." | "..")) {
        return Err(err!(InputParameter, "{} is not a name", dots));
    }
    let module = TABLE.find(word).ok_or_else(|| nothing(&request))?;
    match plan(module, rest, &request, body)? {
        Plan::List(of, ask) if request.query.has("export") => {
            let Speaker { ctx, region } = &*speaker;
            export::download(gateway, ctx.clone(), region.clone(), of, ask.path, &request).await
        }
        Plan::List(of, ask) => list(gateway, &speaker, of, ask).await,
        Plan::Single(of, ask) => single(gateway, &speaker, of, ask).await,
        Plan::Create(of, ask) => create(gateway, &speaker, of, ask).await,
        Plan::Each(of, asks) => {
            // Each call has its own deadline; together they may take longer than one request.
            request.lift_deadline();
            batch::carry_out(gateway, &speaker, of, asks).await
        }
    }
}

/// What a request comes to: calls, and of which resource their answers are.
enum Plan {
    List(&'static Module, Ask),
    Single(&'static Module, Ask),
    Create(&'static Module, Ask),
    Each(&'static Module, Vec<(String, Ask)>),
}

fn plan(module: &'static Module, rest: &[String], request: &Request, body: Option<Json>) -> Result<Plan> {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let mut all = vec![module.plural.as_str()];
    all.extend(&rest);
    let whole = join(&all);
    let ids: Vec<String> = request.query.all("id").into_iter().filter(|i| !i.is_empty()).map(str::to_string).collect();
    let ask = |path: String, body: Option<Json>| Ask {
        module,
        method: request.method.clone(),
        path,
        query: request.path.raw_query().to_string(),
        body,
    };
    let known = |word: &str| TABLE.find(word).filter(|m| m.kind == module.kind);
    // What stands under a row: another resource, in its context or tied to it by a joint.
    let inner = rest.get(1).or(rest.get(3)).and_then(|w| known(w));
    // The same call for each id.
    let each = |of: &'static Module, at: &dyn Fn(&str) -> String, body: &dyn Fn(&str) -> Option<Json>| {
        let query = encoded_without(request, &["id", "batchGet", "batch_params"]);
        let one = |id: &String| {
            let ask = Ask { module, method: request.method.clone(), path: at(id), query: query.clone(), body: body(id) };
            (id.clone(), ask)
        };
        Plan::Each(of, ids.iter().map(one).collect())
    };
    let under = |id: &str| format!("{whole}/{}", http::path::encode(id));
    let of = inner.unwrap_or(module);
    Ok(match (request.method.as_str(), &rest[..], ids.is_empty()) {
        ("GET", [], false) if request.query.flag("batchGet").unwrap_or(false) => each(module, &under, &|_| None),
        ("GET", [], _) => Plan::List(module, ask(whole, None)),
        ("GET", [_, word], _) | ("GET", [_, _, _, word], _) if known(word).is_some() => {
            Plan::List(known(word).unwrap_or(module), ask(whole, None))
        }
        ("GET", [_], _) => Plan::Single(module, ask(whole, None)),
        ("GET", _, _) => Plan::Single(of, ask(whole, None)),

        ("POST", [], _) => Plan::Create(module, ask(whole, body)),
        ("POST", [action], false) => {
            let at = |id: &str| join(&[&module.plural, id, action]);
            each(module, &at, &|_| Some(envelope::wrap(module, body.clone())))
        }
        ("POST", [_, _], false) if inner.is_some() => each(of, &under, &|_| Some(envelope::wrap(of, body.clone()))),
        ("POST", [_, _], true) if inner.is_some() => Plan::Create(of, ask(whole, body)),
        ("POST", ..) => Plan::Single(of, ask(whole, Some(envelope::wrap(of, body)))),

        ("PUT" | "PATCH", [], false) => {
            let own = request.query.flag("batch_params").unwrap_or(false);
            let bodies = batch::bodies(&ids, body, own)?;
            each(module, &under, &|id| Some(envelope::wrap(module, bodies.get(id).cloned())))
        }
        ("PUT" | "PATCH", [_, _], false) => each(of, &under, &|_| Some(envelope::wrap(of, body.clone()))),
        ("PUT" | "PATCH", [_, ..], _) => Plan::Single(of, ask(whole, Some(envelope::wrap(of, body)))),

        ("DELETE", [] | [_, _], false) => each(of, &under, &|_| body.clone()),
        ("DELETE", [_, ..], _) => Plan::Single(of, ask(whole, body)),
        _ => return Err(err!(InputParameter, "name the rows with {} in the query", "id")),
    })
}

pub(crate) fn version(request: &Request) -> Result<()> {
    match request.param("ver") {
        "v1" | "v2" => Ok(()),
        _ => Err(nothing(request)),
    }
}

fn nothing(request: &Request) -> base::Error {
    err!(NotFound, "there is nothing at {} {}", request.method, request.path.raw())
}

async fn list(gateway: &Gateway, visit: &Arc<Speaker>, module: &'static Module, ask: Ask) -> Reply {
    let told = gateway.tell(visit, ask).await?;
    answer(told.status, if told.status < 300 { envelope::list(module, told.body) } else { told.body })
}

async fn single(gateway: &Gateway, visit: &Arc<Speaker>, module: &'static Module, ask: Ask) -> Reply {
    let told = gateway.tell(visit, ask).await?;
    answer(told.status, if told.status < 300 { envelope::bare(module, told.body) } else { told.body })
}

/// One row, or `__count__` of them.
async fn create(gateway: &Arc<Gateway>, visit: &Arc<Speaker>, module: &'static Module, ask: Ask) -> Reply {
    let mut body = ask.body.clone().unwrap_or_else(|| Json::Object(serde_json::Map::new()));
    let count = body.as_object_mut().and_then(|map| map.remove("__count__"));
    let count = count.map_or(Some(1), |c| c.as_i64().or_else(|| c.as_str().and_then(|t| t.parse().ok())));
    let count = count.filter(|c| (1..=batch::MOST as i64).contains(c));
    let count = count.ok_or_else(|| err!(InputParameter, "{}: choose a number from 1 to {}", "__count__", batch::MOST))?;
    let ask = Ask { body: Some(envelope::wrap(module, Some(body))), ..ask };
    if count == 1 {
        return single(gateway, visit, module, ask).await;
    }
    let asks = (0..count).map(|i| (i.to_string(), ask.clone())).collect();
    batch::carry_out(gateway, visit, module, asks).await
}

fn answer(status: u16, body: Json) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    Ok(Response::json(&body).with_status(status))
}
