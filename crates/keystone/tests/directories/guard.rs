//! What keeps a synchronisation from doing harm.

use super::{corp, ldap, shown, sync, user, with};
use crate::kit::{Place, cloud, cloud_on, config};
use crate::slapd::{SUFFIX, Slapd, person};
use base::Clock;
use serde_json::json;
use std::time::Duration;

pub async fn half_of_the_house_does_not_go() {
    let server = Slapd::start(&["ann", "bob", "cid", "dan"].map(|n| person(n, "")).concat());
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, ldap(&server)).await;
    sync(&cloud, &admin, &id).await;
    let at = |tail: &str| format!("/v3/identity_providers/{id}/{tail}");
    // A filter that matches nobody: the search succeeds and is empty.
    cloud.post(&admin, &at("config"), json!({"config": {"ldap": {"user_filter": "(uid=nobody)"}}})).await.ok();
    let refused = cloud.post(&admin, &at("sync"), json!({})).await;
    assert_eq!(refused.refusal().0, 406, "{}", refused.body);
    assert!(refused.body["details"].as_str().is_some_and(|d| d.contains("4 of 4 users")), "{}", refused.body);
    let row = shown(&cloud, &admin, &id).await;
    assert_eq!((&row["user_count"], &row["status"], &row["error_count"]), (&json!(4), &json!("connected"), &json!(1)));
    // The forecast shows what it would have been.
    let told = cloud.post(&admin, &at("sync"), json!({"dry_run": true})).await.ok();
    assert_eq!(told["identity_provider"]["result"]["users"]["removed"]["count"], 4);
    assert_eq!(user(&cloud, &admin, "ann").await["enabled"], true);

    // Kept, disabled, when that is what the configuration says; each once.
    let keep = json!({"action": "update", "config": {"ldap": {"user_filter": "", "vanished_users": "disable"}}});
    cloud.post(&admin, &at("config"), keep).await.ok();
    server.modify(&format!("dn: uid=ann,ou=people,{SUFFIX}\nchangetype: delete\n\n"));
    assert_eq!(sync(&cloud, &admin, &id).await["users"]["disabled"]["names"], json!(["ann"]));
    assert_eq!(sync(&cloud, &admin, &id).await["users"]["disabled"]["count"], 0);
    assert_eq!(user(&cloud, &admin, "ann").await["enabled"], false);

    // Whoever means it says so.
    cloud.post(&admin, &at("config"), json!({"config": {"ldap": {"vanished_users": "remove", "user_filter": "(uid=bob)"}}})).await.ok();
    assert_eq!(cloud.post(&admin, &at("sync"), json!({})).await.status, 406);
    let forced = cloud.post(&admin, &at("sync"), json!({"force": true})).await.ok();
    assert_eq!(forced["identity_provider"]["result"]["users"]["removed"]["count"], 3, "{forced}");
    assert_eq!(user(&cloud, &admin, "bob").await["enabled"], true);
}

pub async fn one_replica_synchronises() {
    let server = Slapd::start(&(person("ann", "") + &person("bob", "")));
    let (place, clock) = (Place::new().await, Clock::manual(Clock::real().now()));
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let db = store::Db::open_with(&place.url, clock.clone()).await.expect("a database");
        replicas.push(cloud_on(db, config(), clock.clone()).await);
    }
    let admin = replicas[0].admin().await;
    let id = corp(&replicas[0], &admin, with(ldap(&server), json!({}))).await;
    for (wait, expected) in [(0, 1), (60, 0), (900, 1), (0, 0)] {
        clock.advance(Duration::from_secs(wait));
        let (a, b) = tokio::join!(replicas[0].keystone.sync_directories(), replicas[1].keystone.sync_directories());
        assert_eq!(a.expect("done") + b.expect("done"), expected, "after {wait} s more");
    }
    assert_eq!(shown(&replicas[1], &admin, &id).await["user_count"], 2);
}
