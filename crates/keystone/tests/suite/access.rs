//! The access explainer, what a denial says, and policies that reach only rows with certain tags.

use crate::kit::{Cloud, cloud, names};
use crate::replicas::{connect, until};
use base::{Caller, Role, Scope};
use resource::{Ask, Conditional, Gate};
use serde_json::{Value as Json, json};

impl Cloud {
    async fn can(&self, token: &str, question: Json) -> Json {
        self.post(token, "/v3/access/can", question).await.ok()["access"].take()
    }
}

/// Alice owns the project demo through the group devs; bob may look at it.
async fn office() -> (Cloud, String) {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "project", json!({"name": "demo"})).await;
    cloud.make(&admin, "group", json!({"name": "devs"})).await;
    cloud.make(&admin, "user", json!({"name": "alice", "password": "alice@Pass1"})).await;
    cloud.put(&admin, "/v3/groups/devs/users/alice", json!({})).await.ok();
    cloud.put(&admin, "/v3/projects/demo/groups/devs/roles/project_owner", json!({})).await.ok();
    cloud.member(&admin, "bob", "demo", "project_viewer").await;
    (cloud, admin)
}

pub async fn explained() {
    let (cloud, admin) = office().await;
    let about = |user: &str, permission: &str| json!({"user": user, "project": "demo", "permission": permission, "owner_project": "demo"});
    let yes = cloud.can(&admin, about("alice", "compute/servers/perform/start")).await;
    assert_eq!((&yes["allowed"], &yes["needs"], &yes["scope"]), (&json!(true), &json!("project"), &json!("project")), "{yes}");
    assert_eq!(yes["why"][0], "alice in the project demo may compute/servers/perform/start at scope project");
    let path = "user alice → group devs → role project_owner in demo → policy project-admin at scope project → rule */*/*: allow";
    assert_eq!(yes["why"][1], path);
    let no = cloud.can(&admin, about("bob", "compute/servers/perform/start")).await;
    assert_eq!((&no["allowed"], &no["scope"]), (&json!(false), &json!("none")), "{no}");
    assert_eq!(no["why"][0], "bob in the project demo may not compute/servers/perform/start at scope project");
    let why = no["why"].to_string();
    assert!(why.contains("user bob → role project_viewer in demo → policy project-viewer at scope project → rule */*/*: deny"), "{why}");
    // What he may, he may in his project only.
    assert_eq!(cloud.can(&admin, about("bob", "compute/servers/get")).await["allowed"], true);
    let elsewhere = json!({"user": "bob", "project": "demo", "permission": "compute/servers/get", "owner_project": "system"});
    let elsewhere = cloud.can(&admin, elsewhere).await;
    assert_eq!((&elsewhere["allowed"], &elsewhere["needs"]), (&json!(false), &json!("domain")));
    // On a row of this service the engine itself is asked.
    let row = |user: &str, action: &str, on: &str| json!({"user": user, "project": "demo", "permission": format!("identity/projects/{action}"), "on": on});
    assert_eq!(cloud.can(&admin, row("alice", "update", "demo")).await["allowed"], true);
    assert_eq!(cloud.can(&admin, row("bob", "update", "demo")).await["allowed"], false);
    let unseen = cloud.can(&admin, row("bob", "get", "system")).await;
    assert_eq!((&unseen["allowed"], &unseen["seen"]), (&json!(false), &json!(false)));

    let who = |permission: &str| json!({"permission": permission, "owner_project": "demo"});
    let told = cloud.post(&admin, "/v3/access/who-can", who("compute/servers/delete")).await.ok();
    let holders = told["access"]["holders"].as_array().expect("a list").clone();
    let alice = holders.iter().find(|h| h["user"]["name"] == "alice").expect("alice may");
    assert_eq!((&alice["group"], &alice["role"], &alice["in"]["name"]), (&json!("devs"), &json!("project_owner"), &json!("demo")));
    assert!(holders.iter().any(|h| h["user"]["name"] == "sysadmin" && h["scope"] == "system"), "{told}");
    assert!(!holders.iter().any(|h| h["user"]["name"] == "bob"), "{told}");
    let told = cloud.post(&admin, "/v3/access/who-can", who("compute/servers/list")).await.ok();
    assert!(told["access"]["holders"].as_array().is_some_and(|h| h.iter().any(|h| h["user"]["name"] == "bob")), "{told}");

    // About oneself everybody may ask; about others, and who may what, an overview takes.
    let bob = cloud.token("bob", "bob@Pass1", Some("demo")).await;
    assert_eq!(cloud.can(&bob, json!({"permission": "compute/servers/list"})).await["allowed"], true);
    for (path, question) in [("can", about("alice", "compute/servers/list")), ("who-can", who("compute/servers/list"))] {
        let refused = cloud.post(&bob, &format!("/v3/access/{path}"), question).await;
        assert_eq!(refused.refusal(), (403, "ForbiddenError"), "{path}");
    }
    assert_eq!(cloud.send("POST", "/v3/access/can", None, None, Some(json!({"permission": "a/b/c"}))).await.status, 401);
    assert_eq!(cloud.post(&admin, "/v3/access/can", json!({"permission": "servers"})).await.status, 400);
    assert_eq!(cloud.post(&admin, "/v3/access/can", json!({"permission": "compute/servers/get", "on": "x"})).await.status, 400);
}

pub async fn denials_name_what_is_missing() {
    let (cloud, admin) = office().await;
    let bob = cloud.token("bob", "bob@Pass1", Some("demo")).await;
    let refused = cloud.put(&bob, "/v3/projects/demo", json!({"project": {"description": "x"}})).await;
    assert_eq!(refused.refusal(), (403, "ForbiddenError"));
    let fields = refused.body["data"]["fields"].as_array().expect("fields").clone();
    assert_eq!((&fields[0], &fields[1]), (&json!("identity/projects/update"), &json!("project")));
    assert_eq!(fields[2], refused.body["request_id"], "{}", refused.body);
    // The very words of the denial are a question.
    let question = json!({"user": "bob", "project": "demo", "permission": fields[0], "on": "demo"});
    let told = cloud.can(&admin, question).await;
    assert_eq!((&told["allowed"], &told["needs"]), (&json!(false), &json!("project")), "{told}");
}

pub async fn conditions_on_tags() {
    let (cloud, admin) = office().await;
    for (name, env) in [("blue", "dev"), ("red", "prod")] {
        cloud.make(&admin, "project", json!({"name": name, "__meta__": {"user:env": env}})).await;
    }
    let rights = json!({"policy": {"identity": {"projects": {"list": "allow", "get": "allow", "update": "allow", "create": "allow"}}}});
    let tags = json!([{"key": "user:env", "value": "dev"}]);
    cloud.make(&admin, "policy", json!({"name": "dev-only", "scope": "domain", "blob": rights, "object_tags": tags})).await;
    cloud.make(&admin, "role", json!({"name": "devkeeper"})).await;
    cloud.post(&admin, "/v3/roles/devkeeper/add-policy", json!({"role": {"policy_id": "dev-only"}})).await.ok();
    cloud.member(&admin, "kim", "demo", "devkeeper").await;
    let kim = cloud.token("kim", "kim@Pass1", Some("demo")).await;
    // The built-in rule about one's own projects besides.
    assert_eq!(names(&cloud.get(&kim, "/v3/projects?scope=max").await.ok(), "projects"), ["blue", "demo"]);
    assert_eq!(names(&cloud.get(&kim, "/v3/projects?scope=domain").await.ok(), "projects"), ["blue", "demo"]);
    assert_eq!(cloud.get(&kim, "/v3/projects?scope=system").await.status, 403);
    assert_eq!(cloud.get(&kim, "/v3/projects/blue").await.status, 200);
    assert_eq!(cloud.get(&kim, "/v3/projects/red").await.refusal(), (404, "ResourceNotFoundError"));
    cloud.put(&kim, "/v3/projects/blue", json!({"project": {"description": "x"}})).await.ok();
    let own = cloud.put(&kim, "/v3/projects/demo", json!({"project": {"description": "x"}})).await;
    assert_eq!(own.refusal(), (403, "ForbiddenError"), "seen, but without the tag");
    assert_eq!(cloud.delete(&kim, "/v3/projects/blue").await.status, 403, "not among the rights");
    let told = cloud.can(&admin, json!({"user": "kim", "project": "demo", "permission": "identity/projects/update", "on": "blue"})).await;
    assert_eq!((&told["allowed"], &told["scope"], &told["conditional_scope"]), (&json!(true), &json!("none"), &json!("domain")), "{told}");
    assert!(told["why"][1].as_str().is_some_and(|w| w.ends_with(", only for rows with user:env=dev")), "{told}");
    // What is made under the condition is born with its tag; another value contradicts it.
    let green = cloud.post(&kim, "/v3/projects", json!({"project": {"name": "green"}})).await.ok();
    assert_eq!(green["project"]["metadata"]["user:env"], "dev");
    for meta in [json!({"user:env": "prod"}), json!({"user:env": Json::Null})] {
        let other = cloud.post(&kim, "/v3/projects", json!({"project": {"name": "grey", "__meta__": meta}})).await;
        assert_eq!(other.refusal(), (403, "ForbiddenError"));
    }
    let odd = cloud.post(&kim, "/v3/projects", json!({"project": {"name": "odd", "__meta__": "x"}})).await.ok();
    assert_eq!(odd["project"]["metadata"]["user:env"], "dev", "whatever stands in the place of the tags");
    // Without the tag it is out of reach at once.
    cloud.post(&admin, "/v3/projects/blue/user-metadata", json!({"project": {"env": "prod"}})).await.ok();
    assert_eq!(cloud.get(&kim, "/v3/projects/blue").await.status, 404);
    // A condition grants nothing that is about no single row.
    cloud
        .make(&admin, "policy", json!({"name": "all-tagged", "scope": "system", "blob": {"policy": {"*": "allow"}}, "object_tags": tags}))
        .await;
    cloud.post(&admin, "/v3/roles/devkeeper/add-policy", json!({"role": {"policy_id": "all-tagged"}})).await.ok();
    assert_eq!(cloud.get(&kim, "/v3/usages?scope=system").await.status, 403);
    assert_eq!(cloud.get(&kim, "/v3/auth/bindings").await.status, 403);
    assert_eq!(names(&cloud.get(&kim, "/v3/role_assignments?include_names").await.ok(), "role_assignments").len(), 0);
    let mine = json!({"policy": {"name": "mine", "scope": "system", "blob": {"policy": {"*": "allow"}}}});
    assert_eq!(cloud.post(&kim, "/v3/policies", mine).await.status, 403, "nobody makes an allow without the condition of it");
}

pub async fn conditions_in_another_process() {
    let (cloud, admin) = office().await;
    let demo = cloud.get(&admin, "/v3/projects/demo").await.ok()["project"]["id"].as_str().expect("an id").to_string();
    let rights = json!({"policy": {"compute": "allow"}});
    let tags = json!([{"key": "user:tier", "value": "gold"}]);
    cloud.make(&admin, "policy", json!({"name": "gold-only", "scope": "system", "blob": rights, "project_tags": tags})).await;
    let role = cloud.make(&admin, "role", json!({"name": "goldsmith"})).await;
    cloud.post(&admin, "/v3/roles/goldsmith/add-policy", json!({"role": {"policy_id": "gold-only"}})).await.ok();
    let remote = connect(&cloud).await;
    let process = service::Process::new(&telemetry::Metrics::default(), std::time::Duration::from_secs(5));
    remote.work(&process);
    let caller = Caller { user_id: "u".into(), roles: vec![Role { id: role, name: "goldsmith".into() }], ..Caller::default() };
    let ask = Ask { service: "compute", resource: "servers", action: "list", extra: &[] };
    let (near, far) = (&cloud.keystone.gate, remote.gate());
    let want = |ids: Vec<String>| vec![Conditional { scope: Scope::System, tags: vec![], projects: Some(ids), domains: None }];
    assert_eq!(near.conditional(&caller, None, &ask), want(vec![]));
    assert_eq!(far.conditional(&caller, None, &ask), want(vec![]));
    cloud.post(&admin, "/v3/projects/demo/user-metadata", json!({"project": {"tier": "gold"}})).await.ok();
    assert_eq!(near.conditional(&caller, None, &ask), want(vec![demo.clone()]));
    until("the tag", async || far.conditional(&caller, None, &ask) == want(vec![demo.clone()])).await;
    assert_eq!((near.widest(&caller, None, &ask), far.widest(&caller, None, &ask)), (Scope::None, Scope::None));
    process.stop();
}
