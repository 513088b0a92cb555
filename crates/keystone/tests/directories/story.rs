//! From the first synchronisation on: what comes, what changes, what goes.

use super::{body, corp, ldap, login, shown, sync, user, with};
use crate::kit::{Cloud, cloud};
use crate::slapd::{SUFFIX, Slapd, group, person};
use base::Json;
use serde_json::json;
use store::Read;

fn people() -> String {
    let mut out = person("ann", "displayName: Ann\nmail: ann@example.org\ndepartmentNumber: 7\n");
    out += &(person("bob", "mail: bob@example.org\n") + &person("eve", "") + &person("off", "employeeType: TRUE\n"));
    // Teams within teams, in a circle.
    out += &group("devs", &["uid=ann".into(), "uid=bob".into()]);
    out += &group("all", &["cn=devs".into(), "uid=eve".into()]);
    out += &group("loop", &["cn=loop".into(), "cn=all".into()]);
    out
}

async fn members(cloud: &Cloud, admin: &str, name: &str) -> Vec<String> {
    let list = cloud.get(admin, &format!("/v3/groups?scope=system&domain=corp&name={name}")).await.ok();
    let id = list["groups"][0]["id"].as_str().expect("a group").to_string();
    let users = cloud.get(admin, &format!("/v3/users?scope=system&group={id}")).await.ok();
    crate::kit::names(&users, "users")
}

pub async fn a_directory_is_brought_over() {
    let server = Slapd::start(&people());
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let mapping = json!({"group_projects": [
        {"group": "devs", "project": "web", "role": "project_viewer"}, {"group": "nobody", "project": "web", "role": "project_viewer"}]});
    let id = corp(&cloud, &admin, with(ldap(&server), mapping)).await;
    cloud
        .send(
            "PUT",
            &format!("/v3/identity_providers/{id}"),
            Some(&admin),
            None,
            Some(json!({"identity_provider": {"auto_create_project": true}})),
        )
        .await
        .ok();

    // The forecast writes nothing.
    let path = format!("/v3/identity_providers/{id}/sync");
    let told = cloud.post(&admin, &path, json!({"dry_run": true})).await.ok()["identity_provider"]["result"].clone();
    assert_eq!((&told["dry_run"], &told["users"]["created"]["count"], &told["memberships"]["added"]), (&json!(true), &json!(3), &json!(8)));
    assert_eq!(user(&cloud, &admin, "ann").await, Json::Null);

    let first = sync(&cloud, &admin, &id).await;
    assert_eq!(first["users"]["created"]["names"].as_array().map(Vec::len), Some(3), "{first}");
    assert_eq!(first["users"]["skipped"]["items"], json!([{"name": "off", "reason": "it is disabled in the directory"}]));
    assert_eq!((&first["groups"]["created"]["count"], &first["memberships"]["added"]), (&json!(3), &json!(8)), "{first}");
    assert_eq!(first["grants"]["names"], json!(["devs: project_viewer in web"]));
    assert_eq!(first["unmapped"][0]["name"], "nobody: project_viewer in web");
    assert_eq!(members(&cloud, &admin, "devs").await, ["ann", "bob"]);
    assert_eq!(members(&cloud, &admin, "all").await, ["ann", "bob", "eve"]);
    assert_eq!(members(&cloud, &admin, "loop").await, ["ann", "bob", "eve"]);
    let ann = user(&cloud, &admin, "ann").await;
    let ann_id = ann["id"].as_str().expect("an id").to_string();
    assert!(ann_id.len() == 64 && ann_id.bytes().all(|b| b.is_ascii_hexdigit()), "{ann_id}");
    assert_eq!((&ann["displayname"], &ann["email"], &ann["enabled"]), (&json!("Ann"), &json!("ann@example.org"), &json!(true)));
    let home = &cloud.get(&admin, &format!("/v3/users/{ann_id}")).await.ok()["user"]["idps"];
    assert_eq!((&home[0]["idp"], &home[0]["idp_entity_id"], home.as_array().map(Vec::len)), (&json!("corp"), &json!("ann"), Some(1)));
    let tags = cloud.get(&admin, &format!("/v3/users/{ann_id}/metadata")).await.ok();
    assert_eq!(tags["user"]["ext:department"], "7", "{tags}");
    // The mapping lets her in where her group may work, and bob's group-mate eve not.
    login(&cloud, "ann", "ann@Pass1", Some("web")).await.ok();
    assert_ne!(login(&cloud, "eve", "eve@Pass1", Some("web")).await.status, 200);
    login(&cloud, "eve", "eve@Pass1", None).await.ok();

    // Whoever asks why she may finds the directory in the answer.
    let question = json!({"user": ann_id, "project": "web", "permission": "identity/projects/get", "on": "web"});
    let told = cloud.post(&admin, "/v3/access/can", question).await.ok()["access"].take();
    let paths: Vec<&str> = told["reasons"].as_array().expect("reasons").iter().filter_map(|r| r["path"].as_str()).collect();
    let path = "user ann → group devs (of the identity provider corp) → role project_viewer in web";
    assert!(told["allowed"] == true && paths.contains(&path), "{told}");

    // Nothing has changed: nothing is written.
    let before = marks(&cloud).await;
    let second = sync(&cloud, &admin, &id).await;
    assert_eq!(second["users"]["unchanged"], 3, "{second}");
    assert_eq!(marks(&cloud).await, before);

    // What an administrator does here stays.
    cloud
        .post(&admin, &format!("/v3/users/{}/disable", user(&cloud, &admin, "eve").await["id"].as_str().expect("eve")), json!({}))
        .await
        .ok();
    server.modify(&format!(
        "dn: uid=ann,ou=people,{SUFFIX}\nchangetype: modify\nreplace: mail\nmail: new@example.org\n\n\
         dn: uid=bob,ou=people,{SUFFIX}\nchangetype: modify\nreplace: employeeType\nemployeeType: TRUE\n\n\
         dn: uid=off,ou=people,{SUFFIX}\nchangetype: modify\nreplace: employeeType\nemployeeType: FALSE\n\n\
         dn: cn=loop,ou=groups,{SUFFIX}\nchangetype: delete\n\n\
         dn: cn=devs,ou=groups,{SUFFIX}\nchangetype: modify\ndelete: member\nmember: uid=ann,ou=people,{SUFFIX}\n-\nadd: member\nmember: uid=off,ou=people,{SUFFIX}\n\n"
    ));
    let third = sync(&cloud, &admin, &id).await;
    let names = |kind: &str, what: &str| third[kind][what]["names"].clone();
    assert_eq!(names("users", "updated"), json!(["ann"]), "{third}");
    assert_eq!(names("users", "disabled"), json!(["bob"]));
    assert_eq!(names("users", "created"), json!(["off"]));
    assert_eq!(names("groups", "removed"), json!(["loop"]));
    assert_eq!(third["memberships"], json!({"added": 2, "removed": 2}));
    assert_eq!(members(&cloud, &admin, "all").await, ["bob", "eve", "off"]);
    assert_eq!(user(&cloud, &admin, "eve").await["enabled"], false);
    assert_eq!(user(&cloud, &admin, "ann").await["email"], "new@example.org");
    assert_ne!(login(&cloud, "ann", "ann@Pass1", Some("web")).await.status, 200);

    // Gone and back: the same user under the same identifier.
    server.modify(&format!("dn: uid=ann,ou=people,{SUFFIX}\nchangetype: delete\n\n"));
    assert_eq!(sync(&cloud, &admin, &id).await["users"]["removed"]["names"], json!(["ann"]));
    assert_eq!(user(&cloud, &admin, "ann").await, Json::Null);
    let add = person("ann", "").replacen('\n', "\nchangetype: add\n", 1);
    server.modify(&add);
    assert_eq!(sync(&cloud, &admin, &id).await["users"]["created"]["names"], json!(["ann"]));
    assert_eq!(user(&cloud, &admin, "ann").await["id"], json!(ann_id));

    // Whose provider goes, goes with it.
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/disable"), json!({})).await.ok();
    cloud.delete(&admin, &format!("/v3/identity_providers/{id}")).await.ok();
    assert_eq!(user(&cloud, &admin, "ann").await, Json::Null);
    assert_eq!(cloud.db.read().count("identity_links", store::Cond::True).await.expect("a count"), 0);
}

/// Records and lines of the feed so far.
async fn marks(cloud: &Cloud) -> (i64, i64) {
    cloud.db.feed().settle().await.expect("settled");
    let events = cloud.db.read().count("events", store::Cond::ne("action", "login")).await.expect("a count");
    (events, cloud.db.feed().head().await.expect("a head"))
}

pub async fn providers_and_their_configuration() {
    let server = Slapd::start(&person("ann", ""));
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    // What cannot work is refused before it is kept, and says which key it is.
    for (more, word) in [
        (json!({"password": "wrong"}), "refuses the account"),
        (json!({"user_tree_dn": "ou=nowhere,dc=example,dc=org"}), "ou=nowhere"),
        (json!({"url": "ldap://127.0.0.1:1"}), "cannot be reached"),
        (json!({"user_fliter": "(a=b)"}), "user_fliter"),
    ] {
        let answer = cloud.post(&admin, "/v3/identity_providers", body("corp", with(ldap(&server), more))).await;
        assert!(answer.status >= 400 && answer.body["details"].as_str().is_some_and(|d| d.contains(word)), "{}", answer.body);
        assert!(!answer.body.to_string().contains("Service@1"));
    }
    assert!(cloud.get(&admin, "/v3/domains/corp").await.status == 404);

    let id = corp(&cloud, &admin, ldap(&server)).await;
    let row = shown(&cloud, &admin, &id).await;
    assert_eq!(
        (&row["driver"], &row["status"], &row["target_domain"], &row["sync_status"]),
        (&json!("ldap"), &json!("connected"), &json!("corp"), &json!("idle"))
    );
    assert!(!row.to_string().contains("Service@1"));
    let at = |tail: &str| format!("/v3/identity_providers/{id}/{tail}");
    let open = cloud.get(&admin, &at("config")).await.ok();
    assert!(open.to_string().contains("inetOrgPerson") && !open.to_string().contains("Service@1"), "{open}");
    let all = cloud.get(&admin, &at("config?sensitive=true")).await.ok();
    assert_eq!(all["identity_provider"]["config"]["ldap"]["password"], "Service@1", "{all}");
    let stored = cloud.db.read().texts("identity_providers", "sealed_config", store::Cond::True).await.expect("rows").join(" ");
    assert!(!stored.contains("Service@1") && stored.contains("v1."));

    // A bad change leaves the good configuration in place.
    let bad = cloud.post(&admin, &at("config"), json!({"action": "update", "config": {"ldap": {"password": "wrong"}}})).await;
    assert_eq!(bad.refusal(), (400, "InputParameterError"), "{}", bad.body);
    cloud.post(&admin, &at("config"), json!({"config": {"ldap": {"timeout_secs": 5}}})).await.ok();
    assert_eq!(sync(&cloud, &admin, &id).await["users"]["created"]["count"], 1);

    // The platform's own is there, and stays.
    let own = shown(&cloud, &admin, "sql").await;
    assert_eq!((&own["driver"], &own["enabled"]), (&json!("sql"), &json!(true)));
    assert_eq!(cloud.post(&admin, "/v3/identity_providers/sql/disable", json!({})).await.status, 403);
    assert_eq!(cloud.post(&admin, "/v3/identity_providers/sql/sync", json!({})).await.status, 406);
    assert_eq!(cloud.post(&admin, &at("default-sso"), json!({"enable": true})).await.status, 406);
    assert!(cloud.get(&admin, "/v3/identity_providers/attribute-names").await.ok().to_string().contains("user_id_attribute"));
    // Only the platform's administrators.
    cloud.member(&admin, "mallory", "system", "project_viewer").await;
    let mallory = cloud.token("mallory", "mallory@Pass1", Some("system")).await;
    assert!(cloud.get(&mallory, &at("config?sensitive=true")).await.status >= 400);
    assert!(cloud.post(&mallory, &at("sync"), json!({})).await.status >= 400);
}
