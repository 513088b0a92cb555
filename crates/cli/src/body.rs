//! From options to what goes over the wire.

use crate::{
    catalog::{Field, Resource, Type},
    fail::{Fail, Result},
};
use clap::ArgMatches;
use serde_json::{Map, Value as Json};

/// The fields given as options, and those of `--set`.
pub fn fields(fields: &[Field], matches: &ArgMatches) -> Result<Map<String, Json>> {
    let mut map = Map::new();
    for field in fields {
        let Some(given) = text(matches, &format!("f:{}", field.name)) else { continue };
        map.insert(field.name.clone(), value(field.kind, given)?);
    }
    for pair in many(matches, "set") {
        let (key, given) = pair.split_once('=').ok_or_else(|| Fail::usage(format!("--set {pair}: write FIELD=VALUE")))?;
        put(&mut map, key, value(Type::Any, given)?)?;
    }
    Ok(map)
}

/// A number that is none is sent as text: services take units (`2G`) and say best what is wrong.
fn value(kind: Type, given: &str) -> Result<Json> {
    Ok(match kind {
        Type::Bool => Json::from(given == "true"),
        Type::Int => given.parse::<i64>().map_or_else(|_| Json::from(given), Json::from),
        Type::Float => given.parse::<f64>().map_or_else(|_| Json::from(given), Json::from),
        Type::Text => Json::from(given),
        Type::Secret => Json::from(secret(given, "secret")?),
        Type::Any => {
            let given = from_file(given)?;
            match serde_json::from_str::<Json>(&given) {
                Ok(json) => json,
                Err(e) if given.trim_start().starts_with(['{', '[']) => return Err(Fail::usage(format!("{given}: not JSON: {e}"))),
                Err(_) => Json::from(given),
            }
        }
    })
}

/// A secret: `-` asks for it or reads a line, so that it is neither in the shell's history nor in the list of processes; `@path` reads the file.
pub fn secret(given: &str, what: &str) -> Result<String> {
    if given == "-" {
        return crate::terminal::secret_or_piped(&format!("{what}: "));
    }
    Ok(from_file(given)?.trim_end_matches(['\r', '\n']).to_string())
}

/// `@path` is the file's content, anything else itself.
pub fn from_file(given: &str) -> Result<String> {
    match given.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|e| Fail::file(path, &e)),
        None => Ok(given.to_string()),
    }
}

/// Puts a value at a dotted place.
fn put(map: &mut Map<String, Json>, key: &str, value: Json) -> Result<()> {
    match key.split_once('.') {
        None => {
            map.insert(key.to_string(), value);
            Ok(())
        }
        Some((first, rest)) => match map.entry(first).or_insert_with(|| Json::Object(Map::new())) {
            Json::Object(inner) => put(inner, rest, value),
            _ => Err(Fail::usage(format!("--set {key}: {first} was given a value of its own"))),
        },
    }
}

/// The query of a list.
pub fn query(resource: &Resource, matches: &ArgMatches) -> Vec<(String, String)> {
    let mut query = Vec::new();
    for (id, key) in [("offset", "offset")] {
        if let Ok(Some(n)) = matches.try_get_one::<u64>(id) {
            query.push((key.to_string(), n.to_string()));
        }
    }
    for (id, key) in [
        ("search", "search"),
        ("filter", "filter"),
        ("scope", "scope"),
        ("order-by", "order_by"),
        ("order", "order"),
        ("details", "details"),
        ("pending-delete", "pending_delete"),
        ("field", "field"),
        ("f:project", "project"),
    ] {
        query.extend(many(matches, id).into_iter().map(|v| (key.to_string(), v.to_string())));
    }
    if flag(matches, "system") {
        query.push(("system".to_string(), "true".to_string()));
    }
    for (i, tag) in many(matches, "tag").into_iter().enumerate() {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        let key = if key.contains(':') { key.to_string() } else { format!("user:{key}") };
        query.push((format!("tags.{i}.key"), key));
        query.push((format!("tags.{i}.value"), value.to_string()));
    }
    for field in resource.filters.iter().filter(|f| f.name != "project") {
        query.extend(many(matches, &format!("f:{}", field.name)).into_iter().map(|v| (field.name.clone(), v.to_string())));
    }
    query
}

/// One option's text; `None` when it was not given or the command has none of that name.
pub fn text<'a>(matches: &'a ArgMatches, id: &str) -> Option<&'a str> {
    matches.try_get_one::<String>(id).ok().flatten().map(String::as_str)
}

/// All values of an option.
pub fn many<'a>(matches: &'a ArgMatches, id: &str) -> Vec<&'a str> {
    matches.try_get_many::<String>(id).ok().flatten().map(|v| v.map(String::as_str).collect()).unwrap_or_default()
}

pub fn flag(matches: &ArgMatches, id: &str) -> bool {
    matches.try_get_one::<bool>(id).ok().flatten().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog, generate};
    use serde_json::json;

    fn parse(line: &str) -> Result<Json> {
        let words: Vec<&str> = line.split(' ').collect();
        let resource = catalog::resource(words[0]).expect("a resource");
        let matches = generate::resource(resource).try_get_matches_from(&words).expect("a right command line");
        let (verb, inner) = matches.subcommand().expect("a verb");
        let known = match verb {
            "create" => resource.create.clone(),
            "update" => resource.update.clone(),
            _ => resource.actions.iter().find(|a| a.name == verb).map(|a| a.inputs.clone()),
        };
        fields(&known.expect("fields"), inner).map(Json::Object)
    }

    #[test]
    fn options_become_fields_of_their_types() {
        assert_eq!(
            parse("serversku create tiny --cpu-core-count 1 --memory-size-mb 512 --set a.b=[1,2] --set a.c=x").expect("a body"),
            json!({"name": "tiny", "cpu_core_count": 1, "memory_size_mb": 512, "a": {"b": [1, 2], "c": "x"}})
        );
        assert_eq!(parse("server stop web --is-force --timeout-secs 5").expect("a body"), json!({"is_force": true, "timeout_secs": 5}));
        assert_eq!(parse("server stop web --is-force=false").expect("a body"), json!({"is_force": false}));
        assert_eq!(
            parse("network create lan --wire w --ip-prefix 10.9.0.0/24 --gateway 10.9.0.1 --dns 10.9.0.2 --vlan-id 7").expect("a body"),
            json!({"name": "lan", "wire_id": "w", "guest_ip_prefix": "10.9.0.0/24", "guest_gateway": "10.9.0.1", "guest_dns": "10.9.0.2", "vlan_id": 7})
        );
        assert_eq!(parse("disk create d --size 2g").expect("a body"), json!({"name": "d", "disk_size": "2g"}));
        assert!(parse("server stop web --set x={bad").expect_err("a mistake").to_string().contains("not JSON"));
        assert!(parse("server stop web --set x=1 --set x.y=2").is_err());
    }

    #[test]
    fn lists_are_asked_for_in_the_words_of_the_wire() {
        let resource = catalog::resource("server").expect("servers");
        let line =
            ["server", "list", "--search", "web", "--status", "ready", "--status", "running", "--order-by", "name", "--tag", "env=prod"];
        let matches = generate::resource(resource).try_get_matches_from(line).expect("a right command line");
        let (_, inner) = matches.subcommand().expect("a verb");
        let text: Vec<String> = query(resource, inner).iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(text, ["search=web", "order_by=name", "tags.0.key=user:env", "tags.0.value=prod", "status=ready", "status=running"]);
    }
}
