//! What other services keep for each project and domain (spec 02 §11). Asked for now and then, so that details can show it, and always before a project
//! or domain goes: what still holds something is not deleted.

use crate::state::State;
use api_identity::{CatalogService, Role as RoleRow, User, domain::DEFAULT, project::SYSTEM, role::ADMIN, user::SYSADMIN};
use arc_swap::ArcSwap;
use auth::Claims;
use base::{Caller, Class, Error, Json, Resource, Result, Role, Timestamp, err};
use futures_util::future::join_all;
use http::{Client, Method};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
    time::Duration,
};
use store::{Cond, Read};

/// Numbers by plural keyword.
pub type Numbers = BTreeMap<String, i64>;

/// What one service said.
#[derive(Clone, Debug, Default)]
struct Heard {
    projects: HashMap<String, Numbers>,
    domains: HashMap<String, Numbers>,
}

#[derive(Default)]
pub struct Counters {
    client: OnceLock<Client>,
    /// By the id of the service.
    heard: ArcSwap<HashMap<String, Heard>>,
    at: ArcSwap<Option<Timestamp>>,
}

/// The console's gateway keeps nothing of anybody's, and answers paths it does not know with the console's page.
const CONSOLE: &str = "yunionapi";
/// Longest wait for one service.
const PATIENCE: Duration = Duration::from_secs(5);

impl Counters {
    /// How other services are reached; without it nobody is asked.
    pub fn reach_by(&self, client: Client) {
        if self.client.set(client).is_err() {
            tracing::debug!("the client for counting resources is set already");
        }
    }

    pub fn of_project(&self, id: &str) -> Numbers {
        sum(self.heard.load().values().filter_map(|h| h.projects.get(id)))
    }

    pub fn of_domain(&self, id: &str) -> Numbers {
        sum(self.heard.load().values().filter_map(|h| h.domains.get(id)))
    }

    /// When the services were asked last.
    pub fn at(&self) -> Option<Timestamp> {
        **self.at.load()
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a Numbers>) -> Numbers {
    let mut out = Numbers::new();
    for numbers in all {
        for (what, n) in numbers {
            *out.entry(what.clone()).or_default() += n;
        }
    }
    out
}

/// `2 users, 1 server…`: what a refusal names.
pub fn list(numbers: &Numbers) -> String {
    numbers.iter().filter(|(_, n)| **n > 0).map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
}

/// Asks every service of the catalogue, all at once; answers the names of those that said nothing. What they said before stays.
pub async fn refresh(state: &State) -> Result<Vec<String>> {
    let Some(client) = state.counters.client.get() else { return Ok(Vec::new()) };
    let token = own_token(state).await?;
    let catalogue = state.catalogue.load_full();
    let asked =
        catalogue.iter().filter(|s| ![api_identity::SERVICE, CONSOLE].contains(&s.r#type.as_str())).filter_map(|s| Some((s, url(s)?)));
    let answers = join_all(asked.map(|(service, url)| {
        let token = &token;
        async move {
            let call = client.call(Method::GET, &format!("{url}/scope-resources")).token(token);
            let answer = async { call.send().await?.json().await };
            let told = tokio::time::timeout(PATIENCE, answer)
                .await
                .unwrap_or_else(|_| Err(err!(Timeout, "{} did not answer in time", service.name)));
            (service, told)
        }
    }))
    .await;
    let mut heard: HashMap<String, Heard> = (**state.counters.heard.load()).clone();
    heard.retain(|id, _| catalogue.iter().any(|s| s.id == *id));
    let mut silent = Vec::new();
    for (service, told) in answers {
        match told {
            Ok(body) => drop(heard.insert(service.id.clone(), read(&body))),
            // It keeps no resources of anybody's.
            Err(e) if matches!(e.class().http(), 404 | 405 | 406 | 501) || e.class() == Class::UnsupportedOperation => {
                heard.insert(service.id.clone(), Heard::default());
            }
            Err(e) => {
                tracing::info!(service = service.name, error = %e, context = e.context(), "resources could not be counted");
                silent.push(service.name.clone());
            }
        }
    }
    state.counters.heard.store(Arc::new(heard));
    state.counters.at.store(Arc::new(Some(state.clock.now())));
    Ok(silent)
}

/// Refuses when nobody can know whether the project or domain is empty.
pub async fn demand_known(state: &State) -> Result<()> {
    let silent = refresh(state).await?;
    if silent.is_empty() {
        return Ok(());
    }
    Err(err!(
        ServiceAbnormal,
        "{} does not answer, so nobody knows what still belongs to it; try again, or disable the endpoints of a service that is gone",
        silent.join(", ")
    ))
}

fn url(service: &CatalogService) -> Option<&str> {
    let of = |interface: &str| service.endpoints.iter().find(|e| e.interface == interface);
    of("internal").or_else(|| of("public")).map(|e| e.url.trim_end_matches('/'))
}

fn read(body: &Json) -> Heard {
    let mut heard = Heard::default();
    for (plural, rows) in body.as_object().into_iter().flatten() {
        for row in rows.as_array().into_iter().flatten() {
            let n = row["res_count"].as_i64().unwrap_or(0);
            let owner = |key: &str| row[key].as_str().filter(|id| !id.is_empty());
            if let Some(id) = owner("tenant_id") {
                *heard.projects.entry(id.to_string()).or_default().entry(plural.clone()).or_default() += n;
            }
            if let Some(id) = owner("domain_id") {
                *heard.domains.entry(id.to_string()).or_default().entry(plural.clone()).or_default() += n;
            }
        }
    }
    heard
}

/// A short-lived token of the platform's own administrator.
async fn own_token(state: &State) -> Result<String> {
    let mut db = state.db.read();
    let named = |name: &'static str| Cond::eq("name", name).and(Cond::eq("domain_id", DEFAULT)).and(Cond::eq("deleted", false));
    let missing = || Error::internal("the platform's own administrator is missing");
    let user = db.find(User::facts(), named(SYSADMIN)).await?.pop().ok_or_else(missing)?;
    let role = db.find(RoleRow::facts(), named(ADMIN)).await?.pop().ok_or_else(missing)?;
    let project = state.directory.projects_named(SYSTEM, Some(DEFAULT)).pop().ok_or_else(missing)?;
    let caller = Caller {
        user_id: user.id().to_string(),
        user: user.name().to_string(),
        user_domain_id: DEFAULT.to_string(),
        user_domain: state.directory.domain_name(DEFAULT),
        project_id: project.project_id,
        project: project.project,
        project_domain_id: project.domain_id,
        project_domain: project.domain,
        roles: vec![Role { id: role.id().to_string(), name: ADMIN.to_string() }],
        is_system_account: true,
    };
    let now = state.clock.now();
    let claims = Claims {
        caller: Arc::new(caller),
        methods: vec!["password".into()],
        issued: now,
        expires: now.plus_secs(120),
        audit_ids: vec!["counters".into()],
        source: "srv".into(),
        ..Claims::default()
    };
    claims.sign(&*state.keys.signer()?)
}
