//! The metadata service on the service port of a bridge: what a guest may know about itself.
//!
//! The flows bring only `169.254.169.254:80` here, under the alias of the port the packet came from, so the caller is certain. Everything a
//! guest sends is bounded: size, time, number of requests and of connections.

mod ec2;
mod http;
mod openstack;

use crate::flows::SERVICE;
use crate::view::{Subject, View};
use arc_swap::ArcSwap;
use base::{Error, Result};
use http::{Head, Malformed, Response};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PORT: u16 = 80;
/// Connections one NIC may have at a time.
const MAX_CONNECTIONS: usize = 16;
/// Requests on one connection.
const MAX_REQUESTS: usize = 200;
/// Bytes of a request's head.
const MAX_HEAD: usize = 8 * 1024;
/// Bytes of a request's body; no path reads one.
const MAX_BODY: u64 = 64 * 1024;
/// A request must be whole, and a response taken, within this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Session tokens stay on the first link: something the guest forwards for cannot get one (spec 32 §6.2).
const TOKEN_TTL: u32 = 1;

/// The socket callers arrive at. Bound to the device: the same address is on every service port.
pub(crate) fn bind(device: &str) -> Result<TcpListener> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind_device(Some(device.as_bytes()))?;
        socket.bind(&SocketAddr::from((SERVICE, PORT)).into())?;
        socket.listen(256)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|e| Error::internal(e).with_context(format!("metadata socket on {device}")))
}

/// Serves until dropped; connections under way end with it.
pub(crate) async fn run(listener: TcpListener, view: Arc<ArcSwap<View>>) {
    let open = Open::default();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(peer))) => {
                // An unknown caller gets no word, one with too many connections no further one.
                if view.load().by_alias(*peer.ip()).is_none() {
                    continue;
                }
                let Some(place) = open.take(*peer.ip()) else { continue };
                let view = view.clone();
                connections.spawn(async move {
                    let _place = place;
                    if let Err(e) = serve(stream, *peer.ip(), &view).await {
                        tracing::debug!(%peer, error = %e, "metadata connection");
                    }
                });
            }
            Ok(_) => {}
            Err(e) => {
                tracing::warn!(error = %e, "metadata socket");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Connections per caller.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<Ipv4Addr, usize>>>);

struct Place {
    open: Open,
    caller: Ipv4Addr,
}

impl Open {
    fn take(&self, caller: Ipv4Addr) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(caller).or_default();
        if *count >= MAX_CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Place { open: self.clone(), caller })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.caller);
            }
        }
    }
}

async fn serve(mut stream: TcpStream, caller: Ipv4Addr, view: &ArcSwap<View>) -> io::Result<()> {
    let mut buffer = Vec::new();
    for left in (0..MAX_REQUESTS).rev() {
        let head = match timeout(REQUEST_TIMEOUT, read_head(&mut stream, &mut buffer)).await {
            Err(_) => return Ok(()),
            Ok(Err(e)) => return Err(e),
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(head))) => head,
        };
        let head = match head {
            Ok(head) => head,
            Err(bad) => {
                let response = Response::text(bad.status(), bad.to_string());
                return timeout(REQUEST_TIMEOUT, stream.write_all(&response.encode(false, false))).await.unwrap_or(Ok(()));
            }
        };
        // Asked for each request: a document may have changed in between.
        let Some(subject) = view.load().by_alias(caller).cloned() else { return Ok(()) };
        let response = respond(&subject, &head);
        let keep = head.keep_alive && left > 0 && skip_body(&mut stream, &mut buffer, head.body).await?;
        if response.near {
            SockRef::from(&stream).set_ttl_v4(TOKEN_TTL)?;
        }
        let bytes = response.encode(head.method == "HEAD", keep);
        timeout(REQUEST_TIMEOUT, stream.write_all(&bytes)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))?;
        if !keep {
            return stream.shutdown().await;
        }
    }
    Ok(())
}

/// The next request's head, taken from the front of what was read; none at the end of the connection.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Result<Head, Malformed>>> {
    loop {
        if let Some(end) = http::head_end(buffer) {
            let head = Head::parse(&buffer[..end]);
            buffer.drain(..end);
            return Ok(Some(head));
        }
        if buffer.len() >= MAX_HEAD {
            return Ok(Some(Err(Malformed::TooLarge)));
        }
        let mut part = [0; 2048];
        match stream.read(&mut part).await? {
            0 => return Ok(None),
            len => buffer.extend_from_slice(&part[..len]),
        }
    }
}

/// Reads over a body. False when it is too large to be worth it; the connection then ends.
async fn skip_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, len: u64) -> io::Result<bool> {
    if len > MAX_BODY {
        return Ok(false);
    }
    let len = len as usize;
    let skip = async {
        while buffer.len() < len {
            let mut part = [0; 2048];
            match stream.read(&mut part).await? {
                0 => return Ok(false),
                n => buffer.extend_from_slice(&part[..n]),
            }
        }
        buffer.drain(..len);
        Ok(true)
    };
    timeout(REQUEST_TIMEOUT, skip).await.unwrap_or(Ok(false))
}

/// What the service says to a caller it knows.
fn respond(subject: &Subject, head: &Head) -> Response {
    let path: Vec<&str> = head.path.split('/').filter(|s| !s.is_empty()).collect();
    match (head.method.as_str(), path.as_slice()) {
        ("PUT", ["latest", "api", "token"]) => token(head),
        ("GET" | "HEAD", ["openstack", rest @ ..]) => openstack::answer(subject, rest).unwrap_or_else(Response::not_found),
        ("GET" | "HEAD", path) => ec2::answer(subject, path).unwrap_or_else(Response::not_found),
        _ => Response::text(405, "only GET and HEAD, and PUT of /latest/api/token".into()),
    }
}

/// A session token. Requests without one are answered too, so a token opens nothing and none is remembered.
fn token(head: &Head) -> Response {
    const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
    if head.header("x-forwarded-for").is_some() {
        return Response::text(403, "a token is not given through a proxy".into());
    }
    let Some(ttl) = head.header(TTL).and_then(|v| v.parse::<u32>().ok()).filter(|ttl| (1..=21600).contains(ttl)) else {
        return Response::text(400, format!("{TTL} must be between 1 and 21600"));
    };
    let mut bytes = [0; 42];
    if getrandom::fill(&mut bytes).is_err() {
        return Response::text(503, "no random numbers".into());
    }
    use base64::Engine;
    let text = base64::engine::general_purpose::URL_SAFE.encode(bytes);
    Response { headers: vec![(TTL, ttl.to_string())], near: true, ..Response::text(200, text) }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
