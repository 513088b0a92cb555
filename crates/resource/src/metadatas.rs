//! `GET /metadatas`: the tags of all rows the caller may list, whatever their kind (spec 01 §5).

use crate::{Answer, Engine, Kind, Params, engine::alive};
use base::{Ctx, Json, Kind as Cell, Result, err};
use serde_json::json;
use std::collections::BTreeMap;
use store::{Cond, Match, Order, Read, Select};

pub(crate) const PLURAL: &str = "metadatas";

/// `path` is what follows `/metadatas`.
pub(crate) async fn get(engine: &Engine, ctx: &Ctx, path: &[&str], params: &Params) -> Result<Answer> {
    let cond = wanted(params).and(objects(engine, ctx, params)?);
    match path {
        [] => list(engine, cond, params).await,
        ["tag-value-pairs"] => pairs(engine, cond, params).await,
        _ => Err(err!(NotFound, "{} has no such path", PLURAL)),
    }
}

/// Which pairs: by key, value and whose they are. Without a word of the kind, the platform's bookkeeping and classes are left out.
fn wanted(params: &Params) -> Cond {
    let starts = |prefix: &str| Cond::Text("key".into(), Match::Starts, prefix.to_string());
    let mut all = starts("__").not();
    for (column, key) in [("key", "key"), ("value", "value")] {
        let texts = params.all(key);
        if !texts.is_empty() {
            all = all.and(Cond::is_in(column, texts.iter().map(String::as_str)));
        }
        for text in params.all(&format!("{key}_like")) {
            all = all.and(Cond::Text(column.into(), Match::Contains, text));
        }
    }
    let asked = |names: [&str; 2]| names.iter().any(|n| params.flag(n) == Some(true));
    let prefixes =
        [("user:", ["user_meta", "with_user_meta"]), ("ext:", ["cloud_meta", "with_cloud_meta"]), ("sys:", ["sys_meta", "with_sys_meta"])];
    let some: Vec<Cond> = prefixes.iter().filter(|(_, names)| asked(*names)).map(|(prefix, _)| starts(prefix)).collect();
    some.into_iter().reduce(Cond::or).map_or(all.clone(), |any| all.and(any))
}

/// Whose pairs: rows of kinds with tags that the caller may list; `resources` names some of the kinds.
fn objects(engine: &Engine, ctx: &Ctx, params: &Params) -> Result<Cond> {
    let named = params.all("resources");
    let of = |kind: &&Kind| {
        kind.facts.has("update_version")
            && kind.joint.is_none()
            && (named.is_empty() || named.iter().any(|n| n == kind.facts.name || n == kind.facts.plural))
    };
    let scope = Params(params.text("scope").map_or_else(|| json!({}), |s| json!({ "scope": s })));
    let (mut any, mut refused) = (Cond::False, None);
    for kind in engine.kinds().iter().filter(of) {
        match engine.list_rights(ctx, kind, &scope) {
            Ok(rights) => {
                let ids =
                    Select::from(kind.facts.table).column("id", Cell::Text).filter(engine.seen(ctx, kind, &rights).and(alive(kind.facts)));
                any = any.or(Cond::eq("obj_type", kind.facts.name).and(Cond::in_select("obj_id", ids)));
            }
            Err(e) => refused = Some(e),
        }
    }
    match refused {
        Some(e) if any == Cond::False => Err(e),
        _ => Ok(any),
    }
}

fn select() -> Select {
    ["obj_type", "obj_id", "key", "value"].into_iter().fold(Select::from("metadata"), |s, column| s.column(column, Cell::Text))
}

async fn list(engine: &Engine, cond: Cond, params: &Params) -> Result<Answer> {
    let limit = params.int("limit").filter(|n| *n > 0).map_or(engine.options.page_max, |n| (n as u64).min(engine.options.page_max));
    let offset = params.int("offset").filter(|n| *n > 0).unwrap_or(0) as u64;
    let mut db = &engine.db;
    let total = db.count("metadata", cond.clone()).await?;
    let page =
        ["key", "obj_type", "obj_id"].into_iter().fold(select().filter(cond), |s, column| s.order(Order::asc(column))).page(limit, offset);
    let rows: Vec<Json> = db
        .rows(&page)
        .await?
        .iter()
        .map(|r| {
            let [kind, id, key, value] = [0, 1, 2, 3].map(|i| r[i].as_str());
            json!({"id": format!("{kind}::{id}"), "obj_type": kind, "obj_id": id, "key": key, "value": value})
        })
        .collect();
    let mut out = json!({ PLURAL: rows });
    for (key, n) in [("total", total as u64), ("limit", limit), ("offset", offset)] {
        if total > 0 && n > 0 {
            out[key] = json!(n);
        }
    }
    Ok(Answer::json(out))
}

/// How often each key, or each pair, is used.
async fn pairs(engine: &Engine, cond: Cond, params: &Params) -> Result<Answer> {
    let keys_only = params.flag("key_only") == Some(true);
    let mut select = Select::from("metadata").column("key", Cell::Text).group_by("key").order(Order::asc("key"));
    if !keys_only {
        select = select.column("value", Cell::Text).group_by("value").order(Order::asc("value"));
    }
    let mut db = &engine.db;
    let rows = db.rows(&select.pick(store::Pick::Count).filter(cond)).await?;
    let data: Vec<Json> = rows
        .iter()
        .map(|r| {
            let mut one = BTreeMap::from([("key", json!(r[0].as_str())), ("count", json!(r[r.len() - 1].as_int()))]);
            if !keys_only {
                one.insert("value", json!(r[1].as_str()));
            }
            json!(one)
        })
        .collect();
    Ok(Answer::json(json!({ PLURAL: {"total": data.len(), "data": data} })))
}
