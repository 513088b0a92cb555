//! The policies of one caller, and the decision across them.
//!
//! Across the policies of one scope any allow wins. A check at a scope also counts what wider scopes allow; `user` counts only `system` and
//! itself. The widest allowed scope is what lists and creates work with.

use super::{Policy, TagFilter};
use base::Scope;
use std::{fmt, sync::Arc};

/// Scopes a policy can be for, wide to narrow.
const WIDE_TO_NARROW: [Scope; 4] = [Scope::System, Scope::Domain, Scope::Project, Scope::User];

/// The scopes whose policies count in a check at one, widest first.
fn counting_for(scope: Scope) -> impl Iterator<Item = Scope> {
    WIDE_TO_NARROW.into_iter().filter(move |s| *s >= scope && (scope != Scope::User || matches!(s, Scope::System | Scope::User)))
}

/// Policies by scope.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    policies: Vec<(Scope, Arc<Policy>)>,
}

/// An allow: how far it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub scope: Scope,
    /// A row must pass one of these; empty when some policy allows without a condition.
    pub filters: Vec<TagFilter>,
}

impl PolicySet {
    /// `Scope::None` is no scope for a policy and is left out.
    pub fn new(policies: impl IntoIterator<Item = (Scope, Arc<Policy>)>) -> PolicySet {
        PolicySet { policies: policies.into_iter().filter(|(s, _)| *s != Scope::None).collect() }
    }

    fn at(&self, scope: Scope) -> impl Iterator<Item = &Policy> {
        self.policies.iter().filter(move |(s, _)| *s == scope).map(|(_, p)| &**p)
    }

    /// Policies with their scopes, for `GET /auth/policies`.
    pub fn all(&self) -> impl Iterator<Item = (Scope, &Policy)> {
        self.policies.iter().map(|(s, p)| (*s, &**p))
    }

    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The widest scope a request is allowed at; `None` is deny.
    pub fn decide(&self, service: &str, resource: &str, action: &str, extra: &[&str]) -> Option<Decision> {
        WIDE_TO_NARROW.into_iter().find_map(|scope| self.decide_at(scope, service, resource, action, extra))
    }

    fn decide_at(&self, scope: Scope, service: &str, resource: &str, action: &str, extra: &[&str]) -> Option<Decision> {
        let mut filters = Vec::new();
        let mut allowed = false;
        for policy in self.at(scope).filter(|p| p.allows(service, resource, action, extra)) {
            if policy.filter.is_empty() {
                return Some(Decision { scope, filters: Vec::new() });
            }
            allowed = true;
            filters.push(policy.filter.clone());
        }
        allowed.then_some(Decision { scope, filters })
    }

    /// Whether a request is allowed at a scope, by that scope's policies or a wider one's.
    pub fn allows(&self, scope: Scope, service: &str, resource: &str, action: &str, extra: &[&str]) -> Option<Decision> {
        counting_for(scope).find_map(|s| self.decide_at(s, service, resource, action, extra))
    }

    /// Like [`PolicySet::decide`] for who cannot look at rows: an allow on a condition of tags counts as none, and does not hide a narrower one
    /// without.
    pub fn decide_plain(&self, service: &str, resource: &str, action: &str, extra: &[&str]) -> Option<Scope> {
        WIDE_TO_NARROW.into_iter().find(|scope| self.plain_at(*scope, service, resource, action, extra))
    }

    /// Like [`PolicySet::allows`], in the same way.
    pub fn allows_plain(&self, scope: Scope, service: &str, resource: &str, action: &str, extra: &[&str]) -> bool {
        counting_for(scope).any(|s| self.plain_at(s, service, resource, action, extra))
    }

    /// The allows on a condition of tags, widest scope first: for who can look at rows. Together with what is allowed without a condition
    /// they are all a caller may reach.
    pub fn conditional(&self, service: &str, resource: &str, action: &str, extra: &[&str]) -> Vec<(Scope, TagFilter)> {
        let at = |scope| {
            let these = self.at(scope).filter(|p| !p.filter.is_empty() && p.allows(service, resource, action, extra));
            these.map(move |p| (scope, p.filter.clone()))
        };
        WIDE_TO_NARROW.into_iter().flat_map(at).collect()
    }

    fn plain_at(&self, scope: Scope, service: &str, resource: &str, action: &str, extra: &[&str]) -> bool {
        self.at(scope).any(|p| p.filter.is_empty() && p.allows(service, resource, action, extra))
    }

    /// The decision with its reasons.
    pub fn explain(&self, service: &str, resource: &str, action: &str, extra: &[&str]) -> Explanation {
        let verdicts = WIDE_TO_NARROW.into_iter().flat_map(|scope| {
            self.at(scope).map(move |policy| {
                let rule = policy.decide(service, resource, action, extra);
                Verdict { scope, policy: policy.name.clone(), rule: rule.map(ToString::to_string), allow: rule.is_some_and(|r| r.allow) }
            })
        });
        let request = [service, resource, action].into_iter().chain(extra.iter().copied()).collect::<Vec<_>>().join("/");
        Explanation { request, verdicts: verdicts.collect(), decision: self.decide(service, resource, action, extra) }
    }
}

/// What one policy says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub scope: Scope,
    pub policy: String,
    /// The rule that won in it, such as `compute/servers/*: deny`; none when no rule matched.
    pub rule: Option<String>,
    pub allow: bool,
}

/// Why a request is allowed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// `compute/servers/perform/start`.
    pub request: String,
    /// Every policy of the caller, widest scope first.
    pub verdicts: Vec<Verdict>,
    pub decision: Option<Decision>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.decision {
            Some(d) => writeln!(f, "{} is allowed at scope {}", self.request, d.scope.name())?,
            None => writeln!(f, "{} is denied", self.request)?,
        }
        for v in &self.verdicts {
            let rule = v.rule.as_deref().unwrap_or("no rule matches");
            writeln!(f, "  {:8} {}: {rule}", v.scope.name(), v.policy)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    fn set(list: &[(Scope, Json)]) -> PolicySet {
        let one = |(i, (scope, doc)): (usize, &(Scope, Json))| (*scope, Arc::new(Policy::parse(&format!("p{i}"), doc).unwrap()));
        PolicySet::new(list.iter().enumerate().map(one))
    }

    #[test]
    fn scopes() {
        let servers = |word: &str| json!({"compute": {"servers": word}});
        let all = [Scope::User, Scope::Project, Scope::Domain, Scope::System];
        let check = |list: &[(Scope, Json)], widest: Option<Scope>, allowed: [bool; 4]| {
            let set = set(list);
            assert_eq!(set.decide("compute", "servers", "list", &[]).map(|d| d.scope), widest, "{list:?}");
            assert_eq!(all.map(|s| set.allows(s, "compute", "servers", "list", &[]).is_some()), allowed, "{list:?}");
        };
        check(&[], None, [false; 4]);
        check(&[(Scope::Project, servers("allow"))], Some(Scope::Project), [false, true, false, false]);
        check(&[(Scope::Domain, servers("allow"))], Some(Scope::Domain), [false, true, true, false]);
        check(&[(Scope::System, servers("allow"))], Some(Scope::System), [true; 4]);
        check(&[(Scope::User, servers("allow"))], Some(Scope::User), [true, false, false, false]);
        check(&[(Scope::None, servers("allow"))], None, [false; 4]);
        // Any allow wins within a scope, and a deny at a narrower scope takes nothing from a wider one.
        check(&[(Scope::Project, servers("deny")), (Scope::Project, servers("allow"))], Some(Scope::Project), [false, true, false, false]);
        check(&[(Scope::Project, servers("deny")), (Scope::Domain, servers("allow"))], Some(Scope::Domain), [false, true, true, false]);
        check(&[(Scope::Domain, servers("deny")), (Scope::Project, servers("allow"))], Some(Scope::Project), [false, true, false, false]);
    }

    #[test]
    fn tags_narrow_unless_somebody_allows_without() {
        let tagged = |v: &str| json!({"*": "allow", "__object_tags__": [{"key": "user:env", "value": v}]});
        let two = set(&[(Scope::Project, tagged("dev")), (Scope::Project, tagged("qa"))]);
        assert_eq!(two.decide("a", "b", "list", &[]).unwrap().filters.len(), 2);
        let open = set(&[(Scope::Project, tagged("dev")), (Scope::Project, json!({"a": "allow"}))]);
        assert_eq!(open.decide("a", "b", "list", &[]).unwrap().filters.len(), 0);
        assert_eq!(open.decide("x", "b", "list", &[]).unwrap().filters.len(), 1);
        assert_eq!((open.decide_plain("a", "b", "list", &[]), open.decide_plain("x", "b", "list", &[])), (Some(Scope::Project), None));
        let wide = set(&[(Scope::System, tagged("dev")), (Scope::Project, json!({"a": "allow"}))]);
        assert_eq!(wide.decide_plain("a", "b", "list", &[]), Some(Scope::Project), "a condition at a wider scope hides nothing");
        assert!(wide.allows_plain(Scope::Project, "a", "b", "list", &[]) && !wide.allows_plain(Scope::Domain, "a", "b", "list", &[]));
        let conditions = wide.conditional("a", "b", "list", &[]);
        assert_eq!(conditions.iter().map(|(s, f)| (*s, f.object.len())).collect::<Vec<_>>(), [(Scope::System, 1)]);
        assert!(set(&[(Scope::Project, json!({"a": "allow"}))]).conditional("a", "b", "list", &[]).is_empty());
    }

    #[test]
    fn an_explanation_names_policy_and_rule() {
        let set = set(&[
            (Scope::Project, json!({"compute": {"servers": {"*": "deny", "list": "allow"}}})),
            (Scope::Domain, json!({"image": "allow"})),
        ]);
        assert_eq!(
            set.explain("compute", "servers", "delete", &[]).to_string(),
            "compute/servers/delete is denied\n  domain   p1: no rule matches\n  project  p0: compute/servers/*: deny\n"
        );
        let yes = set.explain("compute", "servers", "list", &[]);
        assert!(yes.to_string().starts_with("compute/servers/list is allowed at scope project\n"), "{yes}");
    }

    fn document() -> impl Strategy<Value = Json> {
        let word = prop_oneof![Just(json!("allow")), Just(json!("deny"))];
        word.prop_recursive(4, 16, 3, |inner| {
            prop::collection::btree_map("[ab*]", inner, 1..3).prop_map(|m| Json::Object(m.into_iter().collect()))
        })
    }

    fn scope() -> impl Strategy<Value = Scope> {
        prop_oneof![Just(Scope::User), Just(Scope::Project), Just(Scope::Domain), Just(Scope::System)]
    }

    proptest! {
        /// A policy that only denies changes nothing, and the explanation always agrees with the decision.
        #[test]
        fn a_denying_policy_never_widens(
            list in prop::collection::vec((scope(), document()), 0..4),
            at in scope(),
            request in prop::collection::vec("[abc]", 3..5),
        ) {
            let parts: Vec<&str> = request.iter().map(String::as_str).collect();
            let ask = |set: &PolicySet| set.decide(parts[0], parts[1], parts[2], &parts[3..]);
            let before = set(&list);
            let mut more = list.clone();
            more.push((at, json!({"*": "deny", "a": {"b": "deny"}})));
            prop_assert_eq!(ask(&before), ask(&set(&more)));
            let why = before.explain(parts[0], parts[1], parts[2], &parts[3..]);
            prop_assert_eq!(why.verdicts.iter().filter(|v| v.allow).map(|v| v.scope).max(), ask(&before).map(|d| d.scope));
            prop_assert_eq!(before.allows(Scope::System, parts[0], parts[1], parts[2], &parts[3..]).is_some(), ask(&before).is_some_and(|d| d.scope == Scope::System));
        }
    }
}
