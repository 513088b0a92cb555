//! Screens and serial ports of servers in the browser: a one-time ticket, then a WebSocket of binary messages spliced with the connection that
//! the compute service gives for the user's own token (decision 0010). What is opened is in the compute service's audit log.

use crate::{Gateway, door::Visit, on, session::Session};
use api_agent::{CONSOLE_PROTOCOL, ConsoleKind};
use base::{Error, Kind, Result, err, hex_id};
use http::{
    Bytes, Method, Reply, Request, Response, Router,
    tunnel::{Message, Tunnel, WebSocket},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use store::{Cond, Name, Op, Read, Select, work};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A ticket is for the page that asked for it, which uses it at once.
const VALID: i64 = 30;
/// Bytes of one message to the browser.
const PIECE: usize = 32 << 10;
/// A session that ended closes its consoles within this time.
const CHECK: Duration = Duration::from_secs(15);

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    router.post("/api/{version}/consoles", on(gateway, ticket)).get("/api/{version}/consoles/connect", on(gateway, connect))
}

fn digest(ticket: &str) -> String {
    hex::encode(Sha256::digest(ticket.as_bytes()))
}

/// `POST /api/v1/consoles {"server": id or name, "kind": "vnc" or "serial"}` → `{ticket, url, expires_in}`, `expires_in` in seconds.
async fn ticket(gateway: Arc<Gateway>, request: Request) -> Reply {
    let mut visit = gateway.enter(request).await?;
    let body = visit.request.json().await?.unwrap_or_default();
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let (server, kind) = (text("server"), if text("kind").is_empty() { "vnc" } else { text("kind") });
    if server.is_empty() {
        return Err(err!(MissingParameter, "missing {}", "server"));
    }
    let Some(kind) = ConsoleKind::from_name(kind) else {
        return Err(err!(InputParameter, "kind: {} is not one of vnc, serial", kind));
    };
    // Of no use to whom the server is hidden; whether the console may be opened is decided when it is.
    let path = format!("/servers/{}", http::path::encode(server));
    let seen = call(&gateway, &visit, Method::GET, &path).await?.query("details", "false").send().await?.json().await?;
    let server = seen.pointer("/server/id").and_then(base::Json::as_str).unwrap_or(server).to_string();
    let ticket = hex_id() + &hex_id();
    let (row, session, address) = (&digest(&ticket), visit.session.id.as_str(), address(&visit.request));
    let (server, address) = (server.as_str(), address.as_str());
    gateway
        .db
        .tx(|tx| {
            work(async move {
                tx.delete("console_tickets", Cond::cmp("expires_at", Op::Le, tx.now())).await?;
                let columns: Vec<(Name, base::Value)> = vec![
                    ("id".into(), row.as_str().into()),
                    ("session_id".into(), session.into()),
                    ("server_id".into(), server.into()),
                    ("kind".into(), kind.name().into()),
                    ("address".into(), address.into()),
                    ("expires_at".into(), tx.now().plus_secs(VALID).into()),
                ];
                tx.insert_into("console_tickets", columns).await
            })
        })
        .await?;
    let url = format!("/api/v1/consoles/connect?ticket={ticket}");
    Ok(Response::json(&json!({"ticket": ticket, "url": url, "expires_in": VALID})))
}

fn address(request: &Request) -> String {
    request.peer.map(|p| p.to_string()).unwrap_or_default()
}

async fn call(gateway: &Gateway, visit: &Visit, method: Method, path: &str) -> Result<http::Call> {
    let region = visit.request.cookie("region").unwrap_or_default();
    let region = if gateway.services.regions().await?.iter().any(|r| r == region) { region } else { "" };
    gateway.services.for_user(&visit.ctx, method, "compute", region, path).await
}

/// `GET /api/v1/consoles/connect?ticket=…` as a WebSocket, of the session and address the ticket was made for. Browsers let any page open one:
/// the origin is looked at as for a change.
async fn connect(gateway: Arc<Gateway>, request: Request) -> Reply {
    gateway.not_foreign(&request)?;
    let mut visit = gateway.enter(request).await?;
    let (server, kind) = redeem(&gateway, &visit).await?;
    let path = format!("/servers/{}/console", http::path::encode(&server));
    let call = call(&gateway, &visit, Method::GET, &path).await?.query("kind", &kind);
    visit.request.lift_deadline();
    let guest = call.tunnel(CONSOLE_PROTOCOL).await?;
    let (session, stop) = (visit.session.clone(), gateway.draining.clone());
    WebSocket::accept(&mut visit.request, &["binary"], move |page| async move {
        tokio::select! {
            over = splice(page, guest) => if let Err(e) = over {
                tracing::debug!(server, error = %e, "console broke off");
            },
            () = over(&gateway, &session) => tracing::info!(server, "console closed: the session is over"),
            () = stop.wait() => {}
        }
    })
}

/// A ticket's server and kind, once.
async fn redeem(gateway: &Gateway, visit: &Visit) -> Result<(String, String)> {
    let id = digest(visit.request.query.text("ticket").unwrap_or_default());
    let (session, address) = (visit.session.id.clone(), address(&visit.request));
    let found = gateway
        .db
        .tx(|tx| {
            let of = Cond::eq("id", id.as_str()).and(Cond::cmp("expires_at", Op::Gt, tx.now()));
            let of = of.and(Cond::eq("session_id", session.as_str())).and(Cond::eq("address", address.as_str()));
            work(async move {
                let select = Select::from("console_tickets").column("server_id", Kind::Text).column("kind", Kind::Text);
                let row = tx.rows(&select.filter(of.clone())).await?.pop();
                // Whoever deletes it has it.
                let had = tx.delete("console_tickets", of).await? == 1;
                Ok(row.filter(|_| had).map(|row| (row[0].as_str().to_string(), row[1].as_str().to_string())))
            })
        })
        .await?;
    found.ok_or_else(|| err!(Forbidden, "the ticket of the console is used, expired or somebody else's; open the console again"))
}

/// Returns when the session is no more, or its user is not who he was: disabled, with another password, in other roles.
async fn over(gateway: &Gateway, session: &Session) {
    loop {
        tokio::time::sleep(CHECK).await;
        if gateway.verifier.verify(&session.token).is_err() || matches!(gateway.sessions.lives(&session.id).await, Ok(false)) {
            return;
        }
    }
}

async fn splice(mut page: WebSocket, guest: Tunnel) -> Result<()> {
    let broken = |e: std::io::Error| err!(ServiceAbnormal, "the console broke off").with_context(e);
    let (mut from_guest, mut to_guest) = tokio::io::split(guest);
    let mut piece = vec![0u8; PIECE];
    loop {
        tokio::select! {
            message = page.recv() => match message {
                None => break,
                Some(message) => {
                    let bytes = match message? {
                        Message::Binary(bytes) => bytes,
                        Message::Text(text) => Bytes::from(text),
                    };
                    to_guest.write_all(&bytes).await.map_err(broken)?;
                }
            },
            n = from_guest.read(&mut piece) => match n.map_err(broken)? {
                0 => break,
                n => page.send(Message::Binary(Bytes::copy_from_slice(&piece[..n]))).await?,
            },
        }
    }
    page.close().await;
    to_guest.shutdown().await.map_err(Error::internal)
}
