//! Groups of users.

use super::{count_of, distinct, ids};
use crate::{access, grants, state::State};
use api_identity::Group;
use base::{Caller, Error, Json, Kind as Cell, Result, Row, Scope, err};
use resource::{ActionFact, BoxFuture, Deleted, Hooks, Input, Kind, Map, Op, Page, Params, Removal, Reply, text_list};
use std::sync::Arc;
use store::{Cond, Tx, work};

struct GroupHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<Group, _>(&Arc::new(GroupHooks { state: state.clone() }))
        .extras(&[super::DOMAIN])
        .action(JOIN, |h, op, row, body| Box::pin(h.join(op, row, body)))
        .action(LEAVE, |h, op, row, body| Box::pin(h.leave(op, row, body)))
        .action(ADD_USERS, |h, op, row, body| Box::pin(h.users(op, row, body, true)))
        .action(REMOVE_USERS, |h, op, row, body| Box::pin(h.users(op, row, body, false)))
        .done()
}

const JOIN: ActionFact = ActionFact {
    name: "join",
    doc: "Give the group roles in projects.",
    inputs: &[
        Input { name: "projects", kind: Cell::Json, required: true, doc: "Projects, by id or name." },
        Input { name: "roles", kind: Cell::Json, required: true, doc: "Roles, by id or name; all in each project." },
    ],
};
const LEAVE: ActionFact = ActionFact {
    name: "leave",
    doc: "Take roles in projects away from the group.",
    inputs: &[Input { name: "project_roles", kind: Cell::Json, required: true, doc: "Pairs of project and role." }],
};
const USERS: &[Input] = &[
    Input { name: "user_ids", kind: Cell::Json, required: false, doc: "Users, by id or name." },
    Input { name: "users", kind: Cell::Json, required: false, doc: "The same under its older word." },
];
const ADD_USERS: ActionFact = ActionFact { name: "add-users", doc: "Put users into the group.", inputs: USERS };
const REMOVE_USERS: ActionFact = ActionFact { name: "remove-users", doc: "Take users out of the group.", inputs: USERS };

impl GroupHooks {
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
                    Ok(())
                })
            })
            .await?;
        Ok(Reply::Object)
    }

    async fn leave(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let mut taken = Vec::new();
        for (project, role) in access::pairs(&body, "project_roles", "project", "role")? {
            let (project, role) = (op.engine.resolve(op.ctx, "project", &project).await?, op.engine.resolve(op.ctx, "role", &role).await?);
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

    async fn users(&self, op: &Op<'_>, row: Row, body: Map, into: bool) -> Result<Reply> {
        let mut users = Vec::new();
        // The existing command line says `user`.
        for which in ["user_ids", "users", "user"].into_iter().flat_map(|key| text_list(&body, key)) {
            users.push(op.engine.resolve(op.ctx, "user", &which).await?);
        }
        if users.is_empty() {
            return Err(err!(MissingParameter, "{} is missing", "user_ids"));
        }
        access::may_enter(&self.state, op.ctx, &row).await?;
        let (row, users, limits) = (&row, &users, self.state.config.limits());
        self.state
            .db
            .tx(|tx| {
                work(async move {
                    for user in users {
                        if into {
                            grants::enter(tx, op.ctx, limits, row, user).await?;
                        } else {
                            grants::leave(tx, op.ctx, row, user).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(Reply::Object)
    }
}

impl Hooks for GroupHooks {
    fn created<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, _body: &'a Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { crate::quota::demand(&self.state, tx, row).await })
    }

    fn visible(&self, caller: &Caller, scope: Scope) -> Option<Cond> {
        let own = Cond::in_select("id", grants::groups_of(&caller.user_id));
        match scope {
            Scope::User => Some(own),
            Scope::Project if caller.project_id.is_empty() => Some(own),
            Scope::Project => Some(own.or(grants::groups_in(&caller.project_id))),
            _ => None,
        }
    }

    fn delete<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, _how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            grants::forget_actor(tx, row).await?;
            Ok(Deleted::Now)
        })
    }

    fn filter<'a>(&'a self, op: &'a Op<'a>, params: &'a Params, cond: &'a mut Cond) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut all = std::mem::replace(cond, Cond::True);
            for which in params.all("user_id").into_iter().chain(params.all("user")) {
                let user = op.engine.resolve(op.ctx, "user", &which).await?;
                all = all.and(Cond::in_select("id", grants::groups_of(user.id())));
            }
            for which in params.all("project_id").into_iter().chain(params.all("project")) {
                all = all.and(grants::groups_in(op.engine.resolve(op.ctx, "project", &which).await?.id()));
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
            let users = distinct(&self.state.db, "memberships", "group_id", "user_id", &ids, Cond::True).await?;
            let projects =
                distinct(&self.state.db, "assignments", "actor_id", "target_id", &ids, Cond::eq("type", api_identity::GROUP_PROJECT))
                    .await?;
            for i in 0..page.rows.len() {
                let id = page.rows[i].id().to_string();
                page.add(i, "user_count", Json::from(count_of(&users, &id)));
                page.add(i, "project_count", Json::from(count_of(&projects, &id)));
            }
            Ok(())
        })
    }
}
