//! What a browser is to the gateway: keeps cookies, says where its page is from; and a platform that one is logged in at.

use super::{PATIENCE, Platform};
use http::{Client, ClientOptions, Method};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

pub const PASSWORD: &str = "Correct-horse-9";

/// A browser: keeps cookies, says where its page is from.
#[derive(Clone)]
pub struct Browser {
    pub client: Client,
    pub url: String,
    pub jar: BTreeMap<String, String>,
    /// Every `Set-Cookie` line of the last answer.
    pub set: Vec<String>,
    pub headers: http::HeaderMap,
    pub origin: Option<String>,
    pub bearer: Option<String>,
}

impl Browser {
    pub fn new(url: &str) -> Browser {
        let client = Client::new(ClientOptions { retries: 0, deadline: PATIENCE, ..ClientOptions::default() }).expect("a client");
        let (jar, set) = (BTreeMap::new(), Vec::new());
        Browser { client, url: url.into(), jar, set, headers: http::HeaderMap::new(), origin: Some(url.into()), bearer: None }
    }

    pub fn call(&self, method: Method, path: &str) -> http::Call {
        let mut call = self.client.call(method, &format!("{}{path}", self.url));
        let cookies: Vec<String> = self.jar.iter().map(|(k, v)| format!("{k}={v}")).collect();
        if !cookies.is_empty() {
            call = call.header("cookie", &cookies.join("; "));
        }
        if let Some(origin) = &self.origin {
            call = call.header("origin", origin);
        }
        if let Some(bearer) = &self.bearer {
            call = call.header("authorization", &format!("Bearer {bearer}"));
        }
        call
    }

    pub async fn take(&mut self, call: http::Call) -> (u16, Vec<u8>) {
        let answer = call.send_any().await.expect("an answer");
        let status = answer.status;
        self.headers = answer.headers().clone();
        self.set = self.headers.get_all("set-cookie").iter().map(|v| v.to_str().expect("text").to_string()).collect();
        for line in &self.set {
            let (name, value) = line.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if line.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.into(), value.into());
            }
        }
        (status, answer.bytes(64 << 20).await.expect("a body").to_vec())
    }

    pub async fn send(&mut self, method: Method, path: &str, body: Option<Json>) -> (u16, Json) {
        let call = self.call(method, path);
        let call = match &body {
            Some(body) => call.json(body),
            None => call,
        };
        let (status, bytes) = self.take(call).await;
        (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| Json::String(String::from_utf8_lossy(&bytes).into_owned())))
    }

    pub async fn get(&mut self, path: &str) -> Json {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    pub async fn post(&mut self, path: &str, body: Json) -> Json {
        let (status, answer) = self.send(Method::POST, path, Some(body)).await;
        assert_eq!(status, 200, "POST {path}: {answer}");
        answer
    }

    pub async fn login(&mut self, user: &str, password: &str) -> (u16, Json) {
        self.send(Method::POST, "/api/v1/auth/login", Some(json!({"username": user, "password": password, "domain": "Default"}))).await
    }

    /// A token of the identity service for an administrator of the platform, with which services are asked themselves.
    pub async fn token(&self, user: &str) -> String {
        let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": user, "password": PASSWORD, "domain": {"name": "Default"}}}},
            "scope": {"project": {"name": "system", "domain": {"name": "Default"}}}}});
        let answer = self.client.post(&format!("{}/identity/v3/auth/tokens", self.url)).json(&body).send().await.expect("a token");
        answer.header("x-subject-token").expect("a token").to_string()
    }

    pub fn session(&self) -> String {
        self.jar.get("wolke_session").cloned().unwrap_or_default()
    }

    /// What the readable cookie says.
    pub fn shown(&self) -> Json {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        let text = URL_SAFE_NO_PAD.decode(self.jar.get("yunionauth").expect("a cookie")).expect("base64url without padding");
        serde_json::from_slice(&text).expect("JSON")
    }
}

pub async fn platform(args: &[&str]) -> (Platform, Browser) {
    let mut all = vec!["--no-host", "--admin-password", PASSWORD];
    all.extend(args);
    let platform = Platform::start(&all, true).await;
    let mut browser = Browser::new(&platform.url());
    let (status, body) = browser.login("admin", PASSWORD).await;
    assert_eq!((status, body), (200, json!("")), "{}", platform.log("up.log"));
    (platform, browser)
}

/// A user with a role in a project of his own.
pub async fn user(admin: &mut Browser, name: &str, role: &str) -> (String, String) {
    let project = admin.post("/api/v1/projects", json!({"name": format!("{name}-project"), "domain_id": "default"})).await;
    let body = json!({"name": name, "password": PASSWORD, "domain_id": "default", "enabled": true, "allow_web_console": true});
    let made = admin.post("/api/v1/users", body).await;
    let (user, project) = (made["id"].as_str().expect("an id").to_string(), project["id"].as_str().expect("an id").to_string());
    admin.post(&format!("/api/v1/users/{user}/join"), json!({"projects": [project], "roles": [role]})).await;
    (user, project)
}
