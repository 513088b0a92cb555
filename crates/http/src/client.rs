//! The one way to call another service: deadlines on everything, retries only where they cannot do harm, errors with their class.
//!
//! A [`Client`] is made once per process and kind of peer, and cloned: it holds the connection pool.

use crate::{error_body, path, query, tls};
use base::{Ctx, Error, Json, Lang, Result, err};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt};
use hyper::{
    HeaderMap, Method,
    header::{HeaderName, HeaderValue},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{error::Error as _, path::PathBuf, pin::Pin, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// Whose server certificates are believed.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The machine's CA store.
    #[default]
    System,
    /// Only this CA (PEM): the platform's services among themselves.
    Only(String),
    /// The machine's store and this CA.
    SystemAnd(String),
    /// Anybody; for a command line whose user says so.
    Anybody,
}

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub trust: Trust,
    /// Certificate chain and key (PEM) to show to servers that ask.
    pub identity: Option<(String, String)>,
    /// Whole time of a call, retries included. Streams are bounded by `stall` instead.
    pub deadline: Duration,
    pub connect: Duration,
    /// Longest standstill of a body in either direction.
    pub stall: Duration,
    /// Further tries of a call that may be repeated.
    pub retries: u32,
    /// Largest answer read into memory, in bytes.
    pub answer: usize,
    pub user_agent: String,
    /// Every connection goes to this socket file; the host in URLs is then only a name.
    pub unix_socket: Option<PathBuf>,
    /// Whether `HTTPS_PROXY` and its kin count: for calls that leave the installation.
    pub use_proxy: bool,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            trust: Trust::System,
            identity: None,
            deadline: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(60),
            retries: 2,
            answer: 256 << 20,
            user_agent: format!("wolke/{}", telemetry::version()),
            unix_socket: None,
            use_proxy: false,
        }
    }
}

/// A pool of connections and the rules for using them.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    options: Arc<ClientOptions>,
}

impl Client {
    /// Errors when a certificate in the options cannot be used.
    pub fn new(options: ClientOptions) -> Result<Client> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls_config(&options)?)
            .connect_timeout(options.connect)
            // Below the server's own limit for idle connections, so that a request never meets a closing one.
            .pool_idle_timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(&options.user_agent);
        if !options.use_proxy {
            builder = builder.no_proxy();
        }
        if let Some(path) = &options.unix_socket {
            builder = builder.unix_socket(path.clone());
        }
        let http = builder.build().map_err(|e| Error::internal(chain(&e)))?;
        Ok(Client { http, options: Arc::new(options) })
    }

    pub fn get(&self, url: &str) -> Call {
        self.call(Method::GET, url)
    }
    pub fn post(&self, url: &str) -> Call {
        self.call(Method::POST, url)
    }
    pub fn put(&self, url: &str) -> Call {
        self.call(Method::PUT, url)
    }
    pub fn delete(&self, url: &str) -> Call {
        self.call(Method::DELETE, url)
    }

    /// A call of any method.
    pub fn call(&self, method: Method, url: &str) -> Call {
        let repeatable = matches!(method, Method::GET | Method::HEAD);
        Call {
            client: self.clone(),
            method,
            url: url.to_string(),
            headers: HeaderMap::new(),
            body: Payload::Bytes(Bytes::new()),
            deadline: self.options.deadline,
            repeatable,
            bad: None,
        }
    }
}

enum Payload {
    Bytes(Bytes),
    Stream { stream: Pin<Box<dyn Stream<Item = Result<Bytes>> + Send + Sync>>, length: Option<u64> },
}

/// A call being put together.
#[must_use]
pub struct Call {
    client: Client,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Payload,
    deadline: Duration,
    repeatable: bool,
    bad: Option<Error>,
}

impl Call {
    /// Adds one query parameter.
    pub fn query(mut self, key: &str, value: &str) -> Call {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        path::encode_into(key, &mut self.url);
        self.url.push('=');
        path::encode_into(value, &mut self.url);
        self
    }

    /// Adds the leaves of an object in dotted form (spec 01 §2.4).
    pub fn query_json(mut self, object: &Json) -> Call {
        let text = query::encode_json(object);
        if !text.is_empty() {
            self.url.push(if self.url.contains('?') { '&' } else { '?' });
            self.url.push_str(&text);
        }
        self
    }

    /// Sets a header. A value that cannot be one (a line break in a name somebody typed) fails the call.
    pub fn header(mut self, name: &str, value: &str) -> Call {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => {
                self.headers.insert(name, value);
            }
            _ => self.bad = Some(err!(InputParameter, "the value for header {} has characters a header cannot carry", name)),
        }
        self
    }

    /// Takes over headers, for proxies. Those about the connection itself are left out.
    pub fn headers(mut self, headers: &HeaderMap) -> Call {
        const OF_THE_CONNECTION: [&str; 10] = [
            "connection",
            "content-length",
            "host",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        for (name, value) in headers.iter().filter(|(n, _)| !OF_THE_CONNECTION.contains(&n.as_str())) {
            self.headers.append(name, value.clone());
        }
        self
    }

    /// Speaks for somebody: `X-Auth-Token`.
    pub fn token(self, token: &str) -> Call {
        let mut call = self.header("x-auth-token", token);
        if let Some(value) = call.headers.get_mut("x-auth-token") {
            value.set_sensitive(true);
        }
        call
    }

    /// Carries the request id, the language and, where there is one, the caller's own token on.
    pub fn ctx(self, ctx: &Ctx) -> Call {
        let lang = match ctx.lang {
            Lang::En => "en",
            Lang::Zh => "zh-CN",
        };
        let call = self.header("x-request-id", &ctx.request_id).header("x-yunion-lang", lang);
        match &ctx.bearer.0 {
            Some(token) => call.token(token),
            None => call,
        }
    }

    pub fn json(self, body: &Json) -> Call {
        let text = serde_json::to_vec(body).expect("a JSON value always has a text");
        self.header("content-type", "application/json").bytes(text)
    }

    pub fn bytes(mut self, body: impl Into<Bytes>) -> Call {
        self.body = Payload::Bytes(body.into());
        self
    }

    /// A body sent as it is made. Such a call is never repeated; its deadline is for the answer after the last piece.
    pub fn stream(mut self, stream: impl Stream<Item = Result<Bytes>> + Send + Sync + 'static, length: Option<u64>) -> Call {
        self.body = Payload::Stream { stream: Box::pin(stream), length };
        self
    }

    pub fn deadline(mut self, deadline: Duration) -> Call {
        self.deadline = deadline;
        self
    }

    /// Declares that doing it twice is the same as doing it once, so it may be repeated after a failure.
    pub fn idempotent(mut self) -> Call {
        self.repeatable = true;
        self
    }

    /// Sends. An answer of 400 and above, or a redirect, is an error with the class the service named.
    pub async fn send(self) -> Result<Answer> {
        let url = self.url.clone();
        let answer = self.send_any().await?;
        match answer.status {
            300..400 if answer.status != 304 => {
                Err(err!(BadGateway, "{} gave an answer that cannot be read", host(&url)).with_context(answer.status))
            }
            400.. => {
                let status = answer.status;
                // An error body nobody can read is still an error of that status.
                let body = answer.bytes(1 << 20).await.unwrap_or_default();
                Err(error_body::parse(status, &body))
            }
            _ => Ok(answer),
        }
    }

    /// Sends and gives back whatever the service answered; errors are only those of the way. For proxies.
    pub async fn send_any(mut self) -> Result<Answer> {
        if let Some(bad) = self.bad.take() {
            return Err(bad);
        }
        match std::mem::replace(&mut self.body, Payload::Bytes(Bytes::new())) {
            Payload::Stream { stream, length } => {
                if let Some(n) = length {
                    self.headers.insert(hyper::header::CONTENT_LENGTH, HeaderValue::from(n));
                }
                // The sending may take hours, so it is bounded by its pace: every piece handed over starts the clock anew, and the last
                // one starts the wait for the answer.
                let pace = Arc::new(Notify::new());
                let told = pace.clone();
                let stream = stream.map_err(|e| e.to_string()).inspect(move |_| told.notify_one());
                let sending = self.try_once(reqwest::Body::wrap_stream(stream));
                let mut sending = std::pin::pin!(sending);
                loop {
                    let wait = self.client.options.stall.max(self.deadline);
                    tokio::select! {
                        outcome = &mut sending => return outcome.map_err(|f| f.error),
                        () = pace.notified() => {}
                        () = tokio::time::sleep(wait) => return Err(err!(Timeout, "{} did not answer in time", host(&self.url))),
                    }
                }
            }
            Payload::Bytes(bytes) => {
                let until = tokio::time::Instant::now() + self.deadline;
                let mut tries = 0;
                loop {
                    let late = || Failed { error: err!(Timeout, "{} did not answer in time", host(&self.url)), unsent: false };
                    let outcome = tokio::time::timeout_at(until, self.try_once(bytes.clone().into())).await.unwrap_or_else(|_| Err(late()));
                    let again = match &outcome {
                        Ok(answer) => self.repeatable && matches!(answer.status, 502..=504),
                        // What never reached the peer may be repeated whatever it was.
                        Err(failed) => failed.unsent || self.repeatable,
                    };
                    let wait = Duration::from_millis(100) * 4u32.saturating_pow(tries);
                    if !again || tries >= self.client.options.retries || tokio::time::Instant::now() + wait >= until {
                        return outcome.map_err(|f| f.error);
                    }
                    tries += 1;
                    tracing::debug!(method = %self.method, host = host(&self.url), tries, "trying again");
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn try_once(&self, body: reqwest::Body) -> Result<Answer, Failed> {
        let request = self.client.http.request(self.method.clone(), &self.url).headers(self.headers.clone()).body(body);
        match request.send().await {
            Ok(answer) => Ok(Answer {
                status: answer.status().as_u16(),
                host: host(&self.url).to_string(),
                limit: self.client.options.answer,
                left: self.deadline,
                stall: self.client.options.stall,
                inner: answer,
            }),
            Err(e) => {
                let unsent = e.is_connect() || e.is_builder();
                let error = if e.is_timeout() && !unsent {
                    err!(Timeout, "{} did not answer in time", host(&self.url))
                } else {
                    err!(BadGateway, "cannot reach {}", host(&self.url))
                };
                Err(Failed { error: error.with_context(chain(&e)), unsent })
            }
        }
    }
}

struct Failed {
    error: Error,
    unsent: bool,
}

/// What a service answered; the body is still on its way.
pub struct Answer {
    pub status: u16,
    inner: reqwest::Response,
    host: String,
    limit: usize,
    left: Duration,
    stall: Duration,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} from {}", self.status, self.host)
    }
}

impl Answer {
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name).and_then(|v| v.to_str().ok())
    }

    /// Length of the body in bytes when the service named it.
    pub fn length(&self) -> Option<u64> {
        self.header("content-length").and_then(|t| t.parse().ok())
    }

    pub(crate) async fn upgrade(self) -> Result<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> {
        if self.status != 101 {
            return Err(err!(BadGateway, "{} gave an answer that cannot be read", self.host)
                .with_context(format!("status {}, not 101", self.status)));
        }
        self.inner.upgrade().await.map_err(|e| err!(BadGateway, "cannot reach {}", self.host).with_context(chain(&e)))
    }

    /// The JSON body; null when it is empty.
    pub async fn json(self) -> Result<Json> {
        let (host, limit) = (self.host.clone(), self.limit);
        let bytes = self.bytes(limit).await?;
        if bytes.is_empty() {
            return Ok(Json::Null);
        }
        serde_json::from_slice(&bytes).map_err(|e| err!(BadGateway, "{} gave an answer that cannot be read", host).with_context(e))
    }

    /// The whole body, of at most `limit` bytes, within the call's deadline.
    pub async fn bytes(self, limit: usize) -> Result<Bytes> {
        let (host, left) = (self.host.clone(), self.left);
        let mut stream = self.stream();
        let read = async {
            let mut out = BytesMut::new();
            while let Some(piece) = stream.next().await {
                let piece = piece?;
                if out.len() + piece.len() > limit {
                    return Err(
                        err!(BadGateway, "{} gave an answer that cannot be read", host).with_context(format!("more than {limit} bytes"))
                    );
                }
                out.extend_from_slice(&piece);
            }
            Ok(out.freeze())
        };
        tokio::time::timeout(left, read).await.map_err(|_| err!(Timeout, "{} did not answer in time", host))?
    }

    /// The body as it comes, without a deadline for the whole; a standstill ends it.
    pub fn stream(self) -> impl Stream<Item = Result<Bytes>> + Send + Unpin + 'static {
        let (host, stall) = (self.host, self.stall);
        let pieces = futures_util::stream::unfold(Some(self.inner), move |state| {
            let host = host.clone();
            async move {
                let mut inner = state?;
                match tokio::time::timeout(stall, inner.chunk()).await {
                    Ok(Ok(None)) => None,
                    Ok(Ok(Some(piece))) => Some((Ok(piece), Some(inner))),
                    Ok(Err(e)) => Some((Err(err!(BadGateway, "cannot reach {}", host).with_context(chain(&e))), None)),
                    Err(_) => Some((Err(err!(Timeout, "{} did not answer in time", host)), None)),
                }
            }
        });
        Box::pin(pieces)
    }
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// An error with its causes, and without the URL: its query may hold a secret.
fn chain(e: &reqwest::Error) -> String {
    let mut out = if e.is_connect() { "connect".to_string() } else { "request".to_string() };
    let mut next = e.source();
    while let Some(cause) = next {
        out.push_str(": ");
        out.push_str(&cause.to_string());
        next = cause.source();
    }
    out
}

fn tls_config(options: &ClientOptions) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions().map_err(Error::internal)?;
    let system = || {
        let mut roots = rustls::RootCertStore::empty();
        // A store with a few odd entries is normal, an empty one too (a container without CA package): the handshake then says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    };
    let builder = match &options.trust {
        Trust::System => builder.with_root_certificates(system()),
        Trust::Only(pem) => builder.with_root_certificates(tls::roots(pem)?),
        Trust::SystemAnd(pem) => {
            let mut roots = system();
            roots.add_parsable_certificates(tls::certificates(pem)?);
            builder.with_root_certificates(roots)
        }
        Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody)),
    };
    match &options.identity {
        Some((cert, key)) => {
            let (chain, key) = tls::chain_and_key(cert, key)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| err!(Internal, "the certificate and its key cannot be used together: {}", e))
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Believes every certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &tls::provider().signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &tls::provider().signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
