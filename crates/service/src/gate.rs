//! The resource engine's question to the policies.

use arc_swap::ArcSwap;
use auth::Bindings;
use base::{Caller, Clock, Scope};
use resource::{Ask, Gate};
use std::{net::IpAddr, sync::Arc};

/// Answers from bindings in memory, which their owner replaces as policies change.
pub struct PolicyGate {
    bindings: Arc<ArcSwap<Bindings>>,
    clock: Clock,
}

impl PolicyGate {
    pub fn new(bindings: Arc<ArcSwap<Bindings>>, clock: Clock) -> PolicyGate {
        PolicyGate { bindings, clock }
    }
}

// An allow that reaches only rows with certain tags is none here: the engine asks before it has a row.
impl Gate for PolicyGate {
    fn widest(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>) -> Scope {
        let set = self.bindings.load().of(caller, peer, self.clock.now());
        set.decide_plain(ask.service, ask.resource, ask.action, ask.extra).unwrap_or(Scope::None)
    }

    fn allows(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>, scope: Scope) -> bool {
        let set = self.bindings.load().of(caller, peer, self.clock.now());
        set.allows_plain(scope, ask.service, ask.resource, ask.action, ask.extra)
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
    }
}
