//! Lists: which rows, in what order, how many, and their totals (spec 01 §3).

use crate::{Answer, Engine, Page, Params, access::Rights, engine::Op, event, filter, groups, joined, owner, view};
use base::{Ctx, Flags, Json, Level, Result, Scope, err};
use store::{Cond, Order, Pick, Read, Select};

/// What a list is of: a kind, inside a context (another kind's row), or all of it.
pub(crate) async fn list(op: &Op<'_>, within: Cond) -> Result<Answer> {
    let Op { ctx, engine, kind, params } = *op;
    let facts = kind.facts;
    let rights = engine.list_rights(ctx, kind, params)?;
    let cond = condition(op, &rights).await?.and(within);

    let export = params.text("export_keys").map(|k| k.split(',').map(|s| s.trim().to_string()).collect::<Vec<_>>());
    // Everything at once is for administrators' tools; from others the wish is passed over.
    let whole =
        export.is_some() || (params.flag("force_no_paging") == Some(true) && engine.widest(ctx, kind, "list", &[]) >= Scope::System);
    let max = if whole { params.int("export_limit").map_or(1_000_000, |n| n.max(1) as u64) } else { engine.options.page_max };
    let limit = params.int("limit").filter(|n| *n > 0).map_or(max, |n| (n as u64).min(max));
    let offset = params.int("offset").filter(|n| *n > 0).unwrap_or(0) as u64;

    let marker = facts.name == event::Event::facts_name();
    let mut db = &engine.db;
    let total = if marker { 0 } else { engine.db.total(facts, &cond).await? };
    let (rows, next) = if marker {
        by_marker(op, cond.clone(), limit).await?
    } else if total == 0 || offset >= total as u64 {
        (Vec::new(), None)
    } else if let Some(rows) = groups::page(op, &cond, order(op), limit, offset).await? {
        (rows, None)
    } else if let Some(ids) = kind.hooks.ordered(op, &cond).await? {
        (in_order(op, &ids, limit, offset).await?, None)
    } else {
        (db.page(facts, cond.clone(), order(op), limit, offset).await?, None)
    };

    let details = params.flag("details").unwrap_or(true);
    let mut page = Page::new(rows, details, false, engine.widest(ctx, kind, "list", &[]));
    view::standard(op, &mut page).await?;
    kind.hooks.view(op, &mut page).await?;

    let fields = params.all("field");
    let only = export.or(if fields.is_empty() { None } else { Some(fields) });
    // A server with details takes some three and a half KiB.
    let mut out = Vec::with_capacity(256 + page.rows.len() * if details { 4096 } else { 2048 });
    out.extend_from_slice(format!("{{\"{}\":[", facts.plural).as_bytes());
    view::write_rows(&mut out, &page, only.as_deref());
    out.push(b']');
    let mut number = |key: &str, n: u64| {
        if n > 0 {
            out.extend_from_slice(format!(",\"{key}\":{n}").as_bytes());
        }
    };
    if total > 0 {
        number("total", total as u64);
        number("limit", limit);
        number("offset", offset);
    }
    if let Some(next) = next {
        out.extend_from_slice(format!(",\"next_marker\":\"{next}\",\"marker_field\":\"id\",\"marker_order\":\"DESC\"").as_bytes());
    }
    if params.flag("summary_stats") == Some(true) {
        out.extend_from_slice(b",\"totals\":");
        view::write_json(&mut out, &totals(op, cond).await?);
    }
    out.push(b'}');
    Ok(Answer::bytes(out))
}

/// The rows of a page of identifiers, in their order.
async fn in_order(op: &Op<'_>, ids: &[String], limit: u64, offset: u64) -> Result<Vec<base::Row>> {
    let page: Vec<&str> = ids.iter().skip(offset as usize).take(limit as usize).map(String::as_str).collect();
    let mut db = &op.engine.db;
    let rows = db.find(op.kind.facts, Cond::is_in("id", page.iter().copied())).await?;
    let mut rows: std::collections::HashMap<String, base::Row> = rows.into_iter().map(|row| (row.id().to_string(), row)).collect();
    Ok(page.into_iter().filter_map(|id| rows.remove(id)).collect())
}

/// The whole condition of a list or of statistics over it.
pub(crate) async fn condition(op: &Op<'_>, rights: &Rights) -> Result<Cond> {
    let Op { ctx, engine, kind, params } = *op;
    let facts = kind.facts;
    let mut cond = engine.seen(ctx, kind, rights);
    // What is gone is for administrators of everything; from others the wish is passed over, as for the bin below.
    let gone = params.text("delete").as_deref() == Some("all") && engine.widest(ctx, kind, "list", &[]) >= Scope::System;
    if facts.has("deleted") && !gone {
        cond = cond.and(Cond::eq("deleted", false));
    }
    if facts.has("pending_deleted") {
        // Without the right to look into the bin the switch is passed over in silence, as existing clients expect (spec 01 §3.3).
        let may = engine.widest(ctx, kind, "list", &["pending_delete"]) > Scope::None;
        cond = match params.text("pending_delete").as_deref() {
            Some("all" | "any") if may => cond,
            Some(word) if may && matches!(base::Value::parse(base::Kind::Bool, word), Ok(base::Value::Bool(true))) => {
                cond.and(Cond::eq("pending_deleted", true))
            }
            _ => cond.and(Cond::eq("pending_deleted", false)),
        };
    }
    let everything = params.flag("system") == Some(true) && rights.plain == Scope::System;
    if facts.has("is_system") && !everything {
        cond = cond.and(Cond::eq("is_system", false));
    }
    if facts.has("is_emulated") && params.flag("show_emulated") != Some(true) && params.all("id").is_empty() {
        cond = cond.and(Cond::eq("is_emulated", false));
    }
    cond = cond.and(owned_by(engine, ctx, kind.facts.level, params).await?);
    cond = cond.and(referring(op).await?);
    cond = cond.and(filter::asked_for(kind, params, engine.widest(ctx, kind, "list", &[])));
    cond = cond.and(joined::from_params(op)?);
    kind.hooks.filter(op, params, &mut cond).await?;
    Ok(cond)
}

/// `project_id=` and `project_domain_id=` with their aliases, by id or name.
async fn owned_by(engine: &Engine, _ctx: &Ctx, level: Level, params: &Params) -> Result<Cond> {
    let all = |names: &[&str]| names.iter().flat_map(|n| params.all(n)).collect::<Vec<_>>();
    let mut cond = Cond::True;
    if level == Level::Project {
        let wanted = all(&["project_id", "project", "tenant", "tenant_id", "project_ids"]);
        if !wanted.is_empty() {
            let mut ids = Vec::new();
            for which in wanted {
                ids.push(owner::find_project(engine.owners.as_ref(), &which, None).await?.project_id);
            }
            cond = cond.and(Cond::is_in("tenant_id", ids));
        }
    }
    if matches!(level, Level::Project | Level::Domain) {
        let wanted = all(&["project_domain_id", "project_domain", "domain_id", "domain", "project_domain_ids"]);
        if !wanted.is_empty() {
            let mut ids = Vec::new();
            for which in wanted {
                ids.push(owner::find_domain(engine.owners.as_ref(), &which).await?.domain_id);
            }
            cond = cond.and(Cond::is_in("domain_id", ids));
        }
    }
    Ok(cond)
}

/// `storage_id=`, `storage=`: rows that refer to a row given by id or name. What does not exist matches nothing.
async fn referring(op: &Op<'_>) -> Result<Cond> {
    let mut cond = Cond::True;
    for field in &op.kind.facts.fields {
        let Some(to) = field.refers.and_then(|r| op.engine.kind_named(r)) else { continue };
        let mut wanted = op.params.all(field.name);
        for alias in field.aliases.iter().copied().chain(field.name.strip_suffix("_id")) {
            wanted.extend(op.params.all(alias));
        }
        if wanted.is_empty() {
            continue;
        }
        let mut named = Cond::is_in("id", wanted.iter().map(String::as_str));
        if to.facts.has("name") {
            named = named.or(Cond::is_in("name", wanted.iter().map(String::as_str)));
        }
        let ids = Select::from(to.facts.table).column("id", base::Kind::Text).filter(crate::engine::alive(to.facts).and(named));
        cond = cond.and(Cond::in_select(field.name, ids));
    }
    Ok(cond)
}

fn order(op: &Op<'_>) -> Vec<Order> {
    let (facts, params) = (op.kind.facts, op.params);
    let descending = params.text("order").is_some_and(|o| o.eq_ignore_ascii_case("desc"));
    let mut out: Vec<Order> = Vec::new();
    for name in params.all("order_by") {
        if let Some(field) = facts.field(&name).filter(|f| !f.flags.has(Flags::HIDDEN)) {
            out.push(Order { column: field.name.into(), descending });
        }
    }
    if out.is_empty() && facts.has("created_at") {
        out.push(Order::desc("created_at"));
    }
    for (tie, descending) in [("name", false), ("id", false)] {
        if facts.has(tie) && !out.iter().any(|o| o.column == tie) {
            out.push(Order { column: tie.into(), descending });
        }
    }
    out
}

/// Pages of the log-like kinds go by the number of the last row seen, newest first.
async fn by_marker(op: &Op<'_>, cond: Cond, limit: u64) -> Result<(Vec<base::Row>, Option<i64>)> {
    let limit = limit.min(if op.params.has("limit") { op.engine.options.page_max } else { 20 });
    let mut cond = cond;
    if let Some(marker) = op.params.text("paging_marker") {
        let at: i64 = marker.parse().map_err(|_| err!(InputParameter, "paging_marker {} is not one this service gave out", marker))?;
        cond = cond.and(Cond::cmp("id", store::Op::Le, at));
    }
    for (key, op_) in [("since", store::Op::Ge), ("until", store::Op::Le)] {
        if let Some(text) = op.params.text(key) {
            let at = base::Timestamp::parse(&text)
                .ok_or_else(|| err!(InputParameter, "{}: {} is not a time; use the form 2026-02-03T04:05:06Z", key, text))?;
            cond = cond.and(Cond::cmp("ops_time", op_, at));
        }
    }
    let mut db = &op.engine.db;
    let mut rows = db.page(op.kind.facts, cond, vec![Order::desc("id")], limit + 1, 0).await?;
    let next = if rows.len() as u64 > limit { rows.pop().map(|r| r.int("id")) } else { None };
    Ok((rows, next))
}

/// `totals`: how many, how many in which status, and how much of what the kind adds up.
pub(crate) async fn totals(op: &Op<'_>, cond: Cond) -> Result<Json> {
    let facts = op.kind.facts;
    let mut db = &op.engine.db;
    let count = db.total(facts, &cond).await?;
    let mut out = serde_json::json!({ "count": count });
    if !op.kind.sums.is_empty() {
        let sums = op.kind.sums.iter().fold(Select::from(facts.table), |q, column| q.pick(Pick::Sum((*column).into())));
        let row = db.rows(&sums.filter(cond.clone())).await?.pop().unwrap_or_default();
        for (column, sum) in op.kind.sums.iter().zip(&row) {
            out[*column] = Json::from(sum.as_int().unwrap_or(0));
        }
    }
    if facts.has("status") {
        let by_status = |cond: Cond| {
            let select = Select::from(facts.table).column("status", base::Kind::Text).pick(Pick::Count).filter(cond);
            select.group_by("status").order(Order::asc("status"))
        };
        let bin = match facts.has("pending_deleted") {
            true => db.rows(&by_status(cond.clone().and(Cond::eq("pending_deleted", true)))).await?,
            false => Vec::new(),
        };
        let in_bin = |status: &str| bin.iter().find(|r| r[0].as_str() == status).and_then(|r| r[1].as_int()).unwrap_or(0);
        let rows = db.rows(&by_status(cond)).await?;
        let told =
            |status: &str, count| serde_json::json!({"status": status, "total_count": count, "pending_deleted_count": in_bin(status)});
        let info: Vec<Json> = rows.iter().map(|r| told(r[0].as_str(), r[1].as_int())).collect();
        out["status_info"] = Json::Array(info);
    }
    Ok(out)
}

/// A field whose values may be told to anybody who sees the rows.
fn tellable(op: &Op<'_>, name: &str) -> Result<&'static base::Field> {
    let found = op.kind.facts.field(name).filter(|f| !f.flags.has(Flags::HIDDEN) && !f.flags.has(Flags::ADMIN));
    found.ok_or_else(|| err!(InputParameter, "{} has no field {}", op.kind.facts.plural, name))
}

/// The different rows of some columns.
async fn different(op: &Op<'_>, fields: &[&'static base::Field], cond: Cond) -> Result<Vec<Vec<base::Value>>> {
    let mut select = Select::from(op.kind.facts.table).filter(cond).page(2048, 0);
    for field in fields {
        select = select.column(field.name, field.kind).order(Order::asc(field.name));
    }
    select.distinct = true;
    let mut db = &op.engine.db;
    db.rows(&select).await
}

/// `GET /{kind}/distinct-field?field=a`: `{a: [..]}`
pub(crate) async fn distinct(op: &Op<'_>, cond: Cond) -> Result<Json> {
    let mut out = serde_json::Map::new();
    for name in op.params.all("field").into_iter().chain(op.params.all("extra_field")) {
        let rows = different(op, &[tellable(op, &name)?], cond.clone()).await?;
        let values: Vec<Json> = rows.into_iter().filter(|r| !r[0].omitted()).map(|r| r[0].to_json()).collect();
        out.insert(name, Json::Array(values));
    }
    Ok(Json::Object(out))
}

/// `GET /{kind}/distinct-fields?field=a&field=b&extra_field=c`: `{fields: [{a:.., b:..}], extra_fields: [{c:..}]}`
pub(crate) async fn distinct_together(op: &Op<'_>, cond: Cond) -> Result<Json> {
    let mut out = serde_json::Map::new();
    for (param, told) in [("field", "fields"), ("extra_field", "extra_fields")] {
        let fields = op.params.all(param).iter().map(|name| tellable(op, name)).collect::<Result<Vec<_>>>()?;
        let rows = if fields.is_empty() { Vec::new() } else { different(op, &fields, cond.clone()).await? };
        let object = |row: Vec<base::Value>| fields.iter().zip(row).map(|(f, v)| (f.name.to_string(), v.to_json())).collect();
        out.insert(told.into(), rows.into_iter().map(|row| Json::Object(object(row))).collect());
    }
    Ok(Json::Object(out))
}
