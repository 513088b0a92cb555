//! Actions every kind has because of the columns it has (spec 01 §6, §10 table 1.3 of spec 10).

use crate::{ActionFact, Answer, Input, Kind, Map, body, create, engine::Op, event, groups, list, names, owner, show, tags};
use base::{Json, Kind as Cell, Level, Result, Row, Scope, err};
use store::{ChangeOp, work};

const PAIRS: &[Input] = &[];
const STATUS: &[Input] = &[
    Input { name: "status", kind: Cell::Text, required: true, doc: "The new state word." },
    Input { name: "reason", kind: Cell::Text, required: false, doc: "Why; kept in the events." },
];
const SHARE: &[Input] = &[
    Input { name: "scope", kind: Cell::Text, required: false, doc: "How far: system, domain or project." },
    Input { name: "shared_project_ids", kind: Cell::Json, required: false, doc: "Projects to share with at scope project." },
    Input { name: "shared_domain_ids", kind: Cell::Json, required: false, doc: "Domains to share with at scope domain." },
];
const OWNER: &[Input] = &[
    Input { name: "project_id", kind: Cell::Text, required: false, doc: "The new owning project, by id or name." },
    Input { name: "project_domain_id", kind: Cell::Text, required: false, doc: "The new owning domain, by id or name." },
];

/// Whether rows of a kind stand for themselves, with a name to be known by: others are part of something or say something about it, and are neither
/// tagged nor given away.
fn standalone(kind: &Kind) -> bool {
    kind.facts.has("name") && kind.facts.has("update_version") && kind.joint.is_none()
}

/// The actions a kind has by its columns alone.
pub(crate) fn actions(kind: &Kind) -> Vec<ActionFact> {
    let mut out = Vec::new();
    let mut add = |name, inputs, doc| out.push(ActionFact { name, doc, inputs });
    let facts = kind.facts;
    if !standalone(kind) {
        return out;
    }
    add("metadata", PAIRS, "Merge key-value pairs; a value of none removes its key.");
    add("user-metadata", PAIRS, "Merge user tags.");
    add("set-user-metadata", PAIRS, "Replace all user tags.");
    add("class-metadata", PAIRS, "Merge class tags.");
    add("set-class-metadata", PAIRS, "Replace all class tags.");
    if facts.has("status") {
        add("status", STATUS, "Set the state word; for administrators.");
    }
    if facts.has("enabled") {
        add("enable", &[], "Let it take new work.");
        add("disable", &[], "Let it take no new work.");
    }
    if facts.has("is_public") {
        add("public", SHARE, "Share with others.");
        add("private", &[], "Stop sharing.");
    }
    if matches!(facts.level, Level::Project | Level::Domain) && kind.parent.is_none() {
        add("change-owner", OWNER, "Give it to another project or domain.");
    }
    if facts.has("freezed") {
        add("freeze", &[], "Refuse every change until unfrozen.");
        add("unfreeze", &[], "Allow changes again.");
    }
    if kind.hooks.recycles() {
        add("cancel-delete", &[], "Take it out of the recycle bin.");
    }
    out
}

/// Runs a standard action; `None` when the kind has no such one.
pub(crate) async fn act(op: &Op<'_>, row: &Row, name: &str, body: &Map) -> Option<Result<Answer>> {
    actions(op.kind).iter().find(|fact| fact.name == name)?;
    Some(run(op, row, name, body).await)
}

async fn run(op: &Op<'_>, row: &Row, name: &str, body: &Map) -> Result<Answer> {
    match name {
        "metadata" => return tag(op, row, body, "", None, "set_meta").await,
        "user-metadata" => return tag(op, row, body, tags::USER, None, "set_meta").await,
        "set-user-metadata" => return tag(op, row, body, tags::USER, Some(tags::USER), "set_meta").await,
        "class-metadata" => return tag(op, row, body, "cls:", None, "set_meta").await,
        "set-class-metadata" => return tag(op, row, body, "cls:", Some("cls:"), "set_meta").await,
        _ => {}
    }
    let mut new = row.clone();
    let (word, notes) = match name {
        "status" => {
            if op.engine.widest(op.ctx, op.kind, "perform", &["status"]) < Scope::System {
                return Err(op.engine.denied(op.ctx, op.kind, "perform", &["status"], Scope::System));
            }
            new.set("status", body::required(body, "status")?);
            let reason = body::text(body, &["reason"]).unwrap_or_default();
            ("updatestatus", format!("{}=>{} {reason}", row.text("status"), new.text("status")))
        }
        "enable" | "disable" => {
            new.set("enabled", name == "enable");
            (if name == "enable" { "enable" } else { "disable" }, String::new())
        }
        "public" => {
            share(op, &mut new, body).await?;
            ("public", event::diff(row, &new))
        }
        "private" => {
            new.set("is_public", false);
            new.set("public_scope", "none");
            new.set("shared_project_ids", Json::Null);
            new.set("shared_domain_ids", Json::Null);
            ("private", String::new())
        }
        "change-owner" => {
            change_owner(op, &mut new, body).await?;
            ("change_owner", event::diff(row, &new))
        }
        "freeze" | "unfreeze" => {
            new.set("freezed", name == "freeze");
            (if name == "freeze" { "freeze" } else { "unfreeze" }, String::new())
        }
        "cancel-delete" => return restore(op, row).await,
        other => return Err(base::Error::internal(format!("standard action {other} has no code"))),
    };
    let (new, rename) = (&new, name == "change-owner");
    let saved = op.engine.db.tx(|tx| {
        let notes = notes.clone();
        work(async move {
            let mut new = new.clone();
            if rename {
                names::demand_free(tx, op.kind, &new).await?;
            }
            if new.values != row.values {
                op.kind.hooks.updated(op, tx, row, &mut new).await?;
                tx.save(row, &mut new).await?;
            }
            event::audit(tx, op.ctx, &new, word, notes).await?;
            tx.emit(create::change(&new, ChangeOp::Update)).await?;
            Ok(new)
        })
    });
    show::answer(op, saved.await?).await
}

async fn tag(op: &Op<'_>, row: &Row, body: &Map, prefix: &str, replace: Option<&str>, word: &str) -> Result<Answer> {
    let pairs = &tags::parse(body, prefix)?;
    op.engine
        .db
        .tx(|tx| {
            work(async move {
                tags::write(tx, row, pairs, replace).await?;
                let notes = serde_json::to_string(&pairs.iter().cloned().collect::<std::collections::BTreeMap<_, _>>()).unwrap_or_default();
                event::audit(tx, op.ctx, row, word, notes).await?;
                tx.emit(create::change(row, ChangeOp::Update)).await
            })
        })
        .await?;
    Ok(Answer::json(serde_json::json!({ op.kind.facts.name: {} })))
}

async fn share(op: &Op<'_>, row: &mut Row, body: &Map) -> Result<()> {
    let mut projects = body::text_list(body, "shared_project_ids");
    projects.extend(body::text_list(body, "shared_projects"));
    let mut domains = body::text_list(body, "shared_domain_ids");
    domains.extend(body::text_list(body, "shared_domains"));
    let word = body::text(body, &["scope"]).unwrap_or_else(|| {
        let widest = if op.kind.facts.level == Level::Project && !projects.is_empty() { "project" } else { "system" };
        if domains.is_empty() { widest } else { "domain" }.to_string()
    });
    let scope = Scope::parse(&word)
        .filter(|s| *s >= Scope::Project)
        .ok_or_else(|| err!(InputParameter, "scope {} is unknown; use system, domain or project", word))?;
    if op.engine.widest(op.ctx, op.kind, "perform", &["public"]) < scope {
        return Err(op.engine.denied(op.ctx, op.kind, "perform", &["public"], scope));
    }
    let (mut project_ids, mut domain_ids) = (Vec::new(), Vec::new());
    for which in projects {
        project_ids.push(Json::String(owner::find_project(op.engine.owners.as_ref(), &which, None).await?.project_id));
    }
    for which in domains {
        domain_ids.push(Json::String(owner::find_domain(op.engine.owners.as_ref(), &which).await?.domain_id));
    }
    if scope == Scope::Project && project_ids.is_empty() {
        return Err(err!(MissingParameter, "{} is missing; give the projects to share it with", "shared_project_ids"));
    }
    row.set("is_public", true);
    row.set("public_scope", scope.name());
    row.set("public_src", "local");
    row.set("shared_project_ids", Json::Array(project_ids));
    row.set("shared_domain_ids", Json::Array(domain_ids));
    Ok(())
}

async fn change_owner(op: &Op<'_>, row: &mut Row, body: &Map) -> Result<()> {
    let owners = op.engine.owners.as_ref();
    let rights = op.engine.widest(op.ctx, op.kind, "perform", &["change-owner"]);
    let domain = body::text(body, &["project_domain_id", "project_domain", "domain_id", "domain"]);
    let target = if op.kind.facts.level == Level::Project {
        let which = body::text(body, &["project_id", "project", "tenant_id", "tenant"])
            .ok_or_else(|| err!(MissingParameter, "{} is missing; give the project it goes to", "project_id"))?;
        let domain = match domain {
            Some(d) => Some(owner::find_domain(owners, &d).await?.domain_id),
            None => None,
        };
        owner::find_project(owners, &which, domain.as_deref()).await?
    } else {
        owner::find_domain(
            owners,
            &domain.ok_or_else(|| err!(MissingParameter, "{} is missing; give the domain it goes to", "project_domain_id"))?,
        )
        .await?
    };
    let needs = if target.domain_id == row.text("domain_id") { Scope::Domain } else { Scope::System };
    if rights < needs {
        return Err(op.engine.denied(op.ctx, op.kind, "perform", &["change-owner"], needs));
    }
    row.set("domain_id", target.domain_id);
    if op.kind.facts.level == Level::Project {
        row.set("tenant_id", target.project_id);
    }
    Ok(())
}

/// Back from the recycle bin; a name taken meanwhile gets a number.
async fn restore(op: &Op<'_>, row: &Row) -> Result<Answer> {
    if !row.flag("pending_deleted") {
        return Err(err!(InvalidStatus, "{} {} is not in the recycle bin", op.kind.facts.name, row.name()));
    }
    let restored = op.engine.db.tx(|tx| {
        work(async move {
            let mut new = row.clone();
            new.set("pending_deleted", false);
            new.set("pending_deleted_at", base::Value::Null);
            if names::demand_free(tx, op.kind, &new).await.is_err() {
                let name = names::choose(tx, op.kind, &new, &names::Wish::Pattern(new.name().to_string()), 1).await?;
                new.set("name", name[0].as_str());
            }
            op.kind.hooks.restored(op, tx, &mut new).await?;
            tx.save(row, &mut new).await?;
            event::audit(tx, op.ctx, &new, "cancel_delete", String::new()).await?;
            tx.emit(create::change(&new, ChangeOp::Update)).await?;
            Ok(new)
        })
    });
    show::answer(op, restored.await?).await
}

/// `GET /{kind}/{id}/{spec}` that columns alone can answer.
pub(crate) async fn spec(op: &Op<'_>, row: &Row, name: &str) -> Option<Result<Json>> {
    match name {
        "metadata" if standalone(op.kind) => Some(tags::read(op, row).await),
        "status" if op.kind.facts.has("status") => Some(Ok(serde_json::json!({"status": row.text("status")}))),
        "change-owner-candidate-domains" if op.kind.facts.has("domain_id") => {
            let domain = row.text("domain_id");
            let name = op.engine.owners.domain(domain).unwrap_or_default().domain;
            Some(Ok(serde_json::json!({"candidates": [{"id": domain, "name": name}]})))
        }
        _ => None,
    }
}

/// Properties of every class, asked as `GET /{kind}/{property}`.
pub(crate) const CLASS_SPECS: [&str; 7] =
    ["statistics", "distinct-field", "distinct-fields", "tag-value-pairs", "tag-value-tree", "project-statistics", "domain-statistics"];

/// `GET /{kind}/{property}` that columns alone can answer.
pub(crate) async fn class_spec(op: &Op<'_>, name: &str) -> Option<Result<Json>> {
    if !CLASS_SPECS.contains(&name) {
        return None;
    }
    Some(class(op, name).await)
}

async fn class(op: &Op<'_>, name: &str) -> Result<Json> {
    let rights = op.engine.list_rights(op.ctx, op.kind, op.params)?;
    let cond = list::condition(op, &rights).await?;
    match name {
        "statistics" => list::totals(op, cond).await,
        "tag-value-pairs" => tags::value_pairs(op.engine, op.kind, cond).await,
        "tag-value-tree" => groups::tree(op, cond).await,
        "project-statistics" => by_owner(op, cond, "tenant_id").await,
        "domain-statistics" => by_owner(op, cond, "domain_id").await,
        "distinct-fields" => list::distinct_together(op, cond).await,
        _ => list::distinct(op, cond).await,
    }
}

async fn by_owner(op: &Op<'_>, cond: store::Cond, column: &'static str) -> Result<Json> {
    use store::Read;
    if !op.kind.facts.has(column) {
        return Err(err!(SpecNotFound, "{} has no owner to count by", op.kind.facts.plural));
    }
    let select = store::Select::from(op.kind.facts.table).column(column, Cell::Text).pick(store::Pick::Count).filter(cond).group_by(column);
    let mut db = &op.engine.db;
    let rows = db.rows(&select).await?;
    let owners = &op.engine.owners;
    let name = |id: &str| {
        if column == "tenant_id" { owners.project(id).unwrap_or_default().project } else { owners.domain(id).unwrap_or_default().domain }
    };
    Ok(rows.iter().map(|r| serde_json::json!({"id": r[0].as_str(), "name": name(r[0].as_str()), "count": r[1].as_int()})).collect())
}

/// `POST /{kind}/check-create-data`: everything a create checks, nothing written.
pub(crate) async fn check_create(op: &Op<'_>, mut body: Map) -> Result<Answer> {
    create::prepare(op, &mut body).await?;
    Ok(Answer::json(serde_json::json!({ op.kind.facts.plural: {} })))
}
