//! Tag conditions beside a policy: an allow of it reaches only rows with these tags (spec 01 §11.7).

use base::{Json, Result, Said, err, said};
use std::collections::BTreeMap;

/// Tags that must all be there. An empty list of values stands for any value.
pub type TagSet = BTreeMap<String, Vec<String>>;

/// Sets on the row, its project and its domain. Within a kind one set must hold, across kinds all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagFilter {
    pub object: Vec<TagSet>,
    pub project: Vec<TagSet>,
    pub domain: Vec<TagSet>,
}

impl TagFilter {
    pub fn is_empty(&self) -> bool {
        self.object.is_empty() && self.project.is_empty() && self.domain.is_empty()
    }

    /// Reads `__object_tags__`, `__project_tags__`, `__domain_tags__` of a policy tree, or the same without underscores of a policy row.
    pub(super) fn parse(document: &Json) -> Result<TagFilter> {
        let sets = |name: &str| {
            let value = document.get(format!("__{name}_tags__")).or_else(|| document.get(format!("{name}_tags")));
            value.map_or(Ok(Vec::new()), |v| parse_sets(name, v))
        };
        Ok(TagFilter { object: sets("object")?, project: sets("project")?, domain: sets("domain")? })
    }
}

impl TagFilter {
    /// `rows with user:env=dev|qa and user:team; projects with …`; none when it is empty.
    pub fn said(&self) -> Option<Said> {
        let one =
            |(key, values): (&String, &Vec<String>)| if values.is_empty() { key.clone() } else { format!("{key}={}", values.join("|")) };
        let set = |set: &TagSet| set.iter().map(|pair| said!("{}", one(pair))).reduce(|a, b| said!("{} and {}", a, b)).unwrap_or_default();
        let any = |sets: &[TagSet]| sets.iter().map(set).reduce(|a, b| said!("{} or {}", a, b));
        let all = [
            any(&self.object).map(|sets| said!("rows with {}", sets)),
            any(&self.project).map(|sets| said!("projects with {}", sets)),
            any(&self.domain).map(|sets| said!("domains with {}", sets)),
        ];
        all.into_iter().flatten().reduce(|a, b| said!("{}; {}", a, b))
    }
}

impl std::fmt::Display for TagFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.said().map_or(Ok(()), |said| said.fmt(f))
    }
}

/// One set is an array of `{key, value}`, several sets an array of such arrays (spec 02 §7.3).
fn parse_sets(name: &str, value: &Json) -> Result<Vec<TagSet>> {
    let bad = || err!(InvalidFormat, "the {} tags of a policy must be a list of key and value, or a list of such lists", name);
    let items = match value {
        Json::Null => return Ok(Vec::new()),
        Json::Array(items) => items,
        _ => return Err(bad()),
    };
    let set = |items: &[Json]| {
        let mut out = TagSet::new();
        for item in items {
            let key = item.get("key").and_then(Json::as_str).filter(|k| !k.is_empty()).ok_or_else(bad)?;
            let values = out.entry(key.to_string()).or_default();
            match item.get("value") {
                None | Some(Json::Null) => {}
                Some(Json::String(v)) if v.is_empty() => {}
                Some(Json::String(v)) => values.push(v.clone()),
                Some(_) => return Err(bad()),
            }
        }
        Ok(out)
    };
    if items.iter().any(Json::is_array) {
        items.iter().filter(|i| i.as_array().is_none_or(|a| !a.is_empty())).map(|i| set(i.as_array().ok_or_else(bad)?)).collect()
    } else if items.is_empty() {
        Ok(Vec::new())
    } else {
        Ok(vec![set(items)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_set_or_several() {
        let check = |value: Json, want: usize| {
            let filter = TagFilter::parse(&json!({"__object_tags__": value})).unwrap();
            assert_eq!(filter.object.len(), want, "{value}");
            assert_eq!(filter.is_empty(), want == 0);
        };
        check(json!([]), 0);
        check(json!(null), 0);
        check(json!([{"key": "user:env", "value": "prod"}, {"key": "user:team"}]), 1);
        check(json!([[{"key": "a", "value": "1"}], [{"key": "b", "value": "2"}]]), 2);
        for bad in [json!("x"), json!([{"value": "1"}]), json!([[{"key": "a"}], {"key": "b"}]), json!([{"key": "a", "value": 5}])] {
            assert!(TagFilter::parse(&json!({"project_tags": bad})).is_err(), "{bad}");
        }
    }
}
