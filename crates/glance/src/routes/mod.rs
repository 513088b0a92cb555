//! The paths of the service (spec 21 §10), all under `/v1`. What concerns bytes and metadata headers is here, the rest goes to the engine.

mod copy_from;
mod download;
mod quotas;
mod upload;

use crate::Glance;
use api_image::headers;
use base::{Caller, Ctx, Json, Result, Row, Scope, err};
use http::{HeaderMap, Method, Reply, Request, Response, Router};
use resource::{Answer, Ask, Map, Params};
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
