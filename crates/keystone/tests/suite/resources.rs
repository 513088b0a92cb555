//! Every resource: made, listed, shown, changed, refused with a reason, deleted.

use crate::kit::{cloud, names};
use base::Json;
use serde_json::json;

pub async fn domains() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let id = cloud.make(&admin, "domain", json!({"name": "acme", "description": "d"})).await;
    assert_eq!(id.len(), 32);
    assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(cloud.post(&admin, "/v3/domains", json!({"domain": {"name": "acme"}})).await.refusal(), (409, "DuplicateNameError"));
    for word in ["statistics", "tag-value-tree", "tag-value-pairs", "distinct-fields"] {
        cloud.get(&admin, &format!("/v3/domains/{word}?key=user:env&field=name")).await.ok();
    }
    let shown = cloud.get(&admin, "/v3/domains/acme").await.ok();
    assert_eq!((&shown["domain"]["enabled"], &shown["domain"]["user_count"]), (&json!(true), &json!(0)));
    // Two domains may have users of one name.
    for domain in [&id, "default"] {
        cloud.make(&admin, "user", json!({"name": "twin", "domain_id": domain})).await;
    }
    cloud.make(&admin, "project", json!({"name": "p", "project_domain": "acme"})).await;
    let shown = cloud.get(&admin, &format!("/v3/domains/{id}?show_fail_reason=true")).await.ok();
    assert_eq!((&shown["domain"]["user_count"], &shown["domain"]["project_count"]), (&json!(1), &json!(1)));
    assert_eq!(shown["domain"]["can_delete"], false);
    assert_eq!(cloud.delete(&admin, "/v3/domains/acme").await.refusal(), (400, "InvalidStatusError"), "enabled");
    assert_eq!(
        cloud.put(&admin, "/v3/domains/acme", json!({"domain": {"enabled": false, "description": "e"}})).await.ok()["domain"]["description"],
        "e"
    );
    assert_eq!(cloud.delete(&admin, "/v3/domains/acme").await.refusal(), (406, "NotEmptyError"));
    let twin = cloud.get(&admin, "/v3/users?domain_id=acme&scope=system").await.ok()["users"][0]["id"].as_str().expect("an id").to_string();
    cloud.delete(&admin, &format!("/v3/users/{twin}")).await.ok();
    let project = cloud.get(&admin, "/v3/projects?project_domain_id=acme&scope=system").await.ok()["projects"][0]["id"]
        .as_str()
        .expect("an id")
        .to_string();
    cloud.delete(&admin, &format!("/v3/projects/{project}")).await.ok();
    assert_eq!(cloud.delete(&admin, "/v3/domains/acme").await.ok()["domain"]["name"], "acme");
    assert_eq!(cloud.get(&admin, "/v3/domains/acme").await.refusal(), (404, "ResourceNotFoundError"));
    cloud.make(&admin, "domain", json!({"name": "acme"})).await;

    assert_eq!(
        cloud.put(&admin, "/v3/domains/default", json!({"domain": {"enabled": false}})).await.refusal(),
        (403, "ProtectedResourceError")
    );
    assert_eq!(cloud.put(&admin, "/v3/domains/default", json!({"domain": {"name": "x"}})).await.refusal(), (403, "ProtectedResourceError"));
    assert_eq!(cloud.delete(&admin, "/v3/domains/default").await.refusal(), (403, "ProtectedResourceError"));
}

pub async fn projects() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let alice = cloud.make(&admin, "user", json!({"name": "alice"})).await;
    let id = cloud.make(&admin, "project", json!({"name": "demo", "admin_id": "alice"})).await;
    let shown = cloud.get(&admin, "/v3/projects/demo").await.ok()["project"].clone();
    assert_eq!(shown["parent_id"], "default");
    assert_eq!(shown["admin_id"], json!(alice));
    assert_eq!((&shown["admin"], &shown["admin_domain"]), (&json!("alice"), &json!("Default")));
    assert_eq!((&shown["user_count"], &shown["group_count"]), (&json!(1), &json!(0)));
    assert_eq!(names(&cloud.get(&admin, &format!("/v3/users/{alice}/projects")).await.ok(), "projects"), ["demo"]);
    assert_eq!(cloud.delete(&admin, "/v3/projects/demo").await.refusal(), (406, "NotEmptyError"));
    assert_eq!(cloud.post(&admin, "/v3/projects", json!({"project": {"name": "demo"}})).await.refusal(), (409, "DuplicateNameError"));
    assert_eq!(cloud.post(&admin, "/v3/projects", json!({"name": "bare"})).await.refusal(), (400, "InputParameterError"));
    let body = json!({"project": {"user_roles": [{"user": "alice", "role": "project_owner"}]}});
    cloud.post(&admin, &format!("/v3/projects/{id}/leave"), body).await.ok();
    cloud.put(&admin, "/v3/projects/demo", json!({"project": {"name": "renamed", "description": "x"}})).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/projects/demo").await.status, 404);
    cloud.post(&admin, "/v3/projects/renamed/user-metadata", json!({"project": {"env": "prod"}})).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/projects/renamed").await.ok()["project"]["metadata"]["user:env"], "prod");
    cloud.delete(&admin, "/v3/projects/renamed").await.ok();
    for change in [json!({"name": "x"}), json!({"enabled": false})] {
        assert_eq!(cloud.put(&admin, "/v3/projects/system", json!({"project": change})).await.refusal(), (403, "ProtectedResourceError"));
    }
    assert_eq!(cloud.delete(&admin, "/v3/projects/system").await.refusal(), (403, "ProtectedResourceError"));
    let events = cloud.get(&admin, &format!("/v3/events?obj_id={id}&scope=system&limit=20")).await.ok();
    let actions: Vec<&str> = events["events"].as_array().expect("events").iter().filter_map(|e| e["action"].as_str()).collect();
    for action in ["create", "attach", "detach", "update", "set_meta", "delete"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
}

pub async fn users() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let body =
        json!({"name": "alice", "password": "alice@Pass1", "email": "a@example.com", "mobile": "+8613800000000", "displayname": "Alice"});
    let id = cloud.make(&admin, "user", body).await;
    let shown = cloud.get(&admin, "/v3/users/alice").await.ok()["user"].clone();
    assert_eq!((&shown["enabled"], &shown["lang"], &shown["is_local"]), (&json!(true), &json!("zh-CN"), &json!(true)));
    for secret in ["password", "password_hash", "password_history"] {
        assert!(shown.get(secret).is_none(), "{secret}");
    }
    // No trace of a hash in the records either.
    let events = cloud.get(&admin, "/v3/events?obj_type=user&scope=system&limit=100").await.ok().to_string();
    assert!(!events.contains("$argon2"), "{events}");
    for (password, class) in [("short", "WeakPasswordError"), ("password", "WeakPasswordError"), ("weakling", "WeakPasswordError")] {
        let answer = cloud.post(&admin, "/v3/users", json!({"user": {"name": "weakling", "password": password}})).await;
        assert_eq!(answer.refusal(), (400, class), "{password}");
    }
    assert_eq!(names(&cloud.get(&admin, "/v3/users?search=example.com").await.ok(), "users"), ["alice"]);
    assert_eq!(names(&cloud.get(&admin, "/v3/users?name=alice&enabled=true").await.ok(), "users"), ["alice"]);
    assert_eq!(names(&cloud.get(&admin, "/v3/users?enabled=false").await.ok(), "users"), Vec::<String>::new());
    cloud.send("PATCH", &format!("/v3/users/{id}"), Some(&admin), None, Some(json!({"user": {"displayname": "A."}}))).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/users/alice").await.ok()["user"]["displayname"], "A.");

    // An administrator may skip the rules; then the user is asked for a new one.
    let reset = json!({"user": {"password": "x", "skip_password_complexity_check": true}});
    cloud.put(&admin, "/v3/users/alice", reset).await.ok();
    let shown = cloud.get(&admin, "/v3/users/alice").await.ok()["user"].clone();
    assert_eq!((&shown["need_reset_password"], &shown["password_reset_hint"]), (&json!(true), &json!("admin_reset")));
    let alice = cloud.token("alice", "x", None).await;
    let change = |old: &str, new: &str| json!({"user": {"original_password": old, "password": new}});
    assert_eq!(cloud.post(&alice, "/v3/users/alice/password", change("y", "Better@Pass2")).await.refusal(), (401, "WrongPassword"));
    assert_eq!(cloud.post(&alice, "/v3/users/alice/password", change("x", "weak")).await.refusal(), (400, "WeakPasswordError"));
    cloud.post(&alice, "/v3/users/alice/password", change("x", "Better@Pass2")).await.ok();
    cloud.token("alice", "Better@Pass2", None).await;
    assert_eq!(cloud.get(&admin, "/v3/users/alice").await.ok()["user"]["need_reset_password"], false);

    for change in [json!({"name": "x"}), json!({"enabled": false})] {
        assert_eq!(cloud.put(&admin, "/v3/users/sysadmin", json!({"user": change})).await.refusal(), (403, "ProtectedResourceError"));
    }
    assert_eq!(cloud.post(&admin, "/v3/users/sysadmin/disable", json!({})).await.refusal(), (403, "ProtectedResourceError"));
    assert_eq!(cloud.delete(&admin, "/v3/users/sysadmin").await.refusal(), (403, "ProtectedResourceError"));
    cloud.delete(&admin, "/v3/users/alice").await.ok();
    assert_eq!(cloud.login("alice", "Better@Pass2", None).await.refusal(), (401, "WrongPassword"));
    cloud.make(&admin, "user", json!({"name": "alice"})).await;
    assert_eq!(cloud.login("alice", "", None).await.status, 401, "without a password nobody gets in");
}

pub async fn password_history_and_age() {
    let config = keystone::Config {
        password_unique_history_check: 2,
        password_expiration_seconds: 3600,
        password_char_complexity: 3,
        ..crate::kit::config()
    };
    let clock = base::Clock::manual(base::Timestamp::parse("2026-02-03T04:05:06Z").expect("a time"));
    let cloud = crate::kit::cloud_with(config, clock.clone()).await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "user", json!({"name": "alice", "password": "First@pass1"})).await;
    let set = |password: &str| json!({"user": {"password": password}});
    assert_eq!(cloud.put(&admin, "/v3/users/alice", set("onlylowercase")).await.refusal(), (400, "WeakPasswordError"));
    assert_eq!(cloud.put(&admin, "/v3/users/alice", set("First@pass1")).await.refusal(), (400, "WeakPasswordError"));
    cloud.put(&admin, "/v3/users/alice", set("Second@pass2")).await.ok();
    assert_eq!(cloud.put(&admin, "/v3/users/alice", set("First@pass1")).await.refusal(), (400, "WeakPasswordError"));
    cloud.put(&admin, "/v3/users/alice", set("Third@pass3")).await.ok();
    cloud.put(&admin, "/v3/users/alice", set("First@pass1")).await.ok();
    let answer = cloud.login("alice", "First@pass1", None).await;
    assert_eq!(answer.body["token"]["user"]["password_expires_at"], "2026-02-03T05:05:06.000000Z");
    clock.advance(std::time::Duration::from_secs(3601));
    cloud.token("alice", "First@pass1", None).await;
    let shown = cloud.get(&admin, "/v3/users/alice").await.ok()["user"].clone();
    assert_eq!((&shown["need_reset_password"], &shown["password_reset_hint"]), (&json!(true), &json!("expire")));
}

pub async fn roles_and_policies() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let role = cloud.make(&admin, "role", json!({"name": "operator"})).await;
    assert_eq!(cloud.put(&admin, "/v3/roles/operator", json!({"role": {"name": "other"}})).await.refusal(), (400, "InputParameterError"));
    let blob = json!({"policy": {"compute": {"servers": {"list": "allow", "*": "deny"}}}});
    let policy = cloud.make(&admin, "policy", json!({"name": "lister", "scope": "project", "blob": blob})).await;
    // The document as text, and without its outer key, mean the same.
    for (name, blob) in [("as-text", json!(blob.to_string())), ("bare", blob["policy"].clone())] {
        let id = cloud.make(&admin, "policy", json!({"name": name, "scope": "project", "blob": blob})).await;
        assert_eq!(
            cloud.get(&admin, &format!("/v3/policies/{id}")).await.ok()["policy"]["blob"]["policy"]["compute"]["servers"]["list"],
            "allow"
        );
    }
    for bad in [
        json!({"blob": 5}),
        json!({"blob": {"policy": {"a": 5}}}),
        json!({"blob": "{"}),
        json!({}),
        json!({"blob": blob, "scope": "galaxy"}),
    ] {
        let mut body = bad.clone();
        body["name"] = json!("bad");
        assert_eq!(cloud.post(&admin, "/v3/policies", json!({"policy": body})).await.status, 400, "{bad}");
    }
    let bind =
        json!({"policy": {"role_id": "operator", "project_id": "system", "ips": ["10.0.0.0/8"], "valid_until": "2036-01-01T00:00:00Z"}});
    cloud.post(&admin, "/v3/policies/lister/bind-role", bind).await.ok();
    let ties = cloud.get(&admin, "/v3/rolepolicies?role_id=operator").await.ok()["rolepolicies"].clone();
    assert_eq!((&ties[0]["role"], &ties[0]["policy"], &ties[0]["project"]), (&json!("operator"), &json!("lister"), &json!("system")));
    assert_eq!((&ties[0]["ips"], &ties[0]["valid_until"]), (&json!(["10.0.0.0/8"]), &json!("2036-01-01T00:00:00.000000Z")));
    let bad = json!({"policy": {"role_id": "operator", "ips": ["ten"]}});
    assert_eq!(cloud.post(&admin, "/v3/policies/lister/bind-role", bad).await.refusal(), (400, "InputParameterError"));
    let shown = cloud.get(&admin, "/v3/roles/operator").await.ok()["role"].clone();
    assert_eq!((&shown["policies"], &shown["match_policies"]), (&json!({"project": ["lister"]}), &json!(["lister"])));
    assert_eq!(cloud.delete(&admin, "/v3/roles/operator").await.refusal(), (406, "NotEmptyError"));

    // Replacing takes the others away.
    let set = json!({"role": {"action": "replace", "policies": [{"policy_id": "project-viewer"}]}});
    cloud.post(&admin, "/v3/roles/operator/set-policies", set).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/roles/operator").await.ok()["role"]["match_policies"], json!(["project-viewer"]));
    cloud.post(&admin, "/v3/roles/operator/add-policy", json!({"role": {"policy_id": policy}})).await.ok();
    cloud.post(&admin, "/v3/roles/operator/remove-policy", json!({"role": {"policy_id": "project-viewer"}})).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/roles/operator").await.ok()["role"]["match_policies"], json!(["lister"]));

    assert_eq!(cloud.delete(&admin, "/v3/policies/lister").await.refusal(), (400, "InvalidStatusError"), "enabled");
    cloud.post(&admin, "/v3/policies/lister/disable", json!({})).await.ok();
    assert_eq!(cloud.delete(&admin, "/v3/policies/lister").await.refusal(), (406, "NotEmptyError"), "bound");
    cloud.post(&admin, "/v3/roles/operator/remove-policy", json!({"role": {"policy_id": policy}})).await.ok();
    cloud.delete(&admin, "/v3/policies/lister").await.ok();
    cloud.make(&admin, "user", json!({"name": "alice"})).await;
    cloud.put(&admin, &format!("/v3/projects/system/users/alice/roles/{role}"), json!({})).await.ok();
    assert_eq!(cloud.delete(&admin, "/v3/roles/operator").await.refusal(), (406, "NotEmptyError"), "held");
    cloud.delete(&admin, "/v3/projects/system/users/alice/roles/operator").await.ok();
    cloud.delete(&admin, "/v3/roles/operator").await.ok();

    // What came with the platform stays.
    assert_eq!(cloud.delete(&admin, "/v3/roles/admin").await.refusal(), (403, "ProtectedResourceError"));
    assert_eq!(cloud.delete(&admin, "/v3/policies/sysadmin").await.refusal(), (403, "ProtectedResourceError"));
    assert_eq!(cloud.post(&admin, "/v3/policies/sysadmin/disable", json!({})).await.refusal(), (403, "ProtectedResourceError"));
    let change = json!({"policy": {"blob": {"policy": {"*": "deny"}}}});
    assert_eq!(cloud.put(&admin, "/v3/policies/sysadmin", change).await.refusal(), (403, "ProtectedResourceError"));
    let unbind = json!({"role": {"policy_id": "sysadmin", "project_id": "system"}});
    assert_eq!(cloud.post(&admin, "/v3/roles/admin/remove-policy", unbind).await.refusal(), (403, "ProtectedResourceError"));
    assert_eq!(cloud.get(&admin, "/v3/policies?is_system=false").await.ok()["total"], 2);
}

pub async fn services_endpoints_regions() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let region = json!({"region": {"id": "east", "description": "d"}});
    assert_eq!(cloud.post(&admin, "/v3/regions", region).await.ok()["region"]["name"], "east");
    assert_eq!(cloud.post(&admin, "/v3/regions", json!({"region": {"id": "east"}})).await.status, 409);
    assert_eq!(cloud.post(&admin, "/v3/regions", json!({"region": {}})).await.refusal(), (400, "MissingParameterError"));
    let service = cloud.make(&admin, "service", json!({"name": "meter", "type": "meter"})).await;
    assert_eq!(
        cloud.post(&admin, "/v3/services", json!({"service": {"name": "typeless"}})).await.refusal(),
        (400, "MissingParameterError")
    );
    let body = json!({"interface": "public", "service_id": "meter", "region_id": "east", "url": "https://meter:1"});
    let endpoint = cloud.make(&admin, "endpoint", body.clone()).await;
    let shown = cloud.get(&admin, &format!("/v3/endpoints/{endpoint}")).await.ok()["endpoint"].clone();
    assert_eq!(
        (&shown["name"], &shown["service_name"], &shown["service_type"]),
        (&json!("meter-public"), &json!("meter"), &json!("meter"))
    );
    for (key, value) in [("interface", "sideways"), ("url", "meter:1"), ("region_id", "west"), ("service_id", "nobody")] {
        let mut bad = body.clone();
        bad[key] = json!(value);
        let status = cloud.post(&admin, "/v3/endpoints", json!({"endpoint": bad})).await.status;
        assert!((400..500).contains(&status), "{key}");
    }
    // What is new is in the catalogue of the next token, what is disabled is not.
    let listed = || async {
        let catalog = cloud.login("sysadmin", crate::kit::ADMIN_PASSWORD, Some("system")).await.ok()["token"]["catalog"].clone();
        catalog.as_array().expect("a catalogue").iter().any(|s| s["type"] == "meter")
    };
    assert!(listed().await);
    cloud.put(&admin, "/v3/services/meter", json!({"service": {"enabled": false}})).await.ok();
    assert!(!listed().await);
    assert_eq!(cloud.delete(&admin, "/v3/services/meter").await.refusal(), (406, "NotEmptyError"));
    assert_eq!(cloud.delete(&admin, "/v3/regions/east").await.refusal(), (406, "NotEmptyError"));
    assert_eq!(cloud.delete(&admin, &format!("/v3/endpoints/{endpoint}")).await.refusal(), (400, "InvalidStatusError"));
    cloud.put(&admin, &format!("/v3/endpoints/{endpoint}"), json!({"endpoint": {"enabled": false}})).await.ok();
    cloud.delete(&admin, &format!("/v3/endpoints/{endpoint}")).await.ok();
    cloud.delete(&admin, &format!("/v3/services/{service}")).await.ok();
    cloud.delete(&admin, "/v3/regions/east").await.ok();
    cloud.post(&admin, "/v3/regions", json!({"region": {"id": "east"}})).await.ok();
}

pub async fn configuration_of_services() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    assert_eq!(cloud.get(&admin, "/v3/services/common/config").await.ok(), json!({"service": {"config": null}}));
    let change = |action: &str, config: Json| json!({"service": {"action": action, "config": config}});
    let config = json!({"default": {"api_server": "https://cloud", "smtp_password": "hush"}});
    let answer = cloud.post(&admin, "/v3/services/common/config", change("update", config)).await.ok();
    assert_eq!(answer["service"]["config"], json!({"default": {"api_server": "https://cloud"}}), "secrets only on demand");
    let all = cloud.get(&admin, "/v3/services/common/config?sensitive=true").await.ok();
    assert_eq!(all["service"]["config"]["default"]["smtp_password"], "hush");
    assert_eq!(cloud.get(&admin, "/v3/services/common").await.ok()["service"]["config_version"], 1);
    // By the type of the service as well.
    cloud.post(&admin, "/v3/services/compute_v2/config", change("update", json!({"default": {"a": "1"}}))).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/services/region2/config").await.ok()["service"]["config"]["default"]["a"], "1");
    cloud.post(&admin, "/v3/services/common/config", change("remove", json!({"default": {"api_server": ""}}))).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/services/common/config").await.ok()["service"]["config"], Json::Null);
    assert_eq!(cloud.post(&admin, "/v3/services/common/config", change("explode", json!({}))).await.status, 400);
    let raw = store::Read::scalar_text(&mut cloud.db.read(), "services", "sealed_config", store::Cond::eq("name", "common")).await;
    let raw = raw.expect("a row").expect("a text");
    assert!(raw.starts_with("v1.") && !raw.contains("hush"), "sealed at rest");
}

pub async fn credentials() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let demo = cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.member(&admin, "alice", "demo", "project_viewer").await;
    cloud.member(&admin, "bob", "demo", "project_owner").await;
    let alice = cloud.token("alice", "alice@Pass1", Some("demo")).await;
    let bob = cloud.token("bob", "bob@Pass1", Some("demo")).await;
    let blob = json!({"secret": "0123456789abcdef0123", "expire": 0}).to_string();
    let id = cloud.make(&alice, "credential", json!({"type": "aksk", "blob": blob})).await;
    let list = cloud.get(&alice, "/v3/credentials?type=aksk").await.ok()["credentials"].clone();
    assert_eq!(list[0]["blob"], json!(blob));
    assert_eq!((&list[0]["user"], &list[0]["domain"], &list[0]["project_id"]), (&json!("alice"), &json!("Default"), &json!(demo)));
    assert_eq!((&list[0]["name"], &list[0]["enabled"]), (&json!("aksk-demo-alice"), &json!(true)));
    // Nobody but the user sees it; an owner of the project neither.
    assert_eq!(cloud.get(&bob, "/v3/credentials").await.ok()["credentials"], json!([]));
    assert_eq!(cloud.get(&bob, &format!("/v3/credentials/{id}")).await.status, 404);
    let user = list[0]["user_id"].as_str().expect("an id");
    let seen = cloud.get(&admin, &format!("/v3/credentials?scope=system&user_id={user}&type=aksk")).await.ok();
    assert_eq!(seen["total"], 1);
    let update = json!({"credential": {"blob": "{}"}});
    assert_eq!(cloud.put(&alice, &format!("/v3/credentials/{id}"), update.clone()).await.refusal(), (406, "NotAcceptableError"));
    let secret = cloud.make(&alice, "credential", json!({"type": "container_secret", "blob": {"k": "v"}, "project_id": "default"})).await;
    let changed = cloud.put(&alice, &format!("/v3/credentials/{secret}"), update).await.ok();
    assert_eq!((&changed["credential"]["blob"], &changed["credential"]["project_id"]), (&json!("{}"), &json!("default")));
    for bad in [
        json!({"type": "aksk"}),
        json!({"blob": "{}"}),
        json!({"type": "riddle", "blob": "{}"}),
        json!({"type": "aksk", "blob": "{\"secret\":\"x\"}"}),
    ] {
        assert_eq!(cloud.post(&alice, "/v3/credentials", json!({"credential": bad})).await.status, 400);
    }
    let other = json!({"credential": {"type": "totp", "blob": "{}", "user_id": user}});
    let status = cloud.post(&bob, "/v3/credentials", other.clone()).await.status;
    assert!(status == 403 || status == 404, "for somebody else: {status}");
    cloud.post(&admin, "/v3/credentials", other).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/users/alice").await.ok()["user"]["credential_count"], 3);
    cloud.post(&admin, "/v3/users/alice/reset-credentials", json!({"user": {"type": "totp"}})).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/users/alice").await.ok()["user"]["credential_count"], 2);
    cloud.delete(&alice, &format!("/v3/credentials/{id}")).await.ok();
    let raw = store::Read::texts(&mut cloud.db.read(), "credentials", "sealed_blob", store::Cond::True).await.expect("rows");
    assert!(raw.iter().all(|b| !b.contains("secret")), "sealed at rest");
    cloud.delete(&admin, "/v3/users/alice").await.ok();
    let left = store::Read::count(&mut cloud.db.read(), "credentials", store::Cond::eq("deleted", false)).await.expect("a count");
    assert_eq!(left, 0, "they go with their user");
}
