//! The region over HTTP: the four calls of the contract, and image bytes by the same credential.

use crate::{
    disk::{Fetch, Fetched},
    region::Region,
};
use api_agent::{CONSOLE_PROTOCOL, ConsoleCall, Enroll, Enrolled, Heard, HostFacts, News, Observed, Registered};
use base::{Error, Json, Result, err};
use futures_util::StreamExt;
use host_net::BoxFuture;
use http::{Call, Client, ClientOptions, Trust, tunnel::Tunnel};
use serde::de::DeserializeOwned;
use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

/// A region behind a URL.
pub struct RegionHttp {
    client: Client,
    /// Without a trailing slash.
    url: String,
    /// The credential last used: images are fetched with it.
    credential: RwLock<String>,
}

impl RegionHttp {
    /// `url` is the compute service's, as `http://127.0.0.1:7780/compute`; `ca` is believed besides the machine's, empty: none.
    pub fn new(url: &str, ca: &str) -> Result<RegionHttp> {
        Ok(RegionHttp::over(Client::new(RegionHttp::options(ca))?, url))
    }

    /// As [`RegionHttp::new`], over a client shared with other agents of the process; it is made with [`RegionHttp::options`].
    pub fn over(client: Client, url: &str) -> RegionHttp {
        RegionHttp { client, url: url.trim_end_matches('/').to_string(), credential: RwLock::default() }
    }

    pub fn options(ca: &str) -> ClientOptions {
        let trust = if ca.is_empty() { Trust::System } else { Trust::SystemAnd(ca.to_string()) };
        // A call that the dialer repeats by itself is not repeated here as well.
        ClientOptions { trust, retries: 0, stall: Duration::from_secs(120), ..ClientOptions::default() }
    }

    fn signed(&self, call: Call, credential: &str) -> Call {
        *self.credential.write().unwrap_or_else(PoisonError::into_inner) = credential.to_string();
        call.header("authorization", &format!("Bearer {credential}"))
    }

    /// To the process where the person waits.
    fn console_call(&self, credential: &str, call: &ConsoleCall) -> Call {
        let url = if call.url.is_empty() { &self.url } else { call.url.trim_end_matches('/') };
        self.signed(self.client.get(&format!("{url}/agent/consoles/{}", call.id)), credential)
    }

    async fn post<T: DeserializeOwned>(&self, call: Call, body: &impl serde::Serialize) -> Result<T> {
        let json = serde_json::to_value(body).map_err(Error::internal)?;
        read(call.json(&json).send().await?.json().await?)
    }
}

fn read<T: DeserializeOwned>(json: Json) -> Result<T> {
    serde_json::from_value(json).map_err(|e| err!(BadGateway, "the region's answer is not understood: {}", e))
}

impl Region for RegionHttp {
    fn enroll<'a>(&'a self, enroll: &'a Enroll) -> BoxFuture<'a, Result<Enrolled>> {
        Box::pin(self.post(self.client.post(&format!("{}/agent/enroll", self.url)), enroll))
    }

    fn register<'a>(&'a self, credential: &'a str, facts: &'a HostFacts) -> BoxFuture<'a, Result<Registered>> {
        let call = self.signed(self.client.post(&format!("{}/agent/register", self.url)), credential);
        Box::pin(self.post(call, facts))
    }

    fn desired<'a>(&'a self, credential: &'a str, after: i64, wait_secs: u64) -> BoxFuture<'a, Result<News>> {
        Box::pin(async move {
            let call = self.signed(self.client.get(&format!("{}/agent/desired", self.url)), credential);
            let call = call.query("after", &after.to_string()).query("wait", &wait_secs.to_string());
            let mut json = call.deadline(Duration::from_secs(wait_secs + 30)).send().await?.json().await?;
            let consoles = json.get_mut("consoles").map(Json::take).map_or(Ok(Vec::new()), read)?;
            let unchanged = json.get("unchanged").is_some_and(|u| u == true);
            Ok(News { document: if unchanged { None } else { Some(read(json)?) }, consoles })
        })
    }

    fn observed<'a>(&'a self, credential: &'a str, observed: &'a Observed) -> BoxFuture<'a, Result<Heard>> {
        let call = self.signed(self.client.post(&format!("{}/agent/observed", self.url)), credential);
        Box::pin(self.post(call, observed))
    }

    fn console<'a>(&'a self, credential: &'a str, call: &'a ConsoleCall) -> BoxFuture<'a, Result<Tunnel>> {
        Box::pin(self.console_call(credential, call).tunnel(CONSOLE_PROTOCOL))
    }

    fn console_refused<'a>(&'a self, credential: &'a str, call: &'a ConsoleCall, why: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.console_call(credential, call).query("error", why).send().await.map(drop) })
    }
}

impl Fetch for RegionHttp {
    fn get<'a>(&'a self, url: &'a str, from: u64) -> BoxFuture<'a, Result<Fetched>> {
        Box::pin(async move {
            let own = url.starts_with('/');
            let full = if own { format!("{}{url}", self.url) } else { url.to_string() };
            let mut call = self.client.get(&full);
            if own {
                // Only our region gets the credential; an image elsewhere does not need to know it.
                let credential = self.credential.read().unwrap_or_else(PoisonError::into_inner).clone();
                call = call.header("authorization", &format!("Bearer {credential}"));
            }
            if from > 0 {
                call = call.header("range", &format!("bytes={from}-"));
            }
            // The whole file may take hours; what must not happen is standstill.
            let answer = call.deadline(Duration::from_hours(24)).send().await?;
            let began =
                answer.header("content-range").and_then(|r| r.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()).unwrap_or(0);
            Ok(Fetched { from: began, body: answer.stream().boxed() })
        })
    }
}
