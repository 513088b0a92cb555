//! Tags: key-value pairs on any row (spec 01 §5). The prefix of a key says whose it is.

use crate::{BoxFuture, Engine, Kind, Map, engine::Op};
use base::{Facts, Json, Result, Row, Value, err};
use std::collections::{BTreeMap, HashMap};
use store::{Cond, Match, Name, Op as Cmp, Read, Select, Tx};

/// One pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

pub(crate) const USER: &str = "user:";
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 65_535;

/// The pairs of a page of rows.
pub(crate) fn ask(facts: &Facts, ids: &[&str]) -> Select {
    pairs().filter(Cond::is_in("obj_id", ids.iter().copied()).and(Cond::eq("obj_type", facts.name)))
}

/// The answer to [`ask`], by row id. Hidden bookkeeping keys are left out.
pub(crate) fn by_row(rows: Vec<Vec<Value>>) -> HashMap<String, BTreeMap<String, String>> {
    let mut out: HashMap<String, BTreeMap<String, String>> = HashMap::new();
    for row in rows {
        let Ok([Value::Text(id), Value::Text(key), Value::Text(value)]) = <[Value; 3]>::try_from(row) else { continue };
        if !key.starts_with("__") {
            out.entry(id).or_default().insert(key, value);
        }
    }
    out
}

fn pairs() -> Select {
    use base::Kind::Text;
    Select::from("metadata").column("obj_id", Text).column("key", Text).column("value", Text)
}

/// How keys begin that clients do not write (spec 01 §5): of a cloud below, brought over from a directory or a cloud, of organisations, bookkeeping.
/// The platform itself writes them with [`write`].
const RESERVED: [&str; 4] = ["sys:", "ext:", "org:", "__"];

/// The pairs a client wants written: [`values`] with none of the platform's own keys among them.
pub(crate) fn parse(map: &Map, prefix: &str) -> Result<Vec<(String, Option<String>)>> {
    let pairs = values(map, prefix)?;
    for (key, _) in &pairs {
        if let Some(start) = RESERVED.iter().find(|start| key.starts_with(**start)) {
            return Err(err!(Forbidden, "tag {}: keys that begin with {} belong to the platform", key, start));
        }
    }
    Ok(pairs)
}

/// The pairs to write from a body: values become text, `none` and `null` remove (spec 01 §5).
pub(crate) fn values(map: &Map, prefix: &str) -> Result<Vec<(String, Option<String>)>> {
    let mut out = Vec::new();
    for (key, value) in map {
        let key = if key.starts_with(prefix) { key.clone() } else { format!("{prefix}{key}") };
        if key.chars().count() > MAX_KEY {
            return Err(err!(InputParameter, "tag {}: a key has at most {} characters", key, MAX_KEY));
        }
        let value = match value {
            Json::Null => None,
            Json::String(s) if matches!(s.to_ascii_lowercase().as_str(), "none" | "null") => None,
            Json::String(s) => Some(s.clone()),
            other => Some(other.to_string()),
        };
        if value.as_ref().is_some_and(|v| v.len() > MAX_VALUE) {
            return Err(err!(InputParameter, "tag {}: a value has at most {} bytes", key, MAX_VALUE));
        }
        out.push((key, value));
    }
    Ok(out)
}

/// Writes pairs; with `replace`, other keys of that prefix go.
pub async fn write(tx: &mut Tx, row: &Row, pairs: &[(String, Option<String>)], replace: Option<&str>) -> Result<()> {
    let this = || Cond::eq("obj_type", row.facts.name).and(Cond::eq("obj_id", row.id()));
    if let Some(prefix) = replace {
        tx.delete("metadata", this().and(Cond::Text("key".into(), Match::Starts, prefix.to_string()))).await?;
    }
    for (key, value) in pairs {
        match value {
            None => {
                tx.delete("metadata", this().and(Cond::eq("key", key.as_str()))).await?;
            }
            Some(value) => {
                let now = tx.now();
                let columns: Vec<(Name, Value)> = vec![
                    ("obj_type".into(), row.facts.name.into()),
                    ("obj_id".into(), row.id().into()),
                    ("key".into(), key.into()),
                    ("value".into(), value.into()),
                    ("updated_at".into(), now.into()),
                ];
                tx.upsert("metadata", &["obj_id", "obj_type", "key"], columns).await?;
            }
        }
    }
    Ok(())
}

/// `GET …/{id}/metadata?field=&prefix=`
pub(crate) fn read<'a>(op: &'a Op<'a>, row: &'a Row) -> BoxFuture<'a, Result<Json>> {
    Box::pin(async move {
        let mut db = &op.engine.db;
        let mut tags = by_row(db.rows(&ask(row.facts, &[row.id()])).await?).remove(row.id()).unwrap_or_default();
        let (fields, prefix) = (op.params.all("field"), op.params.text("prefix").unwrap_or_default());
        tags.retain(|k, _| k.starts_with(&prefix) && (fields.is_empty() || fields.contains(k)));
        Ok(Json::Object(tags.into_iter().map(|(k, v)| (k, Json::String(v))).collect()))
    })
}

/// Rows with all tags of a set.
pub(crate) fn all_of(kind: &Kind, set: &crate::TagSet) -> Cond {
    if !kind.facts.has("update_version") || kind.joint.is_some() {
        return Cond::False;
    }
    set.iter().fold(Cond::True, |all, (key, values)| {
        let mut pair = Cond::eq("obj_type", kind.facts.name).and(Cond::eq("key", key.as_str()));
        if !values.is_empty() {
            pair = pair.and(Cond::is_in("value", values.iter().map(String::as_str)));
        }
        all.and(Cond::in_select("id", Select::from("metadata").column("obj_id", base::Kind::Text).filter(pair)))
    })
}

/// The list condition of `tags.N.key/.value`, `no_tags`, `with_user_meta` and its kin (spec 01 §3.2).
pub(crate) fn filter(kind: &Kind, params: &Json) -> Cond {
    let tagged = |cond: Cond| {
        let select = Select::from("metadata").column("obj_id", base::Kind::Text).filter(Cond::eq("obj_type", kind.facts.name).and(cond));
        Cond::in_select("id", select)
    };
    let prefixed = |p: &str| tagged(Cond::Text("key".into(), Match::Starts, p.to_string()));
    let mut all = Cond::True;
    for (name, negate) in [("tags", false), ("obj_tags", false), ("no_tags", true), ("no_obj_tags", true)] {
        let Some(Json::Array(sets)) = params.get(name) else { continue };
        // Conditions on one key are alternatives, different keys must all hold: what a console's tag picker means by its list.
        let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for pair in sets {
            if let Some(key) = pair.get("key").and_then(Json::as_str) {
                by_key.entry(key).or_default().push(pair.get("value").and_then(Json::as_str).unwrap_or(""));
            }
        }
        let mut set = Cond::True;
        for (key, values) in by_key {
            let key_is = Cond::eq("key", key);
            let cond = if values.contains(&"___no_value__") {
                tagged(key_is).not()
            } else if values.contains(&"") {
                tagged(key_is)
            } else {
                tagged(key_is.and(Cond::is_in("value", values)))
            };
            set = set.and(cond);
        }
        if set != Cond::True {
            all = all.and(if negate { set.not() } else { set });
        }
    }
    let on =
        |key: &str| params.get(key).is_some_and(|v| matches!(v, Json::Bool(true)) || v.as_str().is_some_and(|s| matches!(s, "true" | "1")));
    for (key, prefix, want) in [
        ("with_user_meta", USER, true),
        ("without_user_meta", USER, false),
        ("with_cloud_meta", "ext:", true),
        ("with_sys_meta", "sys:", true),
        ("with_any_meta", "", true),
        ("with_meta", "", true),
    ] {
        if on(key) {
            let has = if prefix.is_empty() { tagged(Cond::cmp("key", Cmp::Ne, "")) } else { prefixed(prefix) };
            all = all.and(if want { has } else { has.not() });
        }
    }
    all
}

/// `GET /{kind}/tag-value-pairs`
pub(crate) async fn value_pairs(engine: &Engine, kind: &Kind, visible: Cond) -> Result<Json> {
    use base::Kind::Text;
    let ids = Select::from(kind.facts.table).column("id", Text).filter(visible);
    let select = Select::from("metadata")
        .column("key", Text)
        .column("value", Text)
        .pick(store::Pick::Count)
        .filter(Cond::eq("obj_type", kind.facts.name).and(Cond::in_select("obj_id", ids)))
        .group_by("key")
        .group_by("value")
        .order(store::Order::asc("key"))
        .order(store::Order::asc("value"));
    let mut db = &engine.db;
    let rows = db.rows(&select).await?;
    let pairs = rows
        .iter()
        .filter(|r| !r[0].as_str().starts_with("__"))
        .map(|r| serde_json::json!({"key": r[0].as_str(), "value": r[1].as_str(), "count": r[2].as_int()}))
        .collect::<Vec<_>>();
    Ok(serde_json::json!({"data": pairs, "total": pairs.len()}))
}
