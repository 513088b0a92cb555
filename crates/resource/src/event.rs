//! The record of what was done: one row per change, written in the same transaction (spec 01 §12).

use crate::{Hooks, Kind, Naming};
use base::{Caller, Ctx, Json, Level, Resource, Result, Row, Scope, Timestamp, Value};
use std::sync::Arc;
use store::{Cond, Name, Tx};

/// One recorded operation.
#[derive(Clone, Debug, Default, Resource)]
#[resource(name = "event", plural = "events", service = "common", level = project)]
pub struct Event {
    /// Number of the record; pages go by it.
    pub id: i64,
    /// Kind of object: its singular keyword.
    #[field(filter)]
    pub obj_type: String,
    /// Identifier of the object; `master/slave` for a tie between two.
    #[field(filter)]
    pub obj_id: String,
    /// Name the object had.
    #[field(filter, search)]
    pub obj_name: String,
    /// What was done, one word.
    #[field(filter)]
    pub action: String,
    /// Details, often a JSON document with old and new values.
    #[field(search)]
    pub notes: String,
    /// When.
    pub ops_time: Timestamp,
    /// Who: user id.
    #[field(filter)]
    pub user_id: String,
    /// Who: user name.
    pub user: String,
    /// Domain id of the user.
    #[field(name = "domain_id")]
    pub user_domain_id: String,
    /// Domain name of the user.
    #[field(name = "domain")]
    pub user_domain: String,
    /// Project the user acted in.
    pub tenant_id: String,
    /// Its name.
    pub tenant: String,
    /// Domain id of that project.
    pub project_domain_id: String,
    /// Its name.
    pub project_domain: String,
    /// Roles the user acted with, comma separated.
    pub roles: String,
    /// Domain that owns the object.
    pub owner_domain_id: String,
    /// Project that owns the object.
    pub owner_tenant_id: String,
    /// Request it was part of.
    #[field(filter)]
    pub request_id: String,
    /// Address the request came from.
    pub ip: String,
}

pub(crate) fn kind() -> Kind {
    Kind::new::<Event, EventHooks>(&Arc::new(EventHooks)).naming(Naming::Free).read_only().done()
}

/// Records an operation on a row.
pub async fn audit(tx: &mut Tx, ctx: &Ctx, row: &Row, action: &str, notes: String) -> Result<()> {
    let caller = &ctx.caller;
    let owner_project = match row.facts.level {
        Level::Project => row.text("tenant_id"),
        _ => "",
    };
    let name = |n: &'static str| Name::from(n);
    let roles = caller.roles.iter().map(|r| r.name.as_str()).collect::<Vec<_>>().join(",");
    let columns: Vec<(Name, Value)> = vec![
        (name("obj_type"), row.facts.name.into()),
        (name("obj_id"), row.id().into()),
        (name("obj_name"), row.name().into()),
        (name("action"), action.into()),
        (name("notes"), notes.into()),
        (name("ops_time"), tx.now().into()),
        (name("user_id"), (&caller.user_id).into()),
        (name("user"), (&caller.user).into()),
        (name("domain_id"), (&caller.user_domain_id).into()),
        (name("domain"), (&caller.user_domain).into()),
        (name("tenant_id"), (&caller.project_id).into()),
        (name("tenant"), (&caller.project).into()),
        (name("project_domain_id"), (&caller.project_domain_id).into()),
        (name("project_domain"), (&caller.project_domain).into()),
        (name("roles"), roles.into()),
        (name("owner_domain_id"), row.text("domain_id").into()),
        (name("owner_tenant_id"), owner_project.into()),
        (name("request_id"), ctx.request_id.as_ref().into()),
        (name("ip"), ctx.peer.map(|p| p.to_string()).unwrap_or_default().into()),
    ];
    tx.insert_into("events", columns).await
}

/// What changed, as `{"field":{"old":..,"new":..}}`; hidden fields are named without their values.
pub(crate) fn diff(old: &Row, new: &Row) -> String {
    let mut out = serde_json::Map::new();
    for (i, field) in old.facts.fields.iter().enumerate() {
        if old.values[i] == new.values[i] || matches!(field.name, "update_version" | "updated_at" | "progress") {
            continue;
        }
        let change = if field.flags.has(base::Flags::HIDDEN) {
            Json::from("changed")
        } else {
            serde_json::json!({"old": old.values[i].to_json(), "new": new.values[i].to_json()})
        };
        out.insert(field.name.to_string(), change);
    }
    Json::Object(out).to_string()
}

struct EventHooks;

impl Hooks for EventHooks {
    /// Who may see a record: the owner of the object, or whoever did it.
    fn visible(&self, caller: &Caller, scope: Scope) -> Option<Cond> {
        let owned = |column: &'static str, id: &str| if id.is_empty() { Cond::False } else { Cond::eq(column, id) };
        match scope {
            Scope::System => None,
            Scope::Domain => Some(owned("owner_domain_id", &caller.project_domain_id)),
            Scope::Project => Some(owned("owner_tenant_id", &caller.project_id)),
            Scope::User => Some(owned("user_id", &caller.user_id)),
            Scope::None => Some(Cond::False),
        }
    }
}

impl Event {
    pub(crate) fn facts_name() -> &'static str {
        "event"
    }
}
