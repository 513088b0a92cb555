//! Calls in the name of a login: a token, the catalogue, and errors a person can use.

use crate::{
    catalog::Service,
    fail::{Fail, Result},
    login::{self, Profile},
};
use api_identity::{Login, SUBJECT_TOKEN, ScopeWish, Secret, Subject, TokenAnswer};
use http::{Answer, Call, Client, ClientOptions, Method, Trust, error_body};
use serde_json::Value as Json;
use std::time::Duration;

pub struct Session {
    client: Client,
    profile: Profile,
    token: String,
    pub subject: Subject,
    /// Goes with every call, so that what a user quotes is in the services' logs.
    request: String,
}

impl Session {
    /// Logs in as whoever is set up.
    pub async fn open() -> Result<Session> {
        Session::of(login::find(&login::process_env)?).await
    }

    pub async fn of(profile: Profile) -> Result<Session> {
        let trust = if profile.insecure {
            Trust::Anybody
        } else if profile.ca_file.is_empty() {
            Trust::System
        } else {
            Trust::SystemAnd(std::fs::read_to_string(&profile.ca_file).map_err(|e| Fail::file(&profile.ca_file, &e))?)
        };
        let options = ClientOptions { trust, deadline: Duration::from_secs(600), use_proxy: true, ..ClientOptions::default() };
        let client = Client::new(options).map_err(|e| Fail::refused(&e, 0, ""))?;
        let mut id = [0u8; 6];
        getrandom::fill(&mut id).map_err(|e| Fail::usage(format!("the kernel gives no random bytes: {e}")))?;
        let request = format!("cli-{}", hex::encode(id));
        let mut session = Session { client, profile, token: String::new(), subject: Subject::default(), request };
        session.log_in().await?;
        Ok(session)
    }

    async fn log_in(&mut self) -> Result<()> {
        let url = format!("{}/auth/tokens", self.profile.auth_url.trim_end_matches('/'));
        let call = if self.profile.token.is_empty() {
            let login = Login {
                user: self.profile.user.clone(),
                password: Secret::new(self.profile.password.clone()),
                domain: self.profile.domain.clone(),
                project: self.profile.project.clone(),
                source: "cli".into(),
            };
            let mut request = login.request();
            if self.profile.project.is_empty() {
                request.auth.scope = Some(ScopeWish::Unscoped);
            }
            self.client.post(&url).json(&serde_json::to_value(&request)?)
        } else {
            self.client.get(&url).token(&self.profile.token).header(SUBJECT_TOKEN, &self.profile.token)
        };
        let answer = self.send(call).await?;
        self.token = answer.header(SUBJECT_TOKEN).map(str::to_string).unwrap_or_else(|| self.profile.token.clone());
        let body = answer.json().await.map_err(|e| Fail::refused(&e, 0, ""))?;
        let answer: TokenAnswer = serde_json::from_value(body).map_err(|e| {
            Fail::usage(format!("{} does not answer like an identity service ({e}); its address ends with /v3", self.profile.auth_url))
        })?;
        self.subject = answer.token;
        Ok(())
    }

    /// The CA that is believed besides the machine's; empty: none.
    pub fn ca_file(&self) -> &str {
        &self.profile.ca_file
    }

    /// The address of a service.
    pub fn url(&self, service: Service) -> Result<String> {
        let of = |region: &str| self.subject.endpoint(service.kind(), region, &self.profile.interface);
        let found = of(&self.profile.region).map(|url| url.trim_end_matches('/').to_string());
        match found {
            Some(url) => Ok(url),
            None if service == Service::Identity => Ok(self.profile.auth_url.trim_end_matches('/').to_string()),
            None => {
                let mut regions: Vec<&str> = self
                    .subject
                    .catalog
                    .iter()
                    .filter(|s| s.r#type == service.kind())
                    .flat_map(|s| s.endpoints.iter().map(|e| e.region_id.as_str()))
                    .collect();
                regions.dedup();
                Err(Fail::usage(if self.subject.catalog.is_empty() {
                    "the token is for no project and has no catalogue; set OS_PROJECT_NAME".to_string()
                } else if regions.is_empty() {
                    format!("the platform has no {} service", service.word())
                } else {
                    format!(
                        "region {} has no {} service; set OS_REGION_NAME to one of: {}",
                        self.profile.region,
                        service.word(),
                        regions.join(", ")
                    )
                }))
            }
        }
    }

    /// A call to a service, with the token.
    pub fn call(&self, service: Service, method: Method, path: &str) -> Result<Call> {
        let url = format!("{}{path}", self.url(service)?);
        Ok(self.client.call(method, &url).token(&self.token))
    }

    /// Sends; an answer of 400 and above is a failure with its class and request id.
    pub async fn send(&self, call: Call) -> Result<Answer> {
        let sent = call.header("x-request-id", &self.request).send_any().await;
        let answer = sent.map_err(|e| Fail::refused(&e, 0, &self.request))?;
        if answer.status < 300 {
            return Ok(answer);
        }
        let status = answer.status;
        let request = answer.header("x-request-id").unwrap_or(&self.request).to_string();
        let body = answer.bytes(1 << 20).await.unwrap_or_default();
        Err(Fail::refused(&error_body::parse(status, &body), status, &request))
    }

    /// Sends and reads the JSON that comes back.
    pub async fn json(&self, call: Call) -> Result<Json> {
        self.send(call).await?.json().await.map_err(|e| Fail::refused(&e, 0, &self.request))
    }

    pub async fn get(&self, service: Service, path: &str, query: &[(String, String)]) -> Result<Json> {
        let mut call = self.call(service, Method::GET, path)?.idempotent();
        for (key, value) in query {
            call = call.query(key, value);
        }
        self.json(call).await
    }

    pub async fn post(&self, service: Service, path: &str, body: &Json) -> Result<Json> {
        self.json(self.call(service, Method::POST, path)?.json(body)).await
    }
}

/// One segment of a path.
pub fn segment(text: &str) -> String {
    http::path::encode(text)
}
