//! Images fetched from elsewhere.

use crate::house::{House, md5, qcow2};
use serde_json::json;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A source that answers every request with the same bytes.
async fn source(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0u8; 4096];
            // Whatever was asked, the answer is this.
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    addr
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes();
    out.extend(body);
    out
}

#[tokio::test]
async fn only_from_listed_hosts() {
    let bytes = qcow2("3M");
    let (good, missing, cut) = (source(http("200 OK", &bytes)).await, source(http("404 Not Found", b"<html>")).await, {
        let mut cut = http("200 OK", &bytes);
        cut.truncate(cut.len() - 1000);
        source(cut).await
    });
    let house = House::start().await;
    let url = format!("http://{good}/a.qcow2");
    let refused = house.call("POST", "/v1/images").header("X-Image-Meta-Name", "a").header("X-Glance-Api-Copy-From", &url).send().await;
    assert_eq!((refused.status, refused.class().as_str()), (406, "UnsupportOperationError"));
    assert_eq!(house.call("GET", "/v1/images").send().await.json(), json!({"images": []}));

    let house = House::with(|o| o.copy_from_hosts = [good, missing, cut].map(|a| a.to_string()).to_vec()).await;
    let started =
        house.call("POST", "/v1/images").header("X-Image-Meta-Name", "a").header("X-Glance-Api-Copy-From", &url).send().await.image();
    let image = house.becomes(started["id"].as_str().expect("an id"), "active").await;
    assert_eq!(image["checksum"], md5(&bytes));
    // An error page is no image, nor is half of one.
    for from in [missing, cut] {
        let body = json!({"image": {"name": format!("from-{}", from.port()), "copy_from": format!("http://{from}/x")}});
        let started = house.call("POST", "/v1/images").json(&body).send().await.image();
        assert_eq!(house.becomes(started["id"].as_str().expect("an id"), "killed").await["protected"], false);
    }
    for url in ["http://169.254.169.254/latest", "file:///etc/shadow", "http://user@127.0.0.1/"] {
        let status =
            house.call("POST", "/v1/images").header("X-Image-Meta-Name", "x").header("X-Glance-Api-Copy-From", url).send().await.status;
        assert!([400, 406].contains(&status), "{url}: {status}");
    }
}
