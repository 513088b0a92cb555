//! Logins at a real server of CAS (django-cas-server): its pages, its tickets, its answers, on both databases.

#[allow(dead_code, reason = "a part of the suite's kit")]
#[path = "../suite/kit.rs"]
mod kit;
#[path = "../suite/python.rs"]
mod python;

use base::{Clock, Json};
use http::{Client, ClientOptions, Method};
use kit::{Answer, Cloud};
use serde_json::json;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

const SERVICE: &str = "https://cloud.example.org/login";
const PASSWORD: &str = "Ann@Pass1";

/// The server, with one user.
struct Cas {
    child: Child,
    client: Client,
    url: String,
    _folder: tempfile::TempDir,
}

impl Cas {
    fn start() -> Cas {
        let folder = tempfile::tempdir().expect("a directory");
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cas/driver.py");
        let attributes = json!({"mail": ["ann@example.org"], "memberOf": ["devs", "all"], "displayName": ["Ann & <Co>"]});
        let people = json!({"user": "ann", "password": PASSWORD, "attributes": attributes, "pattern": "^https://cloud[.]example[.]org/"});
        let mut command = Command::new(python::with("cas-server", include_str!("requirements.txt")));
        command.arg(driver).arg(folder.path()).arg(people.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("python starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("it says where it listens");
        let told: Json = serde_json::from_str(&line).unwrap_or_else(|e| panic!("the CAS server does not start: {e}: {line:?}"));
        let client = Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).expect("a client");
        Cas { child, client, url: told["url"].as_str().expect("an address").to_string(), _folder: folder }
    }

    /// Logs in on its page, as a browser that was sent there; the status of its answer, and where it leads.
    async fn log_in(&self, url: &str, password: &str) -> (u16, String) {
        assert!(url.starts_with(&format!("{}/login?", self.url)), "{url}");
        let page = self.client.get(url).send().await.expect("its page");
        let cookies = page.headers().get_all("set-cookie").iter().filter_map(|c| c.to_str().ok()?.split(';').next());
        let cookie = cookies.collect::<Vec<_>>().join("; ");
        let text = String::from_utf8_lossy(&page.bytes(1 << 20).await.expect("a page")).into_owned();
        let hidden = |name: &str| {
            let input = text.split_once(&format!("name=\"{name}\" value=\"")).and_then(|(_, rest)| rest.split_once('"'));
            input.unwrap_or_else(|| panic!("no {name} in {text}")).0.to_string()
        };
        let form = [
            ("csrfmiddlewaretoken", hidden("csrfmiddlewaretoken")),
            ("service", hidden("service")),
            ("lt", hidden("lt")),
            ("username", "ann".into()),
            ("password", password.into()),
        ];
        let form = form.iter().map(|(k, v)| format!("{k}={}", http::path::encode(v))).collect::<Vec<_>>().join("&");
        let call = self.client.call(Method::POST, url).header("cookie", &cookie);
        let answer = call.header("content-type", "application/x-www-form-urlencoded").bytes(form).send_any().await.expect("an answer");
        (answer.status, answer.header("location").unwrap_or_default().to_string())
    }

    /// A ticket for a service, as the address brings it back.
    async fn ticket(&self, url: &str) -> String {
        let (status, back) = self.log_in(url, PASSWORD).await;
        assert!(status == 302 && back.starts_with(SERVICE), "{status} {back}");
        let query = back.split_once('?').map_or("", |(_, q)| q);
        let query = http::Query::parse(query).expect("a query");
        assert_eq!(query.text("state"), Some("word"));
        query.text("ticket").expect("a ticket").to_string()
    }
}

impl Drop for Cas {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

async fn enter(cloud: &Cloud, id: &str, ticket: &str, service: &str) -> Answer {
    let identity = json!({"methods": ["cas"], "id": id, "cas_ticket": {"id": ticket, "service": service}});
    cloud.send("POST", "/v3/auth/tokens", None, None, Some(json!({"auth": {"identity": identity}}))).await
}

async fn story() {
    let mut cas = Cas::start();
    let cloud = kit::cloud_with(keystone::Config { sso_http_on_loopback: true, ..kit::config() }, Clock::real()).await;
    let admin = cloud.admin().await;
    let config = json!({"cas_server_url": cas.url, "groups_attribute": "memberOf"});
    let body = json!({"identity_provider": {"name": "campus", "driver": "cas", "auto_create_user": true, "config": {"cas": config}}});
    let made = cloud.post(&admin, "/v3/identity_providers", body).await.ok();
    let id = made["identity_provider"]["id"].as_str().expect("an id").to_string();
    let path = format!("/v3/identity_providers/{id}/sso-redirect-uri?redirect_uri={}&state=word", http::path::encode(SERVICE));
    let there = cloud.get(&admin, &path).await.ok()["identity_provider"]["uri"].as_str().expect("an address").to_string();
    let service = format!("{SERVICE}?state=word");

    // Its page keeps out whoever does not know the password; who does comes in, with what it says of him.
    assert_eq!(cas.log_in(&there, "wrong").await, (200, String::new()));
    let ticket = cas.ticket(&there).await;
    let answer = enter(&cloud, &id, &ticket, &service).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let (token, user) = (answer.subject.expect("a token"), answer.body["token"]["user"].clone());
    assert_eq!(answer.body["token"]["methods"], json!(["cas"]));
    assert_eq!((&user["name"], &user["email"], &user["displayname"]), (&json!("ann"), &json!("ann@example.org"), &json!("Ann & <Co>")));
    let ann = format!("/v3/users/{}", user["id"].as_str().expect("an id"));
    assert_eq!(cloud.get(&admin, &ann).await.ok()["user"]["group_count"], 2);

    // A ticket counts once; a second one is the same person.
    assert_eq!(enter(&cloud, &id, &ticket, &service).await.refusal(), (401, "InvalidCredentialError"));
    let ticket = cas.ticket(&there).await;
    let elsewhere = enter(&cloud, &id, &ticket, "https://cloud.example.org/other").await;
    assert_eq!(elsewhere.refusal(), (401, "InvalidCredentialError"), "made for another page: {}", elsewhere.body);
    let again = enter(&cloud, &id, &cas.ticket(&there).await, &service).await.ok();
    assert_eq!(again["token"]["user"]["id"], user["id"]);
    let unknown = enter(&cloud, &id, "ST-made-up", &service).await;
    assert!(unknown.status == 401 && unknown.body["details"].as_str().is_some_and(|d| d.contains("INVALID_TICKET")), "{}", unknown.body);
    // The server knows whom it serves.
    let path = format!(
        "/v3/identity_providers/{id}/sso-redirect-uri?redirect_uri={}&state=word",
        http::path::encode("https://other.example.org/")
    );
    let foreign = cloud.get(&admin, &path).await.ok()["identity_provider"]["uri"].as_str().expect("an address").to_string();
    let page = cas.client.get(&foreign).send_any().await.expect("its page");
    let text = String::from_utf8_lossy(&page.bytes(1 << 20).await.expect("a page")).into_owned();
    assert!(!text.contains("ticket="), "{text}");

    // Switched off here, its users are out at once; gone there, nobody gets in, and why is said.
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/disable"), json!({})).await.ok();
    assert_eq!(cloud.send("GET", "/v3/auth/tokens", Some(&token), Some(&token), None).await.status, 401);
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/enable"), json!({})).await.ok();
    let ticket = cas.ticket(&there).await;
    cas.child.kill().expect("it can be ended");
    cas.child.wait().expect("it ends");
    let away = enter(&cloud, &id, &ticket, &service).await;
    assert!(away.status == 502 && away.body["details"].as_str().is_some_and(|d| d.contains("campus")), "{}", away.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_at_a_real_server() {
    kit::on_sqlite(story()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pg_logins_at_a_real_server() {
    kit::on_postgres(story()).await;
}
