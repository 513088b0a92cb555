//! Users.

use super::{alive, count_of, counts, distinct, enabled_unless_said, ids};
use crate::{access, grants, passwords, passwords::Chosen, provider, revoke, state::State};
use api_identity::{User, user::SYSADMIN};
use auth::password::Outcome;
use base::{Caller, Error, Json, Kind as Cell, Resource, Result, Row, Scope, Value, err};
use resource::{
    ActionFact, BoxFuture, Deleted, Extra, Hooks, Input, Kind, Map, Op, Page, Params, Removal, Reply, flag, required, text_list,
};
use std::{collections::HashMap, sync::Arc};
use store::{Cond, Read, Select, Tx, work};

struct UserHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<User, _>(&Arc::new(UserHooks { state: state.clone() }))
        .extras(EXTRAS)
        .action(JOIN, |h, op, row, body| Box::pin(h.join(op, row, body)))
        .action(LEAVE, |h, op, row, body| Box::pin(h.leave(op, row, body)))
        .action(PASSWORD, |h, op, row, body| Box::pin(h.password(op, row, body)))
        .action(LINK_IDP, |h, op, row, body| Box::pin(h.link(op, row, body, true)))
        .action(UNLINK_IDP, |h, op, row, body| Box::pin(h.link(op, row, body, false)))
        .action(RESET_CREDENTIALS, |h, op, row, body| Box::pin(h.reset_credentials(op, row, body)))
        .done()
}

const EXTRAS: &[Extra] = &[
    Extra::create("password", Cell::Text, "Password; without one the user cannot log in with any.").and_update().secret(),
    Extra::create("skip_password_complexity_check", Cell::Bool, "Take any password; the user is asked to change it.").and_update(),
    Extra::create("idp_id", Cell::Text, "Identity provider of single sign-on the user is linked to, by id or name."),
    Extra::create("idp_entity_id", Cell::Text, "The provider's identifier of the user."),
    super::DOMAIN,
];
const JOIN: ActionFact = ActionFact {
    name: "join",
    doc: "Give the user roles in projects.",
    inputs: &[
        Input { name: "projects", kind: Cell::Json, required: true, doc: "Projects, by id or name." },
        Input { name: "roles", kind: Cell::Json, required: true, doc: "Roles, by id or name; all in each project." },
        Input { name: "enabled", kind: Cell::Bool, required: false, doc: "Enable the user as well." },
    ],
};
const LEAVE: ActionFact = ActionFact {
    name: "leave",
    doc: "Take roles in projects away from the user.",
    inputs: &[Input { name: "project_roles", kind: Cell::Json, required: true, doc: "Pairs of project and role." }],
};
const PASSWORD: ActionFact = ActionFact {
    name: "password",
    doc: "Change the own password, with the old one at hand.",
    inputs: &[
        Input { name: "password", kind: Cell::Text, required: true, doc: "The new password." },
        Input { name: "original_password", kind: Cell::Text, required: true, doc: "The old one." },
    ],
};
const LINK_IDP: ActionFact = ActionFact {
    name: "link-idp",
    doc: "Let somebody an identity provider knows log in as this user.",
    inputs: &[
        Input { name: "idp_id", kind: Cell::Text, required: true, doc: "Identity provider of single sign-on, by id or name." },
        Input { name: "idp_entity_id", kind: Cell::Text, required: true, doc: "The provider's identifier of the user." },
    ],
};
const UNLINK_IDP: ActionFact = ActionFact {
    name: "unlink-idp",
    doc: "Take that back; the user's tokens are void.",
    inputs: &[
        Input { name: "idp_id", kind: Cell::Text, required: true, doc: "Identity provider of single sign-on, by id or name." },
        Input {
            name: "idp_entity_id",
            kind: Cell::Text,
            required: false,
            doc: "The provider's identifier of the user; all of that provider when left out.",
        },
    ],
};
const RESET_CREDENTIALS: ActionFact = ActionFact {
    name: "reset-credentials",
    doc: "Delete the user's credentials of a type.",
    inputs: &[Input { name: "type", kind: Cell::Text, required: true, doc: "Type of credential, such as totp." }],
};

/// What users may change about themselves.
const OWN: [&str; 6] = ["displayname", "email", "mobile", "lang", "description", "default_project_id"];

impl UserHooks {
    async fn join(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let mut given = Vec::new();
        for which in text_list(&body, "projects") {
            let project = op.engine.resolve(op.ctx, "project", &which).await?;
            let kind = op.engine.kind("projects").ok_or_else(|| Error::internal("no projects"))?;
            op.engine.demand(op.ctx, kind, &project, "perform", &["join"]).await?;
            let roles = access::roles_to_give(&self.state, op.engine, op.ctx, &text_list(&body, "roles"), &project).await?;
            given.push((project, roles));
        }
        if given.is_empty() {
            return Err(err!(MissingParameter, "{} is missing", "projects"));
        }
        let enable = flag(&body, "enabled")?.unwrap_or(false) && !row.flag("enabled");
        if enable {
            op.engine.demand(op.ctx, op.kind, &row, "perform", &["enable"]).await?;
        }
        let (row, given, limits) = (&row, &given, self.state.config.limits());
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    for (project, roles) in given {
                        for role in roles {
                            grants::give(tx, op.ctx, limits, row, project, role).await?;
                        }
                    }
                    if enable { access::enable_user(tx, op.ctx, row.id()).await } else { Ok(()) }
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    async fn leave(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let mut taken = Vec::new();
        for (project, role) in access::pairs(&body, "project_roles", "project", "role")? {
            let project = op.engine.resolve(op.ctx, "project", &project).await?;
            let role = op.engine.resolve(op.ctx, "role", &role).await?;
            access::may_take(&self.state, op.ctx, &row, &project, &role)?;
            taken.push((project, role));
        }
        let (row, taken) = (&row, &taken);
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    for (project, role) in taken {
                        grants::take(tx, op.ctx, row, project, role).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    async fn password(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let old = api_identity::Secret::new(required(&body, "original_password")?);
        if passwords::compare(&self.state, &row, &old).await? == Outcome::Wrong {
            return Err(err!(WrongPassword, "the old password is wrong"));
        }
        let mut new = row.clone();
        passwords::set(&self.state, &mut new, &required(&body, "password")?, Chosen::ByUser).await?;
        let (row, new) = (&row, &new);
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    let mut new = new.clone();
                    revoke::user(tx, row.id()).await?;
                    tx.save(row, &mut new).await?;
                    access::record(tx, op.ctx, &new, "update").await
                })
            })
            .await?;
        Ok(Reply::Value(Json::Object(Map::new())))
    }

    async fn link(&self, op: &Op<'_>, row: Row, body: Map, link: bool) -> Result<Reply> {
        // Whoever links himself to somebody's account at a provider lets that somebody in: and providers are the platform's.
        let rights = op.engine.widest(op.ctx, op.kind, "perform", &[if link { "link-idp" } else { "unlink-idp" }]);
        if rights < Scope::System {
            return Err(err!(Forbidden, "only an administrator of the platform links users to identity providers"));
        }
        let provider = op.engine.resolve(op.ctx, "identity_provider", &required(&body, "idp_id")?).await?;
        let subject = resource::text(&body, &["idp_entity_id"]).unwrap_or_default();
        let (row, from, subject) = (&row, &provider, &subject);
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    if link {
                        provider::link::link(tx, op.ctx, row, from, subject).await
                    } else {
                        provider::link::unlink(tx, op.ctx, row, from, subject).await
                    }
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    async fn reset_credentials(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let kind = required(&body, "type")?;
        let cond = Cond::eq("owner_id", row.id()).and(Cond::eq("type", kind)).and(alive());
        let (row, cond) = (&row, &cond);
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    for old in tx.find(api_identity::Credential::facts(), cond.clone()).await? {
                        access::bury(tx, op.ctx, &old).await?;
                    }
                    access::record(tx, op.ctx, row, "reset_credentials").await
                })
            })
            .await?;
        Ok(Reply::Object)
    }
}

impl Hooks for UserHooks {
    fn visible(&self, caller: &Caller, scope: Scope) -> Option<Cond> {
        let own = Cond::eq("id", caller.user_id.as_str());
        match scope {
            Scope::User => Some(own),
            Scope::Project if caller.project_id.is_empty() => Some(own),
            Scope::Project => Some(own.or(grants::users_in(&caller.project_id))),
            _ => None,
        }
    }

    fn reach(&self, caller: &Caller, row: &Row) -> Option<Scope> {
        if !caller.is_guest() && row.id() == caller.user_id {
            return Some(Scope::User);
        }
        // Whoever could set their passwords would have their powers: not for the administrator of the domain they happen to be in.
        let mighty = row.flag("is_system_account") || self.state.mighty.load().contains(row.id());
        mighty.then_some(Scope::System)
    }

    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            enabled_unless_said(body, row);
            if row.flag("is_system_account") && op.engine.widest(op.ctx, op.kind, "create", &[]) < Scope::System {
                return Err(err!(Forbidden, "only an administrator of the platform makes system accounts"));
            }
            if body.get("idp_id").is_some_and(|id| !id.is_null()) && op.engine.widest(op.ctx, op.kind, "create", &[]) < Scope::System {
                return Err(err!(Forbidden, "only an administrator of the platform links users to identity providers"));
            }
            if body.get("lang").is_none() {
                row.set("lang", self.state.config.default_user_language.as_str());
            }
            if let Some(password) = resource::text(body, &["password"]) {
                let name = resource::text(body, &["name"]).unwrap_or_default();
                row.set("name", name);
                let any_shape = flag(body, "skip_password_complexity_check")?.unwrap_or(false);
                passwords::set(&self.state, row, &password, Chosen::ByAdministrator { any_shape }).await?;
            }
            Ok(())
        })
    }

    fn created<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some(which) = resource::text(body, &["idp_id"]) {
                let subject = resource::text(body, &["idp_entity_id"]).unwrap_or_default();
                provider::link::at_creation(tx, op.ctx, row, &which, &subject).await?;
            }
            crate::quota::demand(&self.state, tx, row).await
        })
    }

    fn update<'a>(&'a self, op: &'a Op<'a>, old: &'a Row, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let own = old.id() == op.ctx.caller.user_id;
            let rights = op.engine.widest(op.ctx, op.kind, "update", &[]);
            let same_domain = old.text("domain_id") == op.ctx.caller.project_domain_id;
            let administrator = rights >= if same_domain { Scope::Domain } else { Scope::System };
            if !administrator {
                let changed = old.facts.fields.iter().zip(old.values.iter().zip(&row.values)).filter(|(_, (a, b))| a != b);
                if let Some((field, _)) = changed.into_iter().find(|(f, _)| !OWN.contains(&f.name)) {
                    return Err(err!(Forbidden, "{} is changed by an administrator of your domain", field.name));
                }
            }
            if old.flag("is_system_account") != row.flag("is_system_account") && rights < Scope::System {
                return Err(err!(Forbidden, "only an administrator of the platform makes system accounts"));
            }
            if let Some(password) = resource::text(body, &["password"]) {
                let any_shape = flag(body, "skip_password_complexity_check")?.unwrap_or(false);
                let by = if own { Chosen::ByUser } else { Chosen::ByAdministrator { any_shape } };
                passwords::set(&self.state, row, &password, by).await?;
            }
            Ok(())
        })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let off = old.flag("enabled") && !row.flag("enabled");
            let moved = old.text("domain_id") != row.text("domain_id");
            if is_sysadmin(old) && (off || moved || row.name() != old.name()) {
                return Err(err!(
                    ProtectedResource,
                    "the user {} came with the platform and cannot be renamed, moved or disabled",
                    old.name()
                ));
            }
            if !old.flag("enabled") && row.flag("enabled") {
                row.set("failed_auth_count", 0);
            }
            if off || moved || old.text("password_hash") != row.text("password_hash") {
                revoke::user(tx, row.id()).await?;
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, _op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        let refusal = |row: &Row| {
            is_sysadmin(row).then(|| err!(ProtectedResource, "the user {} came with the platform and cannot be deleted", row.name()))
        };
        Box::pin(async move { Ok(rows.iter().map(refusal).collect()) })
    }

    fn delete<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, _how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            revoke::user(tx, row.id()).await?;
            grants::forget_actor(tx, row).await?;
            for credential in tx.find(api_identity::Credential::facts(), Cond::eq("owner_id", row.id()).and(alive())).await? {
                access::bury(tx, op.ctx, &credential).await?;
            }
            row.set("password_hash", "");
            row.set("password_history", Json::Null);
            Ok(Deleted::Now)
        })
    }

    fn filter<'a>(&'a self, op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let everybody = params.flag("system") == Some(true) && op.engine.widest(op.ctx, op.kind, "list", &[]) >= Scope::System;
            let mut all = std::mem::replace(cond, Cond::True);
            if !everybody {
                all = all.and(Cond::eq("is_system_account", false));
            }
            for which in params.all("group_id").into_iter().chain(params.all("group")) {
                all = all.and(grants::users_of(op.engine.resolve(op.ctx, "group", &which).await?.id()));
            }
            for which in params.all("project_id").into_iter().chain(params.all("project")) {
                all = all.and(grants::users_in(op.engine.resolve(op.ctx, "project", &which).await?.id()));
            }
            for which in params.all("role_id").into_iter().chain(params.all("role")) {
                let role = op.engine.resolve(op.ctx, "role", &which).await?;
                let held = Select::from("assignments").column("actor_id", Cell::Text).filter(Cond::eq("role_id", role.id()));
                all = all.and(Cond::in_select("id", held));
            }
            *cond = all;
            Ok(())
        })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for i in 0..page.rows.len() {
                page.add(i, "pending_deleted", false);
            }
            if !page.details {
                return Ok(());
            }
            let ids = ids(&page.rows);
            let credentials = counts(&self.state.db, "credentials", "owner_id", &ids, alive()).await?;
            let groups = distinct(&self.state.db, "memberships", "user_id", "group_id", &ids, Cond::True).await?;
            let projects = projects(&self.state, &ids).await?;
            let homes = provider::login::homes(&self.state.db, &ids).await?;
            let now = self.state.clock.now();
            for i in 0..page.rows.len() {
                let row = &page.rows[i];
                let id = row.id().to_string();
                let expires = row.get("password_expires_at").clone();
                let expired = matches!(expires, Value::Time(at) if at <= now);
                let mine = projects.get(&id).cloned().unwrap_or_default();
                let (failed, failed_at) = (row.int("failed_auth_count"), row.get("failed_auth_at").to_json());
                let reset = expired || row.flag("need_reset_password");
                let hint = if expired { "expire" } else { row.text("password_reset_hint") }.to_string();
                page.add(i, "credential_count", Json::from(count_of(&credentials, &id)));
                page.add(i, "group_count", Json::from(count_of(&groups, &id)));
                page.add(i, "project_count", Json::from(mine.len()));
                page.add(i, "failed_auth_count", Json::from(failed));
                page.add(i, "failed_auth_at", failed_at);
                let homes = homes.get(&id).cloned().unwrap_or_default();
                page.add(i, "is_local", homes.is_empty());
                page.add(i, "idps", homes);
                page.add(i, "need_reset_password", reset);
                page.add(i, "password_reset_hint", hint);
                page.add(i, "password_expires_at", expires.to_json());
                page.add(i, "projects", mine);
                if is_sysadmin(&page.rows[i]) {
                    page.add(i, "can_delete", false);
                }
            }
            Ok(())
        })
    }
}

fn is_sysadmin(row: &Row) -> bool {
    row.name() == SYSADMIN && row.text("domain_id") == api_identity::domain::DEFAULT
}

/// The projects each user of a page can enter, by user: those of its own roles and those of its groups'. Three queries, names from memory.
async fn projects(state: &State, ids: &[String]) -> Result<HashMap<String, Vec<Json>>> {
    let mut db = &state.db;
    let memberships = Select::from("memberships")
        .column("user_id", Cell::Text)
        .column("group_id", Cell::Text)
        .filter(Cond::is_in("user_id", ids.iter().map(String::as_str)));
    let memberships = db.rows(&memberships).await?;
    let actors = ids.iter().map(String::as_str).chain(memberships.iter().map(|m| m[1].as_str()));
    let mut held = Select::from("assignments")
        .column("actor_id", Cell::Text)
        .column("target_id", Cell::Text)
        .filter(Cond::is_in("actor_id", actors).and(Cond::is_in("type", [api_identity::USER_PROJECT, api_identity::GROUP_PROJECT])));
    held.distinct = true;
    let mut by_actor: HashMap<String, Vec<String>> = HashMap::new();
    for row in db.rows(&held).await? {
        by_actor.entry(row[0].as_str().to_string()).or_default().push(row[1].as_str().to_string());
    }
    let mut out = HashMap::new();
    for id in ids {
        let groups = memberships.iter().filter(|m| m[0].as_str() == id.as_str()).map(|m| m[1].as_str());
        let mut projects: Vec<&String> =
            std::iter::once(id.as_str()).chain(groups).filter_map(|actor| by_actor.get(actor)).flatten().collect();
        projects.sort_unstable();
        projects.dedup();
        let named = projects.into_iter().filter_map(|p| state.directory.find_project(p));
        out.insert(
            id.clone(),
            named.map(|p| serde_json::json!({"domain_id": p.domain_id, "id": p.project_id, "name": p.project})).collect(),
        );
    }
    Ok(out)
}
