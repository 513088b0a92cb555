//! Ties between roles and policies, to look at; the actions of roles make and undo them.

use crate::state::State;
use api_identity::RolePolicy;
use base::{Caller, Result, Scope};
use resource::{BoxFuture, Hooks, Kind, Naming, Op, Page, Params};
use std::sync::Arc;
use store::{Cond, Select};

struct RolePolicyHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<RolePolicy, _>(&Arc::new(RolePolicyHooks { state: state.clone() })).naming(Naming::Free).read_only().done()
}

impl Hooks for RolePolicyHooks {
    /// Ties of the roles of the own domain, and of those that are everybody's.
    fn visible(&self, caller: &Caller, _scope: Scope) -> Option<Cond> {
        let own = Cond::eq("domain_id", caller.project_domain_id.as_str());
        let shared = Cond::eq("is_public", true).and(Cond::eq("public_scope", "system"));
        Some(Cond::in_select("role_id", Select::from("roles").column("id", base::Kind::Text).filter(own.or(shared))))
    }

    fn filter<'a>(&'a self, _op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut all = std::mem::replace(cond, Cond::True);
            for (key, column) in [("role_ids", "role_id"), ("policy_ids", "policy_id"), ("project_ids", "project_id")] {
                let wanted = params.all(key);
                if !wanted.is_empty() {
                    all = all.and(Cond::is_in(column, wanted.iter().map(String::as_str)));
                }
            }
            *cond = all;
            Ok(())
        })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for i in 0..page.rows.len() {
                let row = &page.rows[i];
                let role = self.state.directory.role_name(row.text("role_id"));
                let project = self.state.directory.find_project(row.text("project_id")).map(|p| p.project).unwrap_or_default();
                let (scope, policy) = self.state.rules.policy(row.text("policy_id")).unwrap_or_default();
                page.add(i, "name", format!("{role}/{project}/{policy}"));
                page.add(i, "scope", scope.name());
            }
            Ok(())
        })
    }
}
