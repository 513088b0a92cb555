//! The services behind the gateway: where they are, and how they are asked: with a user's own token, or with the gateway's for what no user asks.

use api_identity::{CatalogService, IdentityClient};
use base::{Bearer, Clock, Ctx, Error, Json, Result, Timestamp, err};
use http::{Call, Client, Method};
use std::sync::{Arc, Mutex, PoisonError};

/// How long the catalogue is believed, seconds.
const CATALOGUE: i64 = 10;

pub struct Services {
    client: Client,
    /// For bodies of any size and requests of any length.
    pub streaming: Client,
    identity: IdentityClient,
    identity_url: String,
    /// What browsers are told, and where that is from here.
    near: (String, String),
    clock: Clock,
    catalogue: Mutex<Option<(Timestamp, Arc<Vec<CatalogService>>)>>,
}

impl Services {
    pub fn new(
        client: Client,
        streaming: Client,
        identity: IdentityClient,
        identity_url: &str,
        near: (&str, &str),
        clock: Clock,
    ) -> Services {
        let identity_url = identity_url.trim_end_matches('/').to_string();
        let near = (near.0.to_string(), near.1.to_string());
        Services { client, streaming, identity, identity_url, near, clock, catalogue: Mutex::default() }
    }

    /// A call of the identity service, of a path as `/auth/tokens`.
    pub fn identity(&self, method: Method, path: &str) -> Call {
        self.client.call(method, &format!("{}{path}", self.identity_url))
    }

    pub fn call(&self, method: Method, url: &str) -> Call {
        self.client.call(method, url)
    }

    pub fn client(&self) -> &IdentityClient {
        &self.identity
    }

    /// Asks the identity service in the gateway's name.
    pub async fn own(&self, method: Method, path: &str, body: Option<Json>) -> Result<Json> {
        let session = self.identity.session().await?;
        let call = self.identity(method, path).token(&session.token);
        let call = match &body {
            Some(body) => call.json(body),
            None => call,
        };
        call.send().await?.json().await
    }

    /// A question to a service in the gateway's name; `path` begins with a slash.
    pub async fn own_of(&self, kind: &str, path: &str) -> Result<Json> {
        let session = self.identity.session().await?;
        self.call(Method::GET, &format!("{}{path}", self.endpoint(kind, "").await?)).token(&session.token).send().await?.json().await
    }

    /// Posted with the gateway's own rights, in the language of whoever asks.
    pub async fn own_post(&self, ctx: &Ctx, url: &str, body: &Json) -> Result<Json> {
        let session = self.identity.session().await?;
        let ctx = Ctx { bearer: Bearer::default(), ..ctx.clone() };
        self.call(Method::POST, url).ctx(&ctx).token(&session.token).json(body).send().await?.json().await
    }

    /// Services and their addresses.
    pub async fn catalogue(&self) -> Result<Arc<Vec<CatalogService>>> {
        let now = self.clock.now();
        let known = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, services)) = &known
            && at.plus_secs(CATALOGUE) > now
        {
            return Ok(services.clone());
        }
        let asked = async {
            let mut answer = self.own(Method::GET, "/auth/catalog", None).await?;
            let services: Vec<CatalogService> =
                serde_json::from_value(answer.get_mut("catalog").map(Json::take).unwrap_or_default()).map_err(Error::internal)?;
            Ok::<_, Error>(Arc::new(services))
        };
        match (asked.await, known) {
            (Ok(services), _) => {
                *self.catalogue.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, services.clone()));
                Ok(services)
            }
            // What was known a moment ago is better than nothing.
            (Err(e), Some((_, services))) => {
                tracing::warn!(error = %e, cause = e.context(), "the catalogue could not be read; the last one serves");
                Ok(services)
            }
            (Err(e), None) => Err(e),
        }
    }

    /// Where services reach a service, as it stands in the catalogue. Without a region the first one serves.
    pub async fn endpoint(&self, kind: &str, region: &str) -> Result<String> {
        let catalogue = self.catalogue().await?;
        let alias = |t: &str| t == kind || (kind == "compute" && t == "compute_v2");
        let service = catalogue.iter().find(|s| alias(&s.r#type));
        let at = |interface: &str| {
            let fits = |e: &&api_identity::CatalogEndpoint| e.interface == interface && (region.is_empty() || e.region_id == region);
            service.and_then(|s| s.endpoints.iter().find(fits)).map(|e| e.url.trim_end_matches('/').to_string())
        };
        let found = at("internal").or_else(|| at("public")).ok_or_else(|| err!(BadRequest, "the catalogue has no service {}", kind))?;
        let (told, here) = &self.near;
        let rest = found.strip_prefix(told.as_str()).filter(|rest| !here.is_empty() && (rest.is_empty() || rest.starts_with('/')));
        Ok(rest.map_or_else(|| found.clone(), |rest| format!("{here}{rest}")))
    }

    /// Regions of the catalogue.
    pub async fn regions(&self) -> Result<Vec<String>> {
        let mut all: Vec<String> = self
            .catalogue()
            .await?
            .iter()
            .flat_map(|s| s.endpoints.iter().map(|e| e.region_id.clone()))
            .filter(|r| !r.is_empty())
            .collect();
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// A call of a service for a user.
    pub async fn for_user(&self, ctx: &Ctx, method: Method, kind: &str, region: &str, path: &str) -> Result<Call> {
        Ok(self.call(method, &format!("{}{path}", self.endpoint(kind, region).await?)).ctx(ctx))
    }
}
