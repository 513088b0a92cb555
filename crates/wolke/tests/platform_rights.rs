//! A walk over every path of the compute and the image service, with real tokens of the identity service in the same process: without a token,
//! from a foreign project, with a viewer's, an owner's and a domain administrator's role. Each answer must be what the explainer says.
//! (The identity service has its own walk.)

mod lab;

use api_compute::{GuestDisk, GuestNetwork, HostStorage, NetInterface};
use base::Resource;
use http::{Client, ClientOptions, Method};
use lab::{PATIENCE, Platform};
use serde_json::{Value as Json, json};
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    time::{Duration, Instant},
};
use store::{Cond, Read};

const PASSWORD: &str = "Walker@Pass1";
/// Of a request and its whole answer.
const LONGEST: Duration = Duration::from_secs(60);
/// Prefix of the service's paths, name in permissions, document.
const SERVICES: [(&str, &str); 2] = [("/compute", "compute"), ("/image/v1", "image")];

struct Actor {
    role: &'static str,
    user: String,
    project: String,
    token: String,
}

/// Something that requests are about.
#[derive(Clone)]
struct Object {
    id: String,
    of: Whose,
    /// Shared with everybody.
    public: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Whose {
    Project(String),
    Domain(String),
    User(String),
    /// The platform's.
    Nobody,
}

struct Reply {
    status: u16,
    body: Json,
}

struct Walk {
    platform: Platform,
    client: Client,
    admin: String,
    /// Domain and project of the objects.
    acme: String,
    hq: String,
    owner: Option<(String, String)>,
    objects: BTreeMap<String, Object>,
    made: usize,
    told: HashMap<(usize, String, Option<Whose>), Json>,
}

impl Walk {
    async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Json>) -> Reply {
        let verb: Method = method.parse().expect("a method");
        let mut call = self.client.call(verb, &format!("{}{path}", self.platform.url()));
        if let Some(token) = token {
            call = call.token(token);
        }
        if let Some(body) = body {
            call = call.json(body);
        }
        let whole = async {
            let answer = call.send_any().await?;
            let status = answer.status;
            let bytes = answer.bytes(1 << 26).await?;
            base::Result::Ok(Reply { status, body: serde_json::from_slice(&bytes).unwrap_or(Json::Null) })
        };
        // No path waits for anything but itself: an answer that does not end within that time has hung.
        match tokio::time::timeout(LONGEST, whole).await {
            Ok(answer) => answer.unwrap_or_else(|e: base::Error| panic!("{method} {path}: {e}")),
            Err(_) => panic!("{method} {path} is not answered within {LONGEST:?}"),
        }
    }

    async fn admin(&self, method: &str, path: &str, body: Json) -> Json {
        let body = (method != "GET").then_some(body);
        let answer = self.ask(method, path, Some(&self.admin), body.as_ref()).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        answer.body
    }

    async fn log_in(&self, user: &str, password: &str, project: &str) -> String {
        let body = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": user, "password": password}}},
            "scope": {"project": {"id": project}}}});
        let url = format!("{}/identity/v3/auth/tokens", self.platform.url());
        let answer = self.client.post(&url).json(&body).send().await.expect("a token");
        answer.header("x-subject-token").expect("a token").to_string()
    }

    /// The first row of a list of the administrator's, at best one of the project.
    async fn listed(&self, prefix: &str, resource: &str) -> Option<Object> {
        let list = self.admin("GET", &format!("{prefix}/{resource}?scope=system&limit=200&details=true"), Json::Null).await;
        let rows = list[resource].as_array()?;
        let text = |row: &Json, key: &str| row[key].as_str().unwrap_or_default().to_string();
        let server = self.objects.get("servers").map_or("", |s| s.id.as_str());
        let ours = rows.iter().find(|r| text(r, "tenant_id") == self.hq || (!server.is_empty() && text(r, "guest_id") == server));
        if matches!(resource, "guestdisks" | "guestnetworks") && ours.is_none() {
            return None;
        }
        let row = ours.or_else(|| rows.first())?;
        let id = match (&row["id"], &row["row_id"]) {
            (Json::String(id), _) => id.clone(),
            // Ties hide their key; nobody is told it, and it must open nothing all the same.
            (Json::Null, number) => {
                let cond = Cond::eq("row_id", number.as_i64().expect("the number of a tie"));
                let keys: Vec<String> =
                    self.platform.rows().await.texts(resource_table(resource), "id", cond).await.expect("the key of a tie");
                keys.into_iter().next()?
            }
            (id, _) => id.to_string(),
        };
        let of = match (text(row, "tenant_id"), text(row, "domain_id")) {
            // Parts of the server are whose the server is.
            _ if matches!(resource, "guestdisks" | "guestnetworks" | "sub_images" | "reservedips") => Whose::Project(self.hq.clone()),
            // Parts of a host are seen by whoever sees the host, which is shared with everybody.
            _ if matches!(resource, "hoststorages" | "netinterfaces") => Whose::Nobody,
            // A record is its object's owner's, not of who did it.
            _ if resource == "events" => match (text(row, "owner_tenant_id"), text(row, "owner_domain_id")) {
                (project, _) if !project.is_empty() => Whose::Project(project),
                (_, domain) if !domain.is_empty() => Whose::Domain(domain),
                _ => Whose::Nobody,
            },
            (project, _) if !project.is_empty() => Whose::Project(project),
            (_, domain) if !domain.is_empty() => Whose::Domain(domain),
            _ => Whose::Nobody,
        };
        Some(Object { id, of, public: row["is_public"] == true })
    }

    /// Something nobody needs.
    async fn object(&mut self, prefix: &str, resource: &str) -> Option<Object> {
        if let Some(object) = self.objects.get(resource) {
            return Some(object.clone());
        }
        self.made += 1;
        let name = format!("walk{}", self.made);
        let token = self.admin.clone();
        let (body, token) = match resource {
            "servers" => (
                json!({"server": {"name": name, "project_id": self.hq, "vcpu_count": 1, "vmem_size": 64, "disks": ["1g"], "auto_start": false,
                "nets": ["default"], "disable_delete": false}}),
                token,
            ),
            "keypairs" => (json!({"keypair": {"name": name}}), self.owner.clone().expect("an owner").1),
            "disks" => {
                let storage = self.listed(prefix, "storages").await?.id;
                (
                    json!({"disk": {"name": name, "project_id": self.hq, "disk_size": 1024, "storage_id": storage, "disable_delete": false}}),
                    token,
                )
            }
            "networks" => {
                let wire = self.listed(prefix, "wires").await?.id;
                let third = self.made % 250;
                (
                    json!({"network": {"name": name, "project_id": self.hq, "wire_id": wire, "guest_ip_start": format!("10.77.{third}.10"),
                "guest_ip_end": format!("10.77.{third}.20"), "guest_ip_mask": 24, "disable_delete": false, "is_public": false}}),
                    token,
                )
            }
            "serverskus" => (json!({"serversku": {"name": name, "cpu_core_count": 1, "memory_size_mb": 512}}), token),
            "quotas" if self.listed(prefix, resource).await.is_none() => (json!({"quota": {"project_id": self.hq, "count": 1000}}), token),
            "reservedips" => {
                let network = Box::pin(self.object(prefix, "networks")).await?;
                let shown = self.admin("GET", &format!("{prefix}/networks/{}", network.id), Json::Null).await;
                let body = json!({"network": {"ips": [shown["network"]["guest_ip_start"]]}});
                self.admin("POST", &format!("{prefix}/networks/{}/reserve-ip", network.id), body).await;
                let object = self.listed(prefix, resource).await?;
                self.objects.insert(resource.into(), object.clone());
                return Some(object);
            }
            "images" => {
                let image = self.platform.dir.path().join("blob.raw");
                self.platform.upload(&name, "raw", &image);
                self.admin("POST", &format!("{prefix}/images/{name}/change-owner"), json!({"image": {"project_id": self.hq}})).await;
                self.admin("PUT", &format!("{prefix}/images/{name}"), json!({"image": {"disable_delete": false}})).await;
                let shown = self.admin("GET", &format!("{prefix}/images?scope=system&name={name}"), Json::Null).await;
                let id = shown["images"][0]["id"].as_str()?.to_string();
                let object = Object { id, of: Whose::Project(self.hq.clone()), public: false };
                self.objects.insert(resource.into(), object.clone());
                return Some(object);
            }
            "guestdisks" | "guestnetworks" => {
                // They are there when the server has been placed.
                Box::pin(self.object(prefix, "servers")).await?;
                let started = Instant::now();
                loop {
                    if let Some(object) = self.listed(prefix, resource).await {
                        self.objects.insert(resource.into(), object.clone());
                        return Some(object);
                    }
                    assert!(started.elapsed() < PATIENCE, "a server without {resource}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            _ => {
                let object = self.listed(prefix, resource).await?;
                self.objects.insert(resource.into(), object.clone());
                return Some(object);
            }
        };
        let kind = body.as_object()?.keys().next()?.clone();
        let made = self.ask("POST", &format!("{prefix}/{resource}"), Some(&token), Some(&body)).await;
        assert!(made.status < 300, "{resource}: {} {}", made.status, made.body);
        let id = made.body[&kind]["id"].as_str().expect("an id").to_string();
        let of = match resource {
            "keypairs" => Whose::User(self.owner.clone()?.0),
            "serverskus" => Whose::Nobody,
            _ => Whose::Project(self.hq.clone()),
        };
        let object = Object { id, of, public: false };
        self.objects.insert(resource.into(), object.clone());
        Some(object)
    }

    /// What the explainer says of an actor and a permission, on something of that owner.
    async fn can(&mut self, at: usize, actor: &Actor, permission: &str, of: Option<&Whose>) -> Json {
        let key = (at, permission.to_string(), of.cloned());
        if let Some(told) = self.told.get(&key) {
            return told.clone();
        }
        let mut question = json!({"user": actor.user, "project": actor.project, "permission": permission});
        match of {
            Some(Whose::Project(project)) => question["owner_project"] = json!(project),
            Some(Whose::Domain(domain)) => question["owner_domain"] = json!(domain),
            Some(Whose::User(_) | Whose::Nobody) | None => {}
        }
        let mut told = self.admin("POST", "/identity/v3/access/can", question).await["access"].take();
        // Of what belongs to a user or to nobody the explainer tells the scope alone.
        match of {
            Some(Whose::Nobody) => told["allowed"] = json!(told["scope"] == "system"),
            Some(Whose::User(user)) => {
                let own = told["scope"] != "none" && *user == actor.user;
                told["allowed"] = json!(own || told["scope"] == "system");
            }
            _ => {}
        }
        self.told.insert(key, told.clone());
        told
    }
}

/// Where the ties of a kind lie.
fn resource_table(resource: &str) -> &'static str {
    match resource {
        "guestdisks" => GuestDisk::facts().table,
        "guestnetworks" => GuestNetwork::facts().table,
        "netinterfaces" => NetInterface::facts().table,
        "hoststorages" => HostStorage::facts().table,
        other => panic!("{other} have no key: teach the walk where they lie"),
    }
}

/// Every request of a document with the words of its permission.
fn requests(document: &Json) -> Vec<(String, &'static str, String, Vec<String>)> {
    let mut out = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        for method in ["get", "post", "put", "patch", "delete", "head"] {
            // Routes beside the resources decide by themselves whom they answer.
            if item.get(method).is_none_or(|operation| operation["x-by-hand"] == true) {
                continue;
            }
            let words: Vec<&str> = match (&parts[1..], method) {
                ([], "get") => vec!["list"],
                ([], "post") => vec!["create"],
                (["{id}"], "get" | "head") => vec!["get"],
                (["{id}"], "put" | "patch") => vec!["update"],
                (["{id}"], "delete") => vec!["delete"],
                (["{id}", word], "get") => vec!["get", word],
                (["{id}", word], "post") => vec!["perform", word],
                _ => panic!("{method} {path} is no path this walk knows: teach it"),
            };
            let words = words.into_iter().map(str::to_string).collect();
            let method = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"].into_iter().find(|m| m.eq_ignore_ascii_case(method));
            out.push((parts[0].to_string(), method.expect("a method"), path.clone(), words));
        }
    }
    out
}

fn document(service: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/openapi/{service}.json"));
    serde_json::from_slice(&std::fs::read(path).expect("the document of the service")).expect("JSON")
}

/// Rules beyond the policies, which narrow what these allow: sharing with everybody, a status by hand and forgetting a server without asking its
/// host take the whole platform, and whoever has a quota does not move it.
fn narrower(resource: &str, words: &[String]) -> bool {
    resource == "quotas" || matches!(words.get(1).map(String::as_str), Some("public" | "status" | "purge"))
}

async fn world() -> (Walk, Vec<Actor>) {
    let platform = Platform::start(&["--no-host"], true).await;
    std::fs::write(platform.dir.path().join("blob.raw"), vec![7; 1 << 16]).expect("a file");
    let client = Client::new(ClientOptions { retries: 0, ..ClientOptions::default() }).expect("a client");
    let administrator = sim::Administrator::new(client.clone(), &format!("{}/compute", platform.url()), platform.data().join("admin.json"));
    let admin = administrator.session().await.expect("a token").to_string();
    let mut walk = Walk {
        platform,
        client,
        admin,
        acme: String::new(),
        hq: String::new(),
        owner: None,
        objects: BTreeMap::new(),
        made: 0,
        told: HashMap::new(),
    };
    let made = async |walk: &Walk, kind: &str, body: Json| -> String {
        let made = walk.admin("POST", &format!("/identity/v3/{kind}s"), json!({ kind: body })).await;
        made[kind]["id"].as_str().expect("an id").to_string()
    };
    walk.acme = made(&walk, "domain", json!({"name": "acme"})).await;
    walk.hq = made(&walk, "project", json!({"name": "hq", "domain_id": walk.acme})).await;
    let other = made(&walk, "project", json!({"name": "other"})).await;
    let mut actors = Vec::new();
    for (role, project, domain) in [
        ("project_viewer", &other, "default"),
        ("project_owner", &other, "default"),
        ("project_viewer", &walk.hq, &*walk.acme),
        ("project_owner", &walk.hq, &*walk.acme),
        ("domainadmin", &walk.hq, &*walk.acme),
    ] {
        let name = format!("u{}", actors.len());
        let user = made(&walk, "user", json!({"name": name, "password": PASSWORD, "domain_id": domain})).await;
        walk.admin("PUT", &format!("/identity/v3/projects/{project}/users/{user}/roles/{role}"), json!({})).await;
        let token = walk.log_in(&user, PASSWORD, project).await;
        actors.push(Actor { role, user, project: project.clone(), token });
    }
    walk.owner = Some((actors[3].user.clone(), actors[3].token.clone()));
    (walk, actors)
}

/// Of a host that is there and a server that was made; nothing is told that docs/metrics.md does not explain.
async fn metrics_tell_of_it(walk: &Walk) {
    let answer = walk.client.get(&format!("{}/metrics", walk.platform.url())).send().await.expect("metrics");
    let text = String::from_utf8(answer.bytes(1 << 20).await.expect("all of them").to_vec()).expect("text");
    let explained = include_str!("../../../docs/metrics.md");
    let names: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# HELP ")?.split(' ').next()).collect();
    let strange: Vec<&&str> = names.iter().filter(|name| !explained.contains(&format!("`{name}`"))).collect();
    assert!(names.len() > 20 && strange.is_empty(), "not in docs/metrics.md: {strange:?}\n{text}");
    let of = |line: &str| text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse::<f64>().ok()).unwrap_or_default();
    for line in [
        "wolke_hosts{state=\"online\"}",
        "wolke_host_memory_taken_bytes",
        "wolke_placements_total{outcome=\"placed\"}",
        "wolke_task_ended_total{task=\"ServerCreateTask\",outcome=\"complete\"}",
        "wolke_logins_total{outcome=\"login\"}",
        "process_resident_memory_bytes",
    ] {
        assert!(of(line) >= 1.0, "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn platform_every_path_answers_as_the_explainer_says() {
    let (mut walk, actors) = world().await;
    let (region, admin) = (format!("{}/compute", walk.platform.url()), walk.platform.data().join("admin.json"));
    let state = walk.platform.dir.path().join("sim");
    let path = |p: &Path| p.to_str().expect("a path").to_string();
    let _hosts =
        walk.platform.start_example("hosts", &["--region", &region, "--admin", &path(&admin), "--state", &path(&state), "--count", "1"]);
    // A server with its parts.
    let started = Instant::now();
    loop {
        if walk.listed("/compute", "storages").await.is_some() {
            let server = walk.object("/compute", "servers").await.expect("a server");
            let shown = walk.admin("GET", &format!("/compute/servers/{}", server.id), Json::Null).await;
            if shown["server"]["status"] == "ready" {
                break;
            }
            if shown["server"]["status"].as_str().is_some_and(|s| s.ends_with("fail")) {
                // The host was not there yet.
                walk.objects.clear();
            }
        }
        assert!(started.elapsed() < PATIENCE, "no server: {}", walk.platform.log("up.log"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    metrics_tell_of_it(&walk).await;
    let (mut asked, mut refused, mut wrong, mut without) = (0, 0, Vec::new(), Vec::new());
    for (prefix, service) in SERVICES {
        // Each service has its own records.
        walk.objects.remove("events");
        for (resource, method, pattern, words) in requests(&document(service)) {
            let permission = format!("{service}/{resource}/{}", words.join("/"));
            let about_row = pattern.contains("{id}");
            let found = walk.object(prefix, &resource).await;
            if found.is_none() && !without.contains(&resource) {
                without.push(resource.clone());
            }
            let body = (!matches!(method, "GET" | "HEAD")).then(|| json!({}));
            let at =
                |object: &Option<Object>| format!("{prefix}{}", pattern.replace("{id}", object.as_ref().map_or("none", |o| o.id.as_str())));
            for token in [None, Some("rubbish")] {
                let answer = walk.ask(method, &at(&found), token, body.as_ref()).await;
                asked += 1;
                // A guest is decided by policy, as clients of such platforms expect; some paths are for accounts only.
                if !matches!(
                    (answer.status, answer.body["class"].as_str()),
                    (403, Some("ForbiddenError")) | (401, Some("UnauthorizedError"))
                ) {
                    wrong.push(format!("{method} {} without a token: {} {}", at(&found), answer.status, answer.body));
                }
            }
            for (i, actor) in actors.iter().enumerate() {
                let Some(object) = walk.object(prefix, &resource).await else { continue };
                let of = about_row.then_some(&object.of);
                let told = walk.can(i, actor, &permission, of).await;
                let look = walk.can(i, actor, &format!("{service}/{resource}/get"), of).await;
                // What has no owner, and what is shared, is seen by whoever may look at such things at all.
                let common = object.public || object.of == Whose::Nobody;
                let seen = look["allowed"] == true || (common && look["scope"] != "none");
                let want = if about_row && !seen {
                    if look["scope"] == "none" { 403 } else { 404 }
                } else if words == ["get"] || told["allowed"] == true {
                    200
                } else {
                    403
                };
                let answer = walk.ask(method, &at(&Some(object)), Some(&actor.token), body.as_ref()).await;
                asked += 1;
                let fits = match want {
                    200 if narrower(&resource, &words) => answer.status != 401,
                    200 => !matches!(answer.status, 401 | 403) && (answer.status != 404 || !about_row),
                    // Who may do it to nothing at all is told so, before anything is looked for.
                    404 => answer.status == 404 || (answer.status == 403 && told["scope"] == "none"),
                    code => answer.status == code,
                };
                let details = answer.body["details"].as_str().unwrap_or_default();
                // A refusal says what is missing and by which number to ask about it.
                let mut helpful = true;
                if answer.status == 403 {
                    refused += 1;
                    let number = answer.body["request_id"].as_str().unwrap_or("?");
                    helpful = details.contains(&format!("{service}/{resource}/")) && details.contains(number);
                }
                if !fits || !helpful {
                    wrong.push(format!(
                        "{} of {} {method} {pattern} [{permission}]: {} instead of {want}: {details} | {told}",
                        actor.role, actor.project, answer.status
                    ));
                }
                if method != "GET" && answer.status < 300 {
                    walk.objects.remove(&resource);
                    // What was taken off a server is there no more: the next one comes with another server.
                    if method == "DELETE" && matches!(resource.as_str(), "guestdisks" | "guestnetworks") {
                        walk.objects.remove("servers");
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {asked}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(asked > 1500 && refused > 300, "{asked} asked, {refused} refused");
    assert!(without.is_empty() || without == ["archivedtasks"], "nothing to ask about: {without:?}");
}
