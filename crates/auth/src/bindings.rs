//! Which policies a caller has: role, project, address and time decide (spec 02 §7.2).
//!
//! A service holds one [`Bindings`] for everybody and replaces it whole when policies change; what follows for one caller is computed once
//! and remembered until then, or until a binding begins or ends.

use crate::policy::{Policy, PolicySet};
use base::{Caller, Said, Scope, Timestamp, said};
use ipnet::IpNet;
use serde_json::json;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

/// One policy given to one role.
#[derive(Clone, Debug)]
pub struct Binding {
    /// Empty for every role.
    pub role_id: String,
    /// Empty for every project.
    pub project_id: String,
    pub scope: Scope,
    pub policy: Arc<Policy>,
    /// Where the login must have come from; empty for anywhere.
    pub ips: Vec<IpNet>,
    /// Also for callers without a token.
    pub anonymous: bool,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Binding {
    /// What every authenticated caller has.
    pub fn common(scope: Scope, policy: Arc<Policy>) -> Binding {
        let (role_id, project_id) = (String::new(), String::new());
        Binding { role_id, project_id, scope, policy, ips: Vec::new(), anonymous: false, since: None, until: None }
    }

    /// Why it gives a caller nothing here and now; `None` when it does.
    pub fn absent(&self, caller: &Caller, ip: Option<IpAddr>, now: Timestamp) -> Option<Said> {
        if !self.place(ip) {
            return Some(said!("it holds for logins from other networks"));
        }
        if !self.here(caller) {
            return Some(said!("it holds in another project"));
        }
        if !self.in_time(now) {
            return Some(said!("it holds at another time"));
        }
        (!self.holds(caller, ip)).then(|| said!("it is bound to another role"))
    }

    fn place(&self, ip: Option<IpAddr>) -> bool {
        self.ips.is_empty() || ip.is_some_and(|ip| self.ips.iter().any(|net| net.contains(&ip)))
    }

    fn here(&self, caller: &Caller) -> bool {
        self.project_id.is_empty() || self.project_id == caller.project_id
    }

    fn holds(&self, caller: &Caller, ip: Option<IpAddr>) -> bool {
        let role = self.role_id.is_empty() || caller.roles.iter().any(|r| r.id == self.role_id);
        let who = if caller.is_guest() { self.anonymous } else { role || self.anonymous };
        who && self.place(ip) && self.here(caller)
    }

    fn in_time(&self, now: Timestamp) -> bool {
        self.since.is_none_or(|s| s <= now) && self.until.is_none_or(|u| now < u)
    }
}

/// All bindings of the installation, with the rules every authenticated caller has.
pub struct Bindings {
    bindings: Vec<Binding>,
    common: Vec<(Scope, Arc<Policy>)>,
    by_address: bool,
    known: Mutex<HashMap<Key, (Timestamp, Arc<PolicySet>)>>,
}

/// Callers that have the same policies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    guest: bool,
    roles: Vec<String>,
    project: String,
    ip: Option<IpAddr>,
}

/// Remembered sets; beyond it all are forgotten.
const KNOWN: usize = 4096;

impl Bindings {
    /// `own` are the rules a service gives every authenticated caller besides those of the platform.
    pub fn new(bindings: Vec<Binding>, own: impl IntoIterator<Item = (Scope, Policy)>) -> Bindings {
        let common = platform().iter().cloned().chain(own.into_iter().map(|(s, p)| (s, Arc::new(p)))).collect();
        Bindings { by_address: bindings.iter().any(|b| !b.ips.is_empty()), bindings, common, known: Mutex::default() }
    }

    /// The rules every authenticated caller has.
    pub fn common(&self) -> impl Iterator<Item = &(Scope, Arc<Policy>)> {
        self.common.iter()
    }

    /// The policies of a caller who logged in from `ip`.
    pub fn of(&self, caller: &Caller, ip: Option<IpAddr>, now: Timestamp) -> Arc<PolicySet> {
        let mut roles: Vec<String> = caller.roles.iter().map(|r| r.id.clone()).collect();
        roles.sort_unstable();
        let key = Key { guest: caller.is_guest(), roles, project: caller.project_id.clone(), ip: ip.filter(|_| self.by_address) };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, set)) = known.get(&key).filter(|(until, _)| now < *until) {
            debug_assert!(*until > now);
            return set.clone();
        }
        let mine = || self.bindings.iter().filter(|b| b.holds(caller, ip));
        // The set holds until the next binding begins or ends.
        let until = mine().flat_map(|b| [b.since, b.until]).flatten().filter(|at| *at > now).min().unwrap_or(Timestamp(i64::MAX));
        let bound = mine().filter(|b| b.in_time(now)).map(|b| (b.scope, b.policy.clone()));
        let common = self.common.iter().filter(|_| !caller.is_guest()).cloned();
        let set = Arc::new(PolicySet::new(bound.chain(common)));
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(key, (until, set.clone()));
        set
    }
}

/// Rules of the platform for every authenticated caller (spec 01 §11.5).
fn platform() -> &'static [(Scope, Arc<Policy>)] {
    static RULES: LazyLock<Vec<(Scope, Arc<Policy>)>> = LazyLock::new(|| {
        [
            (Scope::System, json!({"*": {"tasks": {"perform": "allow"}, "metadatas": {"list": "allow"}}})),
            (Scope::Domain, json!({"*": {"usages": {"get": "allow"}}})),
            (Scope::Project, json!({"*": {"tasks": {"perform": "allow"}, "usages": {"get": "allow"}}})),
        ]
        .into_iter()
        .map(|(scope, document)| {
            let name = format!("built-in-{}", scope.name());
            (scope, Arc::new(Policy::parse(&name, &document).expect("these documents are constants and a test compiles them")))
        })
        .collect()
    });
    &RULES
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Role;

    fn allow(name: &str) -> Arc<Policy> {
        Arc::new(Policy::parse(name, &json!({"compute": {name: "allow"}})).unwrap())
    }

    fn binding(role: &str, name: &str) -> Binding {
        Binding {
            role_id: role.into(),
            project_id: String::new(),
            scope: Scope::Project,
            policy: allow(name),
            ips: vec![],
            anonymous: false,
            since: None,
            until: None,
        }
    }

    fn caller(roles: &[&str], project: &str) -> Caller {
        let roles = roles.iter().map(|r| Role { id: (*r).into(), name: (*r).into() }).collect();
        Caller { user_id: "u".into(), project_id: project.into(), roles, ..Caller::default() }
    }

    #[test]
    fn role_project_address_time_and_anonymity() {
        let at = |s: i64| Timestamp(s * 1_000_000);
        let bindings = Bindings::new(
            vec![
                binding("r1", "plain"),
                Binding { project_id: "p1".into(), ..binding("r1", "in_p1") },
                Binding { ips: vec!["10.0.0.0/8".parse().unwrap()], ..binding("r1", "from_ten") },
                Binding { since: Some(at(10)), until: Some(at(20)), ..binding("r1", "for_a_while") },
                Binding { anonymous: true, ..binding("", "open") },
                Binding { role_id: String::new(), ..binding("", "everybody") },
            ],
            [(Scope::User, Policy::parse("own", &json!({"identity": {"credentials": "allow"}})).unwrap())],
        );
        let check = |who: &Caller, ip: Option<&str>, now: i64, want: &[&str]| {
            let ip = ip.map(|t| t.parse().unwrap());
            for _ in 0..2 {
                let set = bindings.of(who, ip, at(now));
                let names: Vec<&str> =
                    set.all().map(|(_, p)| p.name.as_str()).filter(|n| !n.starts_with("built-in") && *n != "own").collect();
                assert_eq!(names, want, "{who:?} {ip:?} {now}");
                assert_eq!(set.all().any(|(_, p)| p.name == "own"), !who.is_guest());
            }
        };
        check(&caller(&["r1"], "p2"), None, 0, &["plain", "open", "everybody"]);
        check(&caller(&["r0", "r1"], "p1"), None, 0, &["plain", "in_p1", "open", "everybody"]);
        check(&caller(&["r1"], "p2"), Some("10.9.9.9"), 0, &["plain", "from_ten", "open", "everybody"]);
        check(&caller(&["r1"], "p2"), Some("11.9.9.9"), 0, &["plain", "open", "everybody"]);
        for (now, there) in [(9, false), (10, true), (19, true), (20, false)] {
            let want: &[&str] = if there { &["plain", "for_a_while", "open", "everybody"] } else { &["plain", "open", "everybody"] };
            check(&caller(&["r1"], "p2"), None, now, want);
        }
        check(&caller(&["r9"], "p2"), None, 0, &["open", "everybody"]);
        check(&Caller::default(), None, 0, &["open"]);
    }

    #[test]
    fn every_authenticated_caller_has_the_common_rules() {
        let bindings = Bindings::new(vec![], []);
        let set = bindings.of(&caller(&[], ""), None, Timestamp(0));
        let scope = |s: &str, r: &str, a: &str| set.decide(s, r, a, &[]).map(|d| d.scope);
        assert_eq!(scope("compute", "tasks", "perform"), Some(Scope::System));
        assert_eq!(scope("image", "metadatas", "list"), Some(Scope::System));
        assert_eq!(scope("compute", "usages", "get"), Some(Scope::Domain));
        assert_eq!(scope("compute", "servers", "list"), None);
        assert!(bindings.of(&Caller::default(), None, Timestamp(0)).is_empty());
    }
}
