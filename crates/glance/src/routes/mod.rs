//! The paths of the service (spec 21 §10), all under `/v1`. What concerns bytes and metadata headers is here, the rest goes to the engine.

mod copy_from;
mod download;
mod quotas;
mod upload;

use crate::Glance;
use api_image::headers;
use base::{Caller, Ctx, Flags, Json, Resource, Result, Row, Scope, err};
use http::{HeaderMap, Method, Reply, Request, Response, Router};
use resource::{Answer, Ask, ByHand, Input, Map, Params};
use std::sync::Arc;

/// From the headers of a request to its caller; without a valid token the guest.
pub type Identify = Arc<dyn Fn(&HeaderMap) -> Arc<Caller> + Send + Sync>;

/// What the handlers share.
struct Desk {
    glance: Arc<Glance>,
    identify: Identify,
}

impl Glance {
    /// The routes, to be mounted where the catalogue's endpoint (without its `/v1`) points.
    pub fn router(self: &Arc<Self>, identify: Identify) -> Router {
        let desk = Arc::new(Desk { glance: self.clone(), identify });
        macro_rules! on {
            ($($path:ident)::+) => {{
                let desk = desk.clone();
                move |request: Request| {
                    let desk = desk.clone();
                    async move { $($path)::+(&desk, request).await }
                }
            }};
        }
        let update = [Method::PUT, Method::PATCH];
        Router::new()
            .get("/v1/version", |_: Request| async { Ok(Response::text(telemetry::version())) })
            .post("/v1/images", on!(upload::create))
            .get("/v1/images/detail", on!(detail))
            .any(&update, "/v1/images/{id}", on!(upload::update))
            .route(Method::HEAD, "/v1/images/{id}", on!(download::head))
            .get("/v1/images/{id}", on!(download::get))
            .delete("/v1/images/{id}", on!(delete))
            .get("/v1/usages", on!(usages))
            .get("/v1/image_quotas", on!(quotas::mine))
            .post("/v1/image_quotas", on!(quotas::set_mine))
            .get("/v1/image_quotas/{owners}", on!(quotas::owners))
            .post("/v1/image_quotas/{owner}", on!(quotas::set_project))
            .get("/v1/image_quotas/{owners}/{owner}", on!(quotas::one))
            .post("/v1/image_quotas/{owners}/{owner}", on!(quotas::set_one))
            .any(&[Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE], "/v1/{*path}", on!(engine))
    }
}

const SCOPE: &[Input] =
    &[Input { name: "scope", kind: base::Kind::Text, required: false, doc: "system, domain or project; left out: project." }];
const LIMITS: &[Input] = &[
    Input { name: "action", kind: base::Kind::Text, required: false, doc: "add, sub, replace, update, reset or delete; left out: update." },
    Input { name: "image", kind: base::Kind::Int, required: false, doc: "Images; -1: any number." },
    Input { name: "type", kind: base::Kind::Text, required: false, doc: "image or iso; left out: image." },
];

const fn get(path: &'static str, id: &'static str, doc: &'static str, query: &'static [Input]) -> ByHand {
    ByHand { method: "get", path, id, doc, query, body: None }
}
const fn set(path: &'static str, id: &'static str, doc: &'static str) -> ByHand {
    ByHand { method: "post", path, id, doc, query: &[], body: Some(("image_quotas", LIMITS)) }
}

/// What the document says of the routes above.
const BY_HAND: &[ByHand] = &[
    get("/usages", "usages", "Counters of images, by scope.", SCOPE),
    get("/image_quotas", "image-quotas", "Limits of the own project, or with scope=domain of the own domain.", SCOPE),
    set("/image_quotas", "image-quotas-set", "Set limits of the own project."),
    get("/image_quotas/{owners}", "image-quotas-of", "Limits of all projects, of all domains, or of one project.", &[]),
    set("/image_quotas/{owners}", "image-quotas-set-of", "Set limits of a project."),
    get("/image_quotas/{owners}/{owner}", "image-quota", "Limits of one of projects or domains.", &[]),
    set("/image_quotas/{owners}/{owner}", "image-quota-set", "Set limits of one of projects or domains."),
];

impl Glance {
    /// The document of the service: resources, the routes beside them, and the headers an image's bytes come with.
    pub fn openapi(&self, version: &str) -> Json {
        let mut document = self.engine.openapi("", version);
        resource::add_by_hand(&mut document, "", BY_HAND);
        for (path, method, flag) in [("/images", "post", Flags::CREATE), ("/images/{id}", "put", Flags::UPDATE)] {
            let operation = &mut document["paths"][path][method];
            let fields = api_image::Image::facts().fields.iter().filter(|f| f.flags.has(flag)).map(|f| (f.name, f.doc));
            let more = [("property_<key>", "One of its properties."), ("metadata", "Its tags, as a JSON object.")];
            let headers = fields.chain(more).map(|(name, doc)| header(&format!("X-Image-Meta-{}", name.replace('_', "-")), doc));
            let fetched = header(api_image::COPY_FROM, "URL to fetch the bytes from, instead of a body.");
            operation["parameters"] = headers.chain((method == "post").then_some(fetched)).collect();
            operation["requestBody"]["content"]["application/octet-stream"]["schema"] = serde_json::json!({"type": "string", "format": "binary", "description": "The image's bytes; its metadata is then in the headers."});
        }
        document
    }
}

fn header(name: &str, doc: &str) -> Json {
    serde_json::json!({"name": name, "in": "header", "description": doc, "schema": {"type": "string"}})
}

impl Desk {
    fn ctx(&self, request: &Request) -> Ctx {
        request.ctx((self.identify)(&request.headers))
    }

    async fn ask(&self, ctx: &Ctx, method: resource::Method, path: &[&str], params: &Params, body: Option<Json>) -> Result<Answer> {
        let path: Vec<String> = path.iter().map(|s| (*s).to_string()).collect();
        self.glance.engine.handle(ctx, method, &path, params, body).await
    }

    /// An image by id or name, if the caller may look at it.
    async fn image(&self, ctx: &Ctx, which: &str) -> Result<Row> {
        self.may(ctx, "get")?;
        self.glance.engine.resolve(ctx, "image", which).await
    }

    /// Refuses who may not do this with any image: before names are looked up and bytes are read.
    fn may(&self, ctx: &Ctx, action: &str) -> Result<()> {
        let engine = &self.glance.engine;
        if engine.reach_of(ctx, "image", action, &[]) > Scope::None {
            return Ok(());
        }
        engine.demand_of(ctx, "image", action, &[], Scope::Project)
    }

    /// Demands a right on a resource of the service that is not a row: at a scope or wider.
    fn demand(&self, ctx: &Ctx, resource: &str, action: &str, scope: Scope) -> Result<()> {
        if ctx.caller.is_guest() {
            return Err(err!(Unauthorized, "no valid token; log in"));
        }
        let ask = Ask { service: api_image::SERVICE, resource, action, extra: &[] };
        resource::demand(self.glance.gate.as_ref(), ctx, &ask, scope)
    }
}

/// The query of a request. Keys with two underscores are the service's own and not a client's to send.
fn params(request: &Request) -> Params {
    let mut json = request.query.json().clone();
    if let Json::Object(map) = &mut json {
        map.retain(|key, _| !key.starts_with("__"));
    }
    Params(json)
}

/// Metadata of the request's headers.
fn meta(request: &Request) -> Result<Map> {
    let mut map = headers::read(request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())))?;
    if let Some(tags) = map.remove("metadata") {
        map.insert("__meta__".into(), tags);
    }
    map.remove("project_metadata");
    Ok(map)
}

fn json(answer: Answer) -> Response {
    Response::json_bytes(answer.body)
}

/// Everything the engine does alone.
async fn engine(desk: &Desk, mut request: Request) -> Reply {
    let method = match request.method {
        Method::GET => resource::Method::Get,
        Method::HEAD => resource::Method::Head,
        Method::POST => resource::Method::Post,
        Method::DELETE => resource::Method::Delete,
        _ => resource::Method::Put,
    };
    let body = request.json().await?;
    let (ctx, params, path) = (desk.ctx(&request), params(&request), request.tail().to_vec());
    let answer = desk.glance.engine.handle(&ctx, method, &path, &params, body).await?;
    if method == resource::Method::Post {
        // Among the actions are those that put an image back to work.
        desk.glance.work_to_do();
    }
    Ok(json(answer))
}

async fn detail(desk: &Desk, request: Request) -> Reply {
    let mut params = params(&request);
    if let Json::Object(map) = &mut params.0 {
        map.insert("details".into(), true.into());
    }
    Ok(json(desk.ask(&desk.ctx(&request), resource::Method::Get, &["images"], &params, None).await?))
}

async fn delete(desk: &Desk, mut request: Request) -> Reply {
    let body = request.json().await?;
    let (ctx, params) = (desk.ctx(&request), params(&request));
    let answer = desk.ask(&ctx, resource::Method::Delete, &["images", request.param("id")], &params, body).await?;
    desk.glance.deleted_something();
    Ok(json(answer))
}

async fn usages(desk: &Desk, request: Request) -> Reply {
    let ctx = desk.ctx(&request);
    let asked = params(&request).text("scope");
    let scope = match asked.as_deref() {
        None => Scope::Project,
        Some(word) => Scope::parse(word).ok_or_else(|| err!(InputParameter, "scope {} is unknown; use system, domain or project", word))?,
    };
    desk.demand(&ctx, "usages", "get", scope)?;
    let of = match scope {
        Scope::System => store::Cond::True,
        Scope::Domain => store::Cond::eq("domain_id", ctx.caller.project_domain_id.as_str()),
        _ => store::Cond::eq("tenant_id", ctx.caller.project_id.as_str()),
    };
    let figures = crate::usage::figures(&desk.glance.engine.db, scope, of).await?;
    Ok(Response::json(&serde_json::json!({ "usage": figures })))
}
