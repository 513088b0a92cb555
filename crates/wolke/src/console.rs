//! The web console of a process: its gateway with an account of its own, and the first person who may use it.

use crate::frame::Frame;
use anyhow::Result;
use api_identity::{IdentityClient, Login, Secret};
use apigateway::{Gateway, Parts};
use auth::{Seal, Verifier};
use http::{Client, ClientOptions, Trust};
use keystone::{ServiceEntry, remote::HttpTransport};
use resource::Gate;
use std::sync::Arc;

/// The console's first user, an administrator, where the configuration names none.
pub const USER: &str = "admin";
/// The gateway's own account.
const ACCOUNT: &str = "gateway";

/// What `wolke up` knows before its services are built.
pub struct Console {
    login: Login,
    /// The administrators' password, when it was made up just now.
    pub password: Option<Secret>,
}

/// Sees to the accounts: the gateway's, and one that people may log in to the console with. Before the identity service is built.
pub fn prepare(frame: &mut Frame) -> Result<Console> {
    let password = Secret::new(frame.data.secret("gateway.key")?);
    let known = std::fs::read_to_string(frame.data.path("admin.json")).ok();
    let known = known.and_then(|t| serde_json::from_str::<serde_json::Value>(&t).ok());
    let listed = crate::frame::catalogue(&frame.front.url);
    let config = &mut frame.settings.keystone;
    if config.services.is_empty() {
        config.services = listed;
    }
    let account = |entry: &mut ServiceEntry| {
        entry.account = ACCOUNT.into();
        entry.account_password = password.clone();
    };
    match config.services.iter_mut().find(|s| s.r#type == apigateway::SERVICE) {
        Some(entry) => account(entry),
        None => {
            let mut entry = ServiceEntry { name: "apigateway".into(), r#type: apigateway::SERVICE.into(), ..ServiceEntry::default() };
            account(&mut entry);
            config.services.push(entry);
        }
    }
    let mut made_up = None;
    let mut own = config.bootstrap_admin_user_password.clone();
    if own.is_empty() {
        let told = known.as_ref().and_then(|k| k["password"].as_str()).filter(|p| !p.is_empty());
        own = match told {
            Some(told) => Secret::new(told),
            None => {
                let fresh = keystone::random_password()?;
                made_up = Some(fresh.clone());
                config.bootstrap_admin_user_password = fresh.clone();
                fresh
            }
        };
    }
    if config.bootstrap_console_user.is_empty() {
        config.bootstrap_console_user = USER.into();
        config.bootstrap_console_password = own;
    }
    let login = Login { user: ACCOUNT.into(), password, domain: "Default".into(), project: "system".into(), source: "srv".into() };
    Ok(Console { login, password: made_up })
}

impl Console {
    /// The gateway beside the services of this process.
    pub async fn gateway(&self, frame: &Frame, verifier: Arc<Verifier>, gate: Arc<dyn Gate>) -> Result<Arc<Gateway>> {
        let url = format!("{}/identity/v3", frame.front.local);
        let client = Client::new(ClientOptions { trust: frame.trust()?, ..ClientOptions::default() })?;
        let identity = IdentityClient::new(Arc::new(HttpTransport::new(client, &url)), Some(self.login.clone()), frame.clock.clone());
        build(frame, verifier, gate, identity, &url, frame.trust()?).await
    }
}

/// A gateway; `identity` is its account with the identity service, which is at `url`.
pub async fn build(
    frame: &Frame,
    verifier: Arc<Verifier>,
    gate: Arc<dyn Gate>,
    identity: IdentityClient,
    url: &str,
    trust: Trust,
) -> Result<Arc<Gateway>> {
    let usual = ClientOptions { trust, ..ClientOptions::default() };
    let patient = ClientOptions { deadline: apigateway::LONGEST, stall: apigateway::LONGEST, retries: 0, ..usual.clone() };
    let (db, licence) = frame.licence().await?.clone();
    let parts = Parts {
        db,
        licence,
        clock: frame.clock.clone(),
        gate,
        verifier,
        identity,
        identity_url: url.into(),
        client: Client::new(usual)?,
        streaming: Client::new(patient)?,
        seal: Seal::new(frame.secret_key()?.expose(), "gateway")?,
        options: apigateway::Options {
            bins: apigateway::Bins { compute: frame.settings.region.recycle, image: frame.settings.glance.recycle },
            ..frame.settings.apigateway.clone()
        },
        url: frame.front.url.clone(),
        near: frame.front.local.clone(),
        draining: frame.process.draining().clone(),
    };
    let gateway = Gateway::build(parts).await?;
    gateway.work(&frame.process);
    Ok(gateway)
}
