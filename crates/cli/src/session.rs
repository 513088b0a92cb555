//! Calls in the name of a login: a token, the catalogue, and errors a person can use.

use crate::{
    body,
    catalog::Service,
    fail::{Fail, Result},
    login,
    login_sso::{self, LetIn},
    profile::{DEVICE, Profile, Saved},
    proof::Proof,
    terminal,
};
use api_identity::{AUTH_TOKEN, SUBJECT_TOKEN, Subject, TokenAnswer};
use base::{Clock, Timestamp};
use clap::ArgMatches;
use http::{Answer, Call, Client, ClientOptions, Method, Trust, error_body, tunnel::Tunnel};
use serde_json::Value as Json;
use std::time::Duration;

/// A stored token this near to its end is not used any more.
const SPARE_SECS: i64 = 30;
/// How often a code is asked for that turns out wrong.
const TRIES: usize = 3;

pub struct Session {
    client: Client,
    pub profile: Profile,
    token: String,
    pub subject: Subject,
    /// Where the profile lies, if it is a saved one.
    pub saved: Option<Saved>,
    /// Goes with every call, so that what a user quotes is in the services' logs.
    request: String,
}

impl Session {
    /// Logs in as whoever is set up, or as the profile the command line names.
    pub async fn open(matches: &ArgMatches) -> Result<Session> {
        let found = login::find(&login::process_env, body::text(matches, "profile"))?;
        let mut session = Session::to(found.profile)?;
        session.saved = found.saved;
        session.enter().await?;
        Ok(session)
    }

    /// Nobody's yet.
    pub fn to(profile: Profile) -> Result<Session> {
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
        Ok(Session { client, profile, token: String::new(), subject: Subject::default(), saved: None, request })
    }

    /// By the token that is there, or a new one.
    async fn enter(&mut self) -> Result<()> {
        if self.profile.token.is_empty() {
            return self.renew().await;
        }
        if self.saved.is_none() {
            return self.look().await;
        }
        if ended(&self.profile.expires_at) {
            return self.renew().await;
        }
        match self.look().await {
            // Revoked, or of a platform that was made anew.
            Err(fail) if fail.status() == 401 => self.renew().await,
            other => other,
        }
    }

    /// A new token by what the profile holds; from a person at a terminal, by his password. A saved profile keeps it.
    async fn renew(&mut self) -> Result<()> {
        let profile = &self.profile;
        let credential = match (&profile.credential, &profile.access_key) {
            (Some(credential), _) => Some(Proof::Credential(credential.clone())),
            (None, Some(key)) => Some(Proof::AccessKey(key.clone())),
            (None, None) => None,
        };
        match (credential, &self.saved) {
            (Some(proof), _) => self.prove(&proof).await?,
            (None, _) if !profile.password.is_empty() => {
                let (password, passcode) = (profile.password.clone(), profile.passcode.clone());
                return self.by_password(&password, &passcode).await;
            }
            (None, Some(saved)) => {
                let (name, remedy) = (saved.name.clone(), saved.remedy());
                if !terminal::is_there() || !profile.sso.is_empty() {
                    let remedy = match profile.sso.as_str() {
                        "" => remedy,
                        DEVICE => format!("{remedy} --device"),
                        _ => format!("{remedy} --sso"),
                    };
                    return Err(Fail::usage(format!("the login of the profile {name} has ended; log in again with `{remedy}`")));
                }
                eprintln!("the login of the profile {name} has ended; log in again as {} to go on", profile.user);
                let password = terminal::secret("password: ", "password")?;
                self.by_password(&password, "").await?;
            }
            (None, None) => return Err(Fail::usage("the login has neither a password nor a token; log in with `wolke login`")),
        }
        self.keep()
    }

    /// Writes the token of this session into its profile.
    pub fn keep(&mut self) -> Result<()> {
        let Some(saved) = &self.saved else { return Ok(()) };
        self.profile.token = self.token.clone();
        self.profile.expires_at = self.subject.expires_at.clone();
        saved.save(&self.profile)
    }

    /// What the profile's token stands for.
    async fn look(&mut self) -> Result<()> {
        let token = self.profile.token.clone();
        let call = self.client.get(&self.tokens_url()).idempotent().token(&token).header(SUBJECT_TOKEN, &token);
        let answer = self.send(call).await?;
        self.take(answer, token).await
    }

    /// By a password, and a code where the service wants one: the given one, or one that is asked for.
    pub async fn by_password(&mut self, password: &str, passcode: &str) -> Result<()> {
        let proof = |code: &str| Proof::Password { password: password.to_string(), passcode: code.to_string() };
        match self.prove(&proof(passcode)).await {
            Err(fail) if fail.class() == Some("SecondFactorRequired") && terminal::is_there() => {}
            other => return other,
        }
        for left in (0..TRIES).rev() {
            let code = terminal::line("one-time password, or a recovery code: ", "otp")?;
            match self.prove(&proof(&code)).await {
                Err(fail) if left > 0 && fail.class() == Some("InvalidCredentialError") => eprintln!("{}", fail.message()),
                other => return other,
            }
        }
        Ok(())
    }

    /// Who logs in by a browser of this machine; `open` is given the page.
    pub async fn at_browser(&self, open: impl FnOnce(&str)) -> Result<LetIn> {
        login_sso::by_browser(&self.client, &self.profile.auth_url, open).await
    }

    /// Who logs in by a browser anywhere; `tell` is given the code.
    pub async fn at_device(&self, tell: impl FnOnce(&login_sso::Device)) -> Result<LetIn> {
        login_sso::by_device(&self.client, &self.profile.auth_url, tell).await
    }

    /// Gets a token, and what it stands for.
    pub async fn prove(&mut self, proof: &Proof) -> Result<()> {
        let request = proof.request(&self.profile, Clock::real().now())?;
        let call = self.client.post(&self.tokens_url()).json(&serde_json::to_value(&request)?);
        let answer = self.send(call).await?;
        let token = answer.header(SUBJECT_TOKEN).map(str::to_string);
        let token = token.ok_or_else(|| self.no_identity_service("the answer has no X-Subject-Token"))?;
        self.take(answer, token).await
    }

    async fn take(&mut self, answer: Answer, token: String) -> Result<()> {
        let body = answer.json().await.map_err(|e| Fail::refused(&e, 0, ""))?;
        let answer: TokenAnswer = serde_json::from_value(body).map_err(|e| self.no_identity_service(e))?;
        self.token = token;
        self.subject = answer.token;
        Ok(())
    }

    fn no_identity_service(&self, why: impl std::fmt::Display) -> Fail {
        Fail::usage(format!("{} does not answer like an identity service ({why}); its address ends with /v3", self.profile.auth_url))
    }

    fn tokens_url(&self) -> String {
        format!("{}/auth/tokens", self.profile.auth_url.trim_end_matches('/'))
    }

    /// The token is void from now on, at the service.
    pub async fn revoke(&self) -> Result<()> {
        let token = &self.profile.token;
        let call = self.client.call(Method::DELETE, &self.tokens_url()).header(AUTH_TOKEN, token).header(SUBJECT_TOKEN, token);
        self.send(call).await.map(drop)
    }

    /// The CA that is believed besides the machine's; empty: none.
    pub fn ca_file(&self) -> &str {
        &self.profile.ca_file
    }

    pub fn token(&self) -> &str {
        &self.token
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
                    "the login is for no project and has no catalogue; name one with `wolke login --project NAME`, or set OS_PROJECT_NAME"
                        .to_string()
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

    /// A connection that stops being HTTP.
    pub async fn tunnel(&self, call: Call, protocol: &str) -> Result<Tunnel> {
        call.header("x-request-id", &self.request).tunnel(protocol).await.map_err(|e| Fail::refused(&e, 0, &self.request))
    }

    pub async fn get(&self, service: Service, path: &str, query: &[(String, String)]) -> Result<Json> {
        let mut call = self.call(service, Method::GET, path)?.idempotent();
        for (key, value) in query {
            call = call.query(key, value);
        }
        self.json(call).await
    }

    pub async fn delete(&self, service: Service, path: &str) -> Result<()> {
        self.send(self.call(service, Method::DELETE, path)?).await.map(drop)
    }

    pub async fn post(&self, service: Service, path: &str, body: &Json) -> Result<Json> {
        self.json(self.call(service, Method::POST, path)?.json(body)).await
    }
}

/// Whether a time the service wrote is past, or nearly so. One that cannot be read is left to the service.
fn ended(at: &str) -> bool {
    Timestamp::parse(at).is_some_and(|end| end <= Clock::real().now().plus_secs(SPARE_SECS))
}

/// One segment of a path.
pub fn segment(text: &str) -> String {
    http::path::encode(text)
}
