//! From a permission to a condition: what the caller may see is part of the query, so a forbidden row is simply not there.

use crate::{Engine, Kind, Params};
use base::{Caller, Ctx, Level, Result, Row, Scope, err};
use std::net::IpAddr;
use store::{Cond, Match, Select};

/// A question to the policies.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub service: &'a str,
    /// Plural keyword.
    pub resource: &'a str,
    /// `list`, `get`, `create`, `update`, `delete`, `perform`.
    pub action: &'a str,
    /// Action name, spec name.
    pub extra: &'a [&'a str],
}

/// Decides by policy; a pure look-up.
pub trait Gate: Send + Sync {
    /// The widest scope at which it is allowed.
    fn widest(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>) -> Scope;
    /// Whether it is allowed at this scope or a wider one that covers it.
    fn allows(&self, caller: &Caller, peer: Option<IpAddr>, ask: &Ask<'_>, scope: Scope) -> bool;
}

impl Engine {
    /// The widest scope at which the policies allow an action on a kind.
    pub fn widest(&self, ctx: &Ctx, kind: &Kind, action: &str, extra: &[&str]) -> Scope {
        let ask = Ask { service: self.service, resource: kind.facts.plural, action, extra };
        self.gate.widest(&ctx.caller, ctx.peer, &ask)
    }

    /// The widest scope at which the caller may do something to a kind, for hooks that guard a single field.
    pub fn reach_of(&self, ctx: &Ctx, name: &str, action: &str, extra: &[&str]) -> Scope {
        self.kind_named(name).map_or(Scope::None, |kind| self.widest(ctx, kind, action, extra))
    }

    /// The scope a list works at: what was asked for if that is allowed, else the kind's own breadth.
    pub(crate) fn list_scope(&self, ctx: &Ctx, kind: &Kind, params: &Params) -> Result<Scope> {
        let widest = self.widest(ctx, kind, "list", &[]);
        if widest == Scope::None {
            return Err(denied(kind, "list", &[]));
        }
        let asked = match params.text("scope").as_deref() {
            Some("max" | "maxallowed") => return Ok(widest),
            Some(word) => Some(
                Scope::parse(word).ok_or_else(|| err!(InputParameter, "scope {} is unknown; use system, domain, project or user", word))?,
            ),
            None if params.flag("admin") == Some(true) => Some(Scope::System),
            None => None,
        };
        match asked {
            Some(scope) if scope > widest => Err(err!(
                Forbidden,
                "not enough privilege: {} at scope {} needs more than your scope {}",
                kind.facts.plural,
                scope.name(),
                widest.name()
            )),
            Some(scope) => Ok(scope),
            // What has no owner is everybody's to look at, who may list it at all.
            None if kind.facts.level == Level::System && kind.hooks.visible(&ctx.caller, widest).is_none() => Ok(Scope::System),
            None => Ok(widest.min(match kind.facts.level {
                Level::Project => Scope::Project,
                Level::Domain => Scope::Domain,
                Level::User => Scope::User,
                Level::System => Scope::System,
            })),
        }
    }

    /// Rows of a kind visible at a scope, the shared ones of others included.
    pub(crate) fn visible(&self, ctx: &Ctx, kind: &Kind, scope: Scope) -> Cond {
        if scope == Scope::System {
            return Cond::True;
        }
        if let Some(own) = kind.hooks.visible(&ctx.caller, scope) {
            return own;
        }
        if let Some(parent) = &kind.parent
            && let Some(of) = self.kind_named(parent.resource)
        {
            let ids = Select::from(of.facts.table).column("id", base::Kind::Text).filter(self.visible(ctx, of, scope));
            return Cond::in_select(parent.column, ids);
        }
        let caller = &ctx.caller;
        let own = match (kind.facts.level, scope) {
            (Level::System, _) => return Cond::True,
            (_, Scope::None) => return Cond::False,
            (Level::User, _) => Cond::eq("owner_id", caller.user_id.as_str()),
            (Level::Project, Scope::Project | Scope::User) if !caller.project_id.is_empty() => {
                Cond::eq("tenant_id", caller.project_id.as_str())
            }
            (Level::Project, Scope::Project | Scope::User) => Cond::False,
            _ if caller.project_domain_id.is_empty() => Cond::False,
            _ => Cond::eq("domain_id", caller.project_domain_id.as_str()),
        };
        if !kind.facts.has("is_public") {
            return own;
        }
        own.or(shared_with(kind, caller))
    }

    /// The narrowest scope that covers the row, seen from the caller.
    pub(crate) fn reach(&self, ctx: &Ctx, kind: &Kind, row: &Row) -> Scope {
        let caller = &ctx.caller;
        if let Some(scope) = kind.hooks.reach(caller, row) {
            return scope;
        }
        match kind.facts.level {
            Level::System => Scope::System,
            Level::User if row.text("owner_id") == caller.user_id => Scope::User,
            Level::Project if !caller.project_id.is_empty() && row.text("tenant_id") == caller.project_id => Scope::Project,
            Level::Project | Level::Domain if !caller.project_domain_id.is_empty() && row.text("domain_id") == caller.project_domain_id => {
                Scope::Domain
            }
            _ => Scope::System,
        }
    }

    /// Refuses unless the policies allow the action on this row.
    pub fn demand(&self, ctx: &Ctx, kind: &Kind, row: &Row, action: &str, extra: &[&str]) -> Result<Scope> {
        let ask = Ask { service: self.service, resource: kind.facts.plural, action, extra };
        let scope = self.reach(ctx, kind, row);
        if self.gate.allows(&ctx.caller, ctx.peer, &ask, scope) {
            return Ok(scope);
        }
        Err(denied(kind, action, extra))
    }
}

pub(crate) fn denied(kind: &Kind, action: &str, extra: &[&str]) -> base::Error {
    let what = std::iter::once(action).chain(extra.iter().copied()).collect::<Vec<_>>().join(" ");
    err!(Forbidden, "not allowed: {} on {}; ask an administrator for a role with this permission", what, kind.facts.plural)
}

/// Rows that others share with the caller (spec 01 §6.3).
fn shared_with(kind: &Kind, caller: &Caller) -> Cond {
    let listed = |column: &'static str, id: &str| Cond::Text(column.into(), Match::Contains, format!("\"{id}\""));
    let mut any = Cond::eq("public_scope", "system");
    if !caller.project_domain_id.is_empty() {
        let own = if kind.facts.has("domain_id") { Cond::eq("domain_id", caller.project_domain_id.as_str()) } else { Cond::False };
        let mine = own.or(listed("shared_domain_ids", &caller.project_domain_id));
        any = any.or(Cond::eq("public_scope", "domain").and(mine));
    }
    if !caller.project_id.is_empty() {
        any = any.or(Cond::eq("public_scope", "project").and(listed("shared_project_ids", &caller.project_id)));
    }
    Cond::eq("is_public", true).and(any)
}
