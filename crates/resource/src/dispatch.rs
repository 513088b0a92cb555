//! From a method and a path to an operation (spec 01 §1). About a dozen shapes serve every kind.

use crate::{
    ActionFact, Actions, Engine, Kind, Map, Params, Reply, Tying, body, create, delete, engine::Op, list, metadatas, show, standard, update,
};
use base::{Ctx, Json, Result, Row, Scope, err};
use store::Cond;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
}

/// A JSON body on its way out.
#[derive(Debug)]
pub struct Answer {
    pub body: Vec<u8>,
}

impl Answer {
    pub fn bytes(body: Vec<u8>) -> Answer {
        Answer { body }
    }
    pub fn json(json: Json) -> Answer {
        Answer { body: json.to_string().into_bytes() }
    }
}

impl Engine {
    /// Whether a path is one of this engine's, by its first segment.
    pub fn serves(&self, path: &[String]) -> bool {
        path.first().is_some_and(|first| first == metadatas::PLURAL || self.kind(first).is_some())
    }

    /// Carries out one request. `path` is without the service's prefix, each segment percent-decoded.
    pub async fn handle(&self, ctx: &Ctx, method: Method, path: &[String], params: &Params, body: Option<Json>) -> Result<Answer> {
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        if let (Method::Get | Method::Head, Some((&metadatas::PLURAL, rest))) = (method, segments.split_first()) {
            return metadatas::get(self, ctx, rest, params).await;
        }
        if let (Method::Get, [crate::counts::PATH]) = (method, &segments[..]) {
            return crate::counts::answer(self, ctx).await;
        }
        let Some(kind) = segments.first().and_then(|s| self.kind(s)) else {
            return Err(err!(NotFound, "no resource {} here", segments.first().unwrap_or(&"")));
        };
        let op = Op { ctx, engine: self, kind, params };
        match (method, &segments[1..]) {
            (Method::Get | Method::Head, []) => list::list(&op, Cond::True).await,
            (Method::Post, []) => create::create(&op, body, &[]).await,
            (Method::Get | Method::Head, [which]) => {
                if let Some(answer) = class_spec(&op, which).await {
                    return answer;
                }
                show::show(&op, which).await
            }
            (Method::Put, [which]) => update::update(&op, which, body).await,
            (Method::Delete, [which]) => delete::delete(&op, which).await,
            (Method::Post, [action]) => class_action(&op, action, body).await,
            (Method::Get | Method::Head, [which, word]) => match self.inside(kind, word) {
                Some((inner, column)) => {
                    let row = show::find(&op, which).await?;
                    let inner = Op { kind: inner, ..op };
                    list::list(&inner, Cond::eq(column, row.id())).await
                }
                None => spec(&op, which, word).await,
            },
            (Method::Post, [which, word]) => match self.inside(kind, word) {
                Some((inner, column)) if inner.joint.is_none() => {
                    let row = show::find(&op, which).await?;
                    create::create(&Op { kind: inner, ..op }, body, &[(column, row.id().to_string())]).await
                }
                _ => action(&op, which, word, body).await,
            },
            (_, [which, word, other]) => self.within(&op, method, which, word, other, body).await,
            _ => Err(err!(NotFound, "{} has no such path", kind.facts.plural)),
        }
    }

    /// The kind listed under another kind's row by this word, and the column that ties them.
    fn inside(&self, outer: &Kind, word: &str) -> Option<(&Kind, &'static str)> {
        let outer_plural = outer.facts.plural;
        for kind in self.kinds() {
            if let Some(joint) = &kind.joint {
                let (m, s) = (joint.master, joint.slave);
                if m.0 == outer_plural && s.0 == word {
                    return Some((kind, m.1));
                }
                if s.0 == outer_plural && m.0 == word {
                    return Some((kind, s.1));
                }
            }
        }
        let inner = self.kind(word)?;
        let (_, column) = inner.contexts.iter().find(|(plural, _)| *plural == outer_plural)?;
        Some((inner, column))
    }

    /// `/{outer}/{id}/{inner}/{other}`: one tie of a joint, or a row inside a context.
    async fn within(&self, op: &Op<'_>, method: Method, which: &str, word: &str, other: &str, body: Option<Json>) -> Result<Answer> {
        let Some((inner, column)) = self.inside(op.kind, word) else {
            return Err(err!(SpecNotFound, "{} has nothing named {}", op.kind.facts.plural, word));
        };
        let row = show::find(op, which).await?;
        let inner_op = Op { kind: inner, ..*op };
        let target = match &inner.joint {
            None => show::find(&inner_op, other).await?,
            Some(joint) => {
                let far = if joint.master.1 == column { joint.slave } else { joint.master };
                let far_kind = self.kind(far.0).ok_or_else(|| err!(NotFound, "no resource {} here", far.0))?;
                let far_row = show::find(&Op { kind: far_kind, ..*op }, other).await?;
                let tie = Cond::eq(column, row.id()).and(Cond::eq(far.1, far_row.id())).and(Cond::eq("deleted", false));
                let mut db = &self.db;
                let mut ties = store::Read::find(&mut db, inner.facts, tie).await?;
                match (method, ties.len()) {
                    (Method::Post, 0) => {
                        let (master, slave) = if far.1 == joint.slave.1 { (row, far_row) } else { (far_row, row) };
                        return make_tie(&inner_op, master, &slave, body).await;
                    }
                    (Method::Post, _) => return Err(err!(NotAcceptable, "{} and {} are tied already", row.name(), far_row.name())),
                    (Method::Put | Method::Delete, 2..) => {
                        return Err(err!(
                            DuplicateResource,
                            "{} and {} are tied {} times; use the actions of the {}, which tell them apart",
                            row.name(),
                            far_row.name(),
                            ties.len(),
                            self.kind(joint.master.0).map_or(joint.master.0, |kind| kind.facts.name)
                        ));
                    }
                    _ => {}
                }
                ties.pop().ok_or_else(|| err!(ResourceNotFound, "{} and {} are not tied", row.name(), far_row.name()))?
            }
        };
        if target.text(column) != row.id() {
            return Err(err!(ResourceNotFound, "{} {} not found", inner.facts.name, other));
        }
        match method {
            Method::Get | Method::Head => show::answer(&inner_op, target).await,
            Method::Put => update::update(&inner_op, target.id(), body).await,
            Method::Delete => delete::delete(&inner_op, target.id()).await,
            Method::Post => Err(err!(UnsupportedOperation, "{} are not created by request", inner.facts.plural)),
        }
    }
}

async fn class_spec(op: &Op<'_>, name: &str) -> Option<Result<Answer>> {
    let wrap = |json: Result<Json>| json.map(|j| Answer::json(serde_json::json!({ op.kind.facts.name: j })));
    if let Some((_, call)) = op.kind.class_specs.iter().find(|(fact, _)| fact.name == name) {
        if op.engine.widest(op.ctx, op.kind, "get", &[name]) == Scope::None {
            return Some(Err(op.engine.denied(op.ctx, op.kind, "get", &[name], Scope::User)));
        }
        return Some(wrap(call.call(op, Map::new()).await));
    }
    standard::class_spec(op, name).await.map(wrap)
}

async fn class_action(op: &Op<'_>, name: &str, body: Option<Json>) -> Result<Answer> {
    let map = body::unwrap_loose(op.kind.facts, body)?;
    if name == "check-create-data" && op.kind.creatable {
        return standard::check_create(op, map).await;
    }
    let (fact, call) = op.kind.class_actions.iter().find(|(fact, _)| fact.name == name).ok_or_else(|| no_action(op, name))?;
    if op.engine.widest(op.ctx, op.kind, "perform", &[name]) == Scope::None {
        return Err(op.engine.denied(op.ctx, op.kind, "perform", &[name], Scope::User));
    }
    inputs(fact, &map)?;
    let value = call.call(op, map).await?;
    // Existing clients look for the plural key, one of them for the singular (spec 01 §2.1).
    Ok(Answer::json(serde_json::json!({ op.kind.facts.plural: value, op.kind.facts.name: value })))
}

async fn action(op: &Op<'_>, which: &str, name: &str, body: Option<Json>) -> Result<Answer> {
    let map = body::unwrap_loose(op.kind.facts, body)?;
    let own = op.kind.actions.iter().find(|(fact, _)| fact.name == name);
    if own.is_none() && !standard::actions(op.kind).iter().any(|f| f.name == name) {
        return Err(no_action(op, name));
    }
    let row = show::find(op, which).await?;
    perform(op, row, name, map).await
}

/// An action the kind has, on a row the caller sees.
async fn perform(op: &Op<'_>, row: Row, name: &str, map: Map) -> Result<Answer> {
    let own = op.kind.actions.iter().find(|(fact, _)| fact.name == name);
    op.engine.demand(op.ctx, op.kind, &row, "perform", &[name]).await?;
    if name != "unfreeze" {
        update::thawed(&row)?;
    }
    let Some((fact, call)) = own else {
        return standard::act(op, &row, name, &map).await.unwrap_or_else(|| Err(no_action(op, name)));
    };
    inputs(fact, &map)?;
    let id = row.id().to_string();
    match call.call(op, row, map).await? {
        Reply::Value(json) => Ok(Answer::json(serde_json::json!({ op.kind.facts.name: json }))),
        Reply::Object => show::answer(op, again(op, &id).await?).await,
    }
}

/// Ties a slave to a master; `op` is of the tie's kind. Answers the tie, or the master where the tie comes later.
async fn make_tie(op: &Op<'_>, master: Row, slave: &Row, body: Option<Json>) -> Result<Answer> {
    let Some(joint) = &op.kind.joint else { return Err(err!(UnsupportedOperation, "{} are not created by request", op.kind.facts.plural)) };
    let actions = match joint.tying {
        Tying::Actions(actions) => actions,
        Tying::Not(why) => return Err(why(&master, slave)),
    };
    let map = (actions.attaching)(slave.id(), body::unwrap_loose(op.kind.facts, body)?);
    perform(&of_master(op, joint.master.0)?, master, actions.attach, map).await
}

/// Ends a tie by the action of its master that does so. Answers the tie as it then is.
pub(crate) async fn untie(op: &Op<'_>, tie: &Row, master: (&str, &str), actions: &Actions) -> Result<Answer> {
    let of = of_master(op, master.0)?;
    let row = show::find(&of, tie.text(master.1)).await?;
    perform(&of, row, actions.detach, (actions.detaching)(tie)).await?;
    show::answer(op, again(op, tie.id()).await?).await
}

fn of_master<'a>(op: &Op<'a>, plural: &str) -> Result<Op<'a>> {
    let kind = op.engine.kind(plural).ok_or_else(|| err!(NotFound, "no resource {} here", plural))?;
    Ok(Op { kind, ..*op })
}

async fn spec(op: &Op<'_>, which: &str, name: &str) -> Result<Answer> {
    let row = show::find(op, which).await?;
    let wrap = |json: Json| Answer::json(serde_json::json!({ op.kind.facts.name: json }));
    if let Some((_, call)) = op.kind.specs.iter().find(|(fact, _)| fact.name == name) {
        op.engine.demand(op.ctx, op.kind, &row, "get", &[name]).await?;
        return match call.call(op, row, params_as_body(op)).await? {
            Reply::Value(json) => Ok(wrap(json)),
            Reply::Object => show::answer(op, show::find(op, which).await?).await,
        };
    }
    match standard::spec(op, &row, name).await {
        Some(json) => json.map(wrap),
        None => Err(err!(SpecNotFound, "{} has no property {}", op.kind.facts.plural, name)),
    }
}

fn params_as_body(op: &Op<'_>) -> Map {
    op.params.0.as_object().cloned().unwrap_or_default()
}

/// The row as it now is, deleted or not.
async fn again(op: &Op<'_>, id: &str) -> Result<Row> {
    let mut db = &op.engine.db;
    store::Read::find(&mut db, op.kind.facts, Cond::eq("id", id))
        .await?
        .pop()
        .ok_or_else(|| err!(ResourceNotFound, "{} {} not found", op.kind.facts.name, id))
}

/// Checks the types and presence of an action's declared inputs, so that no action does it by hand.
fn inputs(fact: &ActionFact, map: &Map) -> Result<()> {
    check(fact.inputs.iter(), map)
}

/// The same of declared inputs wherever they stand.
pub(crate) fn check<'a>(inputs: impl Iterator<Item = &'a crate::Input>, map: &Map) -> Result<()> {
    for input in inputs {
        match map.get(input.name).filter(|j| !j.is_null()) {
            None if input.required => {
                return Err(err!(MissingParameter, "{} is missing; give it: {}", input.name, input.doc));
            }
            None => {}
            Some(json) => {
                base::Value::from_json(input.kind, json).map_err(|bad| base::Error::bad_value(input.name, &bad))?;
            }
        }
    }
    Ok(())
}

fn no_action(op: &Op<'_>, name: &str) -> base::Error {
    err!(ActionNotFound, "{} has no action {} in this version {}", op.kind.facts.plural, name, op.engine.options.version)
}
