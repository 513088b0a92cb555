//! A gateway that listens, with nothing behind it, and sessions of every kind written into its database.

use api_identity::{Call, IdentityClient, Reply, Transport};
use apigateway::{Gateway, Options, Parts};
use auth::{Claims, KeyRing, Revocation, Revoked, Seal, SigningKey, Verifier};
use base::{Caller, Clock, Result, Scope, Value, err};
use http::{App, Client, ClientOptions, Limits, Server, Serving};
use resource::{Ask, Gate};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::{net::IpAddr, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};
use store::{Db, Name, work};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// The identity service is away.
struct Away;

impl Transport for Away {
    fn call<'a>(&'a self, _: Call<'a>) -> Pin<Box<dyn Future<Output = Result<Reply>> + Send + 'a>> {
        Box::pin(async { Err(err!(BadGateway, "the identity service cannot be reached")) })
    }
}

/// Nobody may do anything.
struct Closed;

impl Gate for Closed {
    fn widest(&self, _: &Caller, _: Option<IpAddr>, _: &Ask<'_>) -> Scope {
        Scope::None
    }
    fn allows(&self, _: &Caller, _: Option<IpAddr>, _: &Ask<'_>, _: Scope) -> bool {
        false
    }
}

/// What somebody shows who may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nothing,
    /// A value nobody gave out, as cookie and as bearer.
    Cookie,
    Bearer,
    /// A token of the identity service, which opens services and no page.
    Token,
    TokenAsBearer,
    /// A session whose time is over, that was unused for too long, whose token is void, expired, or of another installation.
    Expired,
    Idle,
    Void,
    Late,
    Foreign,
    /// The password was right; the one-time password is missing.
    Half,
    /// The readable cookie of somebody who is logged in.
    Readable,
}

impl Kind {
    pub const ALL: [Kind; 12] = [
        Kind::Nothing,
        Kind::Cookie,
        Kind::Bearer,
        Kind::Token,
        Kind::TokenAsBearer,
        Kind::Expired,
        Kind::Idle,
        Kind::Void,
        Kind::Late,
        Kind::Foreign,
        Kind::Half,
        Kind::Readable,
    ];
}

/// One answer; of status 0 when the connection ended without.
#[derive(Debug, Default)]
pub struct Seen {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    fn parse(text: &str) -> Seen {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).unwrap_or(0);
        let headers = lines.filter_map(|l| l.split_once(':')).map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_string())).collect();
        Seen { status, headers, body: body.to_string() }
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(k, _)| k == name).map(|(_, v)| v.as_str()).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    pub fn count(&self, name: &str) -> usize {
        self.all(name).len()
    }

    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// A port that nobody else is given as long as the socket lives; only whoever names it may listen there.
fn taken() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = socket.local_addr().expect("a port");
    (socket, address)
}

pub struct Bench {
    pub address: SocketAddr,
    gateway: Arc<Gateway>,
    db: Db,
    seal: Seal,
    key: SigningKey,
    verifier: Arc<Verifier>,
    _serving: Serving,
    _away: TcpSocket,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub async fn start(change: impl FnOnce(&mut Parts)) -> Bench {
        Bench::with(Limits::default(), change).await
    }

    pub async fn with(limits: Limits, change: impl FnOnce(&mut Parts)) -> Bench {
        let dir = tempfile::tempdir().expect("a directory");
        let db = Db::open(&format!("sqlite://{}", dir.path().join("gateway.db").display())).await.expect("a database");
        let (key, clock) = (SigningKey::from_seed(&[7; 32]).expect("a key"), Clock::real());
        let verifier = Arc::new(Verifier::new(KeyRing::new().with(&key), 1000, clock.clone()));
        // Nobody listens: services that are away.
        let (away, nowhere) = taken();
        let (kept, port) = taken();
        let client = || Client::new(ClientOptions { retries: 0, deadline: Duration::from_secs(5), ..ClientOptions::default() });
        let licence = Arc::new(apigateway::licence::Licence::new(db.clone(), &[]).expect("no signers"));
        let mut parts = Parts {
            db: db.clone(),
            licence,
            clock: clock.clone(),
            gate: Arc::new(Closed),
            verifier: verifier.clone(),
            identity: IdentityClient::new(Arc::new(Away), None, clock),
            identity_url: format!("http://{nowhere}/identity/v3"),
            client: client().expect("a client"),
            streaming: client().expect("a client"),
            seal: Seal::new(SECRET, "gateway").expect("a seal"),
            // Thousands of requests from one address are the point here.
            options: Options { login_failures_per_second: 1e6, login_failures_at_once: 1e6, ..Options::default() },
            url: format!("http://{port}"),
            near: String::new(),
            draining: service::Shutdown::new(),
        };
        change(&mut parts);
        let gateway = Gateway::build(parts).await.expect("a gateway");
        let app = App::new(telemetry::Metrics::default()).limits(limits).mount("", "apigateway", gateway.router());
        let mut server = Server::new(app);
        let address = server.bind(&port.to_string(), None).await.expect("it listens");
        drop(kept);
        let seal = Seal::new(SECRET, "gateway").expect("a seal");
        Bench { address, gateway, db, seal, key, verifier, _serving: server.start(), _away: away, _dir: dir }
    }

    /// Method and pattern of every route.
    pub fn table(&self) -> Vec<(String, String)> {
        let router = self.gateway.router();
        router.paths().map(|(m, p)| (m.to_string(), p.to_string())).collect()
    }

    /// Streams of live changes that are open.
    pub fn streams(&self) -> usize {
        self.gateway.streams()
    }

    fn token(&self, user: &str, key: &SigningKey, from: i64, until: i64) -> String {
        let now = Clock::real().now();
        let caller = Arc::new(Caller { user_id: user.into(), user: user.into(), project_id: "p".into(), ..Caller::default() });
        let (issued, expires) = (now.plus_secs(from), now.plus_secs(until));
        let claims =
            Claims { caller, issued, expires, audit_ids: vec![base::hex_id()], methods: vec!["password".into()], ..Claims::default() };
        claims.sign(key).expect("a token")
    }

    /// A session as the gateway writes it; answers the value that opens it.
    async fn write(&self, user: &str, token: &str, factor: &str, used: i64, until: i64) -> String {
        let value = (base::hex_id() + &base::hex_id())[..43].to_string();
        let now = Clock::real().now();
        let columns: Vec<(Name, Value)> = vec![
            ("id".into(), hex::encode(Sha256::digest(value.as_bytes())).into()),
            ("public_id".into(), base::hex_id().into()),
            ("user_id".into(), user.into()),
            ("user_name".into(), user.into()),
            ("token".into(), if token.is_empty() { String::new() } else { self.seal.close(token).expect("sealed") }.into()),
            ("factor".into(), factor.into()),
            ("created_at".into(), now.micros().into()),
            ("used_at".into(), now.plus_secs(used).micros().into()),
            ("expires_at".into(), now.plus_secs(until).micros().into()),
        ];
        let columns = &columns;
        self.db.tx(|tx| work(async move { tx.insert_into("sessions", columns.clone()).await })).await.expect("written");
        value
    }

    /// The cookie of somebody who is logged in.
    pub async fn session(&self, user: &str) -> String {
        let token = self.token(user, &self.key, 0, 3600);
        format!("wolke_session={}", self.write(user, &token, "off", 0, 3600).await)
    }

    pub async fn credentials(&self, kind: Kind) -> Vec<(String, String)> {
        let good = self.token("ann", &self.key, 0, 3600);
        // A page of ours that sends what it should not have.
        let ours = ("origin".to_string(), format!("http://{}", self.address));
        let cookie = |value: String| vec![("cookie".to_string(), format!("wolke_session={value}")), ours.clone()];
        let bearer = |value: String| vec![("authorization".to_string(), format!("Bearer {value}"))];
        match kind {
            Kind::Nothing => vec![],
            Kind::Cookie => cookie("B".repeat(43)),
            Kind::Bearer => bearer("C".repeat(43)),
            Kind::Token => vec![("x-auth-token".into(), good)],
            Kind::TokenAsBearer => bearer(good),
            Kind::Expired => cookie(self.write("ann", &good, "off", 0, -1).await),
            Kind::Idle => cookie(self.write("ann", &good, "off", -9 * 3600, 3600).await),
            Kind::Void => {
                // A number of the chain is void, as after a logout elsewhere.
                let claims = self.verifier.verify(&good).expect("a good token");
                let id = claims.audit_ids.last().expect("a number").clone();
                let (before, expires) = (Clock::real().now(), claims.expires);
                self.verifier.revoke([Revocation { what: Revoked::Chain(id), before, expires }]);
                cookie(self.write("ann", &good, "off", 0, 3600).await)
            }
            Kind::Late => cookie(self.write("ann", &self.token("ann", &self.key, -3600, -60), "off", 0, 3600).await),
            Kind::Foreign => {
                let other = SigningKey::from_seed(&[8; 32]).expect("a key");
                cookie(self.write("ann", &self.token("ann", &other, 0, 3600), "off", 0, 3600).await)
            }
            Kind::Half => cookie(self.write("ann", "", "asked", 0, 300).await),
            Kind::Readable => {
                use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
                let value = self.write("ann", &good, "off", 0, 3600).await;
                let shown = URL_SAFE_NO_PAD.encode(serde_json::json!({ "session": value }).to_string());
                vec![("cookie".into(), format!("yunionauth={shown}")), ours]
            }
        }
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], framing: &str) -> String {
        let more: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        let kind = if framing.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{kind}{framing}{more}\r\n", self.address)
    }

    /// One request as its bytes: nothing tidies the path up on its way.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Seen {
        let framing = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let bytes = [self.head(method, path, headers, &framing).as_bytes(), body].concat();
        self.send(&[&bytes]).await
    }

    /// A body of a length that never comes.
    pub async fn announce(&self, path: &str, headers: &[(&str, &str)], length: usize) -> Seen {
        let head = self.head("POST", path, headers, &format!("Content-Length: {length}\r\n"));
        self.send(&[head.as_bytes(), b"{"]).await
    }

    /// A body that does not say how long it is going to be.
    pub async fn chunked(&self, path: &str, headers: &[(&str, &str)], length: usize) -> Seen {
        let head = self.head("POST", path, headers, "Transfer-Encoding: chunked\r\n");
        let piece = [format!("{:x}\r\n", 64 << 10).as_bytes(), &vec![b' '; 64 << 10], b"\r\n"].concat();
        let mut all: Vec<&[u8]> = vec![head.as_bytes()];
        all.extend(std::iter::repeat_n(&piece[..], length >> 16));
        self.send(&all).await
    }

    async fn send(&self, pieces: &[&[u8]]) -> Seen {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        for piece in pieces {
            // Whoever goes on sending after his answer finds the connection closed.
            if stream.write_all(piece).await.is_err() {
                break;
            }
        }
        Seen::parse(&until_closed(stream).await)
    }

    /// A connection that was begun, and is not gone on with.
    pub async fn hold(&self, start: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(start).await.expect("it reads");
        stream
    }
}

/// What comes until the other end closes.
pub async fn until_closed(mut stream: TcpStream) -> String {
    let (mut all, mut piece) = (Vec::new(), vec![0; 16 << 10]);
    while let Ok(n @ 1..) = stream.read(&mut piece).await {
        all.extend(&piece[..n]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// What comes until a text has come, or the other end closes.
pub async fn until(stream: &mut TcpStream, text: &str) -> String {
    let (mut all, mut piece) = (String::new(), vec![0; 16 << 10]);
    while !all.contains(text) {
        let read = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut piece)).await;
        match read.unwrap_or_else(|_| panic!("nothing more comes after {all}")) {
            Ok(n @ 1..) => all += &String::from_utf8_lossy(&piece[..n]),
            _ => break,
        }
    }
    all
}
