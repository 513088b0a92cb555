//! The policies of everybody, compiled (spec 02 §7). Kept in step by [`crate::follow`].

use crate::access;
use api_identity::{Policy as PolicyRow, PolicyNames, PolicyTrees, RolePolicy, RuleBinding, RuleBook, RulePolicy};
use arc_swap::ArcSwap;
use auth::{Binding, Bindings, Policy, PolicySet};
use base::{Caller, Clock, Json, Resource, Result, Scope};
use serde_json::json;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, LazyLock},
};
use store::{Cond, Db, Read};

/// A policy as it is kept in memory.
struct Entry {
    name: String,
    scope: Scope,
    policy: Arc<Policy>,
    /// What `GET /v3/auth/policies` answers of it.
    tree: Json,
}

#[derive(Default)]
struct Data {
    policies: HashMap<String, Entry>,
    ties: Vec<Binding>,
    /// Policy id of each tie.
    tied: Vec<String>,
}

pub struct Rules {
    data: ArcSwap<Data>,
    /// What requests are decided by.
    deciding: Arc<ArcSwap<Bindings>>,
    own: Vec<(Scope, Policy)>,
    clock: Clock,
}

/// What every authenticated user may do about itself and what belongs to it.
pub(crate) fn own_rules() -> &'static Policy {
    static OWN: LazyLock<Policy> = LazyLock::new(|| {
        let document = json!({"identity": {
            "credentials": "allow",
            "application_credentials": "allow",
            "users": {"get": "allow", "list": "allow", "update": "allow", "perform": {"password": "allow"}},
            "projects": {"get": "allow", "list": "allow"},
            "groups": {"get": "allow", "list": "allow"},
            "domains": {"get": "allow", "list": "allow"},
            "role_assignments": {"list": "allow"},
        }, "compute": {
            // They belong to a user, whatever project the token is for: no policy of a project reaches them.
            "keypairs": "allow",
        }});
        Policy::parse("built-in-own", &document).expect("a constant that a test compiles")
    });
    &OWN
}

impl Rules {
    /// `more` are further rules for every authenticated caller.
    pub fn new(clock: Clock, more: Vec<(Scope, Policy)>) -> Rules {
        let own: Vec<_> = std::iter::once((Scope::User, own_rules().clone())).chain(more).collect();
        let deciding = Arc::new(ArcSwap::from_pointee(Bindings::new(Vec::new(), own.clone())));
        Rules { data: ArcSwap::default(), deciding, own, clock }
    }

    /// Reads policies and ties anew.
    pub async fn load(&self, mut db: &Db) -> Result<()> {
        let alive = || Cond::eq("deleted", false);
        let mut policies = HashMap::new();
        for row in db.find(PolicyRow::facts(), alive().and(Cond::eq("enabled", true))).await? {
            let compiled = access::compile(&row).map(Arc::new);
            match (compiled, Scope::parse(row.text("scope"))) {
                (Ok(policy), Some(scope)) => {
                    let entry = Entry { name: row.name().to_string(), scope, policy, tree: tree(&row) };
                    policies.insert(row.id().to_string(), entry);
                }
                // It was checked when it was written; an older version may have let something pass. It grants nothing.
                (compiled, _) => {
                    tracing::warn!(policy = row.name(), error = ?compiled.err().map(|e| e.to_string()), "a policy cannot be used")
                }
            }
        }
        let (mut ties, mut tied) = (Vec::new(), Vec::new());
        for tie in db.list::<RolePolicy>(alive()).await? {
            let Some(entry) = policies.get(&tie.policy_id) else { continue };
            let Some(binding) = binding(&tie, entry) else {
                tracing::warn!(tie = tie.id, "a binding names a network that cannot be read; it holds nowhere");
                continue;
            };
            ties.push(binding);
            tied.push(tie.policy_id);
        }
        self.deciding.store(Arc::new(Bindings::new(ties.clone(), self.own.clone())));
        self.data.store(Arc::new(Data { policies, ties, tied }));
        Ok(())
    }

    /// Scope and name of a policy that is enabled.
    pub fn policy(&self, id: &str) -> Option<(Scope, String)> {
        self.data.load().policies.get(id).map(|p| (p.scope, p.name.clone()))
    }

    pub fn compiled(&self, id: &str) -> Option<(Scope, Arc<Policy>)> {
        self.data.load().policies.get(id).map(|p| (p.scope, p.policy.clone()))
    }

    /// The policies a caller is decided by.
    pub fn of(&self, caller: &Caller, ip: Option<IpAddr>) -> Arc<PolicySet> {
        self.deciding.load().of(caller, ip, self.clock.now())
    }

    /// The bindings themselves, for [`crate::PolicyGate`]; they are replaced as policies change.
    pub fn shared(&self) -> Arc<ArcSwap<Bindings>> {
        self.deciding.clone()
    }

    /// What a role gives in a project, at any time and from anywhere: for the question whether somebody may hand it out.
    pub fn given_by(&self, role: &str, project: &str) -> Vec<(Scope, Arc<Policy>)> {
        let data = self.data.load();
        let gives = |b: &&Binding| b.role_id == role && (b.project_id.is_empty() || b.project_id == project);
        data.ties.iter().filter(gives).map(|b| (b.scope, b.policy.clone())).collect()
    }

    /// Every tie that could give the caller a policy, whether it holds here and now or not; then what everybody has.
    pub fn ties_of(&self, caller: &Caller) -> Vec<Tie> {
        let mine =
            |b: &&Binding| b.anonymous || (!caller.is_guest() && (b.role_id.is_empty() || caller.roles.iter().any(|r| r.id == b.role_id)));
        let mut out: Vec<Tie> = self.data.load().ties.iter().filter(mine).map(|b| Tie(b.clone())).collect();
        if !caller.is_guest() {
            out.extend(self.common());
        }
        out
    }

    /// Every tie whose policy passes, those of everybody included.
    pub fn allowing(&self, passes: impl Fn(&Policy) -> bool) -> Vec<Tie> {
        let bound = self.data.load().ties.iter().filter(|b| passes(&b.policy)).map(|b| Tie(b.clone())).collect::<Vec<_>>();
        bound.into_iter().chain(self.common().into_iter().filter(|t| passes(t.policy()))).collect()
    }

    fn common(&self) -> Vec<Tie> {
        self.deciding.load().common().map(|(scope, policy)| Tie(Binding::common(*scope, policy.clone()))).collect()
    }

    /// Names of the policies a caller holds, by scope.
    pub fn names(&self, caller: &Caller, ip: Option<IpAddr>) -> PolicyNames {
        let mut names = PolicyNames::default();
        for (scope, name, _) in self.held(caller, ip) {
            match scope {
                Scope::System => names.system.push(name),
                Scope::Domain => names.domain.push(name),
                Scope::Project => names.project.push(name),
                _ => names.user.push(name),
            }
        }
        names
    }

    /// Names and documents of the policies a caller holds, by scope.
    pub fn trees(&self, caller: &Caller, ip: Option<IpAddr>) -> PolicyTrees {
        let mut out = PolicyTrees::default();
        for (scope, name, tree) in self.held(caller, ip) {
            out.names.entry(scope.name().to_string()).or_default().push(name);
            out.policies.entry(scope.name().to_string()).or_default().push(tree);
        }
        out
    }

    /// Everything, for services in other processes.
    pub fn export(&self) -> RuleBook {
        let data = self.data.load();
        let policy = |(id, p): (&String, &Entry)| RulePolicy {
            id: id.clone(),
            name: p.name.clone(),
            scope: p.scope.name().to_string(),
            document: p.tree.clone(),
        };
        let binding = |(tie, id): (&Binding, &String)| RuleBinding {
            role_id: tie.role_id.clone(),
            project_id: tie.project_id.clone(),
            policy_id: id.clone(),
            auth: !tie.anonymous,
            ips: tie.ips.iter().map(ToString::to_string).collect(),
            valid_since: tie.since.map(|t| t.micros()),
            valid_until: tie.until.map(|t| t.micros()),
        };
        RuleBook { policies: data.policies.iter().map(policy).collect(), bindings: data.ties.iter().zip(&data.tied).map(binding).collect() }
    }

    fn held(&self, caller: &Caller, ip: Option<IpAddr>) -> Vec<(Scope, String, Json)> {
        let data = self.data.load();
        let now = self.clock.now();
        let mut out: Vec<(Scope, String, Json)> = Vec::new();
        for (tie, id) in data.ties.iter().zip(&data.tied) {
            let role = if caller.is_guest() { tie.anonymous } else { tie.anonymous || caller.roles.iter().any(|r| r.id == tie.role_id) };
            let place = tie.ips.is_empty() || ip.is_some_and(|ip| tie.ips.iter().any(|net| net.contains(&ip)));
            let here = tie.project_id.is_empty() || tie.project_id == caller.project_id;
            let now = tie.since.is_none_or(|s| s <= now) && tie.until.is_none_or(|u| now < u);
            if let (true, Some(entry)) = (role && place && here && now, data.policies.get(id))
                && !out.iter().any(|(scope, name, _)| *scope == entry.scope && *name == entry.name)
            {
                out.push((entry.scope, entry.name.clone(), entry.tree.clone()));
            }
        }
        out.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        out
    }
}

/// One way to a policy.
pub struct Tie(Binding);

impl Tie {
    /// Empty for everybody.
    pub fn role_id(&self) -> &str {
        &self.0.role_id
    }
    pub fn everybody(&self) -> bool {
        self.0.role_id.is_empty() || self.0.anonymous
    }
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }
    pub fn scope(&self) -> Scope {
        self.0.scope
    }
    /// Why it gives the caller nothing here and now.
    pub fn absent(&self, caller: &Caller, ip: Option<IpAddr>, now: base::Timestamp) -> Option<base::Said> {
        self.0.absent(caller, ip, now)
    }
}

/// A network that cannot be read must not become "from anywhere": then there is no binding.
fn binding(tie: &RolePolicy, entry: &Entry) -> Option<Binding> {
    let ips = match &tie.ips {
        Json::Array(all) => all.iter().map(|ip| ip.as_str().and_then(network)).collect::<Option<Vec<_>>>()?,
        Json::Null => Vec::new(),
        _ => return None,
    };
    Some(Binding {
        role_id: tie.role_id.clone(),
        project_id: tie.project_id.clone(),
        scope: entry.scope,
        policy: entry.policy.clone(),
        ips,
        anonymous: !tie.auth,
        since: tie.valid_since,
        until: tie.valid_until,
    })
}

/// A network, or one address.
fn network(text: &str) -> Option<ipnet::IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(ipnet::IpNet::from))
}

/// The service map of a policy with its tag sets beside it (spec 02 §7.3).
fn tree(row: &base::Row) -> Json {
    let blob = row.get("blob").to_json();
    let mut tree = blob.get("policy").cloned().unwrap_or(blob);
    for name in ["domain_tags", "project_tags", "object_tags"] {
        let tags = row.get(name).to_json();
        if let (Json::Object(map), Json::Array(_)) = (&mut tree, &tags) {
            map.insert(format!("__{name}__"), tags);
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_may_do_about_himself() {
        let rules = Rules::new(Clock::real(), Vec::new());
        let caller = Caller { user_id: "u".into(), ..Caller::default() };
        let set = rules.of(&caller, None);
        let scope = |resource: &str, action: &str, extra: &[&str]| set.decide("identity", resource, action, extra).map(|d| d.scope);
        assert_eq!(scope("credentials", "create", &[]), Some(Scope::User));
        assert_eq!(scope("users", "perform", &["password"]), Some(Scope::User));
        assert_eq!(scope("users", "perform", &["enable"]), None);
        assert_eq!(scope("users", "create", &[]), None);
        assert_eq!(scope("roles", "list", &[]), None);
        assert!(rules.of(&Caller::default(), None).is_empty(), "a guest may nothing");
    }
}
