//! Tokens for new hosts, asked for as an administrator would.

use anyhow::{Context, Result};
use api_identity::{Login, SUBJECT_TOKEN, Secret};
use base::Json;
use http::Client;
use serde::Deserialize;
use serde_json::json;
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// Logs in when the first token is needed: hosts that are enrolled already need none.
pub struct Administrator {
    client: Client,
    region: String,
    profile: PathBuf,
    session: OnceCell<String>,
}

/// What `wolke up` leaves for the command line.
#[derive(Deserialize)]
struct Profile {
    auth_url: String,
    user: String,
    password: String,
    domain: String,
    project: String,
}

impl Administrator {
    /// `region` is the compute service's URL, `profile` a file as `wolke up` leaves in its data directory.
    pub fn new(client: Client, region: &str, profile: PathBuf) -> Administrator {
        Administrator { client, region: region.trim_end_matches('/').to_string(), profile, session: OnceCell::new() }
    }

    /// A token of the identity service, good for an hour or more.
    pub async fn session(&self) -> Result<&str> {
        let session = self.session.get_or_try_init(|| async {
            let text = std::fs::read_to_string(&self.profile).with_context(|| format!("{} cannot be read", self.profile.display()))?;
            let profile: Profile = serde_json::from_str(&text).with_context(|| format!("{} is no login", self.profile.display()))?;
            let login = Login {
                user: profile.user,
                password: Secret::new(profile.password),
                domain: profile.domain,
                project: profile.project,
                source: "cli".into(),
            };
            let call = self.client.post(&format!("{}/auth/tokens", profile.auth_url)).json(&serde_json::to_value(login.request())?);
            let answer = call.send().await?;
            anyhow::Ok(answer.header(SUBJECT_TOKEN).context("the identity service gave no token")?.to_string())
        });
        Ok(session.await?)
    }

    /// A token one host can enrol with.
    pub async fn token(&self) -> Result<String> {
        let call = self.client.post(&format!("{}/host_tokens", self.region)).token(self.session().await?);
        let answer = call.json(&json!({"host_token": {"seconds": 3600}})).send().await?.json().await?;
        let token = answer.pointer("/host_token/token").and_then(Json::as_str);
        Ok(token.context("the region gave no token")?.to_string())
    }
}
