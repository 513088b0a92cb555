//! What a browser talks to (spec 03): logins and sessions, the console's own dialect over all services, live changes, the licence, and the
//! console itself. It decides no right: what a user asks is asked of the services with the user's own token.
//!
//! - `door`, `session`, `cookie`: who comes, and what browsers keep; `login`, `captcha`: the way in;
//! - `proxy`: the dialect over the services' resources; `backend`: services as they are, behind one address;
//! - `parameters`, `settings`: what consoles keep and show; `export`, `upload`, `lists`, `sheet`: files;
//! - `console`: screens and serial ports; `live`: changes as they happen; `licence`: what the installation may have; `assets`: the console's files.
//!
//! [`Gateway::build`] listens nowhere: it is given a database, a verifier and an account, for `wolke up` and `wolke apigateway` alike.

mod assets;
mod backend;
mod captcha;
mod catalog;
mod console;
mod cookie;
mod door;
mod export;
pub mod licence;
mod lists;
mod live;
mod login;
mod multipart;
pub mod nginx;
mod options;
mod parameters;
mod passwords;
mod picture;
mod proxy;
mod resume;
mod services;
mod session;
mod settings;
mod sheet;
mod throttle;
mod upload;

pub use captcha::When as Captcha;
pub use live::feed::routes as changes;
pub use options::{Bins, Options};

use api_identity::IdentityClient;
use auth::{Seal, Verifier};
use base::{Clock, Result};
use http::{Client, Request, Router};
use resource::Gate;
use service::{Process, Shutdown};
use services::Services;
use session::Sessions;
use std::{sync::Arc, time::Duration};
use store::{Db, Migrations};
use throttle::{Failures, Throttle};

/// The service's type in the catalogue (spec 03).
pub const SERVICE: &str = "yunionapi";

pub const MIGRATIONS: Migrations = Migrations {
    owner: "gateway",
    sqlite: &[
        ("0001_gateway.sql", include_str!("../migrations/sqlite/0001_gateway.sql")),
        ("0002_providers.sql", include_str!("../migrations/sqlite/0002_providers.sql")),
        ("0003_captchas.sql", include_str!("../migrations/sqlite/0003_captchas.sql")),
    ],
    postgres: &[
        ("0001_gateway.sql", include_str!("../migrations/postgres/0001_gateway.sql")),
        ("0002_providers.sql", include_str!("../migrations/postgres/0002_providers.sql")),
        ("0003_captchas.sql", include_str!("../migrations/postgres/0003_captchas.sql")),
    ],
};

/// The longest a transfer through the gateway may take, or stand still: an image of a terabyte over a slow line (spec 03 §5).
pub const LONGEST: Duration = Duration::from_secs(6 * 3600);

/// What a gateway is made of.
pub struct Parts {
    pub db: Db,
    pub clock: Clock,
    /// Answers what a user may, for pages that hide what is refused and for live changes.
    pub gate: Arc<dyn Gate>,
    pub verifier: Arc<Verifier>,
    /// The gateway's own account with the identity service.
    pub identity: IdentityClient,
    /// Where services reach the identity service, with its version.
    pub identity_url: String,
    pub client: Client,
    /// The same without limits of time.
    pub streaming: Client,
    /// Seals tokens in the database.
    pub seal: Seal,
    pub options: Options,
    /// The same that the services of this process keep to.
    pub licence: Arc<licence::Licence>,
    /// What browsers are told, without a slash at the end.
    pub url: String,
    /// Where this process itself is reached from this machine: endpoints under `url` are asked there, not through whatever stands before it.
    /// Empty when the services are elsewhere.
    pub near: String,
    /// Streams end when this says so.
    pub draining: Shutdown,
}

pub struct Gateway {
    pub(crate) draining: Shutdown,
    pub(crate) hub: live::Hub,
    /// Streams of live changes that are open.
    pub(crate) streams: Arc<live::Places>,
    pub(crate) licence: Arc<licence::Licence>,
    /// The configured logo as a data URL.
    pub(crate) logo: String,
    pub(crate) options: Options,
    pub(crate) url: String,
    pub(crate) clock: Clock,
    pub(crate) db: Db,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) services: Services,
    pub(crate) sessions: Sessions,
    pub(crate) throttle: Throttle,
    pub(crate) failures: Failures,
    pub(crate) uploads: resume::Uploads,
}

/// How often ended sessions are cleared away.
const SWEEP: Duration = Duration::from_secs(600);

impl Gateway {
    pub async fn build(parts: Parts) -> Result<Arc<Gateway>> {
        let Parts { db, clock, gate, verifier, identity, identity_url, client, streaming, seal, options, licence, url, near, draining } =
            parts;
        db.migrate(&MIGRATIONS).await?;
        Ok(Arc::new(Gateway {
            sessions: Sessions::new(db.clone(), seal, clock.clone(), options.session_idle_seconds, options.sessions_per_user),
            throttle: Throttle::new(clock.clone(), options.login_failures_per_second, options.login_failures_at_once),
            failures: Failures::new(clock.clone()),
            services: Services::new(client, streaming, identity, &identity_url, (&url, &near), clock.clone()),
            uploads: resume::Uploads::default(),
            draining,
            hub: live::Hub::default(),
            streams: Arc::default(),
            licence,
            logo: settings::data_url(&options.logo)?,
            options,
            url,
            clock,
            db,
            gate,
            verifier,
        }))
    }

    /// Streams of live changes that are open.
    pub fn streams(&self) -> usize {
        self.streams.open()
    }

    /// Starts what runs beside the requests.
    pub fn work(self: &Arc<Gateway>, process: &Process) {
        live::follow(self, process);
        let gateway = self.clone();
        process.worker("gateway sessions", move |stop| {
            let gateway = gateway.clone();
            async move {
                while stop.or(tokio::time::sleep(SWEEP)).await.is_some() {
                    gateway.uploads.sweep(gateway.clock.now());
                    gateway.sessions.sweep().await?;
                }
                Ok(())
            }
        });
    }

    /// Everything under the root of the address.
    pub fn router(self: &Arc<Gateway>) -> Router {
        let router = login::routes(Router::new(), self);
        let router = captcha::routes(router, self);
        let router = settings::routes(router, self);
        let router = parameters::routes(router, self);
        let router = licence::routes(router, self);
        let router = upload::routes(router, self);
        let router = lists::routes(router, self);
        let router = resume::routes(router, self);
        let router = live::routes(router, self);
        let router = console::routes(router, self);
        let router = backend::routes(router, self);
        let router = proxy::routes(router, self);
        assets::routes(router, self)
    }
}

/// A handler that knows its gateway, and whose answers are fit for browsers.
pub(crate) fn on<F, Fut>(gateway: &Arc<Gateway>, f: F) -> impl http::Handler + use<F, Fut>
where
    F: Fn(Arc<Gateway>, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = http::Reply> + Send + 'static,
{
    let gateway = gateway.clone();
    move |request: Request| {
        let (id, lang) = (request.request_id.clone(), request.lang);
        let answer = f(gateway.clone(), request);
        async move { Ok(door::guarded(answer.await, &id, lang)) }
    }
}
