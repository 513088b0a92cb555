//! The identity service as other processes see it: directory, rules and verification in memory, kept in step over the network.
//!
//! When the identity service does not answer, what is in memory serves on: tokens are verified by their signatures, and owners and rules are
//! those of the last minute it was heard.

use crate::follow::to_auth;
use api_identity::{Call, IdentityClient, Reply, RuleBook, Transport};
use arc_swap::ArcSwap;
use auth::{Binding, Bindings, KeyRing, Policy, Verifier};
use base::{Clock, Error, Result, Scope, Timestamp};
use http::{Client, Method};
use resource::{BoxFuture, Owner, Owners, TagSet};
use service::{OwnerTags, PolicyGate, Process, has_all};
use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::AtomicI64, atomic::Ordering::SeqCst},
    time::Duration,
};
use tokio::sync::Mutex;

/// Requests over the network to the address of the identity service, such as `https://host:30500/v3`.
pub struct HttpTransport {
    client: Client,
    url: String,
}

impl HttpTransport {
    pub fn new(client: Client, url: &str) -> HttpTransport {
        HttpTransport { client, url: url.trim_end_matches('/').to_string() }
    }
}

impl Transport for HttpTransport {
    fn call<'a>(&'a self, call: Call<'a>) -> Pin<Box<dyn Future<Output = Result<Reply>> + Send + 'a>> {
        Box::pin(async move {
            let method = Method::from_bytes(call.method.as_bytes()).map_err(Error::internal)?;
            let mut request = self.client.call(method, &format!("{}{}", self.url, call.path));
            if let Some(token) = call.token {
                request = request.token(token);
            }
            if let Some(subject) = call.subject {
                request = request.header(api_identity::SUBJECT_TOKEN, subject);
            }
            if let Some(body) = &call.body {
                request = request.json(body);
            }
            let answer = request.send().await?;
            let subject = answer.header(api_identity::SUBJECT_TOKEN).map(str::to_string);
            Ok(Reply { subject, body: answer.json().await? })
        })
    }
}

/// What a service of another process holds.
pub struct Remote {
    client: IdentityClient,
    owners: ArcSwap<Known>,
    rules: Arc<ArcSwap<Bindings>>,
    own: Vec<(Scope, Policy)>,
    pub verifier: Arc<Verifier>,
    clock: Clock,
    cursor: AtomicI64,
    following: Mutex<()>,
}

/// Projects and domains by id, projects by name.
#[derive(Default)]
struct Known {
    projects: HashMap<String, Owner>,
    named: HashMap<String, Vec<String>>,
    domains: HashMap<String, String>,
    /// Tags of projects and domains, by id.
    project_tags: HashMap<String, Tags>,
    domain_tags: HashMap<String, Tags>,
}

type Tags = HashMap<String, String>;

/// Longest wait of one question for changes, seconds.
const WAIT: u64 = 30;
/// Tokens whose verification is remembered.
const REMEMBERED: usize = 20_000;

impl Remote {
    /// Reads everything once; fails when the identity service does not answer. `own` are the service's own rules for every authenticated caller,
    /// besides those that hold on the whole platform.
    pub async fn connect(client: IdentityClient, own: Vec<(Scope, Policy)>, clock: Clock) -> Result<Arc<Remote>> {
        let own: Vec<_> = std::iter::once((Scope::User, crate::rules::own_rules().clone())).chain(own).collect();
        let remote = Remote {
            client,
            owners: ArcSwap::default(),
            rules: Arc::new(ArcSwap::from_pointee(Bindings::new(Vec::new(), own.clone()))),
            own,
            verifier: Arc::new(Verifier::new(KeyRing::new(), REMEMBERED, clock.clone())),
            clock,
            cursor: AtomicI64::new(-1),
            following: Mutex::default(),
        };
        remote.load().await?;
        Ok(Arc::new(remote))
    }

    pub fn client(&self) -> &IdentityClient {
        &self.client
    }

    pub fn gate(self: &Arc<Remote>) -> PolicyGate {
        PolicyGate::new(self.rules.clone(), self.clock.clone()).with_owner_tags(Arc::new(RemoteOwners(self.clone())))
    }

    async fn load(&self) -> Result<()> {
        // First the mark: what changes while reading is read twice, not missed.
        let mark = self.client.changes(-1, 0).await?.cursor;
        self.load_keys().await?;
        self.load_revocations().await?;
        self.load_rules().await?;
        self.load_owners().await?;
        self.cursor.store(mark, SeqCst);
        Ok(())
    }

    async fn load_keys(&self) -> Result<()> {
        let mut ring = KeyRing::new();
        for key in self.client.signing_keys().await? {
            ring.add(&key.id, &key.public, Some(Timestamp(key.retires_at)))?;
        }
        self.verifier.set_keys(ring);
        Ok(())
    }

    async fn load_revocations(&self) -> Result<()> {
        let all = self.client.revocations().await?.revocations;
        self.verifier.set_revocations(all.iter().filter_map(to_auth));
        Ok(())
    }

    async fn load_rules(&self) -> Result<()> {
        let bindings = bindings(&self.client.rules().await?);
        self.rules.store(Arc::new(Bindings::new(bindings, self.own.clone())));
        Ok(())
    }

    async fn load_owners(&self) -> Result<()> {
        let mut known = Known::default();
        let mut domains: HashMap<String, String> = HashMap::new();
        for domain in self.client.domains().await? {
            known.domain_tags.insert(domain.id.clone(), domain.metadata);
            domains.insert(domain.id, domain.name);
        }
        for project in self.client.projects().await? {
            known.project_tags.insert(project.id.clone(), project.metadata);
            let domain = domains.get(&project.domain_id).cloned().unwrap_or_default();
            known.named.entry(project.name.clone()).or_default().push(project.id.clone());
            let owner = Owner { project_id: project.id.clone(), project: project.name, domain_id: project.domain_id, domain };
            known.projects.insert(project.id, owner);
        }
        known.domains = domains;
        self.owners.store(Arc::new(known));
        Ok(())
    }

    /// Asks what changed, waiting up to `wait` seconds for something, and reads it anew.
    async fn follow(&self, wait: u64) -> Result<()> {
        let _held = self.following.lock().await;
        let changes = self.client.changes(self.cursor.load(SeqCst), wait).await?;
        if changes.lost {
            return self.load().await;
        }
        let any = |kinds: &[&str]| changes.changes.iter().any(|c| kinds.contains(&c.kind.as_str()));
        if any(&["signing_key"]) {
            self.load_keys().await?;
        }
        if any(&["revocation"]) {
            self.load_revocations().await?;
        }
        if any(&["policy", "rolepolicy"]) {
            self.load_rules().await?;
        }
        if any(&["project", "domain"]) {
            self.load_owners().await?;
        }
        self.cursor.store(changes.cursor, SeqCst);
        Ok(())
    }

    /// Starts following in the background.
    pub fn work(self: &Arc<Remote>, process: &Process) {
        let remote = self.clone();
        process.worker("identity-remote", move |shutdown| {
            let remote = remote.clone();
            async move {
                while let Some(outcome) = shutdown.or(remote.follow(WAIT)).await {
                    outcome?;
                }
                Ok(())
            }
        });
    }
}

/// The bindings of a rule book. What cannot be read grants nothing.
fn bindings(book: &RuleBook) -> Vec<Binding> {
    let policies: HashMap<&str, (Scope, Arc<Policy>)> = book
        .policies
        .iter()
        .filter_map(|p| Some((p.id.as_str(), (Scope::parse(&p.scope)?, Arc::new(Policy::parse(&p.name, &p.document).ok()?)))))
        .collect();
    let binding = |b: &api_identity::RuleBinding| {
        let (scope, policy) = policies.get(b.policy_id.as_str())?.clone();
        Some(Binding {
            role_id: b.role_id.clone(),
            project_id: b.project_id.clone(),
            scope,
            policy,
            ips: b.ips.iter().map(|ip| ip.parse().ok()).collect::<Option<Vec<_>>>()?,
            anonymous: !b.auth,
            since: b.valid_since.map(Timestamp),
            until: b.valid_until.map(Timestamp),
        })
    };
    book.bindings.iter().filter_map(binding).collect()
}

/// The directory of owners, for the engine of the service.
pub struct RemoteOwners(pub Arc<Remote>);

impl OwnerTags for RemoteOwners {
    fn projects_with(&self, sets: &[TagSet]) -> Vec<String> {
        tagged(&self.0.owners.load().project_tags, sets)
    }
    fn domains_with(&self, sets: &[TagSet]) -> Vec<String> {
        tagged(&self.0.owners.load().domain_tags, sets)
    }
}

fn tagged(map: &HashMap<String, Tags>, sets: &[TagSet]) -> Vec<String> {
    let fits = |tags: &Tags| sets.iter().any(|set| has_all(set, |key| tags.get(key).map(String::as_str)));
    map.iter().filter(|(_, tags)| fits(tags)).map(|(id, _)| id.clone()).collect()
}

/// A look-up that failed asks anew at most this long.
const REFRESH: Duration = Duration::from_secs(10);

impl Owners for RemoteOwners {
    fn project(&self, id: &str) -> Option<Owner> {
        self.0.owners.load().projects.get(id).cloned()
    }
    fn domain(&self, id: &str) -> Option<Owner> {
        let known = self.0.owners.load();
        known.domains.get(id).map(|name| Owner { domain_id: id.to_string(), domain: name.clone(), ..Owner::default() })
    }
    fn projects_named(&self, name: &str, domain_id: Option<&str>) -> Vec<Owner> {
        let known = self.0.owners.load();
        let ids = known.named.get(name).map_or(&[][..], Vec::as_slice);
        let owners = ids.iter().filter_map(|id| known.projects.get(id));
        owners.filter(|o| domain_id.is_none_or(|d| d == o.domain_id)).cloned().collect()
    }
    fn domains_named(&self, name: &str) -> Vec<Owner> {
        let known = self.0.owners.load();
        let named = known.domains.iter().filter(|(_, n)| *n == name);
        named.map(|(id, n)| Owner { domain_id: id.clone(), domain: n.clone(), ..Owner::default() }).collect()
    }
    fn refresh(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let asked = tokio::time::timeout(REFRESH, self.0.load_owners()).await;
            asked.unwrap_or_else(|_| Err(base::err!(Timeout, "{} did not answer in time", "the identity service")))
        })
    }
}
