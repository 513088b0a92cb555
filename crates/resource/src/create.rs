//! Making rows: one, or as many as `count` says, all or none.

use crate::{Answer, Kind, Map, Owner, access::breadth, allowance, body, engine::Op, event, names, owner, show, tags, view};
use base::{Error, Flags, Json, Kind as Cell, Level, Result, Row, Scope, Value, err, new_id};
use std::borrow::Cow;
use store::{Change, ChangeOp, Cond, Tx, work};

const MOST: i64 = 500;

/// Where a body says to [`created`](crate::Hooks::created) which of several its row is.
const NTH: &str = "__nth";

/// Which of the rows of one request a row is, from 0, for the hook that is told of its creation.
pub fn nth(body: &Map) -> usize {
    body.get(NTH).and_then(Json::as_u64).unwrap_or(0) as usize
}

pub(crate) async fn create(op: &Op<'_>, body: Option<Json>, within: &[(&'static str, String)]) -> Result<Answer> {
    let kind = op.kind;
    if !kind.creatable {
        return Err(err!(UnsupportedOperation, "{} are not created by request", kind.facts.plural));
    }
    // Who may make none at all is told so, whatever he sent.
    if op.engine.rights(op.ctx, kind, "create", &[]).widest() == Scope::None {
        return Err(op.engine.denied(op.ctx, kind, "create", &[], breadth(kind)));
    }
    let (outer, mut map) = body::unwrap_create(kind.facts, body.unwrap_or(Json::Null))?;
    for (column, id) in within {
        map.insert((*column).to_string(), Json::String(id.clone()));
    }
    // A kind with a field of that name is made one at a time.
    let asked = if kind.facts.has("count") { None } else { body::int(&outer, "count")?.or(body::int(&map, "count")?) };
    let count = asked.unwrap_or(1).max(1);
    if count > MOST {
        return Err(err!(OutOfLimit, "count: at most {} at once, got {}", MOST, count));
    }
    // Hooks read one body, wherever the client said it.
    if let Some(count) = asked {
        map.insert("count".into(), Json::from(count));
    }
    let dry = body::flag(&map, "dry_run")?.unwrap_or(false);
    let (row, wish) = prepare(op, &mut map).await?;
    if dry {
        return Ok(Answer::json(serde_json::json!({ kind.facts.name: {} })));
    }
    let rows = insert(op, &map, row, wish, count as usize).await?;
    // A batch answers as a batch only when more than one was asked for (spec 11 §1).
    if count == 1 {
        let row = rows.into_iter().next().ok_or_else(|| Error::internal("a create made no row"))?;
        return show::answer(op, row).await;
    }
    let mut out = format!("{{\"{}\":[", kind.facts.plural).into_bytes();
    for (i, row) in rows.into_iter().enumerate() {
        out.extend_from_slice(if i > 0 { b",{\"status\":200,\"body\":" } else { b"{\"status\":200,\"body\":" });
        show::write(op, row, &mut out).await?;
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(Answer::bytes(out))
}

/// Everything a create checks, and the row it would insert.
pub(crate) async fn prepare(op: &Op<'_>, map: &mut Map) -> Result<(Row, Option<names::Wish>)> {
    let kind = op.kind;
    let facts = kind.facts;
    let mut row = Row { facts, values: defaults(facts)? };
    let scope = owned(op, map, &mut row).await?;
    let given = match map.get("__meta__") {
        Some(Json::Object(meta)) => tags::parse(meta, "")?,
        _ => Vec::new(),
    };
    // A right on a condition of tags reaches the new row because it is born with them.
    for (key, value) in op.engine.may_create(op.ctx, kind, &row, scope, &given)? {
        let meta = map.entry("__meta__").or_insert(Json::Null);
        if !meta.is_object() {
            *meta = Json::Object(Map::new());
        }
        if let Json::Object(meta) = meta {
            meta.insert(key, Json::from(value));
        }
    }
    crate::dispatch::check(kind.extras.iter().filter(|e| e.create).map(|e| &e.input), map)?;
    let wish = names::wish(kind, map)?;
    kind.hooks.read(map)?;
    read_fields(op, map, &mut row, Flags::CREATE).await?;
    if let Some(names::Wish::Exact(name) | names::Wish::Pattern(name)) = &wish {
        row.set("name", name.as_str());
    }
    kind.hooks.create(op, map, &mut row).await?;
    // After the hook: it may have found what the client left out.
    for (field, value) in facts.fields.iter().zip(&row.values) {
        if field.flags.has(Flags::REQUIRED) && value.omitted() {
            return Err(match field.refers {
                Some(to) => err!(MissingParameter, "{} is missing; name a {} by id or name", field.name, to),
                None => err!(MissingParameter, "{} is missing; give it: {}", field.name, field.doc),
            });
        }
    }
    Ok((row, wish))
}

fn defaults(facts: &base::Facts) -> Result<Vec<Value>> {
    facts
        .fields
        .iter()
        .map(|f| match f.default {
            Some(text) => Value::parse(f.kind, text).map_err(|bad| Error::internal(format!("default of {}.{}: {bad}", facts.name, f.name))),
            None if f.nullable => Ok(Value::Null),
            None => Ok(match f.kind {
                Cell::Text => Value::Text(String::new()),
                Cell::Int => Value::Int(0),
                Cell::Float => Value::Float(0.0),
                Cell::Bool => Value::Bool(false),
                Cell::Time => Value::Time(base::Timestamp::ZERO),
                Cell::Json => Value::Json(Json::Null),
            }),
        })
        .collect()
}

/// Sets whose the row is, and says at which scope the caller acts by that.
async fn owned(op: &Op<'_>, map: &Map, row: &mut Row) -> Result<Scope> {
    let caller = &op.ctx.caller;
    let mine = Owner::of(caller);
    match op.kind.facts.level {
        Level::System => Ok(Scope::System),
        Level::User => {
            row.set("owner_id", caller.user_id.as_str());
            Ok(Scope::User)
        }
        Level::Domain => {
            let which = body::text(map, &["project_domain_id", "project_domain", "domain_id", "domain"]);
            let owner = match which {
                Some(which) => owner::find_domain(op.engine.owners.as_ref(), &which).await?,
                None => mine.clone(),
            };
            let scope = if owner.domain_id == mine.domain_id { Scope::Domain } else { Scope::System };
            row.set("domain_id", owner.domain_id);
            Ok(scope)
        }
        Level::Project => {
            let which = body::text(map, &["project_id", "project", "tenant_id", "tenant"]);
            let owner = match which {
                Some(which) => {
                    let domain = body::text(map, &["project_domain_id", "project_domain", "domain_id"]);
                    let domain = match domain {
                        Some(d) => Some(owner::find_domain(op.engine.owners.as_ref(), &d).await?.domain_id),
                        None => None,
                    };
                    owner::find_project(op.engine.owners.as_ref(), &which, domain.as_deref()).await?
                }
                None if mine.project_id.is_empty() => {
                    return Err(err!(MissingParameter, "{} is missing: your token is not scoped to a project", "project_id"));
                }
                None => mine.clone(),
            };
            let scope = if owner.project_id == mine.project_id {
                Scope::Project
            } else if owner.domain_id == mine.domain_id {
                Scope::Domain
            } else {
                Scope::System
            };
            row.set("domain_id", owner.domain_id);
            row.set("tenant_id", owner.project_id);
            Ok(scope)
        }
    }
}

/// Takes from the body what the facts allow; references become ids. Keys the facts do not know are the hook's, or nobody's: existing
/// clients send many.
pub(crate) async fn read_fields(op: &Op<'_>, map: &Map, row: &mut Row, flag: Flags) -> Result<()> {
    let facts = op.kind.facts;
    let rights = op.engine.widest(op.ctx, op.kind, if flag == Flags::CREATE { "create" } else { "update" }, &[]);
    let mut closed = Vec::new();
    for (i, field) in facts.fields.iter().enumerate() {
        let may = field.flags.has(flag)
            && (!field.flags.has(Flags::ADMIN) || rights >= Scope::System)
            && (!field.flags.has(Flags::DOMAIN) || rights >= Scope::Domain);
        if !may {
            // Who sends back what was shown to him tries nothing.
            let other = |json: &Json| !json.is_null() && Value::from_json(field.kind, json).is_ok_and(|v| v != row.values[i]);
            if map.get(field.name).is_some_and(other) {
                closed.push(field.name);
            }
            continue;
        }
        let short = field.refers.and_then(|_| field.name.strip_suffix("_id"));
        let given =
            std::iter::once(field.name).chain(field.aliases.iter().copied()).chain(short).find_map(|n| map.get(n).filter(|j| !j.is_null()));
        let Some(json) = given else { continue };
        let value = Value::from_json(field.kind, json).map_err(|bad| Error::bad_value(field.name, &bad))?;
        row.values[i] = match field.refers {
            Some(to) if !value.omitted() && op.engine.kind_named(to).is_some() => {
                Value::Text(op.engine.resolve(op.ctx, to, value.as_str()).await?.id().to_string())
            }
            _ => value,
        };
    }
    if !closed.is_empty() {
        tracing::info!(resource = facts.name, columns = ?closed, user = op.ctx.caller.user, user_id = op.ctx.caller.user_id,
            request_id = %op.ctx.request_id, "columns this caller cannot set, left as they are unless a hook takes them");
    }
    Ok(())
}

async fn insert(op: &Op<'_>, map: &Map, row: Row, wish: Option<names::Wish>, count: usize) -> Result<Vec<Row>> {
    // What the client sent was looked at; what came to it since is the platform's.
    let pairs = match map.get("__meta__") {
        Some(Json::Object(meta)) => tags::values(meta, "")?,
        _ => Vec::new(),
    };
    let bounds = op.engine.allowed().await?;
    let (row, wish, pairs, bounds) = (&row, &wish, &pairs, &bounds);
    op.engine
        .db
        .tx(|tx| {
            work(async move {
                let names = match wish {
                    Some(wish) => names::choose(tx, op.kind, row, wish, count).await?,
                    None => vec![row.name().to_string(); count],
                };
                let mut rows = Vec::with_capacity(count);
                let mut map = Cow::Borrowed(map);
                for (nth, name) in names.into_iter().enumerate() {
                    if count > 1 {
                        map.to_mut().insert(NTH.into(), Json::from(nth));
                    }
                    let mut row = row.clone();
                    // A deleted row gives its identifier back to whoever chooses the same one.
                    if !row.id().is_empty() && row.facts.has("deleted") {
                        tx.delete(row.facts.table, Cond::eq("id", row.id()).and(Cond::eq("deleted", true))).await?;
                    }
                    begin(tx, op.kind, &mut row, &name);
                    names::demand_free(tx, op.kind, &row).await?;
                    tx.insert(&row).await?;
                    let inserted = row.clone();
                    op.kind.hooks.created(op, tx, &map, &mut row).await?;
                    if row.values != inserted.values {
                        tx.save(&inserted, &mut row).await?;
                    }
                    tags::write(tx, &row, pairs, None).await?;
                    event::audit(tx, op.ctx, &row, "create", created_notes(&row)).await?;
                    tx.emit(change(&row, ChangeOp::Create)).await?;
                    rows.push(row);
                }
                let more = |bound: &crate::Bound| bound.sum.map_or(count as i64, |column| rows.iter().map(|row| row.int(column)).sum());
                allowance::within(tx, row.facts.table, bounds, more).await?;
                Ok(rows)
            })
        })
        .await
}

fn created_notes(row: &Row) -> String {
    let mut out = Vec::new();
    view::write_rows(&mut out, &view::Page::new(vec![row.clone()], false, true, Scope::System), None);
    String::from_utf8(out).unwrap_or_default()
}

/// Identity and times of a row about to be inserted; what a hook already chose stays.
fn begin(tx: &Tx, kind: &Kind, row: &mut Row, name: &str) {
    let now = tx.now();
    if row.id().is_empty() {
        row.set("id", if kind.facts.service == "identity" { base::hex_id() } else { new_id() });
    }
    if kind.facts.has("name") {
        row.set("name", name);
    }
    for (column, when) in [("created_at", now), ("updated_at", now)] {
        if kind.facts.has(column) {
            row.set(column, when);
        }
    }
    if kind.facts.has("imported_at") {
        row.set("imported_at", now);
    }
    if kind.facts.has("status") && row.text("status").is_empty() {
        row.set("status", "init");
    }
}

/// The feed's line about a row.
pub(crate) fn change(row: &Row, op: ChangeOp) -> Change {
    let project = if row.facts.level == Level::Project { row.text("tenant_id") } else { "" };
    Change {
        kind: row.facts.name.to_string(),
        id: row.id().to_string(),
        op,
        version: row.int("update_version"),
        domain_id: row.text("domain_id").to_string(),
        project_id: project.to_string(),
        data: others(row),
    }
}

/// Who may see the row besides those its domain and project tell: what spares followers a question about it.
fn others(row: &Row) -> Json {
    let mut data = Map::new();
    if row.facts.level == Level::User && row.facts.has("owner_id") {
        data.insert("owner_id".into(), row.text("owner_id").into());
    }
    if row.facts.has("is_public") && row.flag("is_public") {
        data.insert("public_scope".into(), row.text("public_scope").into());
        for key in ["shared_project_ids", "shared_domain_ids"] {
            if let Value::Json(ids @ Json::Array(_)) = row.get(key) {
                data.insert(key.into(), ids.clone());
            }
        }
    }
    if data.is_empty() { Json::Null } else { Json::Object(data) }
}

/// The feed's line about a row that changed.
pub fn changed(row: &Row) -> Change {
    change(row, ChangeOp::Update)
}
