//! What consoles keep (spec 03 §3.5): rows of a name and a JSON value, of a user or of a service. A plain user has his own; administrators of
//! the platform also those of services and of others.

use crate::{Gateway, door::Visit, licence::demand_administrator, on, proxy};
use base::{Error, Json, Kind, Result, Timestamp, err};
use http::{Reply, Request, Response, Router};
use serde_json::json;
use std::sync::Arc;
use store::{Cond, Name, Order, Read, Select, set, work};

const TABLE: &str = "parameters";
/// Largest value, bytes of its text.
const LARGEST: usize = 1 << 20;
/// Rows of one owner.
const MOST: i64 = 1000;
/// The service whose settings concern every console.
const AGENT: &str = "yunionagent";
pub const GLOBAL: &str = "global-settings";

/// Whose rows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    namespace: &'static str,
    id: String,
}

impl Owner {
    fn cond(&self) -> Cond {
        Cond::eq("namespace", self.namespace).and(Cond::eq("namespace_id", self.id.as_str()))
    }
}

pub fn routes(router: Router, gateway: &Arc<Gateway>) -> Router {
    let mut router = router
        .get("/api/{ver}/rpc/parameters/{name}", on(gateway, |g, r| async move { known(&g, r).await }))
        .get("/api/{ver}/rpc/parameters/{which}/{name}", on(gateway, |g, r| async move { known(&g, r).await }));
    for base in ["/api/{ver}/parameters", "/api/{ver}/users/{user}/parameters", "/api/{ver}/services/{service}/parameters"] {
        let one = format!("{base}/{{id}}");
        router = router
            .get(base, on(gateway, |g, r| async move { list(&g, r).await }))
            .post(base, on(gateway, |g, r| async move { create(&g, r).await }))
            .get(&one, on(gateway, |g, r| async move { show(&g, r).await }))
            .put(&one, on(gateway, |g, r| async move { update(&g, r).await }))
            .patch(&one, on(gateway, |g, r| async move { update(&g, r).await }))
            .delete(&one, on(gateway, |g, r| async move { delete(&g, r).await }));
    }
    router
}

/// Whose rows a request is about; others' are an administrator's.
fn owner(gateway: &Gateway, visit: &Visit, body: Option<&Json>) -> Result<Owner> {
    let own = visit.ctx.caller.user_id.clone();
    let said = |key: &str| body.and_then(|b| b[key].as_str()).or_else(|| visit.request.query.text(key)).unwrap_or_default().to_string();
    let (user, service) = (visit.request.param("user"), visit.request.param("service"));
    let owner = match (user, service, said("namespace").as_str()) {
        ("", "", "" | "user") => {
            Owner { namespace: "user", id: Some(said("namespace_id")).filter(|i| !i.is_empty()).unwrap_or_else(|| own.clone()) }
        }
        ("", "", "service") => Owner { namespace: "service", id: said("namespace_id") },
        ("", "", "bug-report") => Owner { namespace: "bug-report", id: own.clone() },
        ("", "", other) => return Err(err!(InputParameter, "namespace {} is unknown; use user or service", other)),
        ("", service, _) => Owner { namespace: "service", id: service.to_string() },
        (user, ..) => Owner { namespace: "user", id: user.to_string() },
    };
    if owner.id != own {
        demand_administrator(gateway, visit)?;
    }
    Ok(owner)
}

async fn rows(gateway: &Gateway, cond: Cond, page: (u64, u64)) -> Result<Vec<Json>> {
    let mut select = Select::from(TABLE).column("id", Kind::Int);
    for column in ["name", "namespace", "namespace_id", "value", "created_by", "updated_by"] {
        select = select.column(column, Kind::Text);
    }
    let select = select.column("created_at", Kind::Int).column("updated_at", Kind::Int);
    let select = select.filter(cond).order(Order::asc("name")).order(Order::asc("id")).page(page.0, page.1);
    let found = gateway.db.read().rows(&select).await?;
    let row = |r: &Vec<base::Value>| {
        let time = |i: usize| Timestamp(r[i].as_int().unwrap_or(0)).to_string();
        let value: Json = serde_json::from_str(r[4].as_str()).unwrap_or(Json::Null);
        json!({"id": r[0].as_int().unwrap_or(0), "name": r[1].as_str(), "namespace": r[2].as_str(), "namespace_id": r[3].as_str(), "value": value,
            "created_by": r[5].as_str(), "updated_by": r[6].as_str(), "created_at": time(7), "updated_at": time(8)})
    };
    Ok(found.iter().map(row).collect())
}

/// By number or by name.
async fn find(gateway: &Gateway, owner: &Owner, which: &str) -> Result<Json> {
    let named = Cond::eq("name", which);
    let cond = match which.parse::<i64>() {
        Ok(id) => named.or(Cond::eq("id", id)),
        Err(_) => named,
    };
    let found = rows(gateway, owner.cond().and(cond), (1, 0)).await?.pop();
    found.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "parameter", which))
}

async fn list(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    let owner = owner(gateway, &visit, None)?;
    let query = &visit.request.query;
    let limit = query.int("limit")?.filter(|l| (1..=MOST).contains(l)).unwrap_or(MOST);
    let offset = query.int("offset")?.unwrap_or(0).max(0);
    let mut cond = owner.cond();
    if let Some(name) = query.text("name").filter(|n| !n.is_empty()) {
        cond = cond.and(Cond::eq("name", name));
    }
    let total = gateway.db.read().count(TABLE, cond.clone()).await?;
    let data = rows(gateway, cond, (limit.unsigned_abs(), offset.unsigned_abs())).await?;
    Ok(Response::json(&json!({"data": data, "total": total, "limit": limit, "offset": offset})))
}

async fn show(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    let owner = owner(gateway, &visit, None)?;
    Ok(Response::json(&find(gateway, &owner, visit.request.param("id")).await?))
}

fn text_of(value: &Json) -> Result<String> {
    let text = value.to_string();
    if text.len() > LARGEST {
        return Err(err!(TooLargeEntity, "the value is larger than {} bytes", LARGEST));
    }
    Ok(text)
}

async fn create(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let mut visit = gateway.enter(request).await?;
    let body = visit.request.json().await?.unwrap_or_else(|| json!({}));
    let body = body.get("parameter").cloned().unwrap_or(body);
    let owner = owner(gateway, &visit, Some(&body))?;
    let name = body["name"].as_str().map(str::trim).filter(|n| !n.is_empty() && n.len() <= 256 && n.parse::<i64>().is_err());
    let name = name.ok_or_else(|| err!(InputParameter, "{}: a name of 1 to 256 characters that is no number", "name"))?;
    if gateway.db.read().count(TABLE, owner.cond()).await? >= MOST {
        return Err(err!(OutOfLimit, "at most {} parameters of one owner", MOST));
    }
    put(gateway, &owner, name, &body["value"], &visit.ctx.caller.user_id).await?;
    Ok(Response::json(&find(gateway, &owner, name).await?))
}

/// A new row. The name is taken: `DuplicateName`.
async fn put(gateway: &Gateway, owner: &Owner, name: &str, value: &Json, by: &str) -> Result<()> {
    let text = text_of(value)?;
    let now = gateway.clock.now().micros();
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    // A number that every JSON reader holds exactly.
    let id = (u64::from_le_bytes(bytes) >> 12) as i64;
    let columns: Vec<(Name, base::Value)> = vec![
        ("id".into(), id.into()),
        ("name".into(), name.into()),
        ("namespace".into(), owner.namespace.into()),
        ("namespace_id".into(), owner.id.as_str().into()),
        ("value".into(), text.into()),
        ("created_by".into(), by.into()),
        ("updated_by".into(), by.into()),
        ("created_at".into(), now.into()),
        ("updated_at".into(), now.into()),
    ];
    let columns = &columns;
    gateway.db.tx(|tx| work(async move { tx.insert_into(TABLE, columns.clone()).await })).await
}

async fn update(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let mut visit = gateway.enter(request).await?;
    let body = visit.request.json().await?.unwrap_or_else(|| json!({}));
    let body = body.get("parameter").cloned().unwrap_or(body);
    let owner = owner(gateway, &visit, None)?;
    let which = visit.request.param("id").to_string();
    let row = match find(gateway, &owner, &which).await {
        Ok(row) => row,
        // The settings of all consoles are found by their number from anywhere.
        Err(e) => {
            demand_administrator(gateway, &visit).map_err(|_| e.clone())?;
            find(gateway, &Owner { namespace: "service", id: AGENT.into() }, &which).await.map_err(|_| e)?
        }
    };
    if let Some(value) = body.get("value") {
        let (text, now, by) = (text_of(value)?, gateway.clock.now().micros(), visit.ctx.caller.user_id.as_str());
        let (id, text) = (row["id"].as_i64().unwrap_or(0), text.as_str());
        gateway
            .db
            .tx(|tx| {
                work(async move {
                    let sets = vec![set("value", text), set("updated_by", by), set("updated_at", now)];
                    tx.update(TABLE, Cond::eq("id", id), sets).await.map(drop)
                })
            })
            .await?;
    }
    let id = row["id"].as_i64().unwrap_or(0);
    let row = rows(gateway, Cond::eq("id", id), (1, 0)).await?.pop();
    Ok(Response::json(&row.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "parameter", which))?))
}

async fn delete(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    let owner = owner(gateway, &visit, None)?;
    let row = find(gateway, &owner, visit.request.param("id")).await?;
    let id = row["id"].as_i64().unwrap_or(0);
    gateway.db.tx(|tx| work(async move { tx.delete(TABLE, Cond::eq("id", id)).await.map(drop) })).await?;
    Ok(Response::json(&row))
}

/// `rpc/parameters/global-settings` and `widget-settings`: made at first use.
async fn known(gateway: &Gateway, request: Request) -> Reply {
    proxy::version(&request)?;
    let visit = gateway.enter(request).await?;
    let name = match visit.request.param("name") {
        name @ (GLOBAL | "widget-settings") => name,
        other => return Err(err!(ActionNotFound, "there is no function {} here", other)),
    };
    let value = if name == GLOBAL {
        json!({"setupKeys": [], "setupKeysVersion": "3.0", "productVersion": "FullStack", "userDefinedKeys": [], "dictionary": {}})
    } else {
        json!({})
    };
    Ok(Response::json(&shared(gateway, name, value).await?))
}

/// A row of all consoles, made with a value when it is not there.
pub async fn shared(gateway: &Gateway, name: &str, value: Json) -> Result<Json> {
    let owner = Owner { namespace: "service", id: AGENT.into() };
    if let Ok(row) = find(gateway, &owner, name).await {
        return Ok(row);
    }
    match put(gateway, &owner, name, &value, "").await {
        Ok(()) => {}
        // Somebody was faster.
        Err(e) if e.class().http() == 409 => {}
        Err(e) => return Err(e),
    }
    find(gateway, &owner, name).await
}

/// Writes a row of all consoles.
pub async fn share(gateway: &Gateway, name: &str, value: &Json, by: &str) -> Result<()> {
    let row = shared(gateway, name, json!({})).await?;
    let (id, now, text) = (row["id"].as_i64().unwrap_or(0), gateway.clock.now().micros(), text_of(value)?);
    let text = text.as_str();
    gateway
        .db
        .tx(|tx| {
            work(async move {
                let sets = vec![set("value", text), set("updated_by", by), set("updated_at", now)];
                tx.update(TABLE, Cond::eq("id", id), sets).await.map(drop)
            })
        })
        .await
}
