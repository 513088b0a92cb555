//! Consoles: splices a person's connection with the one a host dials for it. Nothing listens on a hypervisor.
//!
//! ```text
//!  person ──GET /servers/{id}/console──▶ allowed? ──call (row, feed)──▶ host's agent
//!     ▲                                     │ waits                         │
//!     └──────────────── bytes ──────────────┴◀──GET /agent/consoles/{id}────┘
//! ```

use crate::routes::Desk;
use api_agent::{CONSOLE_PROTOCOL, ConsoleCall, ConsoleKind};
use base::{Class, Ctx, Json, Result, err, new_id};
use http::{
    HeaderMap, Reply, Request,
    tunnel::{Tunnel, accept},
};
use resource::Params;
use serde_json::json;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{io::copy_bidirectional, sync::oneshot, time::timeout};

/// A host that is there dials in within a second; one that is not shall not keep a person longer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Who may no longer see the server loses its console within this time.
const CHECK: Duration = Duration::from_secs(30);

/// Those who wait here.
#[derive(Default)]
pub(crate) struct Consoles(Mutex<HashMap<String, Waiting>>);

struct Waiting {
    host_id: String,
    end: oneshot::Sender<Result<Tunnel>>,
}

impl Consoles {
    fn expect(&self, id: &str, host_id: &str) -> oneshot::Receiver<Result<Tunnel>> {
        let (end, answer) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of those who went away while they waited.
        waiting.retain(|_, w| !w.end.is_closed());
        waiting.insert(id.to_string(), Waiting { host_id: host_id.to_string(), end });
        answer
    }

    /// Once, and only for the host that was called.
    fn take(&self, id: &str, host_id: &str) -> Option<oneshot::Sender<Result<Tunnel>>> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get(id).filter(|w| w.host_id == host_id)?;
        waiting.remove(id).map(|w| w.end)
    }
}

/// The person's end: `GET /servers/{id}/console?kind=vnc|serial`, upgrading to [`CONSOLE_PROTOCOL`].
pub(crate) async fn open(desk: &Arc<Desk>, mut request: Request) -> Reply {
    if !request.header("upgrade").is_some_and(|u| u.eq_ignore_ascii_case(CONSOLE_PROTOCOL)) {
        return Err(err!(BadRequest, "this address is for connections that upgrade to {}", CONSOLE_PROTOCOL));
    }
    let ctx = desk.ctx(&request);
    let path = ["servers".to_string(), request.param("id").to_string(), "console".to_string()];
    let body = json!({"kind": request.query.text("kind").unwrap_or("vnc")});
    let (none, engine) = (Params(json!({})), &desk.region.engine);
    // The action decides, and writes the audit log.
    let answer = engine.handle(&ctx, resource::Method::Post, &path, &none, Some(body)).await?;
    let found: Json = serde_json::from_slice(&answer.body).map_err(base::Error::internal)?;
    let found = found.get("server").unwrap_or(&found);
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_string();
    let (server, name, host) = (text("id"), text("name"), text("host_id"));
    let kind = ConsoleKind::from_name(&text("kind")).unwrap_or_default();

    request.lift_deadline();
    let call = ConsoleCall { id: new_id(), guest_id: server.clone(), kind, url: desk.region.own_url.clone() };
    let expected = desk.region.consoles.expect(&call.id, &host);
    desk.region.agents.call(&host, &call).await?;
    let mut guest = match timeout(PATIENCE, expected).await {
        Ok(Ok(tunnel)) => tunnel?,
        Ok(Err(_)) => return Err(base::Error::internal("the waiting console was forgotten")),
        Err(_) => {
            return Err(err!(
                Timeout,
                "the host of server {} did not open the console in {} seconds; see whether its agent runs",
                name,
                PATIENCE.as_secs()
            ));
        }
    };
    let (desk, headers, peer) = (desk.clone(), request.headers.clone(), request.peer);
    accept(&mut request, CONSOLE_PROTOCOL, move |mut person| async move {
        tracing::info!(server, kind = kind.name(), ?peer, "console opened");
        tokio::select! {
            over = copy_bidirectional(&mut person, &mut guest) => tracing::info!(server, kind = kind.name(), ?over, "console closed"),
            () = until_refused(&desk, &headers, ctx, &server) => tracing::info!(server, kind = kind.name(), "console closed: no longer allowed"),
        }
    })
}

/// Returns when the caller's token is no longer good for seeing the server.
async fn until_refused(desk: &Desk, headers: &HeaderMap, mut ctx: Ctx, server: &str) {
    let path = ["servers".to_string(), server.to_string(), "vnc".to_string()];
    loop {
        tokio::time::sleep(CHECK).await;
        ctx.caller = (desk.identify)(headers);
        match desk.region.engine.handle(&ctx, resource::Method::Get, &path, &Params(json!({})), None).await {
            Err(e) if matches!(e.class(), Class::Unauthorized | Class::InvalidCredential | Class::Forbidden | Class::ResourceNotFound) => {
                return;
            }
            // A server that stopped ends its console by itself.
            _ => {}
        }
    }
}

/// The host's end: `GET /agent/consoles/{id}`.
pub(crate) async fn dial(desk: &Arc<Desk>, mut request: Request) -> Reply {
    let host = desk.host(&request).await?;
    let id = request.param("id").to_string();
    let Some(end) = desk.region.consoles.take(&id, host.as_str()) else {
        return Err(err!(ResourceNotFound, "{} {} not found", "console", id));
    };
    if let Some(why) = request.query.text("error") {
        let why: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
        let _gone = end.send(Err(err!(InvalidStatus, "the host cannot open the console: {}", why)));
        return Ok(http::Response::json(&json!({})));
    }
    accept(&mut request, CONSOLE_PROTOCOL, |tunnel| async move {
        let _gone = end.send(Ok(tunnel));
    })
}
