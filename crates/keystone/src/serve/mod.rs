//! The paths of the service under `/v3` (spec 02 §1). Handlers decode, call, encode; what they may not do the policies say.

mod access;
mod application_credentials;
mod assignments;
mod bounds;
mod contexts;
mod directory;
mod discovery;
mod door;
mod ec2;
mod events;
mod openstack;
mod quotas;
mod role_assignments;
mod second_factor;
mod sso;
mod tokens;

use crate::state::State;
use auth::{Guard, Identified};
use base::{Ctx, Json, Result, Scope, err};
use http::{Method, Reply, Request, Response, Router};
use resource::{Ask, Engine, Params};
use std::sync::Arc;
use store::{Cond, Read};

/// What handlers share.
pub(crate) struct Desk {
    pub state: Arc<State>,
    pub engine: Arc<Engine>,
    pub guard: Guard,
}

/// One request with its sender.
pub(crate) struct Visit {
    pub who: Identified,
    pub ctx: Ctx,
    pub request: Request,
}

impl Desk {
    fn visit(&self, request: Request) -> Visit {
        let who = self.guard.identify(&request.headers);
        let mut ctx = request.ctx(who.caller.clone());
        // Policies speak of where the login came from: behind a gateway the connection says nothing (spec 02 §7.2).
        if let Some(ip) = who.claims.as_ref().and_then(|c| c.ip) {
            ctx.peer = Some(ip);
        }
        Visit { who, ctx, request }
    }

    /// Whether the policies allow something that is no resource's.
    fn allows(&self, visit: &Visit, scope: Scope, resource: &str, action: &str, extra: &[&str]) -> bool {
        let set = self.state.rules.of(&visit.ctx.caller, visit.ctx.peer);
        set.allows_plain(scope, api_identity::SERVICE, resource, action, extra)
    }

    /// The widest scope they allow it at.
    fn widest(&self, visit: &Visit, resource: &str, action: &str, extra: &[&str]) -> Scope {
        let set = self.state.rules.of(&visit.ctx.caller, visit.ctx.peer);
        set.decide_plain(api_identity::SERVICE, resource, action, extra).unwrap_or(Scope::None)
    }

    /// Refuses what they do not allow.
    fn demand(&self, visit: &Visit, scope: Scope, resource: &str, action: &str, extra: &[&str]) -> Result<()> {
        let ask = Ask { service: api_identity::SERVICE, resource, action, extra };
        if self.allows(visit, scope, resource, action, extra) { Ok(()) } else { Err(resource::denied(&visit.ctx, &ask, scope)) }
    }

    /// The services of the platform, and who may everything.
    fn demand_service(&self, visit: &Visit) -> Result<()> {
        visit.who.required()?;
        if self.allows(visit, Scope::System, "tokens", "perform", &["auth"]) {
            return Ok(());
        }
        Err(err!(Forbidden, "only the services of the platform and its administrators may ask this"))
    }
}

/// The table of paths.
pub(crate) fn router(desk: &Arc<Desk>) -> Router {
    let router = Router::new();
    let router = discovery::routes(router, desk);
    let router = tokens::routes(router, desk);
    let router = directory::routes(router, desk);
    let router = events::routes(router, desk);
    let router = quotas::routes(router, desk);
    let router = role_assignments::routes(router, desk);
    let router = access::routes(router, desk);
    let router = assignments::routes(router, desk);
    let router = contexts::routes(router, desk);
    let router = application_credentials::routes(router, desk);
    let router = ec2::routes(router, desk);
    let router = openstack::routes(router, desk);
    let router = second_factor::routes(router, desk);
    let router = sso::routes(router, desk);
    let router = door::routes(router, desk);
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    router.any(&methods, "/v3/{*path}", on(desk, |desk, visit| async move { resources(&desk, visit).await }))
}

/// A handler that knows its desk.
pub(crate) fn on<F, Fut>(desk: &Arc<Desk>, f: F) -> impl http::Handler
where
    F: Fn(Arc<Desk>, Visit) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Reply> + Send + 'static,
{
    let desk = desk.clone();
    move |request: Request| {
        let visit = desk.visit(request);
        let answer = bounds::check(&desk, &visit).map(|()| f(desk.clone(), visit));
        async move { answer?.await }
    }
}

/// Everything the resource engine answers.
async fn resources(desk: &Desk, visit: Visit) -> Reply {
    let Visit { ctx, mut request, .. } = visit;
    let method = match request.method.as_str() {
        "GET" => resource::Method::Get,
        "HEAD" => resource::Method::Head,
        "POST" => resource::Method::Post,
        "DELETE" => resource::Method::Delete,
        _ => resource::Method::Put,
    };
    let params = Params(openstack::params(&request));
    let body = request.json().await?;
    let mut path = request.tail().to_vec();
    if let [services, which, config] = &mut path[..]
        && (services.as_str(), config.as_str()) == ("services", "config")
    {
        *which = service_of_type(&desk.state, which).await?;
    }
    if let (resource::Method::Delete, [plural, _]) = (method, &path[..])
        && matches!(plural.as_str(), "projects" | "domains")
        && desk.engine.kind(plural).is_some_and(|kind| desk.engine.widest(&ctx, kind, "delete", &[]) > Scope::None)
    {
        crate::counters::demand_known(&desk.state).await?;
    }
    let answer = desk.engine.handle(&ctx, method, &path, &params, body).await;
    if !matches!(method, resource::Method::Get | resource::Method::Head) {
        desk.state.catch_up().await?;
    }
    Ok(Response::json_bytes(answer?.body))
}

/// Configuration is also found by the type of its service: those have no name of their own in a program's eyes (spec 02 §8).
async fn service_of_type(state: &State, which: &str) -> Result<String> {
    let alive = || Cond::eq("deleted", false);
    let direct = alive().and(Cond::eq("id", which).or(Cond::eq("name", which)));
    let mut db = state.db.read();
    if !db.exists("services", direct).await?
        && let Some(id) = db.scalar_text("services", "id", alive().and(Cond::eq("type", which))).await?
    {
        return Ok(id);
    }
    Ok(which.to_string())
}

/// The body as an object; none counts as empty.
pub(crate) async fn object(request: &mut Request) -> Result<resource::Map> {
    match request.json().await? {
        None | Some(Json::Null) => Ok(resource::Map::new()),
        Some(Json::Object(map)) => Ok(map),
        Some(_) => Err(err!(InputParameter, "the body must be an object")),
    }
}
