//! What commands print: tables for people, JSON and YAML for programs.

use crate::{
    body,
    fail::{Fail, Result},
    table,
};
use clap::ArgMatches;
use serde_json::Value as Json;
use std::io::{IsTerminal, Write};

/// Columns of a list when none are asked for.
fn columns(plural: &str) -> &'static [&'static str] {
    match plural {
        "servers" => &["id", "name", "status", "ips", "vcpu_count", "vmem_size", "host"],
        "disks" => &["id", "name", "status", "disk_size", "disk_type", "storage", "guest"],
        "images" => &["id", "name", "status", "disk_format", "size", "is_public"],
        "hosts" => &["id", "name", "host_status", "enabled", "access_ip", "cpu_count", "mem_size"],
        "storages" => &["id", "name", "status", "storage_type", "capacity", "used_capacity"],
        "networks" => &["id", "name", "status", "guest_ip_start", "guest_ip_end", "guest_gateway", "ports_used"],
        "serverskus" => &["id", "name", "cpu_core_count", "memory_size_mb", "postpaid_status"],
        "keypairs" => &["id", "name", "scheme", "fingerprint", "linked_guest_count"],
        "tasks" | "archivedtasks" => &["id", "task_name", "object", "stage", "status", "progress", "created_at"],
        "events" => &["id", "ops_time", "user", "obj_type", "obj_name", "action", "notes"],
        "holders" => &["user", "in", "group", "role", "policy", "scope", "only_for"],
        "profiles" => &["current", "name", "user", "domain", "project", "login", "auth_url"],
        "users" => &["id", "name", "domain", "enabled", "email"],
        "application_credentials" => &["id", "name", "project_id", "expires_at", "unrestricted", "created_at"],
        "credentials" => &["id", "name", "type", "user", "project_id", "enabled", "expired_at"],
        "access_keys" => &["access_key", "name", "project_id", "enabled", "expired_at", "created_at"],
        "rolepolicies" => &["id", "role", "project", "policy", "auth", "ips", "valid_since", "valid_until"],
        "identity_providers" => &["id", "name", "driver", "status", "sync_status", "enabled", "is_sso"],
        "catalog" => &["service", "type", "interface", "region", "url"],
        "access_rules" => &["id", "service", "method", "path"],
        "role_assignments" => &["user", "group", "role", "project", "domain", "policies"],
        "identity_quotas" => &["domain", "counter", "used", "limit"],
        "projects" | "groups" | "roles" => &["id", "name", "domain", "project_domain", "description"],
        "policies" => &["id", "name", "scope", "enabled", "is_system"],
        "services" => &["id", "name", "type", "enabled"],
        "endpoints" => &["id", "service_name", "interface", "region_id", "url"],
        _ => &["id", "name", "status", "enabled", "created_at"],
    }
}

/// The terminal's columns; none when the output is read by a program.
fn width() -> Option<usize> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&out).ok().map(|size| usize::from(size.ws_col)).filter(|w| *w >= 40)
}

fn wanted(matches: &ArgMatches) -> Vec<String> {
    body::many(matches, "field").into_iter().map(str::to_string).collect()
}

pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Fail::file("stdout", &e))
}

/// What programs read, or nothing when people do.
fn for_programs(matches: &ArgMatches, json: &Json) -> Result<Option<String>> {
    match body::text(matches, "output").unwrap_or("table") {
        "json" => Ok(Some(serde_json::to_string_pretty(json)? + "\n")),
        "yaml" => serde_yaml_ng::to_string(json).map(Some).map_err(|e| Fail::usage(format!("YAML: {e}"))),
        "table" => Ok(None),
        other => Err(Fail::usage(format!("output format {other}: use table, json or yaml"))),
    }
}

/// A list of objects.
pub fn list(matches: &ArgMatches, plural: &str, rows: &[Json]) -> Result<()> {
    if let Some(text) = for_programs(matches, &Json::Array(rows.to_vec()))? {
        return print(&text);
    }
    print(&list_text(plural, rows, &wanted(matches), width()))
}

fn list_text(plural: &str, rows: &[Json], wanted: &[String], width: Option<usize>) -> String {
    let head: Vec<String> = if wanted.is_empty() {
        // Of the usual columns those this answer has.
        let present = |c: &&&str| rows.is_empty() || rows.iter().any(|r| r.get(**c).is_some());
        columns(plural).iter().filter(present).map(|c| c.to_string()).collect()
    } else {
        wanted.to_vec()
    };
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| head.iter().map(|c| table::cell(row.get(c).unwrap_or(&Json::Null))).collect()).collect();
    table::rows(&head, &cells, width)
}

/// One object.
pub fn one(matches: &ArgMatches, object: &Json) -> Result<()> {
    if let Some(text) = for_programs(matches, object)? {
        return print(&text);
    }
    let wanted = wanted(matches);
    let Some(map) = object.as_object() else { return print(&(table::cell(object) + "\n")) };
    // A property that is a list of its own reads best as one.
    if let [(_, Json::Array(rows))] = map.iter().collect::<Vec<_>>()[..]
        && rows.iter().all(Json::is_object)
        && !rows.is_empty()
    {
        let mut head: Vec<String> = Vec::new();
        for key in rows.iter().filter_map(Json::as_object).flat_map(|m| m.keys()) {
            if !head.contains(key) {
                head.push(key.clone());
            }
        }
        return print(&list_text("", rows, &head, width()));
    }
    let pairs: Vec<(String, String)> = map
        .iter()
        .filter(|(k, v)| (wanted.is_empty() && !table::cell(v).is_empty()) || wanted.contains(k))
        .map(|(k, v)| (k.clone(), table::cell(v)))
        .collect();
    print(&table::pairs(&pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_show_the_usual_columns_that_are_there() {
        let rows = [json!({"id": "1", "name": "a", "status": "ready", "ips": "10.0.0.2", "vcpu_count": 1, "x": 1})];
        assert_eq!(list_text("servers", &rows, &[], None), "ID  NAME  STATUS  IPS       VCPU_COUNT\n1   a     ready   10.0.0.2  1\n");
        assert_eq!(list_text("servers", &rows, &["x".into(), "y".into()], None), "X  Y\n1\n");
        assert!(list_text("servers", &[], &[], None).starts_with("ID  NAME  STATUS"));
    }
}
