//! Whether a policy grants more than somebody has: nobody may hand out what he does not hold (spec 02 §7.1).
//!
//! The question is about all requests, of which there are infinitely many, but only the words the documents themselves name can make a
//! difference: it is enough to try those and one word none of them names. The search goes level by level and keeps only the rules that still
//! match, so it is exact and stays small.

use super::{MAX_DEPTH, Policy, Rule, winner};
use std::collections::BTreeSet;

/// A word no policy can name: keys of documents are never blank.
const OTHER: &str = " ";

/// A request that `wanted` allows and none of `held` does, as `service/resource/action…` with `*` for any word not named; `None` when there
/// is none. Policies must be of one scope, `held` together with those of wider scopes.
pub fn excess(wanted: &Policy, held: &[&Policy]) -> Option<String> {
    let wanted: Vec<&Rule> = wanted.rules.iter().collect();
    let held: Vec<Vec<&Rule>> = held.iter().map(|p| p.rules.iter().collect()).collect();
    search(&wanted, &held, &mut Vec::new()).map(|path| path.iter().map(|p| if *p == OTHER { "*" } else { p }).collect::<Vec<_>>().join("/"))
}

fn search<'a>(wanted: &[&'a Rule], held: &[Vec<&'a Rule>], path: &mut Vec<&'a str>) -> Option<Vec<&'a str>> {
    // Without an allow left there is nothing to find below.
    if !wanted.iter().any(|r| r.allow) {
        return None;
    }
    if path.len() >= 3 {
        let allowed = |rules: &[&Rule]| winner(rules.iter().copied(), path).is_some_and(|r| r.allow);
        if allowed(wanted) && !held.iter().any(|rules| allowed(rules)) {
            return Some(path.clone());
        }
    }
    let level = path.len();
    if level == MAX_DEPTH || (level >= 3 && wanted.iter().chain(held.iter().flatten()).all(|r| r.path.len() <= level)) {
        return None;
    }
    let mut words: BTreeSet<&'a str> = wanted.iter().chain(held.iter().flatten()).filter_map(|r| r.path.get(level)?.as_deref()).collect();
    words.insert(OTHER);
    for word in words {
        let fits = |r: &&&'a Rule| r.path.get(level).and_then(Option::as_deref).is_none_or(|w| w == word);
        let narrowed: Vec<&Rule> = wanted.iter().filter(fits).copied().collect();
        let held: Vec<Vec<&Rule>> = held.iter().map(|rules| rules.iter().filter(fits).copied().collect()).collect();
        path.push(word);
        let found = search(&narrowed, &held, path);
        path.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    #[test]
    fn what_is_too_much_is_named() {
        let check = |wanted: Json, held: &[Json], want: Option<&str>| {
            let wanted = Policy::parse("w", &wanted).unwrap();
            let held: Vec<Policy> = held.iter().map(|h| Policy::parse("h", h).unwrap()).collect();
            assert_eq!(excess(&wanted, &held.iter().collect::<Vec<_>>()).as_deref(), want);
        };
        check(json!({"compute": "allow"}), &[json!("allow")], None);
        check(json!("allow"), &[json!({"compute": "allow"})], Some("*/*/*"));
        check(json!({"compute": {"servers": "allow"}}), &[json!({"compute": "allow"})], None);
        check(
            json!({"compute": {"servers": "allow"}}),
            &[json!({"compute": {"servers": {"*": "allow", "delete": "deny"}}})],
            Some("compute/servers/delete"),
        );
        check(
            json!({"compute": {"servers": {"*": "allow", "delete": "deny"}}}),
            &[json!({"compute": {"servers": {"*": "allow", "delete": "deny"}}})],
            None,
        );
        // Two policies together cover what neither does alone.
        check(
            json!({"c": {"s": {"get": "allow", "list": "allow"}}}),
            &[json!({"c": {"s": {"get": "allow"}}}), json!({"c": {"s": {"list": "allow"}}})],
            None,
        );
        check(json!({"c": {"s": {"perform": "allow"}}}), &[json!({"c": {"s": {"perform": {"start": "allow"}}}})], Some("c/s/perform/*"));
        check(
            json!({"c": {"s": {"perform": {"start": "allow"}}}}),
            &[json!({"c": {"s": {"perform": {"*": "allow", "stop": "deny"}}}})],
            None,
        );
        check(json!({"c": "deny"}), &[], None);
        check(json!({"c": {"s": "allow"}}), &[], Some("c/s/*"));
    }

    fn document() -> impl Strategy<Value = Json> {
        let word = prop_oneof![Just(json!("allow")), Just(json!("deny"))];
        word.prop_recursive(5, 16, 3, |inner| {
            prop::collection::btree_map("[ab*]", inner, 1..3).prop_map(|m| Json::Object(m.into_iter().collect()))
        })
    }

    proptest! {
        /// Against trying every request over the words and one more.
        #[test]
        fn exact(wanted in document(), held in prop::collection::vec(document(), 0..3)) {
            let wanted = Policy::parse("w", &wanted).unwrap();
            let held: Vec<Policy> = held.iter().map(|h| Policy::parse("h", h).unwrap()).collect();
            let mut requests: Vec<Vec<&str>> = vec![vec![]];
            let mut all = Vec::new();
            for level in 0..5 {
                requests = requests.iter().flat_map(|r| ["a", "b", "z"].map(|w| { let mut r = r.clone(); r.push(w); r })).collect();
                if level >= 2 {
                    all.extend(requests.clone());
                }
            }
            let ask = |p: &Policy, r: &[&str]| p.allows(r[0], r[1], r[2], &r[3..]);
            let brute = all.iter().any(|r| ask(&wanted, r) && !held.iter().any(|h| ask(h, r)));
            prop_assert_eq!(excess(&wanted, &held.iter().collect::<Vec<_>>()).is_some(), brute);
        }
    }
}
