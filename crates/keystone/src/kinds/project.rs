//! Projects, and who is in them.

use super::{count_of, distinct, enabled_unless_said, ids};
use crate::{access, counters, grants, kinds::alive, revoke, state::State};
use api_identity::{GROUP_PROJECT, Project, USER_PROJECT, project::SYSTEM};
use base::{Caller, Error, Json, Kind as Cell, Resource, Result, Row, Scope, err};
use resource::{ActionFact, BoxFuture, Deleted, Hooks, Input, Kind, Map, Op, Page, Params, Removal, Reply, required, text_list};
use std::sync::Arc;
use store::{Cond, Read, Tx, work};

struct ProjectHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<Project, _>(&Arc::new(ProjectHooks { state: state.clone() }))
        .extras(&[super::DOMAIN])
        .action(JOIN, |h, op, row, body| Box::pin(h.join(op, row, body)))
        .action(LEAVE, |h, op, row, body| Box::pin(h.leave(op, row, body)))
        .action(SET_ADMIN, |h, op, row, body| Box::pin(h.set_admin(op, row, body)))
        .done()
}

const JOIN: ActionFact = ActionFact {
    name: "join",
    doc: "Give users and groups roles in the project.",
    inputs: &[
        Input { name: "users", kind: Cell::Json, required: false, doc: "Users, by id or name." },
        Input { name: "groups", kind: Cell::Json, required: false, doc: "Groups, by id or name." },
        Input { name: "roles", kind: Cell::Json, required: true, doc: "Roles, by id or name; each user and group gets all." },
        Input { name: "enable_all_users", kind: Cell::Bool, required: false, doc: "Enable the users that are disabled." },
    ],
};
const LEAVE: ActionFact = ActionFact {
    name: "leave",
    doc: "Take roles in the project away.",
    inputs: &[
        Input { name: "user_roles", kind: Cell::Json, required: false, doc: "Pairs of user and role." },
        Input { name: "group_roles", kind: Cell::Json, required: false, doc: "Pairs of group and role." },
    ],
};
const SET_ADMIN: ActionFact = ActionFact {
    name: "set-admin",
    doc: "Name the user who answers for the project; it becomes its owner.",
    inputs: &[Input { name: "user_id", kind: Cell::Text, required: true, doc: "A user of the project, by id or name." }],
};

impl ProjectHooks {
    async fn join(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let mut actors = Vec::new();
        for (key, kind) in [("users", "user"), ("groups", "group")] {
            for which in text_list(&body, key) {
                actors.push(op.engine.resolve(op.ctx, kind, &which).await?);
            }
        }
        if actors.is_empty() {
            return Err(err!(MissingParameter, "name at least one of {}", "users, groups"));
        }
        let roles = access::roles_to_give(&self.state, op.engine, op.ctx, &text_list(&body, "roles"), &row).await?;
        let enable = resource::flag(&body, "enable_all_users")?.unwrap_or(false);
        let (actors, roles, row, limits) = (&actors, &roles, &row, self.state.config.limits());
        let enabling = |actor: &Row| enable && actor.facts.name == "user" && !actor.flag("enabled");
        if let (true, Some(user)) = (enable, actors.iter().find(|a| enabling(a))) {
            access::demand(op, user, "perform", &["enable"]).await?;
        }
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    for actor in actors {
                        for role in roles {
                            grants::give(tx, op.ctx, limits, actor, row, role).await?;
                        }
                        if enabling(actor) {
                            access::enable_user(tx, op.ctx, actor.id()).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    async fn leave(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let mut pairs = Vec::new();
        for (key, kind) in [("user_roles", "user"), ("group_roles", "group")] {
            for (actor, role) in access::pairs(&body, key, kind, "role")? {
                pairs.push((op.engine.resolve(op.ctx, kind, &actor).await?, op.engine.resolve(op.ctx, "role", &role).await?));
            }
        }
        if pairs.is_empty() {
            return Err(err!(MissingParameter, "name at least one of {}", "user_roles, group_roles"));
        }
        for (actor, role) in &pairs {
            access::may_take(&self.state, op.ctx, actor, &row, role)?;
        }
        let (pairs, row) = (&pairs, &row);
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    for (actor, role) in pairs {
                        grants::take(tx, op.ctx, actor, row, role).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    async fn set_admin(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let user = op.engine.resolve(op.ctx, "user", &required(&body, "user_id")?).await?;
        let member = self.state.db.read().exists("users", Cond::eq("id", user.id()).and(grants::users_in(row.id()))).await?;
        if !member {
            return Err(err!(InputParameter, "{} is not in the project {}; let it join first", user.name(), row.name()));
        }
        let owner = self.state.config.project_admin_role.clone();
        let roles = access::roles_to_give(&self.state, op.engine, op.ctx, &[owner], &row).await?;
        let (user, roles, row, limits) = (&user, &roles, &row, self.state.config.limits());
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    let Some(old) = tx.one(row.facts, row.id()).await? else {
                        return Err(err!(ResourceNotFound, "{} {} not found", "project", row.name()));
                    };
                    let mut new = old.clone();
                    new.set("admin_id", user.id());
                    tx.save(&old, &mut new).await?;
                    for role in roles {
                        grants::give(tx, op.ctx, limits, user, row, role).await?;
                    }
                    access::record(tx, op.ctx, &new, "update").await
                })
            })
            .await?;
        Ok(Reply::Object)
    }
}

impl Hooks for ProjectHooks {
    fn visible(&self, caller: &Caller, scope: Scope) -> Option<Cond> {
        match scope {
            Scope::Project => Some(Cond::eq("id", caller.project_id.as_str())),
            Scope::User => Some(Cond::in_select("id", grants::projects_of(&caller.user_id))),
            _ => None,
        }
    }

    fn reach(&self, caller: &Caller, row: &Row) -> Option<Scope> {
        (!caller.project_id.is_empty() && row.id() == caller.project_id).then_some(Scope::Project)
    }

    fn owner_columns(&self, _facts: &base::Facts) -> (Option<&'static str>, Option<&'static str>) {
        (Some("id"), Some("domain_id"))
    }

    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            enabled_unless_said(body, row);
            let domain = row.text("domain_id").to_string();
            row.set("parent_id", domain);
            if let Some(which) = resource::text(body, &["admin_id", "admin"]) {
                row.set("admin_id", op.engine.resolve(op.ctx, "user", &which).await?.id());
            }
            Ok(())
        })
    }

    fn created<'a>(&'a self, op: &'a Op<'a>, tx: &'a mut Tx, _body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            crate::quota::demand(&self.state, tx, row).await?;
            if row.text("admin_id").is_empty() {
                return Ok(());
            }
            let user = tx.one(api_identity::User::facts(), row.text("admin_id")).await?;
            let roles =
                tx.find(api_identity::Role::facts(), Cond::eq("name", self.state.config.project_admin_role.as_str()).and(alive())).await?;
            // The platform's own role of that name counts, not one a domain made for itself.
            let role = roles.into_iter().find(|r| r.text("domain_id") == api_identity::domain::DEFAULT);
            if let (Some(user), Some(role)) = (user, role) {
                grants::give(tx, op.ctx, self.state.config.limits(), &user, row, &role).await?;
            }
            Ok(())
        })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let off = old.flag("enabled") && !row.flag("enabled");
            let moved = old.text("domain_id") != row.text("domain_id");
            if is_system(old) && (off || moved || row.name() != old.name()) {
                return Err(err!(
                    ProtectedResource,
                    "the project {} came with the platform and cannot be renamed, moved or disabled",
                    old.name()
                ));
            }
            if moved {
                let domain = row.text("domain_id").to_string();
                row.set("parent_id", domain);
            }
            if off || moved {
                revoke::project(tx, row.id()).await?;
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, _op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let (users, groups) = members(&self.state, &ids(rows)).await?;
            let refusal = |row: &Row| {
                if is_system(row) {
                    return Some(err!(ProtectedResource, "the project {} came with the platform and cannot be deleted", row.name()));
                }
                let mut holds = self.state.counters.of_project(row.id());
                holds.insert("users".into(), count_of(&users, row.id()));
                holds.insert("groups".into(), count_of(&groups, row.id()));
                let what = counters::list(&holds);
                (!what.is_empty()).then(|| err!(NotEmpty, "the project {} still has {}; move them or delete them first", row.name(), what))
            };
            Ok(rows.iter().map(refusal).collect())
        })
    }

    fn delete<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, _how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            revoke::project(tx, row.id()).await?;
            tx.delete("assignments", Cond::eq("target_id", row.id())).await?;
            Ok(Deleted::Now)
        })
    }

    fn filter<'a>(&'a self, op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for which in params.all("user_id").into_iter().chain(params.all("user")) {
                let user = op.engine.resolve(op.ctx, "user", &which).await?;
                *cond = cond.clone().and(Cond::in_select("id", grants::projects_of(user.id())));
            }
            for which in params.all("group_id").into_iter().chain(params.all("group")) {
                let group = op.engine.resolve(op.ctx, "group", &which).await?;
                let held = store::Select::from("assignments").column("target_id", Cell::Text).filter(Cond::eq("actor_id", group.id()));
                *cond = cond.clone().and(Cond::in_select("id", held));
            }
            Ok(())
        })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for i in 0..page.rows.len() {
                page.add(i, "pending_deleted", false);
                page.add(i, "is_domain", false);
            }
            if !page.details {
                return Ok(());
            }
            let (users, groups) = members(&self.state, &ids(&page.rows)).await?;
            let admins = self.state.db.read().find(api_identity::User::facts(), Cond::is_in("id", page.ids("admin_id"))).await?;
            for i in 0..page.rows.len() {
                let id = page.rows[i].id().to_string();
                page.add(i, "user_count", Json::from(count_of(&users, &id)));
                page.add(i, "group_count", Json::from(count_of(&groups, &id)));
                super::ext_resources(&self.state, page, i, self.state.counters.of_project(&id));
                let admin = admins.iter().find(|u| u.id() == page.rows[i].text("admin_id"));
                if let Some(admin) = admin {
                    let domain = admin.text("domain_id");
                    page.add(i, "admin", admin.name());
                    page.add(i, "admin_domain_id", domain);
                    page.add(i, "admin_domain", self.state.directory.domain_name(domain));
                }
            }
            Ok(())
        })
    }
}

fn is_system(row: &Row) -> bool {
    row.name() == SYSTEM && row.text("domain_id") == api_identity::domain::DEFAULT
}

/// How many users and groups have a role in each project.
async fn members(
    state: &State,
    ids: &[String],
) -> Result<(std::collections::HashMap<String, i64>, std::collections::HashMap<String, i64>)> {
    let users = distinct(&state.db, "assignments", "target_id", "actor_id", ids, Cond::eq("type", USER_PROJECT)).await?;
    let groups = distinct(&state.db, "assignments", "target_id", "actor_id", ids, Cond::eq("type", GROUP_PROJECT)).await?;
    Ok((users, groups))
}
