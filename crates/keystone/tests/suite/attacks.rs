//! What people try: forged and altered tokens, fields that are not theirs to set, headers that would say who they are.

use crate::kit::{Cloud, cloud, cloud_with, config, password_login, token_login};
use base::Clock;
use http::Method;
use serde_json::{Value as Json, json};
use telemetry::testing::Watch;

pub async fn tampered_tokens_are_refused_and_logged() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let mut state = 11u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for round in 0..300 {
        let mut bytes = admin.clone().into_bytes();
        let at = random(bytes.len());
        bytes[at] = b"abcXYZ019-_."[random(12)];
        let forged = String::from_utf8(bytes).expect("ASCII");
        if forged == admin {
            continue;
        }
        assert_eq!(cloud.get(&forged, "/v3/users").await.refusal(), (403, "ForbiddenError"), "{round}: a guest");
        if round % 10 == 0 {
            let rescoped = cloud.send("POST", "/v3/auth/tokens", None, None, Some(token_login(&forged, Json::Null))).await;
            assert_eq!(rescoped.status, 401, "{round}");
            assert_eq!(
                cloud.send("GET", "/v3/auth/tokens", Some(&admin), Some(&forged), None).await.refusal(),
                (401, "InvalidCredentialError")
            );
        }
    }
    assert!(cloud.get(&admin, "/v3/events?action=login_fail&scope=system").await.ok()["events"].as_array().is_some_and(|e| e.len() >= 20));
    assert_eq!(cloud.get(&admin, "/v3/users").await.status, 200);
}

/// Somebody with every right in a project of his own domain.
async fn owner(cloud: &Cloud) -> (String, String) {
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.member(&admin, "boss", "demo", "domainadmin").await;
    (admin, cloud.token("boss", "boss@Pass1", Some("demo")).await)
}

pub async fn protected_fields() {
    let cloud = cloud().await;
    let (admin, boss) = owner(&cloud).await;
    let planted = json!({"id": "feedfeedfeedfeedfeedfeedfeedfeed", "deleted": true, "created_at": "2001-01-01T00:00:00Z", "update_version": 99,
        "password_hash": "x", "password_history": ["x"], "failed_auth_count": -5, "need_reset_password": false, "last_login_ip": "9.9.9.9",
        "is_emulated": true, "domain_src": "cloud", "is_system": true, "is_public": true, "public_scope": "system", "shared_domain_ids": ["default"],
        "parent_id": "x", "metadata": {"user:planted": "x"}, "admin_id": ""});
    let with = |more: Json| {
        let mut body = planted.clone();
        for (k, v) in more.as_object().expect("a map") {
            body[k.as_str()] = v.clone();
        }
        body
    };
    for (kind, plural, more) in [
        ("user", "users", json!({"name": "mule", "password": "Mule@Pass1"})),
        ("group", "groups", json!({"name": "mules"})),
        ("project", "projects", json!({"name": "stable"})),
        ("role", "roles", json!({"name": "carrier"})),
        ("policy", "policies", json!({"name": "bags", "scope": "project", "blob": {"policy": {"x": "deny"}}})),
    ] {
        let made = cloud.post(&boss, &format!("/v3/{plural}"), json!({ kind: with(more) })).await.ok();
        let id = made[kind]["id"].as_str().expect("an id").to_string();
        for changed in [false, true] {
            if changed {
                cloud.put(&boss, &format!("/v3/{plural}/{id}"), json!({ kind: planted })).await;
            }
            let seen = cloud.get(&admin, &format!("/v3/{plural}/{id}")).await.ok()[kind].take();
            assert_ne!(seen["id"], planted["id"], "{kind}");
            assert!(seen["created_at"].as_str().is_some_and(|t| !t.starts_with("2001")), "{seen}");
            assert!(seen["update_version"].as_i64().is_none_or(|n| n < 50), "{seen}");
            for (field, bad) in [
                ("is_public", json!(true)),
                ("is_system", json!(true)),
                ("is_emulated", json!(true)),
                ("deleted", json!(true)),
                ("public_scope", json!("system")),
            ] {
                assert_ne!(seen[field], bad, "{kind}.{field} (changed: {changed})");
            }
            assert!(seen["failed_auth_count"].as_i64().is_none_or(|n| n >= 0) && seen["last_login_ip"] != "9.9.9.9", "{seen}");
            assert!(seen["metadata"].get("user:planted").is_none(), "{seen}");
        }
    }
    assert_eq!(cloud.login("mule", "Mule@Pass1", None).await.status, 200, "the hash is that of the password");
    // Whose they are: another domain's takes the platform's administrator.
    let acme = cloud.make(&admin, "domain", json!({"name": "acme"})).await;
    for (kind, plural) in [("user", "users"), ("group", "groups"), ("project", "projects"), ("role", "roles")] {
        for key in ["domain_id", "domain", "project_domain_id", "project_domain"] {
            let foreign = cloud.post(&boss, &format!("/v3/{plural}"), json!({ kind: {"name": format!("far-{key}"), key: acme} })).await;
            assert_eq!(foreign.status, 403, "{kind} {key}: {}", foreign.body);
        }
        let before = cloud.get(&boss, &format!("/v3/{plural}?limit=1")).await.ok()[plural][0].take();
        let path = format!("/v3/{plural}/{}", before["id"].as_str().expect("an id"));
        cloud.put(&boss, &path, json!({ kind: {"domain_id": acme} })).await;
        assert_eq!(cloud.get(&admin, &path).await.ok()[kind]["domain_id"], before["domain_id"], "{kind}");
    }
    let system = json!({"user": {"name": "sly", "is_system_account": true}});
    assert_eq!(cloud.post(&boss, "/v3/users", system).await.status, 403);
}

pub async fn headers_that_would_say_who() {
    let watch = Watch::start();
    let config = keystone::Config { trusted_gateways: Vec::new(), ..config() };
    let cloud = cloud_with(config, Clock::real()).await;
    let (admin, _) = owner(&cloud).await;
    cloud.member(&admin, "bob", "demo", "project_viewer").await;
    let bob = cloud.token("bob", "bob@Pass1", Some("demo")).await;
    let root = cloud.get(&admin, "/v3/users/sysadmin").await.ok()["user"]["id"].as_str().expect("an id").to_string();
    let spoofed: Vec<(&str, String)> = vec![
        ("x-user-id", root.clone()),
        ("x-user", "sysadmin".into()),
        ("x-user-name", "sysadmin".into()),
        ("x-project-id", "system".into()),
        ("x-tenant-id", "system".into()),
        ("x-roles", "admin".into()),
        ("x-role", "admin".into()),
        ("x-identity-status", "Confirmed".into()),
        ("x-is-admin", "true".into()),
        ("x-forwarded-user", "sysadmin".into()),
        ("x-remote-user", "sysadmin".into()),
        ("x-forwarded-for", "10.1.1.1".into()),
        ("forwarded", "for=10.1.1.1".into()),
        ("x-real-ip", "10.1.1.1".into()),
        ("x-subject-token", admin.clone()),
        ("x-service-token", admin.clone()),
        ("x-original-url", "/v3/version".into()),
        ("x-rewrite-url", "/v3/version".into()),
        ("x-http-method-override", "GET".into()),
        ("cookie", format!("yunionauth={admin}; X-Auth-Token={admin}")),
    ];
    let send = async |method: Method, path: &str, token: Option<&str>, headers: &[(&str, String)]| {
        let mut call = cloud.client.call(method, &format!("{}{path}", cloud.url));
        if let Some(token) = token {
            call = call.token(token);
        }
        for (name, value) in headers {
            call = call.header(name, value);
        }
        call.json(&json!({"project": {"description": "x"}})).send_any().await.expect("an answer").status
    };
    for one in spoofed.iter().map(std::slice::from_ref).chain([&spoofed[..]]) {
        assert_eq!(send(Method::GET, "/v3/users", None, one).await, 403, "{one:?}");
        assert_eq!(send(Method::PUT, "/v3/projects/demo", Some(&bob), one).await, 403, "{one:?}");
        assert_eq!(send(Method::GET, "/v3/users?scope=system", Some(&bob), one).await, 403, "{one:?}");
    }
    // Each leaves a line, beside those of the rights that are missing. (The proxy of these tests is a named one.)
    for (header, _) in spoofed
        .iter()
        .filter(|(h, _)| !["x-subject-token", "x-service-token", "cookie", "x-forwarded-for", "forwarded", "x-real-ip"].contains(h))
    {
        watch.expect(&format!("header=\"{header}\""));
    }
    assert!(watch.told(&["not allowed", "identity/projects/update", "user=\"bob\""]) >= spoofed.len());
    // The first of two tokens does not count for one and the second for another.
    for headers in [vec![("x-auth-token", "rubbish".to_string())], vec![("authorization", format!("Bearer {admin}"))]] {
        let status = send(Method::PUT, "/v3/projects/demo", Some(&bob), &headers).await;
        assert!(matches!(status, 400 | 403), "{status}");
    }

    // A policy that holds from one network only: the word of whoever logs in does not move him there.
    let blob = json!({"policy": {"identity": {"projects": {"update": "allow"}}}});
    cloud.make(&admin, "policy", json!({"name": "inside", "scope": "project", "blob": blob})).await;
    let bind = json!({"role": {"policy_id": "inside", "ips": ["10.0.0.0/8"]}});
    cloud.post(&admin, "/v3/roles/project_viewer/add-policy", bind).await.ok();
    let mut login = password_login("bob", "bob@Pass1", Some("demo"));
    login["auth"]["context"]["ip"] = json!("10.1.1.1");
    let sly = cloud.send("POST", "/v3/auth/tokens", None, None, Some(login)).await.subject.expect("a token");
    assert_eq!(cloud.put(&sly, "/v3/projects/demo", json!({"project": {"description": "x"}})).await.status, 403);
    let mut again = token_login(&sly, json!({"project": {"name": "demo", "domain": {"id": "default"}}}));
    again["auth"]["context"] = json!({"source": "web", "ip": "10.1.1.1"});
    let sly = cloud.send("POST", "/v3/auth/tokens", None, None, Some(again)).await.subject.expect("a token");
    assert_eq!(cloud.put(&sly, "/v3/projects/demo", json!({"project": {"description": "x"}})).await.status, 403);
}
