//! The resource engine's question to the policies.

use arc_swap::ArcSwap;
use auth::Bindings;
use base::{Caller, Clock, Scope};
use resource::{Ask, Conditional, Gate, TagSet};
use std::{net::IpAddr, sync::Arc};

/// Which projects and domains carry tags: known to whoever keeps the directory. A pure look-up.
pub trait OwnerTags: Send + Sync {
    /// Ids of the projects with one of the sets.
    fn projects_with(&self, sets: &[TagSet]) -> Vec<String>;
    /// Ids of the domains with one of the sets.
    fn domains_with(&self, sets: &[TagSet]) -> Vec<String>;
}

/// Answers from bindings in memory, which their owner replaces as policies change.
pub struct PolicyGate {
    bindings: Arc<ArcSwap<Bindings>>,
    clock: Clock,
    owners: Option<Arc<dyn OwnerTags>>,
}

impl PolicyGate {
    /// Without [`PolicyGate::with_owner_tags`] a condition on tags of projects or domains holds nowhere.
    pub fn new(bindings: Arc<ArcSwap<Bindings>>, clock: Clock) -> PolicyGate {
        PolicyGate { bindings, clock, owners: None }
    }

    #[must_use]
    pub fn with_owner_tags(mut self, owners: Arc<dyn OwnerTags>) -> PolicyGate {
        self.owners = Some(owners);
        self
    }
}

/// Whether tags have all of a set.
pub fn has_all<'a>(set: &TagSet, mut value_of: impl FnMut(&str) -> Option<&'a str>) -> bool {
    set.iter().all(|(key, values)| value_of(key).is_some_and(|v| values.is_empty() || values.iter().any(|w| w == v)))
}

impl Gate for PolicyGate {
    fn widest(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>) -> Scope {
        let set = self.bindings.load().of(caller, peer, self.clock.now());
        set.decide_plain(ask.service, ask.resource, ask.action, ask.extra).unwrap_or(Scope::None)
    }

    fn allows(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>, scope: Scope) -> bool {
        let set = self.bindings.load().of(caller, peer, self.clock.now());
        set.allows_plain(scope, ask.service, ask.resource, ask.action, ask.extra)
    }

    fn conditional(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>) -> Vec<Conditional> {
        let set = self.bindings.load().of(caller, peer, self.clock.now());
        let found = set.conditional(ask.service, ask.resource, ask.action, ask.extra);
        let of = |sets: &[TagSet], find: &dyn Fn(&dyn OwnerTags) -> Vec<String>| {
            (!sets.is_empty()).then(|| self.owners.as_deref().map(find).unwrap_or_default())
        };
        found
            .into_iter()
            .map(|(scope, filter)| Conditional {
                scope,
                projects: of(&filter.project, &|o| o.projects_with(&filter.project)),
                domains: of(&filter.domain, &|o| o.domains_with(&filter.domain)),
                tags: filter.object,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use auth::{Binding, Policy};
    use base::Role;
    use serde_json::json;

    #[test]
    fn the_widest_scope_and_no_allow_that_depends_on_tags() {
        let bind = |role: &str, scope, document| Binding {
            role_id: role.into(),
            project_id: String::new(),
            scope,
            policy: Arc::new(Policy::parse(role, &document).expect("a policy")),
            ips: Vec::new(),
            anonymous: false,
            since: None,
            until: None,
        };
        let bindings = Bindings::new(
            vec![
                bind("viewer", Scope::Domain, json!({"compute": {"servers": {"list": "allow"}}})),
                bind("tagged", Scope::System, json!({"compute": "allow", "__object_tags__": [{"key": "user:env", "value": "dev"}]})),
            ],
            [],
        );
        let gate = PolicyGate::new(Arc::new(ArcSwap::from_pointee(bindings)), Clock::real());
        let check = |role: &str, action: &str, want: Scope| {
            let caller = Caller { user_id: "u".into(), roles: vec![Role { id: role.into(), name: role.into() }], ..Caller::default() };
            let ask = Ask { service: "compute", resource: "servers", action, extra: &[] };
            assert_eq!(gate.widest(&caller, None, &ask), want, "{role} {action}");
            for scope in [Scope::Project, Scope::Domain, Scope::System] {
                assert_eq!(gate.allows(&caller, None, &ask, scope), scope <= want, "{role} {action} {scope:?}");
            }
        };
        check("viewer", "list", Scope::Domain);
        check("viewer", "create", Scope::None);
        check("tagged", "list", Scope::None);
        check("nobody", "list", Scope::None);
        let caller = Caller { user_id: "u".into(), roles: vec![Role { id: "tagged".into(), name: "tagged".into() }], ..Caller::default() };
        let ask = Ask { service: "compute", resource: "servers", action: "list", extra: &[] };
        let set = TagSet::from([("user:env".to_string(), vec!["dev".to_string()])]);
        let want = Conditional { scope: Scope::System, tags: vec![set], projects: None, domains: None };
        assert_eq!(gate.conditional(&caller, None, &ask), [want]);
    }
}
