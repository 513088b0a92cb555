//! Policies, as YAML and as JSON.

use auth::{Policy, PolicySet, policy::excess};
use base::Scope;
use std::sync::Arc;

const REQUESTS: [(&str, &str, &str, &[&str]); 6] = [
    ("compute", "servers", "list", &[]),
    ("compute", "servers", "perform", &["start"]),
    ("image", "images", "get", &[]),
    ("identity", "users", "delete", &[]),
    ("a", "b", "c", &["d", "e", "f", "g", "h", "i"]),
    ("", "", "", &[""]),
];
/// Comparing two policies looks at every combination of their words; longer ones are left to other tests.
const MOST_RULES: usize = 24;

pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let json = Policy::parse_json("p", text);
    let yaml = Policy::parse_yaml("p", text);
    for policy in [json, yaml].into_iter().flatten() {
        let policy = Arc::new(policy);
        let set = PolicySet::new([(Scope::Project, policy.clone())]);
        let denying = Arc::new(Policy::parse("d", &serde_json::json!({"*": "deny"})).expect("a policy"));
        let more = PolicySet::new([(Scope::Project, policy.clone()), (Scope::System, denying)]);
        for (service, resource, action, extra) in REQUESTS {
            let rule = policy.decide(service, resource, action, extra);
            let allows = rule.is_some_and(|r| r.allow);
            assert_eq!(policy.allows(service, resource, action, extra), allows);
            let decision = set.decide(service, resource, action, extra);
            assert_eq!(decision.is_some(), allows, "the set says another thing than its only policy");
            assert_eq!(more.decide(service, resource, action, extra), decision, "a policy that only denies changed something");
            assert_eq!(set.allows_plain(Scope::Project, service, resource, action, extra), allows && policy.filter.is_empty());
            assert!(!set.allows_plain(Scope::System, service, resource, action, extra), "wider than it is");
            let why = set.explain(service, resource, action, extra);
            assert!(why.verdicts.len() == 1 && why.verdicts[0].allow == allows && why.decision == decision);
            let said = why.to_string();
            assert!(said.contains(rule.map_or("no rule matches".to_string(), |r| r.to_string()).as_str()));
        }
        if policy.rules().len() <= MOST_RULES {
            assert_eq!(excess(&policy, &[&policy]), None, "more than itself");
            // What it allows and a policy of nothing does not is named, when there is anything.
            let nothing = Policy::default();
            if let Some(named) = excess(&policy, &[&nothing]) {
                assert!(policy.rules().iter().any(|r| r.allow) && named.split('/').count() >= 3, "{named}");
            }
        }
    }
}
