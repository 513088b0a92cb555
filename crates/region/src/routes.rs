//! The paths of the service. All but a handful belong to the resource engine.

use crate::{Region, consoles, jobs};
use api_agent::{Enroll, HostFacts, Observed};
use base::{Caller, Ctx, Json, Result, Scope, err};
use http::{HeaderMap, Method, Reply, Request, Response, Router};
use region_compute::agent::HostId;
use resource::{Ask, ByHand, Gate, Input, Params};
use scheduler::Scheduler;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// From the headers of a request to its caller; without a valid token the guest.
pub type Identify = Arc<dyn Fn(&HeaderMap) -> Arc<Caller> + Send + Sync>;

const ALL: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// Longest time an agent may wait for its document in one request.
const LONGEST_WAIT: u64 = 55;

pub(crate) struct Desk {
    pub(crate) region: Arc<Region>,
    pub(crate) identify: Identify,
}

impl Region {
    /// The compute service's routes.
    pub fn router(self: &Arc<Self>, identify: Identify) -> Router {
        let desk = Arc::new(Desk { region: self.clone(), identify });
        macro_rules! on {
            ($f:ident) => {{
                let desk = desk.clone();
                move |request: Request| {
                    let desk = desk.clone();
                    async move { $f(&desk, request).await }
                }
            }};
        }
        Router::new()
            .get("/openapi.json", on!(openapi))
            .get("/usages", on!(usages))
            .get("/usages/{of}/{id}", on!(usages))
            .get("/limits", on!(limits))
            .post("/agent/enroll", on!(enroll))
            .post("/agent/register", on!(register))
            .get("/agent/desired", on!(desired))
            .post("/agent/observed", on!(observed))
            .get("/agent/images/{id}", on!(image))
            .get("/agent/consoles/{id}", on!(dial))
            .get("/servers/{id}/console", on!(console))
            .post("/host_tokens", on!(new_token))
            .post("/tasks/{id}", on!(callback))
            .post("/quotas", on!(quotas))
            .post("/quotas/{id}", on!(quotas))
            .get("/quotas/projects", on!(all_quotas))
            .get("/quotas/projects/{id}", on!(quotas_of))
            .post("/quotas/projects/{id}", on!(quotas))
            .get("/quotas/domains", on!(all_domain_quotas))
            .get("/quotas/domains/{id}", on!(quotas_of_domain))
            .post("/quotas/domains/{id}", on!(domain_quotas))
            .any(&ALL, "/{*path}", on!(engine))
    }
}

const fn part(name: &'static str, kind: base::Kind, doc: &'static str) -> Input {
    Input { name, kind, required: false, doc }
}
const SCOPE: &[Input] = &[part("scope", base::Kind::Text, "system, domain or project; left out: the caller's widest.")];
const LIMITS: &[Input] = &[
    part("action", base::Kind::Text, "add, sub, replace, update, reset or delete; left out: update."),
    part("count", base::Kind::Int, "Servers; -1: any number."),
    part("cpu", base::Kind::Int, "Virtual processors; -1: any number."),
    part("memory", base::Kind::Int, "MiB; -1: any amount."),
    part("storage", base::Kind::Int, "MiB; -1: any amount."),
];
const WISH: &[Input] = &[
    part("vcpu_count", base::Kind::Int, "Virtual processors."),
    part("vmem_size", base::Kind::Int, "MiB."),
    part("disks", base::Kind::Json, "As of a server's create."),
    part("nets", base::Kind::Json, "As of a server's create."),
    part("count", base::Kind::Int, "How many such servers."),
    part("prefer_host", base::Kind::Text, "By id or name."),
    part("prefer_zone", base::Kind::Text, "By id or name."),
    part("suggestion_limit", base::Kind::Int, "Most hosts a test answers; 0: 100."),
];
const PAGE: &[Input] = &[
    part("limit", base::Kind::Int, "Hosts on the page, 1 to 2048."),
    part("offset", base::Kind::Int, "Hosts before it."),
    part("zone", base::Kind::Text, "Only hosts of this zone, by id."),
];

const fn get(path: &'static str, id: &'static str, doc: &'static str, query: &'static [Input]) -> ByHand {
    ByHand { method: "get", path, id, doc, query, body: None }
}
const fn post(path: &'static str, id: &'static str, doc: &'static str, body: (&'static str, &'static [Input])) -> ByHand {
    ByHand { method: "post", path, id, doc, query: &[], body: Some(body) }
}

/// What the document says of the routes here. What only hosts' agents call (`/agent/…`, the crate `api-agent`) and the answer to task callbacks are no
/// interface for others, and are left out.
const BY_HAND: &[ByHand] = &[
    get("/usages", "usages", "Counters of what there is, by scope.", SCOPE),
    get("/usages/{of}/{id}", "usages-of", "The same of one of cloudregions, zones, wires or hosts.", SCOPE),
    get("/limits", "limits", "What a new server may have at least and at most.", &[]),
    get("/servers/{id}/console", "server-screen", "A web socket to the screen or serial line of a server.", &[]),
    post(
        "/host_tokens",
        "host-token",
        "A token by which one host enrols.",
        ("host_token", &[part("seconds", base::Kind::Int, "How long it is good, 60 to 604800; left out: 3600.")]),
    ),
    post("/quotas/{id}", "quotas-set-of", "Set limits of a project.", ("quotas", LIMITS)),
    get("/quotas/projects", "quotas-projects", "Limits of every project.", &[]),
    get("/quotas/projects/{id}", "quotas-project", "Limits of a project, and what it uses.", &[]),
    post("/quotas/projects/{id}", "quotas-set-project", "Set limits of a project.", ("quotas", LIMITS)),
    get("/quotas/domains", "quotas-domains", "Limits of every domain.", &[]),
    get("/quotas/domains/{id}", "quotas-domain", "Limits of a domain, and what it uses.", &[]),
    post("/quotas/domains/{id}", "quotas-set-domain", "Set limits of a domain.", ("quotas", LIMITS)),
    post("/scheduler", "schedule", "Where such servers would be placed; at the scheduler's endpoint, as all below.", ("", WISH)),
    post("/scheduler/test", "schedule-test", "Hosts such a server fits on, the best first.", ("", WISH)),
    post("/scheduler/forecast", "schedule-forecast", "Whether so many fit, and why hosts are refused.", ("", WISH)),
    post("/scheduler/candidate-list", "schedule-candidates", "Hosts as the scheduler sees them.", ("", PAGE)),
    post("/scheduler/candidate-detail/{id}", "schedule-candidate", "One host as the scheduler sees it.", ("", &[])),
];

impl Region {
    /// The document of the service: resources and the routes beside them.
    pub fn openapi(&self, version: &str) -> Json {
        let mut document = self.engine.openapi("", version);
        resource::add_by_hand(&mut document, "", BY_HAND);
        document
    }
}

/// The scheduler's routes, for its own endpoint.
pub fn scheduler_router(scheduler: Arc<Scheduler>, gate: Arc<dyn Gate>, identify: Identify) -> Router {
    let serve = move |mut request: Request| {
        let (scheduler, gate, identify) = (scheduler.clone(), gate.clone(), identify.clone());
        async move {
            let body = request.json().await?.unwrap_or_else(|| json!({}));
            let ask = Ask { service: "compute", resource: "scheduler", action: "perform", extra: &[] };
            resource::demand(gate.as_ref(), &request.ctx(identify(&request.headers)), &ask, Scope::System)?;
            let path: Vec<&str> = request.tail().iter().map(String::as_str).collect();
            Ok(Response::json(&scheduler.serve(&path, &body, request.lang).await?))
        }
    };
    Router::new().post("/scheduler", serve.clone()).post("/scheduler/{*path}", serve)
}

impl Desk {
    pub(crate) fn ctx(&self, request: &Request) -> Ctx {
        request.ctx((self.identify)(&request.headers))
    }

    /// The host that speaks.
    pub(crate) async fn host(&self, request: &Request) -> Result<HostId> {
        let credential = request.header("authorization").and_then(|h| h.strip_prefix("Bearer ")).unwrap_or_default();
        self.region.agents.authenticate(credential).await
    }
}

async fn read<T: DeserializeOwned>(request: &mut Request) -> Result<T> {
    let body = request.json().await?.unwrap_or(Json::Null);
    serde_json::from_value(body).map_err(|e| err!(InputParameter, "the body is not what this path takes: {}", e))
}

fn answer<T: serde::Serialize>(value: &T) -> Reply {
    Ok(Response::json(&serde_json::to_value(value).map_err(base::Error::internal)?))
}

async fn engine(desk: &Desk, mut request: Request) -> Reply {
    let method = match request.method {
        Method::GET => resource::Method::Get,
        Method::HEAD => resource::Method::Head,
        Method::POST => resource::Method::Post,
        Method::DELETE => resource::Method::Delete,
        _ => resource::Method::Put,
    };
    let body = request.json().await?;
    let (ctx, params, path) = (desk.ctx(&request), Params(request.query.json().clone()), request.tail().to_vec());
    let answer = desk.region.engine.handle(&ctx, method, &path, &params, body).await?;
    Ok(Response::json_bytes(answer.body))
}

async fn openapi(desk: &Desk, _: Request) -> Reply {
    Ok(Response::json(&desk.region.openapi(&desk.region.engine.options.version)))
}

async fn usages(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let of = Some((request.param("of"), request.param("id"))).filter(|(of, _)| !of.is_empty());
    Ok(Response::json(&desk.region.usages(&ctx, request.query.text("scope"), of).await?))
}

/// What a new server may have at least and at most: `{"limits": {"root_disk_min_mb", "disks"}}`.
async fn limits(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    if ctx.caller.is_guest() {
        return Err(err!(Unauthorized, "no valid token; log in"));
    }
    Ok(Response::json(&json!({"limits": {"root_disk_min_mb": desk.region.root_minimum, "disks": region_compute::task::MOST_DISKS}})))
}

/// A token good for one host: `POST /host_tokens {"host_token": {"seconds": 3600}}`.
async fn new_token(desk: &Desk, mut request: Request) -> Reply {
    let body = request.json().await?.unwrap_or(Json::Null);
    let ctx = desk.ctx(&request);
    desk.region.engine.demand_of(&ctx, "host", "create", &[], Scope::System)?;
    let seconds = body.pointer("/host_token/seconds").and_then(Json::as_i64).unwrap_or(3600);
    if !(60..=7 * 86_400).contains(&seconds) {
        return Err(err!(InputParameter, "seconds: {} is out of range 60 to 604800", seconds));
    }
    let token = desk.region.agents.new_token(&ctx.caller.project_domain_id, seconds).await?;
    Ok(Response::json(&json!({"host_token": {"token": token, "seconds": seconds}})))
}

/// `POST /quotas` and its kin as existing clients send it: `{"quotas": {…, "action": "update"}}`; any other body is the engine's.
async fn quotas(desk: &Desk, mut request: Request) -> Reply {
    let body = request.json().await?.unwrap_or(Json::Null);
    let (ctx, id) = (desk.ctx(&request), request.param("id").to_string());
    match body.get("quotas") {
        Some(Json::Object(wanted)) => Ok(Response::json(&desk.region.set_quotas(&ctx, &id, wanted.clone()).await?)),
        _ => {
            let path = [vec!["quotas".to_string()], if id.is_empty() { vec![] } else { vec![id] }].concat();
            let params = Params(request.query.json().clone());
            let answer = desk.region.engine.handle(&ctx, resource::Method::Post, &path, &params, Some(body)).await?;
            Ok(Response::json_bytes(answer.body))
        }
    }
}

async fn all_quotas(desk: &Desk, request: Request) -> Reply {
    every_quota(desk, &request, "tenant_id.isnotempty()").await
}

async fn all_domain_quotas(desk: &Desk, request: Request) -> Reply {
    every_quota(desk, &request, "tenant_id.isempty()").await
}

async fn every_quota(desk: &Desk, request: &Request, which: &str) -> Reply {
    let params = Params(json!({"scope": "system", "filter": which}));
    let answer = desk.region.engine.handle(&desk.ctx(request), resource::Method::Get, &["quotas".to_string()], &params, None).await?;
    Ok(Response::json_bytes(answer.body))
}

async fn quotas_of_domain(desk: &Desk, request: Request) -> Reply {
    Ok(Response::json(&desk.region.quotas_of_domain(&desk.ctx(&request), request.param("id")).await?))
}

async fn domain_quotas(desk: &Desk, mut request: Request) -> Reply {
    let body = request.json().await?.unwrap_or(Json::Null);
    let Some(wanted) = body.get("quotas").and_then(Json::as_object) else {
        return Err(err!(MissingParameter, "quotas is missing; give limits, as in {}", r#"{"quotas": {"cpu": 8}}"#));
    };
    Ok(Response::json(&desk.region.set_quotas_of_domain(&desk.ctx(&request), request.param("id"), wanted.clone()).await?))
}

async fn quotas_of(desk: &Desk, request: Request) -> Reply {
    Ok(Response::json(&desk.region.quotas_of(&desk.ctx(&request), request.param("id")).await?))
}

async fn callback(_: &Desk, _: Request) -> Reply {
    Err(jobs::no_callbacks())
}

async fn enroll(desk: &Desk, mut request: Request) -> Reply {
    let body: Enroll = read(&mut request).await?;
    answer(&desk.region.agents.enroll(body).await?)
}

async fn register(desk: &Desk, mut request: Request) -> Reply {
    let host = desk.host(&request).await?;
    let facts: HostFacts = read(&mut request).await?;
    answer(&desk.region.agents.register(&host, facts).await?)
}

async fn desired(desk: &Desk, request: Request) -> Reply {
    let host = desk.host(&request).await?;
    let after = request.query.int("after")?.unwrap_or(-1);
    let wait = request.query.int("wait")?.unwrap_or(0).clamp(0, LONGEST_WAIT as i64) as u64;
    request.lift_deadline();
    let news = desk.region.agents.desired(&host, after, Duration::from_secs(wait)).await?;
    let mut json = match &news.document {
        Some(document) => serde_json::to_value(document).map_err(base::Error::internal)?,
        None => json!({"unchanged": true}),
    };
    if !news.consoles.is_empty() {
        json["consoles"] = serde_json::to_value(&news.consoles).map_err(base::Error::internal)?;
    }
    Ok(Response::json(&json))
}

async fn observed(desk: &Desk, mut request: Request) -> Reply {
    let host = desk.host(&request).await?;
    let report: Observed = read(&mut request).await?;
    answer(&desk.region.agents.observed(&host, report).await?)
}

async fn console(desk: &Arc<Desk>, request: Request) -> Reply {
    consoles::open(desk, request).await
}

async fn dial(desk: &Arc<Desk>, request: Request) -> Reply {
    consoles::dial(desk, request).await
}

/// An image's bytes, for a host that has a disk of it.
async fn image(desk: &Desk, request: Request) -> Reply {
    let host = desk.host(&request).await?;
    let id = request.param("id").to_string();
    if !desk.region.agents.needs_image(&host, &id).await? {
        return Err(err!(ResourceNotFound, "{} {} not found", "image", id));
    }
    let range = request.header("range").map(str::to_string);
    request.lift_deadline();
    desk.region.images.fetch(&id, range.as_deref()).await
}
