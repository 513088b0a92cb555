//! From rows to the answer: a whole page at once, then straight into bytes.

use crate::{BoxFuture, Owner, engine::Op, tags};
use base::{Flags, Json, Level, Result, Row, Scope, Value};
use std::{borrow::Cow, collections::HashMap};
use store::{Cond, Pick, Read, Select};

/// Rows on their way out, with what was computed for each.
pub struct Page {
    pub rows: Vec<Row>,
    /// Further keys of each row, in step with `rows`.
    pub extras: Vec<Vec<(Cow<'static, str>, Json)>>,
    /// Whether computed and joined fields are wanted.
    pub details: bool,
    /// Whether this is one object's own page rather than a list.
    pub single: bool,
    /// How wide the caller may look: decides which fields are shown.
    pub rights: Scope,
}

impl Page {
    pub(crate) fn new(rows: Vec<Row>, details: bool, single: bool, rights: Scope) -> Page {
        let extras = rows.iter().map(|_| Vec::with_capacity(if details { 64 } else { 4 })).collect();
        Page { rows, extras, details, single, rights }
    }

    pub fn add(&mut self, row: usize, key: &'static str, value: impl Into<Json>) {
        self.extras[row].push((Cow::Borrowed(key), value.into()));
    }

    /// The distinct, non-empty values of a text column: what a joining query asks for.
    pub fn ids(&self, column: &str) -> Vec<String> {
        let mut ids: Vec<String> = self.rows.iter().map(|r| r.text(column).to_string()).filter(|s| !s.is_empty()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}

/// Fills in what every kind has: owner names, tags, names of referred rows, sharing, what may be done.
pub(crate) fn standard<'a>(op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let facts = op.kind.facts;
        if page.rows.is_empty() {
            return Ok(());
        }
        if facts.has("id") && facts.has("update_version") && op.kind.joint.is_none() {
            let ids: Vec<&str> = page.rows.iter().map(Row::id).collect();
            let mut found = tags::of_page(&op.engine.db, facts, &ids).await?;
            for i in 0..page.rows.len() {
                let tags = found.remove(page.rows[i].id()).unwrap_or_default();
                page.add(i, "metadata", Json::Object(tags.into_iter().map(|(k, v)| (k, Json::String(v))).collect()));
            }
        }
        if !page.details {
            return Ok(());
        }
        owners(op, page);
        references(op, page).await?;
        if facts.has("update_version") && op.kind.joint.is_none() {
            let refusals = op.kind.hooks.deletable(op, &page.rows).await?;
            let explain = op.params.has("show_fail_reason");
            for (i, refusal) in refusals.into_iter().enumerate() {
                page.add(i, "can_delete", op.kind.deletable && refusal.is_none());
                page.add(i, "can_update", true);
                if let Some(e) = refusal.filter(|_| explain) {
                    page.add(
                        i,
                        "delete_fail_reason",
                        serde_json::json!({"code": e.class().http(), "class": e.class().name(), "details": e.to_string()}),
                    );
                }
            }
        }
        Ok(())
    })
}

fn owners(op: &Op<'_>, page: &mut Page) {
    let facts = op.kind.facts;
    if !facts.has("domain_id") || op.kind.facts.name == "event" {
        return;
    }
    let mut known: HashMap<String, Owner> = HashMap::new();
    for i in 0..page.rows.len() {
        let row = &page.rows[i];
        let (project, domain) = (row.text("tenant_id").to_string(), row.text("domain_id").to_string());
        let key = if project.is_empty() { domain.clone() } else { project.clone() };
        let owner = known
            .entry(key)
            .or_insert_with(|| {
                let found = if project.is_empty() { None } else { op.engine.owners.project(&project) };
                found.or_else(|| op.engine.owners.domain(&domain)).unwrap_or_default()
            })
            .clone();
        if facts.level == Level::Project {
            page.add(i, "project_id", project);
            page.add(i, "tenant", owner.project.clone());
            page.add(i, "project", owner.project);
        }
        page.add(i, "project_domain_id", domain);
        page.add(i, "project_domain", owner.domain);
    }
    if facts.has("shared_project_ids") {
        for i in 0..page.rows.len() {
            let list = |column: &str, find: &dyn Fn(&str) -> Json| match page.rows[i].get(column) {
                Value::Json(Json::Array(ids)) => ids.iter().filter_map(Json::as_str).map(find).collect::<Vec<_>>(),
                _ => Vec::new(),
            };
            let projects = list("shared_project_ids", &|id| {
                let o = op.engine.owners.project(id).unwrap_or_default();
                serde_json::json!({"id": id, "name": o.project, "domain_id": o.domain_id, "domain": o.domain})
            });
            let domains = list(
                "shared_domain_ids",
                &|id| serde_json::json!({"id": id, "name": op.engine.owners.domain(id).unwrap_or_default().domain}),
            );
            if !projects.is_empty() {
                page.add(i, "shared_projects", projects);
            }
            if !domains.is_empty() {
                page.add(i, "shared_domains", domains);
            }
        }
    }
}

/// `storage_id` also gives `storage`: one query for each referring column, whatever the number of rows.
async fn references(op: &Op<'_>, page: &mut Page) -> Result<()> {
    for field in &op.kind.facts.fields {
        let (Some(to), Some(word)) = (field.refers, field.name.strip_suffix("_id")) else { continue };
        let Some(kind) = op.engine.kind_named(to).filter(|k| k.facts.has("name")) else { continue };
        let secret = (field.flags.has(Flags::ADMIN) && page.rights < Scope::System)
            || (field.flags.has(Flags::DOMAIN) && page.rights < Scope::Domain);
        let ids = page.ids(field.name);
        if secret || ids.is_empty() || op.kind.facts.has(word) {
            continue;
        }
        let names = names(&op.engine.db, kind.facts.table, ids).await?;
        for i in 0..page.rows.len() {
            if let Some(name) = names.get(page.rows[i].text(field.name)) {
                page.extras[i].push((Cow::Borrowed(word), Json::String(name.clone())));
            }
        }
    }
    Ok(())
}

/// Names by id.
pub(crate) async fn names(mut db: &store::Db, table: &'static str, ids: Vec<String>) -> Result<HashMap<String, String>> {
    let select = Select::from(table)
        .pick(Pick::Column("id".into(), base::Kind::Text))
        .pick(Pick::Column("name".into(), base::Kind::Text))
        .filter(Cond::is_in("id", ids));
    Ok(db.rows(&select).await?.into_iter().map(|r| (r[0].as_str().to_string(), r[1].as_str().to_string())).collect())
}

/// Writes one row as a JSON object. `only` keeps the named keys.
pub fn write_row(out: &mut Vec<u8>, row: &Row, extras: &[(Cow<'static, str>, Json)], single: bool, rights: Scope, only: Option<&[String]>) {
    let mut first = true;
    let mut key = |out: &mut Vec<u8>, name: &str| {
        out.push(if first { b'{' } else { b',' });
        first = false;
        // Column names and our own keys hold nothing that needs escaping.
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    };
    let wanted = |name: &str| only.is_none_or(|only| only.iter().any(|o| o == name));
    // A computed key replaces the stored one of the same name, and an earlier computed one. Found by looking each up once: both lists are long.
    let mut replaced = vec![false; row.values.len()];
    let mut last: HashMap<&str, usize> = HashMap::with_capacity(extras.len());
    for (i, (name, _)) in extras.iter().enumerate() {
        if last.insert(name, i).is_none()
            && let Some(column) = row.facts.position(name)
        {
            replaced[column] = true;
        }
    }
    for (i, (field, value)) in row.facts.fields.iter().zip(&row.values).enumerate() {
        let flags = field.flags;
        let hidden = flags.has(Flags::HIDDEN)
            || (flags.has(Flags::SHOW) && !single)
            || (flags.has(Flags::ADMIN) && rights < Scope::System)
            || (flags.has(Flags::DOMAIN) && rights < Scope::Domain);
        if hidden || replaced[i] || value.omitted() || !wanted(field.name) {
            continue;
        }
        key(out, field.name);
        write_value(out, value);
    }
    for (i, (name, value)) in extras.iter().enumerate() {
        let empty = match value {
            Json::Null => true,
            Json::String(s) => s.is_empty(),
            Json::Array(a) => a.is_empty() && name != "nics",
            _ => false,
        };
        if !empty && last.get(&**name) == Some(&i) && wanted(name) {
            key(out, name);
            write_json(out, value);
        }
    }
    out.extend_from_slice(if first { b"{}" } else { b"}" });
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    use std::io::Write;
    // Writing into a Vec cannot fail.
    let _ = match value {
        Value::Null => out.write_all(b"null"),
        Value::Text(s) => return write_text(out, s),
        Value::Int(n) => write!(out, "{n}"),
        Value::Bool(b) => out.write_all(if *b { b"true" } else { b"false" }),
        Value::Time(t) => write!(out, "\"{t}\""),
        Value::Float(_) | Value::Json(_) => return write_json(out, &value.to_json()),
    };
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        write_json(out, &Json::String(text.to_string()));
    }
}

pub(crate) fn write_json(out: &mut Vec<u8>, json: &Json) {
    // Serialising a value into memory has no way to fail.
    let _ = serde_json::to_writer(out, json);
}
