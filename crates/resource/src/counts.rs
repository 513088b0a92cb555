//! `GET /scope-resources`: how many rows of each kind every project, domain and user has (spec 01 §10.1). The identity service asks it before it lets go
//! of a project or domain.

use crate::{Answer, Ask, Engine, engine::alive};
use base::{Ctx, Json, Kind as Cell, Level, Result, Scope};
use store::{Cond, Pick, Read, Select};

pub(crate) const PATH: &str = "scope-resources";

pub(crate) async fn answer(engine: &Engine, ctx: &Ctx) -> Result<Answer> {
    let ask = Ask { service: engine.service, resource: PATH, action: "get", extra: &[] };
    if !engine.gate().allows(&ctx.caller, ctx.peer, &ask, Scope::System) {
        return Err(crate::denied(ctx, &ask, Scope::System));
    }
    let mut out = serde_json::Map::new();
    let mut db = &engine.db;
    // What comes and goes with something else, or by the platform's own hand, keeps nobody.
    let kinds = engine.kinds().iter().filter(|k| k.deletable && k.parent.is_none() && k.joint.is_none() && k.facts.level != Level::System);
    for kind in kinds {
        let facts = kind.facts;
        let owners: Vec<&'static str> = ["tenant_id", "domain_id", "owner_id"].into_iter().filter(|c| facts.has(c)).collect();
        let mut cond = alive(facts);
        if facts.has("is_emulated") {
            cond = cond.and(Cond::eq("is_emulated", false));
        }
        let select = owners.iter().fold(Select::from(facts.table), |s, c| s.column(*c, Cell::Text)).pick(Pick::Count).filter(cond);
        let select = owners.iter().fold(select, |s, c| s.group_by(*c));
        let rows = db.rows(&select).await?;
        let told = rows.iter().map(|row| {
            let mut one = serde_json::Map::new();
            for (column, cell) in owners.iter().zip(row) {
                one.insert((*column).to_string(), Json::from(cell.as_str()));
            }
            one.insert("res_count".into(), Json::from(row.last().and_then(|n| n.as_int()).unwrap_or(0)));
            Json::Object(one)
        });
        let told: Vec<Json> = told.collect();
        if !told.is_empty() {
            out.insert(facts.plural.to_string(), Json::Array(told));
        }
    }
    Ok(Answer::json(Json::Object(out)))
}
