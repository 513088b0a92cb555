//! From a permission to a condition: what the caller may see is part of the query, so a forbidden row is simply not there.
//!
//! A permission has two parts: the widest scope at which it holds for every row, and scopes at which it holds only for rows with certain tags
//! ([`Conditional`]). Both become SQL, in lists and in the check of one row alike, so that the two cannot disagree.

use crate::{Engine, Kind, Params, Parent, tags};
use base::{Caller, Ctx, Level, Result, Row, Scope, err};
use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};
use store::{Cond, Match, Read, Select};

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
    /// What is allowed besides, for certain rows only. Neither of the other two counts these.
    fn conditional(&self, _caller: &Caller, _peer: Option<IpAddr>, _ask: &Ask<'_>) -> Vec<Conditional> {
        Vec::new()
    }
}

/// Tags of which all must be there; without values a key may have any, several are alternatives.
pub type TagSet = BTreeMap<String, Vec<String>>;

/// An allow that reaches only certain rows of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditional {
    pub scope: Scope,
    /// The row must have one of these sets; none for no condition on its own tags.
    pub tags: Vec<TagSet>,
    /// Ids of the projects the row may belong to; `None` for any, or for none at all.
    pub projects: Option<Vec<String>>,
    /// The same for domains.
    pub domains: Option<Vec<String>>,
}

impl Conditional {
    /// Whether an allow at its scope answers a question at another: a wider one covers it, and what somebody may do about himself is given
    /// by `user` and `system` only (spec 01 §11.4).
    fn covers(&self, scope: Scope) -> bool {
        self.scope >= scope && (scope != Scope::User || matches!(self.scope, Scope::User | Scope::System))
    }
}

/// How far one action reaches on a kind.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    /// The widest scope for any row.
    pub plain: Scope,
    pub conditional: Vec<Conditional>,
}

impl Rights {
    /// The widest scope at all.
    pub fn widest(&self) -> Scope {
        self.conditional.iter().map(|c| c.scope).fold(self.plain, Scope::max)
    }

    /// The same, no wider than a scope.
    fn within(mut self, scope: Scope) -> Rights {
        self.plain = self.plain.min(scope);
        self.conditional.iter_mut().for_each(|c| c.scope = c.scope.min(scope));
        self
    }
}

impl Engine {
    /// The widest scope at which the policies allow an action on a kind.
    pub fn widest(&self, ctx: &Ctx, kind: &Kind, action: &str, extra: &[&str]) -> Scope {
        let ask = Ask { service: self.service, resource: kind.facts.plural, action, extra };
        self.gate.widest(&ctx.caller, ctx.peer, &ask)
    }

    /// The widest scope at which the caller may do something to a kind, for hooks that show or count by it.
    pub fn reach_of(&self, ctx: &Ctx, name: &str, action: &str, extra: &[&str]) -> Scope {
        self.kind_named(name).map_or(Scope::None, |kind| self.widest(ctx, kind, action, extra))
    }

    pub(crate) fn rights(&self, ctx: &Ctx, kind: &Kind, action: &str, extra: &[&str]) -> Rights {
        let ask = Ask { service: self.service, resource: kind.facts.plural, action, extra };
        let plain = self.gate.widest(&ctx.caller, ctx.peer, &ask);
        // For every row there is: conditions add nothing.
        let conditional = if plain == Scope::System { Vec::new() } else { self.gate.conditional(&ctx.caller, ctx.peer, &ask) };
        Rights { plain, conditional }
    }

    /// How far a list reaches: as far as was asked for if that is allowed, else the kind's own breadth.
    pub(crate) fn list_rights(&self, ctx: &Ctx, kind: &Kind, params: &Params) -> Result<Rights> {
        let rights = self.rights(ctx, kind, "list", &[]);
        let widest = rights.widest();
        if widest == Scope::None {
            return Err(self.denied(ctx, kind, "list", &[], breadth(kind)));
        }
        let asked = match params.text("scope").as_deref() {
            Some("max" | "maxallowed") => return Ok(rights),
            Some(word) => Some(
                Scope::parse(word).ok_or_else(|| err!(InputParameter, "scope {} is unknown; use system, domain, project or user", word))?,
            ),
            None if params.flag("admin") == Some(true) => Some(Scope::System),
            None => None,
        };
        match asked {
            Some(scope) if scope > widest => Err(self.denied(ctx, kind, "list", &[], scope)),
            Some(scope) => Ok(rights.within(scope)),
            // What has no owner is everybody's to look at, who may list it at all.
            None if kind.facts.level == Level::System && kind.hooks.visible(&ctx.caller, widest).is_none() => {
                Ok(Rights { plain: if rights.plain == Scope::None { Scope::None } else { Scope::System }, ..rights })
            }
            None => Ok(rights.within(breadth(kind))),
        }
    }

    /// Rows of a kind that are within reach.
    pub(crate) fn seen(&self, ctx: &Ctx, kind: &Kind, rights: &Rights) -> Cond {
        let plain = if rights.plain == Scope::None { Cond::False } else { self.visible(ctx, kind, rights.plain) };
        rights.conditional.iter().filter(|c| c.scope > Scope::None).fold(plain, |all, c| {
            let there = self.visible(ctx, kind, c.scope).and(self.meets(kind, c));
            all.or(there)
        })
    }

    /// Rows of a kind that meet a condition.
    fn meets(&self, kind: &Kind, condition: &Conditional) -> Cond {
        let mut all = Cond::True;
        if !condition.tags.is_empty() {
            all = condition.tags.iter().fold(Cond::False, |any, set| any.or(tags::all_of(kind, set)));
        }
        for (wanted, side) in [(&condition.projects, 0), (&condition.domains, 1)] {
            if let Some(ids) = wanted {
                all = all.and(self.belongs(kind, side, ids));
            }
        }
        all
    }

    /// Rows of the projects (side 0) or domains (side 1) with these ids. What belongs to none meets no condition on it.
    fn belongs(&self, kind: &Kind, side: usize, ids: &[String]) -> Cond {
        let (project, domain) = kind.hooks.owner_columns(kind.facts);
        if let Some(column) = [project, domain][side] {
            return Cond::is_in(column, ids.iter().map(String::as_str));
        }
        match self.parent(kind) {
            Some((parent, of)) => {
                let owned = Select::from(of.facts.table).column("id", base::Kind::Text).filter(self.belongs(of, side, ids));
                Cond::in_select(parent.column, owned)
            }
            None => Cond::False,
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
        if let Some((parent, of)) = self.parent(kind) {
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

    /// The narrowest scope that covers the row, seen from the caller. What has a parent is whose the parent is.
    pub async fn reach(&self, ctx: &Ctx, kind: &Kind, row: &Row) -> Result<Scope> {
        let (mut kind, mut row) = (kind, Cow::Borrowed(row));
        loop {
            if let Some(scope) = kind.hooks.reach(&ctx.caller, &row) {
                return Ok(scope);
            }
            let Some((parent, of)) = self.parent(kind) else { return Ok(own_reach(&ctx.caller, kind, &row)) };
            let mut db = &self.db;
            let Some(above) = db.one(of.facts, row.text(parent.column)).await? else { return Ok(Scope::System) };
            (kind, row) = (of, Cow::Owned(above));
        }
    }

    fn parent<'a>(&'a self, kind: &'a Kind) -> Option<(&'a Parent, &'a Kind)> {
        let parent = kind.parent.as_ref()?;
        Some((parent, self.kind_named(parent.resource)?))
    }

    /// Refuses unless the policies allow the action on this row.
    pub async fn demand(&self, ctx: &Ctx, kind: &Kind, row: &Row, action: &str, extra: &[&str]) -> Result<Scope> {
        let scope = self.reach(ctx, kind, row).await?;
        if self.permits_at(scope, ctx, kind, row, action, extra).await? {
            return Ok(scope);
        }
        Err(self.denied(ctx, kind, action, extra, scope))
    }

    /// Whether the policies allow the action on this row.
    pub async fn permits(&self, ctx: &Ctx, kind: &Kind, row: &Row, action: &str, extra: &[&str]) -> Result<bool> {
        let scope = self.reach(ctx, kind, row).await?;
        self.permits_at(scope, ctx, kind, row, action, extra).await
    }

    async fn permits_at(&self, scope: Scope, ctx: &Ctx, kind: &Kind, row: &Row, action: &str, extra: &[&str]) -> Result<bool> {
        let ask = Ask { service: self.service, resource: kind.facts.plural, action, extra };
        if self.gate.allows(&ctx.caller, ctx.peer, &ask, scope) {
            return Ok(true);
        }
        let conditions = self.gate.conditional(&ctx.caller, ctx.peer, &ask);
        let cond = conditions.iter().filter(|c| c.covers(scope)).fold(Cond::False, |any, c| any.or(self.meets(kind, c)));
        if cond == Cond::False {
            return Ok(false);
        }
        // The same words as in a list, about one row.
        let mut db = &self.db;
        db.exists(kind.facts.table, Cond::eq("id", row.get("id").clone()).and(cond)).await
    }

    /// Whether the caller meets the row at all, by id or in a list.
    pub async fn meets_row(&self, ctx: &Ctx, kind: &Kind, row: &Row) -> Result<bool> {
        let rights = self.rights(ctx, kind, "get", &[]);
        let mut db = &self.db;
        db.exists(kind.facts.table, Cond::eq("id", row.get("id").clone()).and(self.seen(ctx, kind, &rights))).await
    }

    /// Whether a row may be made whose owner is known, at the scope that takes. A condition on tags gives the new row the tags it asks for; what
    /// comes back are those the request did not bring.
    pub(crate) fn may_create(
        &self,
        ctx: &Ctx,
        kind: &Kind,
        row: &Row,
        scope: Scope,
        given: &[(String, Option<String>)],
    ) -> Result<Vec<(String, Option<String>)>> {
        let ask = Ask { service: self.service, resource: kind.facts.plural, action: "create", extra: &[] };
        if self.gate.allows(&ctx.caller, ctx.peer, &ask, scope) {
            return Ok(Vec::new());
        }
        let (project, domain) = kind.hooks.owner_columns(kind.facts);
        let owned = |wanted: &Option<Vec<String>>, column: Option<&str>| match (wanted, column) {
            (None, _) => true,
            (Some(ids), Some(column)) => column != "id" && ids.iter().any(|id| id == row.text(column)),
            (Some(_), None) => false,
        };
        for condition in self.gate.conditional(&ctx.caller, ctx.peer, &ask).iter().filter(|c| c.covers(scope)) {
            if !owned(&condition.projects, project) || !owned(&condition.domains, domain) {
                continue;
            }
            if condition.tags.is_empty() {
                return Ok(Vec::new());
            }
            if let Some(more) = condition.tags.iter().find_map(|set| completed(set, given)) {
                return Ok(more);
            }
        }
        Err(self.denied(ctx, kind, "create", &[], scope))
    }

    /// The refusal, with the name of what is missing and the id to ask about.
    pub fn denied(&self, ctx: &Ctx, kind: &Kind, action: &str, extra: &[&str], scope: Scope) -> base::Error {
        denied(ctx, &Ask { service: self.service, resource: kind.facts.plural, action, extra }, scope)
    }

    /// Refuses unless the caller may do something to any row of a kind, at a scope or wider: for hooks that guard a single field.
    pub fn demand_of(&self, ctx: &Ctx, name: &str, action: &str, extra: &[&str], scope: Scope) -> Result<()> {
        let kind = self.kind_named(name).ok_or_else(|| base::Error::internal(format!("no kind {name}")))?;
        if self.widest(ctx, kind, action, extra) >= scope { Ok(()) } else { Err(self.denied(ctx, kind, action, extra, scope)) }
    }
}

/// Refuses unless the policies allow what is about no row, at a scope or wider.
pub fn demand(gate: &dyn Gate, ctx: &Ctx, ask: &Ask<'_>, scope: Scope) -> Result<()> {
    if gate.allows(&ctx.caller, ctx.peer, ask, scope) { Ok(()) } else { Err(denied(ctx, ask, scope)) }
}

/// The refusal of a permission at a scope: logged, and told with the name of what is missing and the id to ask about.
pub fn denied(ctx: &Ctx, ask: &Ask<'_>, scope: Scope) -> base::Error {
    tracing::info!(permission = %ask, scope = scope.name(), user = ctx.caller.user, user_id = ctx.caller.user_id,
        project_id = ctx.caller.project_id, request_id = %ctx.request_id, "not allowed");
    err!(
        Forbidden,
        "not allowed: {} at scope {}; ask an administrator for a role with this permission, and name the request {}",
        ask,
        scope.name(),
        ctx.request_id
    )
}

impl std::fmt::Display for Ask<'_> {
    /// `compute/servers/perform/start`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.service, self.resource, self.action)?;
        self.extra.iter().try_for_each(|word| write!(f, "/{word}"))
    }
}

/// The narrowest scope that covers a row by its own columns.
fn own_reach(caller: &Caller, kind: &Kind, row: &Row) -> Scope {
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

/// The scope of a kind's ordinary owner.
pub fn breadth(kind: &Kind) -> Scope {
    match kind.facts.level {
        Level::Project => Scope::Project,
        Level::Domain => Scope::Domain,
        Level::User => Scope::User,
        Level::System => Scope::System,
    }
}

/// The tags a set wants besides those given; `None` when they contradict each other, or when the set leaves the value open.
fn completed(set: &TagSet, given: &[(String, Option<String>)]) -> Option<Vec<(String, Option<String>)>> {
    let mut more = Vec::new();
    for (key, values) in set {
        match (given.iter().find(|(k, _)| k == key), values.as_slice()) {
            (Some((_, Some(value))), values) if values.is_empty() || values.contains(value) => {}
            (None, [value]) => more.push((key.clone(), Some(value.clone()))),
            _ => return None,
        }
    }
    Some(more)
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
