//! Services of the catalogue and their configuration (spec 02 §8).

use super::{alive, count_of, counts, enabled_unless_said, ids};
use crate::{access, state::State};
use api_identity::Service;
use base::{Error, Json, Kind as Cell, Result, Row, Scope, err};
use resource::{ActionFact, BoxFuture, Hooks, Input, Kind, Map, Naming, Op, Page, Reply};
use std::sync::Arc;
use store::{Read, work};

struct ServiceHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<Service, _>(&Arc::new(ServiceHooks { state: state.clone() }))
        .naming(Naming::Global)
        .spec(ActionFact { name: "config", doc: "The configuration: groups of keys and values.", inputs: &[] }, |h, op, row, _| {
            Box::pin(h.config(op, row))
        })
        .action(SET_CONFIG, |h, op, row, body| Box::pin(h.set_config(op, row, body)))
        .done()
}

const SET_CONFIG: ActionFact = ActionFact {
    name: "config",
    doc: "Change the configuration.",
    inputs: &[
        Input { name: "config", kind: Cell::Json, required: true, doc: "Groups of keys and values." },
        Input { name: "action", kind: Cell::Text, required: false, doc: "update (the default), remove or replace." },
    ],
};

/// Keys whose values are kept sealed and shown only on demand.
const SENSITIVE: [&str; 6] = ["password", "passwd", "secret", "token", "private_key", "access_key"];

fn is_sensitive(key: &str) -> bool {
    SENSITIVE.iter().any(|word| key.to_ascii_lowercase().contains(word))
}

impl ServiceHooks {
    async fn config(&self, op: &Op<'_>, row: Row) -> Result<Reply> {
        let mut config = as_map(row.get("config").to_json());
        if op.params.flag("sensitive") == Some(true) {
            op.engine.demand(op.ctx, op.kind, &row, "perform", &["config"]).await?;
            if op.engine.widest(op.ctx, op.kind, "perform", &["config"]) < Scope::System {
                return Err(err!(Forbidden, "only an administrator of the platform reads sensitive configuration"));
            }
            for (group, values) in self.opened(&row)? {
                let into = config.entry(group).or_insert_with(|| Json::Object(Map::new()));
                if let (Json::Object(into), Json::Object(values)) = (into, values) {
                    into.extend(values);
                }
            }
        }
        let config = if config.is_empty() { Json::Null } else { Json::Object(config) };
        Ok(Reply::Value(serde_json::json!({ "config": config })))
    }

    async fn set_config(&self, op: &Op<'_>, row: Row, body: Map) -> Result<Reply> {
        let action = resource::text(&body, &["action"]).unwrap_or_else(|| "update".to_string());
        if !matches!(action.as_str(), "update" | "remove" | "replace") {
            return Err(err!(InputParameter, "{}: {} is none of {}", "action", action, "update, remove, replace"));
        }
        let Some(Json::Object(change)) = body.get("config") else {
            return Err(err!(InputParameter, "{}: expected {}, got {}", "config", "an object of groups", "something else"));
        };
        let (row, change, action) = (&row, change, action.as_str());
        let version = self
            .state
            .db
            .tx(|tx| {
                work(async move {
                    let Some(old) = tx.one(row.facts, row.id()).await? else {
                        return Err(err!(ResourceNotFound, "{} {} not found", "service", row.name()));
                    };
                    let (mut open, mut sealed) = (as_map(old.get("config").to_json()), self.opened(&old)?);
                    merge(&mut open, change, action, false);
                    merge(&mut sealed, change, action, true);
                    let mut new = old.clone();
                    new.set("config", if open.is_empty() { Json::Null } else { Json::Object(open) });
                    new.set(
                        "sealed_config",
                        if sealed.is_empty() { String::new() } else { self.state.seal.close(&Json::Object(sealed).to_string())? },
                    );
                    new.set("config_version", old.int("config_version") + 1);
                    tx.save(&old, &mut new).await?;
                    access::record(tx, op.ctx, &new, "update").await?;
                    Ok(new)
                })
            })
            .await?;
        self.config(op, version).await
    }

    /// The sealed part of a row's configuration.
    fn opened(&self, row: &Row) -> Result<Map> {
        let sealed = row.text("sealed_config");
        if sealed.is_empty() {
            return Ok(Map::new());
        }
        let text = self.state.seal.open(sealed)?;
        serde_json::from_str(&text).map(as_map).map_err(Error::internal)
    }
}

fn as_map(json: Json) -> Map {
    match json {
        Json::Object(map) => map,
        _ => Map::new(),
    }
}

/// Applies a change to the open or the sensitive half of a configuration.
fn merge(into: &mut Map, change: &Map, action: &str, sensitive: bool) {
    if action == "replace" {
        into.clear();
    }
    for (group, values) in change {
        let Json::Object(values) = values else { continue };
        let target = into.entry(group.clone()).or_insert_with(|| Json::Object(Map::new()));
        let Json::Object(target) = target else { continue };
        for (key, value) in values.iter().filter(|(k, _)| is_sensitive(k) == sensitive) {
            if action == "remove" {
                target.remove(key);
            } else {
                target.insert(key.clone(), value.clone());
            }
        }
    }
    into.retain(|_, group| group.as_object().is_some_and(|g| !g.is_empty()));
}

impl Hooks for ServiceHooks {
    fn create<'a>(&'a self, _op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            enabled_unless_said(body, row);
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, _op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let n = counts(&self.state.db, "endpoints", "service_id", &ids(rows), alive()).await?;
            let refusal = |row: &Row| {
                if row.flag("enabled") {
                    return Some(err!(InvalidStatus, "the service {} is enabled; disable it first", row.name()));
                }
                (count_of(&n, row.id()) > 0)
                    .then(|| err!(NotEmpty, "the service {} has {} endpoints; delete them first", row.name(), count_of(&n, row.id())))
            };
            Ok(rows.iter().map(refusal).collect())
        })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if page.details {
                let n = counts(&self.state.db, "endpoints", "service_id", &ids(&page.rows), alive()).await?;
                for i in 0..page.rows.len() {
                    let id = page.rows[i].id().to_string();
                    page.add(i, "endpoint_count", Json::from(count_of(&n, &id)));
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn open_and_sensitive_halves() {
        let change = as_map(json!({"default": {"api_server": "https://x", "smtp_password": "p"}, "bad": 5}));
        let (mut open, mut sealed) = (as_map(json!({"default": {"time_zone": "UTC"}})), Map::new());
        merge(&mut open, &change, "update", false);
        merge(&mut sealed, &change, "update", true);
        assert_eq!(Json::Object(open.clone()), json!({"default": {"time_zone": "UTC", "api_server": "https://x"}}));
        assert_eq!(Json::Object(sealed), json!({"default": {"smtp_password": "p"}}));
        merge(&mut open, &as_map(json!({"default": {"time_zone": ""}})), "remove", false);
        assert_eq!(Json::Object(open.clone()), json!({"default": {"api_server": "https://x"}}));
        merge(&mut open, &as_map(json!({"other": {"a": 1}})), "replace", false);
        assert_eq!(Json::Object(open), json!({"other": {"a": 1}}));
    }
}
