//! From rows to the answer: a whole page at once, then straight into bytes.

use crate::{BoxFuture, Kind, Objects, Owner, engine::Op, tags};
use base::{Flags, Json, Level, Result, Row, Scope, Value};
use std::{borrow::Cow, collections::HashMap};
use store::{Read, Select};

/// The rows of several selects.
pub type Answers = Vec<Vec<Vec<Value>>>;

/// Rows on their way out, with what was computed for each.
pub struct Page {
    pub rows: Vec<Row>,
    /// Further keys of each row, in step with `rows`.
    pub extras: Vec<Vec<(Cow<'static, str>, Json)>>,
    /// The same, written already; no key of these is among `extras`.
    written: Vec<Vec<(&'static str, Vec<u8>)>>,
    /// What was answered to [`crate::Hooks::asks`].
    pub answers: Answers,
    /// Whether computed and joined fields are wanted.
    pub details: bool,
    /// Whether this is one object's own page rather than a list.
    pub single: bool,
    /// How wide the caller may look: decides which fields are shown.
    pub rights: Scope,
}

/// The list that is shown without entries as well.
const SHOWN_EMPTY: &str = "nics";

impl Page {
    pub(crate) fn new(rows: Vec<Row>, details: bool, single: bool, rights: Scope) -> Page {
        let extras = rows.iter().map(|_| Vec::with_capacity(if details { 64 } else { 4 })).collect();
        let written = vec![Vec::new(); rows.len()];
        Page { rows, extras, written, answers: Vec::new(), details, single, rights }
    }

    /// A list of objects; left out when it is empty, unless existing clients want to see even that.
    pub fn add_list(&mut self, row: usize, key: &'static str, list: Objects) {
        if !list.is_empty() || key == SHOWN_EMPTY {
            self.written[row].push((key, list.list()));
        }
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

/// What is asked about rows of a kind beside themselves; answered in [`Page::answers`].
pub(crate) fn asks(kind: &Kind, ids: &[&str], details: bool) -> Vec<Select> {
    let mut asks = if details { kind.hooks.asks(ids) } else { Vec::new() };
    if tagged(kind) {
        asks.push(tags::ask(kind.facts, ids));
    }
    asks
}

/// Whether rows of the kind carry tags.
fn tagged(kind: &Kind) -> bool {
    kind.facts.has("id") && kind.facts.has("update_version") && kind.joint.is_none()
}

/// Fills in what every kind has: owner names, tags, names of referred rows, sharing, what may be done.
pub(crate) fn standard<'a>(op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let facts = op.kind.facts;
        if page.rows.is_empty() {
            return Ok(());
        }
        if page.answers.is_empty() && facts.has("id") {
            let ids: Vec<&str> = page.rows.iter().map(Row::id).collect();
            let asks = asks(op.kind, &ids, page.details);
            let mut db = &op.engine.db;
            page.answers = db.together(&asks).await?;
        }
        if let Some(rows) = page.answers.pop_if(|_| tagged(op.kind)) {
            let mut found = tags::by_row(rows);
            for i in 0..page.rows.len() {
                let mut object = Objects::default();
                object.begin();
                for (key, value) in found.remove(page.rows[i].id()).unwrap_or_default() {
                    object.text(&key, &value);
                }
                page.written[i].push(("metadata", object.object()));
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
        let names = op.engine.db.known(kind.facts, &["name"], ids.iter().map(String::as_str)).await?;
        for i in 0..page.rows.len() {
            if let Some(name) = names.get(page.rows[i].text(field.name)) {
                page.extras[i].push((Cow::Borrowed(word), name[0].to_json()));
            }
        }
    }
    Ok(())
}

/// What is written of the rows of a page. Most have the same computed keys, so that it is found out once for all of them.
#[derive(Default)]
struct Plan {
    extras: Vec<Cow<'static, str>>,
    written: Vec<&'static str>,
    /// Of each column, each computed key and each that is written already, whether it is shown.
    columns: Vec<bool>,
    computed: Vec<bool>,
    last_words: Vec<bool>,
}

impl Plan {
    fn fits(&self, page: &Page, i: usize) -> bool {
        let (extras, written) = (&page.extras[i], &page.written[i]);
        self.columns.len() == page.rows[i].values.len()
            && self.extras.len() == extras.len()
            && self.written.len() == written.len()
            && self.extras.iter().zip(extras).all(|(a, (b, _))| a == b)
            && self.written.iter().zip(written).all(|(a, (b, _))| a == b)
    }

    fn of(page: &Page, i: usize, only: Option<&[String]>) -> Plan {
        let (row, single, rights) = (&page.rows[i], page.single, page.rights);
        let wanted = |name: &str| only.is_none_or(|only| only.iter().any(|o| o == name));
        let extras: Vec<Cow<'static, str>> = page.extras[i].iter().map(|(name, _)| name.clone()).collect();
        let written: Vec<&'static str> = page.written[i].iter().map(|(name, _)| *name).collect();
        let shown = |field: &base::Field| {
            let flags = field.flags;
            let hidden = flags.has(Flags::HIDDEN)
                || (flags.has(Flags::SHOW) && !single)
                || (flags.has(Flags::ADMIN) && rights < Scope::System)
                || (flags.has(Flags::DOMAIN) && rights < Scope::Domain);
            !hidden && wanted(field.name)
        };
        let mut columns: Vec<bool> = row.facts.fields.iter().map(shown).collect();
        // A computed key replaces the stored one of the same name, and an earlier computed one.
        let mut last: HashMap<&str, usize> = HashMap::with_capacity(extras.len());
        for (n, name) in extras.iter().map(AsRef::as_ref).chain(written.iter().copied()).enumerate() {
            last.insert(name, n);
            if let Some(column) = row.facts.position(name) {
                columns[column] = false;
            }
        }
        let computed = extras.iter().enumerate().map(|(n, name)| last.get(name.as_ref()) == Some(&n) && wanted(name)).collect();
        let last_words = written.iter().map(|name| wanted(name)).collect();
        Plan { columns, computed, extras, written, last_words }
    }
}

/// Writes all rows of a page as JSON objects, with commas between. `only` keeps the named keys.
pub(crate) fn write_rows(out: &mut Vec<u8>, page: &Page, only: Option<&[String]>) {
    planned(page, only, |i, plan| {
        if i > 0 {
            out.push(b',');
        }
        write_row(out, page, i, plan);
    });
}

/// The rows of a page as JSON objects, each by itself between `head` and `end`.
pub(crate) fn apart(page: &Page, only: Option<&[String]>, head: &[u8], end: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::with_capacity(page.rows.len());
    planned(page, only, |i, plan| {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(head);
        write_row(&mut out, page, i, plan);
        out.extend_from_slice(end);
        all.push(out);
    });
    all
}

fn planned(page: &Page, only: Option<&[String]>, mut each: impl FnMut(usize, &Plan)) {
    let mut plan = Plan::default();
    for i in 0..page.rows.len() {
        if i == 0 || !plan.fits(page, i) {
            plan = Plan::of(page, i, only);
        }
        each(i, &plan);
    }
}

fn write_row(out: &mut Vec<u8>, page: &Page, i: usize, plan: &Plan) {
    let row = &page.rows[i];
    let mut first = true;
    let mut key = |out: &mut Vec<u8>, name: &str| {
        out.push(if first { b'{' } else { b',' });
        first = false;
        // Column names and our own keys hold nothing that needs escaping.
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
    };
    for ((field, value), shown) in row.facts.fields.iter().zip(&row.values).zip(&plan.columns) {
        if *shown && !value.omitted() {
            key(out, field.name);
            write_value(out, value);
        }
    }
    for ((name, value), shown) in page.extras[i].iter().zip(&plan.computed) {
        let empty = match value {
            Json::Null => true,
            Json::String(s) => s.is_empty(),
            Json::Array(a) => a.is_empty() && name != SHOWN_EMPTY,
            _ => false,
        };
        if *shown && !empty {
            key(out, name);
            match value {
                Json::String(text) => write_text(out, text),
                Json::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
                other => write_json(out, other),
            }
        }
    }
    for ((name, value), shown) in page.written[i].iter().zip(&plan.last_words) {
        if *shown {
            key(out, name);
            out.extend_from_slice(value);
        }
    }
    out.extend_from_slice(if first { b"{}" } else { b"}" });
}

pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    use std::io::Write;
    // Writing into a Vec cannot fail.
    let _ = match value {
        Value::Null => out.write_all(b"null"),
        Value::Text(s) => return write_text(out, s),
        // The serialiser has a faster way with numbers than the formatter.
        Value::Int(n) => serde_json::to_writer(out, n).map_err(Into::into),
        Value::Bool(b) => out.write_all(if *b { b"true" } else { b"false" }),
        Value::Time(t) => write!(out, "\"{t}\""),
        Value::Json(json) => return write_json(out, json),
        Value::Float(_) => return write_json(out, &value.to_json()),
    };
}

pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
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
