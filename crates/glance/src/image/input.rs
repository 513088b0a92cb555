//! What clients say about an image, checked and put into its row. Pure but for the question what the caller may do.

use api_image::arch::normalise;
use base::{Json, Result, Row, Scope, Value, err};
use diskimage::Format;
use resource::{Map, Op, flag, text};

const MAX_PROPERTIES: usize = 128;
const MAX_KEY: usize = 64;
const MAX_VALUE: usize = 65_535;
/// Largest minimum that makes sense, MiB: the largest disk there is.
const MAX_MB: i64 = (diskimage::MAX_VIRTUAL_SIZE >> 20) as i64;

/// The hint for the format: one of ours, or nothing, which is `raw` until the bytes tell.
pub fn format(row: &mut Row) -> Result<()> {
    let word = row.text("disk_format").to_string();
    let format = if word.is_empty() { Some(Format::Raw) } else { Format::parse(&word) };
    let format = format.ok_or_else(|| {
        let known = Format::ALL.map(Format::name).join(", ");
        err!(InputParameter, "the format {} is unknown; use one of {}, or leave it out", word, known)
    })?;
    row.set("disk_format", format.name());
    Ok(())
}

/// Minimum sizes: never below what the image itself needs.
pub fn sizes(row: &Row) -> Result<()> {
    for column in ["min_disk", "min_ram"] {
        let value = row.int(column);
        if !(0..=MAX_MB).contains(&value) {
            return Err(err!(OutOfRange, "{} is {} MB; use 0 to {}", column, value, MAX_MB));
        }
    }
    let need = row.int("virtual_size").div_ceil_mb();
    if row.int("min_disk") < need {
        return Err(err!(OutOfRange, "min_disk is {} MB; the image itself needs {} MB", row.int("min_disk"), need));
    }
    Ok(())
}

trait Mb {
    fn div_ceil_mb(self) -> i64;
}
impl Mb for i64 {
    fn div_ceil_mb(self) -> i64 {
        (self >> 20) + i64::from(self & 0xf_ffff != 0)
    }
}

/// Merges given properties into those of the row: an empty value removes its key. Keeps the copies that lists filter by.
pub fn properties(row: &mut Row, body: &Map) -> Result<()> {
    let mut all = match row.get("properties") {
        Value::Json(Json::Object(map)) => map.clone(),
        _ => Map::new(),
    };
    match body.get("properties") {
        None | Some(Json::Null) => {}
        Some(Json::Object(given)) => {
            for (key, value) in given {
                if key.is_empty() || key.len() > MAX_KEY || key.chars().any(char::is_control) {
                    return Err(err!(InputParameter, "the property name {} must have 1 to {} printable characters", brief(key), MAX_KEY));
                }
                let value = match value {
                    Json::String(s) => s.clone(),
                    Json::Number(n) => n.to_string(),
                    Json::Bool(b) => b.to_string(),
                    Json::Null => String::new(),
                    _ => return Err(err!(InputParameter, "the property {} must be a text, a number or a boolean", key)),
                };
                if value.len() > MAX_VALUE {
                    return Err(err!(InputParameter, "the property {} is longer than {} bytes", key, MAX_VALUE));
                }
                if value.is_empty() {
                    all.remove(key);
                } else {
                    all.insert(key.clone(), Json::String(value));
                }
            }
        }
        Some(_) => return Err(err!(InputParameter, "properties must be an object of texts")),
    }
    if all.len() > MAX_PROPERTIES {
        return Err(err!(OutOfLimit, "an image may have {} properties, this would be {}", MAX_PROPERTIES, all.len()));
    }
    let of = |key: &str| all.get(key).and_then(Json::as_str).unwrap_or("").to_string();
    row.set("os_type", of("os_type"));
    row.set("os_distribution", of("os_distribution"));
    row.set("uefi_support", matches!(Value::parse(base::Kind::Bool, &of("uefi_support")), Ok(Value::Bool(true))));
    row.set("properties", Json::Object(all));
    Ok(())
}

/// The architecture in the platform's word; said as a property only, it counts too.
pub fn arch(row: &mut Row) {
    let mut word = normalise(row.text("os_arch"));
    if word.is_empty()
        && let Value::Json(Json::Object(properties)) = row.get("properties")
    {
        word = normalise(properties.get("os_arch").and_then(Json::as_str).unwrap_or(""));
    }
    row.set("os_arch", word);
}

/// `is_public` and `is_standard` in a create or update body: the same as the actions, with the same rights.
pub fn sharing(op: &Op<'_>, row: &mut Row, body: &Map) -> Result<()> {
    let may = |action: &str, scope| op.engine.demand_of(op.ctx, op.kind.facts.name, "perform", &[action], scope);
    if let Some(public) = flag(body, "is_public")?.filter(|p| *p != row.flag("is_public")) {
        let scope = match text(body, &["public_scope"]) {
            Some(word) => Scope::parse(&word)
                .filter(|s| *s >= Scope::Domain)
                .ok_or_else(|| err!(InputParameter, "public_scope {} is unknown here; use system or domain", word))?,
            None => Scope::System,
        };
        let action = if public { "public" } else { "private" };
        let needs = if public { scope } else { Scope::Project };
        may(action, needs)?;
        share(row, public.then_some(scope));
    }
    if let Some(standard) = flag(body, "is_standard")?.filter(|s| *s != row.flag("is_standard")) {
        may("mark-standard", Scope::System)?;
        standardise(row, standard);
    }
    Ok(())
}

pub fn standardise(row: &mut Row, standard: bool) {
    row.set("is_standard", standard);
    if standard {
        share(row, Some(Scope::System));
    }
}

fn share(row: &mut Row, scope: Option<Scope>) {
    row.set("is_public", scope.is_some());
    row.set("public_scope", scope.map_or("none", Scope::name));
    row.set("public_src", "local");
    row.set("shared_project_ids", Json::Null);
    row.set("shared_domain_ids", Json::Null);
}

fn brief(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_image::Image;
    use serde_json::json;

    fn merged(have: Json, given: Json) -> Result<Row> {
        let mut row = Row::new::<Image>();
        row.set("properties", have);
        let Json::Object(body) = json!({ "properties": given }) else { unreachable!() };
        properties(&mut row, &body).map(|()| row)
    }

    #[test]
    fn properties_merge() {
        let row = merged(json!({"os_type": "Linux", "old": "1"}), json!({"old": "", "uefi_support": true, "n": 5})).expect("good");
        assert_eq!(row.get("properties"), &Value::Json(json!({"os_type": "Linux", "uefi_support": "true", "n": "5"})));
        assert_eq!((row.text("os_type"), row.flag("uefi_support")), ("Linux", true));
        assert!(merged(json!({}), json!({"a\nb": "x"})).is_err());
        assert!(merged(json!({}), json!({"a": {"b": 1}})).is_err());
        assert!(merged(json!({}), json!("text")).is_err());
        let many: Map = (0..129).map(|i| (format!("k{i}"), json!("v"))).collect();
        assert!(merged(json!({}), Json::Object(many)).is_err());
    }

    #[test]
    fn formats_and_sizes() {
        let check = |word: &str, want: Option<&str>| {
            let mut row = Row::new::<Image>();
            row.set("disk_format", word);
            let done = format(&mut row);
            assert_eq!(done.is_ok().then(|| row.text("disk_format")), want, "{word}");
        };
        check("", Some("raw"));
        check("VPC", Some("vhd"));
        check("qcow2", Some("qcow2"));
        check("docker", None);

        let mut row = Row::new::<Image>();
        row.set("virtual_size", (5i64 << 20) + 1);
        row.set("min_disk", 5);
        assert!(sizes(&row).is_err(), "below the image's own size");
        row.set("min_disk", 6);
        assert!(sizes(&row).is_ok());
        row.set("min_ram", -1);
        assert!(sizes(&row).is_err());
        row.set("min_ram", i64::MAX);
        assert!(sizes(&row).is_err());
    }
}
