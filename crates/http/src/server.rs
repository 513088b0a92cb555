//! Listening: TCP with or without TLS, Unix sockets, and an orderly end.

use crate::{
    app::App,
    io::Guarded,
    layers::{self, Conn},
    tls::Tls,
};
use base::{Result, err};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    server::graceful::{GracefulShutdown, Watcher},
};
use std::{convert::Infallible, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
};

/// A server with its listeners.
pub struct Server {
    app: Arc<App>,
    listeners: Vec<Listener>,
}

enum Listener {
    Tcp(TcpListener, Option<Tls>),
    Unix(UnixListener, PathBuf),
}

/// The time a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

impl Server {
    pub fn new(app: App) -> Server {
        Server { app: app.seal(), listeners: Vec::new() }
    }

    /// Listens on an address, `127.0.0.1:0` for a free port; gives back the address taken.
    pub async fn bind(&mut self, addr: &str, tls: Option<Tls>) -> Result<SocketAddr> {
        let failed = |e: std::io::Error| err!(Internal, "cannot listen on {}: {}", addr, e);
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        self.listeners.push(Listener::Tcp(listener, tls));
        Ok(local)
    }

    /// Listens on a socket file that only this user can open. A file left by a dead process is replaced; one with a live server is an error.
    pub async fn bind_unix(&mut self, path: &Path) -> Result<()> {
        let failed = |e: std::io::Error| err!(Internal, "cannot listen on {}: {}", path.display(), e);
        if path.exists() {
            if tokio::net::UnixStream::connect(path).await.is_ok() {
                return Err(failed(std::io::ErrorKind::AddrInUse.into()));
            }
            std::fs::remove_file(path).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        self.listeners.push(Listener::Unix(listener, path.to_path_buf()));
        Ok(())
    }

    /// Serves until `stop` is ready, then lets running requests finish within [`crate::Limits::drain`] and cuts the rest.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let graceful = Arc::new(GracefulShutdown::new());
        let places = Arc::new(Semaphore::new(self.app.limits.connections));
        let (cut, is_cut) = watch::channel(false);
        let mut accepting = JoinSet::new();
        let mut files = Vec::new();
        for listener in self.listeners {
            if let Listener::Unix(_, path) = &listener {
                files.push(path.clone());
            }
            accepting.spawn(accept(listener, self.app.clone(), graceful.clone(), places.clone(), is_cut.clone()));
        }
        stop.await;
        // Dropping the accepting tasks closes the listeners; connections live in tasks of their own.
        accepting.shutdown().await;
        for file in files {
            // Gone already is as good as gone.
            let _ = std::fs::remove_file(file);
        }
        let deadline = tokio::time::Instant::now() + self.app.limits.drain;
        if let Some(graceful) = Arc::into_inner(graceful) {
            let open = graceful.count();
            if tokio::time::timeout_at(deadline, graceful.shutdown()).await.is_err() {
                tracing::warn!(connections = open, "cutting connections that did not finish in time");
            }
        }
        cut.send_replace(true);
        // Changing requests whose client hung up are not tied to a connection, and what was just cut needs a turn to be gone.
        let last = deadline.max(tokio::time::Instant::now() + Duration::from_secs(1));
        if tokio::time::timeout_at(last, self.app.idle()).await.is_err() {
            tracing::warn!(requests = self.app.running(), "leaving requests that did not finish in time");
        }
    }

    /// Serves in the background until the handle is stopped or dropped.
    pub fn start(self) -> Serving {
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(self.serve(async move {
            // A dropped handle stops the server as well.
            let _ = stopped.await;
        }));
        Serving { stop: Some(stop), task: Some(task) }
    }
}

/// A server in the background.
pub struct Serving {
    stop: Option<oneshot::Sender<()>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Serving {
    /// Ends it in an orderly way.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take() {
            // A panic of the serving task has been printed by the hook.
            let _ = task.await;
        }
    }
}

async fn accept(listener: Listener, app: Arc<App>, graceful: Arc<GracefulShutdown>, places: Arc<Semaphore>, cut: watch::Receiver<bool>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(app.limits.head).max_buf_size(app.limits.head_size.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(u32::try_from(app.limits.head_size).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let builder = Arc::new(builder);
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let conn = Conn { peer: None, secure: false, client_name: None };
        let (app, builder) = (app.clone(), builder.clone());
        let end = End { watcher: graceful.watcher(), cut: cut.clone() };
        match &listener {
            Listener::Tcp(tcp, tls) => match tcp.accept().await {
                Ok((stream, peer)) => {
                    // Answers are written whole; waiting for more to send would only add latency. Failing to set it costs just that.
                    let _ = stream.set_nodelay(true);
                    let conn = Conn { peer: Some(peer.ip().to_canonical()), ..conn };
                    match tls.clone() {
                        None => tokio::spawn(async move {
                            connection(app, &builder, end, stream, conn).await;
                            drop(place);
                        }),
                        Some(tls) => tokio::spawn(async move {
                            match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                                Ok(Ok((stream, client_name))) => {
                                    connection(app, &builder, end, stream, Conn { secure: true, client_name, ..conn }).await;
                                }
                                // Scanners and clients without our CA: their fault, and frequent.
                                Ok(Err(e)) => tracing::debug!(peer = ?conn.peer, error = %e, "TLS handshake failed"),
                                Err(_) => tracing::debug!(peer = ?conn.peer, "TLS handshake timed out"),
                            }
                            drop(place);
                        }),
                    };
                }
                Err(e) => failed(e).await,
            },
            Listener::Unix(unix, _) => match unix.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(async move {
                        connection(app, &builder, end, stream, conn).await;
                        drop(place);
                    });
                }
                Err(e) => failed(e).await,
            },
        }
    }
}

/// How a connection learns of the end: first to finish what it does, then to be gone.
struct End {
    watcher: Watcher,
    cut: watch::Receiver<bool>,
}

/// Accepting fails when the peer is gone again, or when the process has no descriptors left: then waiting a moment is all there is to do.
async fn failed(e: std::io::Error) {
    if !matches!(e.kind(), std::io::ErrorKind::ConnectionAborted | std::io::ErrorKind::ConnectionReset) {
        tracing::warn!(error = %e, "cannot accept a connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn connection<S>(app: Arc<App>, builder: &auto::Builder<TokioExecutor>, mut end: End, stream: S, conn: Conn)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stall, head) = (app.limits.stall, app.limits.head);
    let conn = Arc::new(conn);
    let service = service_fn(move |request| {
        let (app, conn) = (app.clone(), conn.clone());
        async move { Ok::<_, Infallible>(layers::handle(&app, &conn, request).await) }
    });
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(Guarded::new(stream, stall, head)), service).into_owned();
    tokio::select! {
        outcome = end.watcher.watch(serving) => {
            if let Err(e) = outcome {
                tracing::debug!(error = %e, "connection ended early");
            }
        }
        _ = end.cut.wait_for(|cut| *cut) => {}
    }
}
