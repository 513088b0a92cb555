//! A directory of ten thousand people in five hundred groups within groups: how long it takes.

use super::{corp, ldap, sync};
use crate::kit::cloud;
use crate::slapd::{Slapd, group, person};
use serde_json::json;
use std::time::Instant;

const PEOPLE: usize = 10_000;
const GROUPS: usize = 500;

pub async fn ten_thousand_users() {
    let mut ldif = String::new();
    for i in 0..PEOPLE {
        ldif += &person(&format!("user{i:05}"), &format!("displayName: User {i}\nmail: user{i:05}@example.org\n"));
    }
    // A tree of groups, four within each; the people are in the leaves.
    let leaves: Vec<usize> = (0..GROUPS).filter(|g| g * 4 + 1 >= GROUPS).collect();
    for g in 0..GROUPS {
        let inner = (g * 4 + 1..=g * 4 + 4).filter(|c| *c < GROUPS).map(|c| format!("cn=group{c:03}"));
        let mut members: Vec<String> = inner.collect();
        if let Some(leaf) = leaves.iter().position(|l| *l == g) {
            members.extend((leaf..PEOPLE).step_by(leaves.len()).map(|i| format!("uid=user{i:05}")));
        }
        ldif += &group(&format!("group{g:03}"), &members);
    }
    let server = Slapd::start(&ldif);
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, ldap(&server)).await;

    let begun = Instant::now();
    let result = sync(&cloud, &admin, &id).await;
    let first = begun.elapsed();
    assert_eq!((&result["users"]["created"]["count"], &result["groups"]["created"]["count"]), (&json!(PEOPLE), &json!(GROUPS)), "{result}");
    let memberships = result["memberships"]["added"].as_u64().expect("a number");
    assert!(memberships > 4 * PEOPLE as u64, "{memberships}");

    let (before, begun) = (cloud.db.feed().settle().await.expect("the feed"), Instant::now());
    let result = sync(&cloud, &admin, &id).await;
    let second = begun.elapsed();
    assert_eq!((&result["users"]["unchanged"], &result["memberships"]), (&json!(PEOPLE), &json!({"added": 0, "removed": 0})));
    // The aims are 60 s and 5 s on a quiet machine; tests share theirs, so what is asserted is that the second found nothing to write.
    println!("{PEOPLE} users, {GROUPS} groups, {memberships} memberships: first {first:?}, without changes {second:?}");
    let written = cloud.db.feed().settle().await.expect("the feed") - before;
    assert!(written < 20, "a synchronisation without changes told of {written}");
}
