//! The policy language (spec 01 §11, 02 §7): what one document says about one request, as a pure function.
//!
//! A document is a nested map `service → resource → action → extra…` with `allow` or `deny` at the leaves; `*` matches anything, and a leaf
//! may stand at any level. Among the rules that match a request the one with the most literal segments wins; then the one whose literals
//! stand further left; then the looser. Where the request names fewer extras than a rule, the rule still counts. No rule means deny.
//!
//! ```
//! let policy = auth::Policy::parse_yaml("viewer", "policy: {'*': {'*': {get: allow, list: allow}}}").unwrap();
//! assert!(policy.allows("compute", "servers", "list", &[]));
//! assert!(!policy.allows("compute", "servers", "delete", &[]));
//! ```

mod cover;
mod set;
mod tags;

pub use cover::excess;
pub use set::{Decision, Explanation, PolicySet, Verdict};
pub use tags::TagFilter;

use base::{Json, Result, err};
use std::fmt;

/// Levels a document may have: three and the extras of an action.
const MAX_DEPTH: usize = 8;
/// Rules a document may have; the largest built-in one has a few hundred.
const MAX_RULES: usize = 20_000;

/// One leaf with the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Service, resource, action, extras; `None` for `*`. Levels above the leaf that are not written count as `*`.
    path: Vec<Option<Box<str>>>,
    pub allow: bool,
}

impl Rule {
    /// How well the rule fits a request: literal segments, then weight (less is better). `None` when it does not.
    fn fit(&self, request: &[&str]) -> Option<(usize, usize)> {
        let (mut literals, mut weight) = (0, 0);
        for (i, (want, got)) in self.path.iter().zip(request).enumerate() {
            if let Some(want) = want {
                if **want != **got {
                    return None;
                }
                literals += 1;
                weight += match i {
                    0 => 1,
                    1 => 10,
                    2 => 100,
                    n => 1000 * (n - 2),
                };
            }
        }
        Some((literals, weight))
    }
}

impl fmt::Display for Rule {
    /// `compute/servers/perform/start: allow`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.path.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { "/" }, part.as_deref().unwrap_or("*"))?;
        }
        write!(f, ": {}", if self.allow { "allow" } else { "deny" })
    }
}

/// A compiled document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// What people call it; shown in explanations.
    pub name: String,
    rules: Vec<Rule>,
    /// What rows an allow of this document reaches; everything when empty.
    pub filter: TagFilter,
}

impl Policy {
    /// Compiles a document: the service map itself, or `{"policy": map}`, with tag sets beside it (spec 02 §7.3). Errors name the place. A
    /// document that does not compile must not be used in part: what it denies would be lost.
    pub fn parse(name: &str, document: &Json) -> Result<Policy> {
        let mut policy = Policy { name: name.to_string(), ..Policy::default() };
        let map = document.get("policy").unwrap_or(document);
        policy.filter = TagFilter::parse(document)?;
        if !std::ptr::eq(map, document) && policy.filter.is_empty() {
            policy.filter = TagFilter::parse(map)?;
        }
        collect(map, &mut Vec::new(), &mut policy.rules).map_err(|e| e.with_context(format!("policy {name}")))?;
        Ok(policy)
    }

    /// The same from YAML text.
    pub fn parse_yaml(name: &str, text: &str) -> Result<Policy> {
        let document: Json = serde_yaml_ng::from_str(text).map_err(|e| err!(InvalidFormat, "the policy is not valid YAML: {}", e))?;
        Policy::parse(name, &document)
    }

    /// The same from JSON text.
    pub fn parse_json(name: &str, text: &str) -> Result<Policy> {
        let document: Json = serde_json::from_str(text).map_err(|e| err!(InvalidFormat, "the policy is not valid JSON: {}", e))?;
        Policy::parse(name, &document)
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that decides a request; `None` means deny.
    pub fn decide(&self, service: &str, resource: &str, action: &str, extra: &[&str]) -> Option<&Rule> {
        let mut request = [""; MAX_DEPTH];
        let n = extra.len().min(MAX_DEPTH - 3);
        request[..3].copy_from_slice(&[service, resource, action]);
        request[3..3 + n].copy_from_slice(&extra[..n]);
        winner(self.rules.iter(), &request[..3 + n])
    }

    pub fn allows(&self, service: &str, resource: &str, action: &str, extra: &[&str]) -> bool {
        self.decide(service, resource, action, extra).is_some_and(|r| r.allow)
    }
}

fn winner<'a>(rules: impl Iterator<Item = &'a Rule>, request: &[&str]) -> Option<&'a Rule> {
    let mut best: Option<(&Rule, usize, usize)> = None;
    for rule in rules {
        let Some((literals, weight)) = rule.fit(request) else { continue };
        let better = match best {
            None => true,
            Some((old, n, w)) => literals > n || (literals == n && (weight < w || (weight == w && rule.allow && !old.allow))),
        };
        if better {
            best = Some((rule, literals, weight));
        }
    }
    best.map(|(rule, ..)| rule)
}

fn collect(node: &Json, path: &mut Vec<Option<Box<str>>>, into: &mut Vec<Rule>) -> Result<()> {
    let place = |path: &[Option<Box<str>>]| path.iter().map(|p| p.as_deref().unwrap_or("*")).collect::<Vec<_>>().join("/");
    match node {
        Json::String(word) => {
            if into.len() == MAX_RULES {
                return Err(err!(OutOfLimit, "the policy has more than {} rules", MAX_RULES));
            }
            // Words of an older language that named who is let in; every other word denies.
            let allow = matches!(word.as_str(), "allow" | "admin" | "owner" | "user" | "guest");
            let mut path = path.clone();
            path.resize(path.len().max(3), None);
            into.push(Rule { path, allow });
            Ok(())
        }
        Json::Object(map) => {
            if path.len() == MAX_DEPTH {
                return Err(err!(InvalidFormat, "the policy is nested deeper than {} at {}", MAX_DEPTH, place(path)));
            }
            for (key, value) in map {
                if path.is_empty() && key.starts_with("__") {
                    continue;
                }
                path.push(if key == "*" || key.is_empty() { None } else { Some(key.as_str().into()) });
                collect(value, path, into)?;
                path.pop();
            }
            Ok(())
        }
        other => Err(err!(InvalidFormat, "the policy must have allow, deny or a map at {}, not {}", place(path), other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(document: Json, cases: &[(&str, bool)]) {
        let policy = Policy::parse("p", &document).unwrap();
        for (request, want) in cases {
            let parts: Vec<&str> = request.split('/').collect();
            assert_eq!(policy.allows(parts[0], parts[1], parts[2], &parts[3..]), *want, "{document} {request}");
        }
    }

    #[test]
    fn the_most_literal_rule_wins() {
        check(
            json!({"policy": {"compute": {"servers": {"*": "deny", "list": "allow", "get": "allow", "perform": {"start": "allow", "stop": "allow", "*": "deny"}}}}}),
            &[
                ("compute/servers/list", true),
                ("compute/servers/delete", false),
                ("compute/servers/perform/start", true),
                ("compute/servers/perform/rebuild", false),
                ("compute/disks/list", false),
                ("image/servers/list", false),
                // Without its extra a request meets every rule below the action; the looser of equals stays.
                ("compute/servers/perform", true),
            ],
        );
        check(
            json!({"*": {"*": {"get": "allow", "list": "allow", "*": "deny"}}}),
            &[("x/y/get", true), ("x/y/list/any", true), ("x/y/update", false)],
        );
    }

    #[test]
    fn equal_counts_are_decided_by_weight_and_then_looseness() {
        // One literal each: the service outweighs the resource, which outweighs the action, which outweighs the extra.
        check(json!({"compute": "allow", "*": {"servers": "deny"}}), &[("compute/servers/list", true), ("image/servers/list", false)]);
        check(json!({"compute": "deny", "*": {"servers": "allow"}}), &[("compute/servers/list", false), ("image/servers/list", true)]);
        check(json!({"*": {"servers": "deny", "*": {"list": "allow"}}}), &[("a/servers/list", false), ("a/b/list", true)]);
        check(json!({"*": {"*": {"perform": "allow", "*": {"start": "deny"}}}}), &[("a/b/perform/start", true), ("a/b/get/start", false)]);
        // Two literals: service+action (101) beats resource+action (110).
        check(json!({"c": {"*": {"get": "allow"}}, "*": {"s": {"get": "deny"}}}), &[("c/s/get", true)]);
        check(json!({"*": {"*": {"*": {"a": {"*": "deny"}, "*": {"b": "allow"}}}}}), &[("x/y/z/a/b", false), ("x/y/z/c/b", true)]);
        check(json!({"*": {"*": {"perform": {"x": "deny", "y": "allow"}}}}), &[("a/b/perform", true), ("a/b/perform/x", false)]);
    }

    #[test]
    fn leaves_anywhere_and_words() {
        check(json!("allow"), &[("a/b/c", true)]);
        check(json!({"policy": "allow"}), &[("a/b/c/d/e", true)]);
        check(json!({"compute": "allow"}), &[("compute/b/c", true), ("image/b/c", false)]);
        check(
            json!({"compute": {"servers": "admin", "disks": "owner", "images": "user", "hosts": "guest", "zones": "Allow", "wires": "yes"}}),
            &[
                ("compute/servers/get", true),
                ("compute/disks/get", true),
                ("compute/images/get", true),
                ("compute/hosts/get", true),
                ("compute/zones/get", false),
                ("compute/wires/get", false),
            ],
        );
        check(json!({"": {"": "allow"}}), &[("a/b/c", true)]);
        check(json!({}), &[("a/b/c", false)]);
        check(json!({"__object_tags__": [], "*": "allow"}), &[("a/b/c", true)]);
    }

    #[test]
    fn what_does_not_compile_is_refused_whole() {
        for bad in [json!(5), json!({"a": true}), json!({"a": {"b": null}}), json!({"a": ["allow"]})] {
            assert_eq!(Policy::parse("p", &bad).unwrap_err().class(), base::Class::InvalidFormat, "{bad}");
        }
        let mut deep = json!("allow");
        for _ in 0..=MAX_DEPTH {
            deep = json!({"a": deep});
        }
        assert!(Policy::parse("p", &deep).is_err());
        assert!(Policy::parse_yaml("p", "a: [").is_err() && Policy::parse_json("p", "{").is_err());
        // More extras than a document can hold are no way around it.
        check(json!({"*": {"*": {"perform": {"a": "deny", "*": "allow"}}}}), &[("x/y/perform/a/b/c/d/e/f/g/h", false)]);
    }

    #[test]
    fn yaml_and_json_are_one() {
        let yaml = Policy::parse_yaml("p", "policy:\n  compute:\n    servers:\n      '*': deny\n      list: allow\n").unwrap();
        let json = Policy::parse_json("p", r#"{"policy":{"compute":{"servers":{"*":"deny","list":"allow"}}}}"#).unwrap();
        assert_eq!(yaml, json);
        assert_eq!(yaml.decide("compute", "servers", "list", &[]).unwrap().to_string(), "compute/servers/list: allow");
    }

    fn rule() -> impl Strategy<Value = Rule> {
        let part = prop_oneof![Just(None), "[ab]".prop_map(|s: String| Some(s.into_boxed_str()))];
        (prop::collection::vec(part, 3..6), any::<bool>()).prop_map(|(path, allow)| Rule { path, allow })
    }

    fn request() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[abc]", 3..6)
    }

    /// A document with a deny put where there was nothing, or in the place of what there was.
    fn with_deny(document: &Json, path: &[String]) -> Json {
        let Some((first, rest)) = path.split_first() else { return json!("deny") };
        let mut map = document.as_object().cloned().unwrap_or_default();
        // A word that held for everything goes on doing so beside the new key.
        if let Json::String(word) = document {
            map.insert("*".into(), json!(word));
        }
        let below = map.get(first).cloned().unwrap_or_else(|| json!({}));
        map.insert(first.clone(), with_deny(&below, rest));
        Json::Object(map)
    }

    fn document() -> impl Strategy<Value = Json> {
        let word = prop_oneof![Just(json!("allow")), Just(json!("deny"))];
        word.prop_recursive(5, 16, 3, |inner| {
            prop::collection::btree_map("[ab*]", inner, 1..3).prop_map(|m| Json::Object(m.into_iter().collect()))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// The same in documents as people write them, across the policies of a caller, at every scope.
        #[test]
        fn a_deny_in_a_document_never_widens(
            documents in prop::collection::vec((document(), 0..4usize), 1..4),
            at in any::<usize>(), path in prop::collection::vec("[ab*]", 1..5), request in request()
        ) {
            let scopes = [base::Scope::User, base::Scope::Project, base::Scope::Domain, base::Scope::System];
            let set = |documents: &[(Json, usize)]| {
                let one = |(d, s): &(Json, usize)| (scopes[*s], std::sync::Arc::new(Policy::parse("p", d).unwrap()));
                PolicySet::new(documents.iter().map(one))
            };
            let mut more = documents.clone();
            let at = at % more.len();
            more[at].0 = with_deny(&more[at].0, &path);
            let parts: Vec<&str> = request.iter().map(String::as_str).collect();
            let (before, after) = (set(&documents), set(&more));
            for scope in scopes {
                let ask = |set: &PolicySet| set.allows_plain(scope, parts[0], parts[1], parts[2], &parts[3..]);
                prop_assert!(ask(&before) || !ask(&after), "{scope:?} {documents:?} {more:?}");
            }
        }

        #[test]
        fn adding_a_deny_never_widens(rules in prop::collection::vec(rule(), 0..8), deny in rule(), at in any::<usize>(), request in request()) {
            let parts: Vec<&str> = request.iter().map(String::as_str).collect();
            let ask = |rules: &[Rule]| winner(rules.iter(), &parts).is_some_and(|r| r.allow);
            let mut more = rules.clone();
            more.insert(at % (rules.len() + 1), Rule { allow: false, ..deny });
            prop_assert!(ask(&rules) || !ask(&more));
        }

        #[test]
        fn the_order_of_rules_does_not_matter(rules in prop::collection::vec(rule(), 0..8).prop_shuffle(), request in request()) {
            let parts: Vec<&str> = request.iter().map(String::as_str).collect();
            let reversed: Vec<Rule> = rules.iter().rev().cloned().collect();
            let ask = |rules: &[Rule]| winner(rules.iter(), &parts).is_some_and(|r| r.allow);
            prop_assert_eq!(ask(&rules), ask(&reversed));
        }
    }
}
