//! Roles and groups: by path, by action, listed, limited.

use crate::kit::{Cloud, cloud, names};
use serde_json::{Value as Json, json};

async fn rows(cloud: &Cloud, token: &str, query: &str) -> Vec<Json> {
    cloud.get(token, &format!("/v3/role_assignments?{query}")).await.ok()["role_assignments"].as_array().expect("a list").clone()
}

pub async fn by_path() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.make(&admin, "user", json!({"name": "alice"})).await;
    cloud.make(&admin, "group", json!({"name": "team"})).await;
    for (outer, inner) in [
        ("projects/demo", "users/alice"),
        ("projects/demo", "groups/team"),
        ("domains/default", "users/alice"),
        ("domains/default", "groups/team"),
    ] {
        let path = format!("/v3/{outer}/{inner}/roles/project_viewer");
        assert_eq!(cloud.send("HEAD", &path, Some(&admin), None, None).await.status, 404, "{path}");
        for _ in 0..2 {
            assert_eq!(cloud.put(&admin, &path, json!({})).await.ok()["role"]["name"], "project_viewer", "{path}");
        }
        assert_eq!(cloud.send("HEAD", &path, Some(&admin), None, None).await.status, 204, "as OpenStack's clients look for it");
        assert_eq!(names(&cloud.get(&admin, &format!("/v3/{outer}/{inner}/roles")).await.ok(), "roles"), ["project_viewer"]);
        cloud.delete(&admin, &path).await.ok();
        assert_eq!(cloud.delete(&admin, &path).await.refusal(), (404, "ResourceNotFoundError"));
        assert_eq!(cloud.get(&admin, &format!("/v3/{outer}/{inner}/roles")).await.ok()["roles"], json!([]));
    }
    for missing in [
        "/v3/projects/none/users/alice/roles/admin",
        "/v3/projects/demo/users/none/roles/admin",
        "/v3/projects/demo/users/alice/roles/none",
    ] {
        assert_eq!(cloud.put(&admin, missing, json!({})).await.refusal(), (404, "ResourceNotFoundError"), "{missing}");
    }
    let guard = "/v3/projects/system/users/sysadmin/roles/admin";
    assert_eq!(cloud.delete(&admin, guard).await.refusal(), (403, "ProtectedResourceError"));
}

pub async fn by_action_and_by_context() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    for project in ["p1", "p2"] {
        cloud.make(&admin, "project", json!({"name": project})).await;
    }
    let alice = cloud.make(&admin, "user", json!({"name": "alice"})).await;
    cloud.make(&admin, "user", json!({"name": "bob", "enabled": false})).await;
    cloud.make(&admin, "group", json!({"name": "team"})).await;
    let join = json!({"project": {"users": ["alice", "bob"], "groups": ["team"], "roles": ["project_viewer", "project_editor"], "enable_all_users": true}});
    let shown = cloud.post(&admin, "/v3/projects/p1/join", join).await.ok()["project"].clone();
    assert_eq!((&shown["user_count"], &shown["group_count"]), (&json!(2), &json!(1)));
    assert_eq!(cloud.get(&admin, "/v3/users/bob").await.ok()["user"]["enabled"], true);
    cloud.post(&admin, "/v3/users/alice/join", json!({"user": {"projects": ["p2"], "roles": ["project_viewer"]}})).await.ok();
    cloud.post(&admin, "/v3/groups/team/add-users", json!({"group": {"user_ids": [alice]}})).await.ok();
    cloud.post(&admin, "/v3/groups/team/join", json!({"group": {"projects": ["p2"], "roles": ["project_viewer"]}})).await.ok();

    let list = |path: &str| {
        let (cloud, admin, path) = (&cloud, &admin, path.to_string());
        async move {
            let plural = path.rsplit('/').next().expect("a path").split('?').next().expect("a word").to_string();
            names(&cloud.get(admin, &path).await.ok(), &plural)
        }
    };
    assert_eq!(list("/v3/users/alice/projects").await, ["p1", "p2"]);
    assert_eq!(list("/v3/users/alice/groups").await, ["team"]);
    assert_eq!(list("/v3/groups/team/users").await, ["alice"]);
    assert_eq!(list("/v3/groups/team/projects?admin=true").await, ["p1", "p2"]);
    assert_eq!(list("/v3/projects/p1/users").await, ["alice", "bob"]);
    assert_eq!(list("/v3/projects/p2/users").await, ["alice"]);
    assert_eq!(list("/v3/projects/p2/groups").await, ["team"]);
    let shown = cloud.get(&admin, "/v3/users/alice").await.ok()["user"].clone();
    assert_eq!((&shown["project_count"], &shown["group_count"]), (&json!(2), &json!(1)));
    assert_eq!(names(&shown, "projects"), ["p1", "p2"]);
    assert_eq!(names(&cloud.get(&admin, "/v3/users?project_id=p1").await.ok(), "users"), ["alice", "bob"]);
    assert_eq!(names(&cloud.get(&admin, "/v3/users?group=team").await.ok(), "users"), ["alice"]);
    assert_eq!(names(&cloud.get(&admin, "/v3/projects?user_id=bob").await.ok(), "projects"), ["p1"]);

    cloud
        .post(&admin, "/v3/users/alice/leave", json!({"user": {"project_roles": [{"project": "p2", "role": "project_viewer"}]}}))
        .await
        .ok();
    assert_eq!(list("/v3/users/alice/projects").await, ["p1", "p2"], "through the group still");
    cloud.post(&admin, "/v3/groups/team/remove-users", json!({"group": {"user_ids": ["alice"]}})).await.ok();
    assert_eq!(list("/v3/users/alice/projects").await, ["p1"]);
    let leave = json!({"project": {"user_roles": [{"user": "alice", "role": "project_viewer"}, {"user": "alice", "role": "project_editor"}],
        "group_roles": [{"group": "team", "role": "project_viewer"}]}});
    cloud.post(&admin, "/v3/projects/p1/leave", leave).await.ok();
    assert_eq!(list("/v3/users/alice/projects").await, Vec::<String>::new());
    let set = json!({"project": {"user_id": "bob"}});
    cloud.post(&admin, "/v3/projects/p1/set-admin", set.clone()).await.ok();
    assert_eq!(cloud.get(&admin, "/v3/projects/p1").await.ok()["project"]["admin"], "bob");
    assert_eq!(cloud.post(&admin, "/v3/projects/p2/set-admin", set).await.refusal(), (400, "InputParameterError"), "not in it");
    cloud.delete(&admin, "/v3/groups/team").await.ok();
    assert_eq!(cloud.get(&admin, "/v3/projects/p2").await.ok()["project"]["group_count"], 0, "a group's roles go with it");
}

pub async fn at_most_so_many_roles() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.make(&admin, "user", json!({"name": "alice"})).await;
    cloud.make(&admin, "group", json!({"name": "team"})).await;
    for n in 0..6 {
        cloud.make(&admin, "role", json!({"name": format!("r{n}")})).await;
    }
    for (actor, most) in [("users/alice", 5), ("groups/team", 3)] {
        for n in 0..6 {
            let answer = cloud.put(&admin, &format!("/v3/projects/demo/{actor}/roles/r{n}"), json!({})).await;
            if n < most {
                assert_eq!(answer.status, 200, "{actor} {n}");
            } else {
                assert_eq!(answer.refusal(), (400, "OutOfLimit"), "{actor} {n}");
            }
        }
    }
}

pub async fn role_assignments() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let demo = cloud.make(&admin, "project", json!({"name": "demo"})).await;
    let alice = cloud.member(&admin, "alice", "demo", "project_viewer").await;
    let bob = cloud.make(&admin, "user", json!({"name": "bob"})).await;
    let team = cloud.make(&admin, "group", json!({"name": "team"})).await;
    cloud.put(&admin, &format!("/v3/groups/{team}/users/{bob}"), json!({})).await.ok();
    cloud.put(&admin, &format!("/v3/groups/{team}/users/{alice}"), json!({})).await.ok();
    cloud.put(&admin, &format!("/v3/projects/{demo}/groups/{team}/roles/project_editor"), json!({})).await.ok();

    assert_eq!(rows(&cloud, &admin, "").await.len(), 2, "system accounts are hidden");
    assert_eq!(rows(&cloud, &admin, "include_system").await.len(), 4);
    let plain = rows(&cloud, &admin, &format!("user.id={alice}")).await;
    assert_eq!(plain.len(), 1);
    assert_eq!(plain[0]["user"], json!({"id": alice}));
    assert_eq!(plain[0]["scope"]["project"], json!({"id": demo}));
    let named = rows(&cloud, &admin, &format!("user.id={alice}&effective&include_names&include_policies")).await;
    assert_eq!(named.len(), 2, "its own and its group's");
    for row in &named {
        assert_eq!(row["user"], json!({"id": alice, "name": "alice", "domain": {"id": "default", "name": "Default"}}));
        assert_eq!(row["scope"]["project"]["name"], "demo");
    }
    let editor = named.iter().find(|r| r["role"]["name"] == "project_editor").expect("the group's");
    assert_eq!(editor["policies"]["project"], json!(["project-dashboard", "project-editor"]));
    let groups = rows(&cloud, &admin, "group.id=team&include_names").await;
    assert_eq!((groups.len(), &groups[0]["group"]["name"]), (1, &json!("team")));
    assert_eq!(rows(&cloud, &admin, "role.id=project_editor&effective").await.len(), 2);
    assert_eq!(rows(&cloud, &admin, "projects.0=demo&roles.0=project_viewer&roles.1=project_editor").await.len(), 2);
    assert_eq!(rows(&cloud, &admin, "scope.project.id=system").await.len(), 0);
    let page = cloud.get(&admin, "/v3/role_assignments?include_system&limit=3&offset=3").await.ok();
    assert_eq!((&page["total"], &page["limit"], &page["offset"]), (&json!(4), &json!(3), &json!(3)));
    assert_eq!(page["role_assignments"].as_array().map(Vec::len), Some(1));
    let guest = cloud.send("GET", "/v3/role_assignments", None, None, None).await;
    assert_eq!(guest.refusal(), (401, "UnauthorizedError"));

    // Others than administrators see what is theirs.
    cloud.member(&admin, "carol", "system", "project_viewer").await;
    let carol = cloud.token("carol", "carol@Pass1", None).await;
    let own = rows(&cloud, &carol, "include_names&effective").await;
    assert_eq!((own.len(), &own[0]["user"]["name"]), (1, &json!("carol")));
    let alice = cloud.token("alice", "alice@Pass1", Some("demo")).await;
    let mut seen: Vec<_> =
        rows(&cloud, &alice, "include_names&effective").await.iter().map(|r| r["scope"]["project"]["name"].clone()).collect();
    seen.dedup();
    assert_eq!(seen, [json!("demo")]);
}
