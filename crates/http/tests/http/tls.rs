//! The internal CA, and who is known by its certificates.

use crate::{LONG, client};
use base::{Class, Clock};
use http::{App, Client, ClientCerts, ClientOptions, Request, Response, Router, Server, Serving, Tls, Trust, ca::Ca};
use std::net::SocketAddr;
use telemetry::{Metrics, testing::Watch};

async fn start(tls: Tls) -> (SocketAddr, Serving) {
    let who = |r: Request| async move { Ok(Response::text(format!("{} {}", r.secure, r.client_name.as_deref().unwrap_or("nobody")))) };
    let mut server = Server::new(App::new(Metrics::default()).mount("/", "test", Router::new().get("/who", who)));
    let addr = server.bind("127.0.0.1:0", Some(tls)).await.unwrap();
    (addr, server.start())
}

fn trusting(ca: &Ca, identity: Option<(String, String)>) -> Client {
    Client::new(ClientOptions { trust: Trust::Only(ca.pem().into()), identity, retries: 0, ..ClientOptions::default() }).unwrap()
}

async fn ask(client: &Client, url: &str) -> Result<String, Class> {
    let asking = async { client.get(url).send().await?.bytes(1000).await };
    let bytes = tokio::time::timeout(LONG, asking).await.unwrap().map_err(|e| e.class())?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn servers_and_agents_of_one_installation_know_each_other() {
    let _log = Watch::start();
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), Clock::real()).unwrap();
    let cert = ca.server(&["localhost"], &["127.0.0.1".parse().unwrap()]).unwrap();
    let (addr, serving) = start(Tls::new(&cert.cert, &cert.key, ClientCerts::Optional(ca.pem())).unwrap()).await;
    let urls = [format!("https://{addr}/who"), format!("https://localhost:{}/who", addr.port())];

    // Without a certificate: let in, nobody. The agent's key never leaves it: the CA sees the public half.
    assert_eq!(ask(&trusting(&ca, None), &urls[0]).await.unwrap(), "true nobody");
    let (key, public) = http::ca::client_key().unwrap();
    let issued = ca.client_for("wolke://host/h1", &public, 30).unwrap();
    for url in &urls {
        assert_eq!(ask(&trusting(&ca, Some((issued.clone(), key.clone()))), url).await.unwrap(), "true wolke://host/h1");
    }

    // Strangers: a client with the system's trust, one with another CA's certificate, a plain one, and one who trusts anybody.
    let other_dir = tempfile::tempdir().unwrap();
    let other = Ca::load_or_create(other_dir.path(), Clock::real()).unwrap();
    assert_eq!(ask(&client(), &urls[0]).await, Err(Class::BadGateway));
    assert_eq!(ask(&trusting(&other, None), &urls[0]).await, Err(Class::BadGateway));
    let forged = other.client("wolke://host/h1", 30).unwrap();
    assert_eq!(ask(&trusting(&ca, Some((forged.cert, forged.key))), &urls[0]).await, Err(Class::BadGateway));
    let careless = Client::new(ClientOptions { trust: Trust::Anybody, ..ClientOptions::default() }).unwrap();
    assert_eq!(ask(&careless, &urls[0]).await.unwrap(), "true nobody");
    assert_eq!(ask(&trusting(&ca, None), &format!("https://127.0.0.2:{}/who", addr.port())).await, Err(Class::BadGateway));

    // A server certificate is no client certificate.
    assert_eq!(ask(&trusting(&ca, Some((cert.cert.clone(), cert.key.clone()))), &urls[0]).await, Err(Class::BadGateway));
    serving.stop().await;
}

#[tokio::test]
async fn required_client_certificates_and_renewal() {
    let _log = Watch::start();
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), Clock::real()).unwrap();
    let address = ["127.0.0.1".parse().unwrap()];
    let cert = ca.server(&[], &address).unwrap();
    let tls = Tls::new(&cert.cert, &cert.key, ClientCerts::Required(ca.pem())).unwrap();
    let (addr, serving) = start(tls.clone()).await;
    let url = format!("https://{addr}/who");
    let agent = ca.client("wolke://host/h2", 30).unwrap();
    let identity = Some((agent.cert, agent.key));
    assert_eq!(ask(&trusting(&ca, None), &url).await, Err(Class::BadGateway));
    assert_eq!(ask(&trusting(&ca, identity.clone()), &url).await.unwrap(), "true wolke://host/h2");

    // A certificate of another CA in place of ours is used from the next connection on.
    let other_dir = tempfile::tempdir().unwrap();
    let other = Ca::load_or_create(other_dir.path(), Clock::real()).unwrap();
    let renewed = other.server(&[], &address).unwrap();
    tls.renew(&renewed.cert, &renewed.key).unwrap();
    assert_eq!(ask(&trusting(&ca, identity.clone()), &url).await, Err(Class::BadGateway));
    assert_eq!(ask(&trusting(&other, identity), &url).await.unwrap(), "true wolke://host/h2");
    assert!(tls.renew(&renewed.cert, &cert.key).is_err(), "a key that does not belong to it");
    serving.stop().await;
}

#[tokio::test]
async fn both_protocol_versions_of_http_over_tls() {
    let _log = Watch::start();
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), Clock::real()).unwrap();
    let cert = ca.server(&["localhost"], &[]).unwrap();
    let (addr, serving) = start(Tls::new(&cert.cert, &cert.key, ClientCerts::Ignored).unwrap()).await;
    // curl is in every base image and speaks HTTP/2; it sees HSTS too.
    let pem = dir.path().join("ca.pem");
    for version in ["--http1.1", "--http2"] {
        let run = tokio::process::Command::new("curl")
            .args(["-sSi", version, "--resolve", &format!("localhost:{}:127.0.0.1", addr.port()), "--cacert"])
            .arg(&pem)
            .arg(format!("https://localhost:{}/who", addr.port()))
            .output();
        let out = tokio::time::timeout(LONG, run).await.unwrap().expect("this test needs the program curl");
        let text = String::from_utf8_lossy(&out.stdout).to_lowercase();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let first = if version == "--http2" { "http/2 200" } else { "http/1.1 200" };
        assert!(text.starts_with(first) && text.contains("strict-transport-security") && text.ends_with("true nobody"), "{text}");
    }
    serving.stop().await;
}

#[test]
fn the_ca_is_made_once_and_never_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let first = Ca::load_or_create(dir.path(), Clock::real()).unwrap();
    let again = Ca::load_or_create(dir.path(), Clock::real()).unwrap();
    assert_eq!(first.pem(), again.pem());
    let mode = std::fs::metadata(dir.path().join("ca.key")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    // Half a pair, and a pair that does not belong together.
    let other_dir = tempfile::tempdir().unwrap();
    Ca::load_or_create(other_dir.path(), Clock::real()).unwrap();
    std::fs::copy(other_dir.path().join("ca.pem"), dir.path().join("ca.pem")).unwrap();
    let e = Ca::load_or_create(dir.path(), Clock::real()).err().unwrap();
    assert!(e.to_string().contains("belong together"), "{e}");
    std::fs::remove_file(dir.path().join("ca.pem")).unwrap();
    assert!(Ca::load_or_create(dir.path(), Clock::real()).is_err());
    assert!(!dir.path().join("ca.pem").exists());
    assert!(again.client_for("wolke://host/x", &[4; 10], 1).is_err());
    assert!(again.server(&["ümlaut"], &[]).is_err());
}
