//! A directory of ten thousand people in five hundred groups within groups: how long it takes.

use super::{corp, ldap, shown, sync};
use crate::kit::cloud;
use crate::slapd::{Slapd, group, person};
use serde_json::json;
use std::time::{Duration, Instant};

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
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/sync"), json!({})).await.ok();
    // A request waits only so long; the work goes on.
    while shown(&cloud, &admin, &id).await["sync_status"] != "idle" {
        assert!(begun.elapsed() < Duration::from_secs(240), "not done");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let first = begun.elapsed();
    let result = cloud.get(&admin, &format!("/v3/identity_providers/{id}/sync-result")).await.ok()["identity_provider"]["result"].clone();
    assert_eq!((&result["users"]["created"]["count"], &result["groups"]["created"]["count"]), (&json!(PEOPLE), &json!(GROUPS)), "{result}");
    let memberships = result["memberships"]["added"].as_u64().expect("a number");
    assert!(memberships > 4 * PEOPLE as u64, "{memberships}");

    let begun = Instant::now();
    let result = sync(&cloud, &admin, &id).await;
    let second = begun.elapsed();
    assert_eq!((&result["users"]["unchanged"], &result["memberships"]), (&json!(PEOPLE), &json!({"added": 0, "removed": 0})));
    println!("{PEOPLE} users, {GROUPS} groups, {memberships} memberships: first {first:?}, without changes {second:?}");
    // The aims are 60 s and 5 s on a quiet machine; tests may share theirs.
    assert!(first < Duration::from_secs(180) && second < Duration::from_secs(30), "first {first:?}, without changes {second:?}");
}
