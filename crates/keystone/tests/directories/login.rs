//! Who gets in by the directory's word, and who does not.

use super::{corp, ldap, login, shown, sync, user, with};
use crate::kit::{ADMIN_PASSWORD, Cloud, cloud};
use crate::slapd::{SUFFIX, Slapd, person};
use crate::ways::{Way, alike};
use base::Json;
use serde_json::json;

pub async fn who_gets_in() {
    // A name made of what filters are made of, beside one that it would match.
    let mut server = Slapd::start(&(person("ann", "") + &person("an*", "") + &person("a)(uid=*", "") + &person("bob", "")));
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, ldap(&server)).await;
    assert_eq!(sync(&cloud, &admin, &id).await["users"]["created"]["count"], 4);
    for name in ["ann", "an*", "a)(uid=*", "bob"] {
        let token = login(&cloud, name, &format!("{name}@Pass1"), None).await;
        assert_eq!(token.status, 200, "{name}: {}", token.body);
        assert_eq!(token.body["token"]["user"]["name"], name);
    }
    // Nobody's pattern opens somebody else's account.
    for (name, password) in [
        ("an*", "ann@Pass1"),
        ("a)(uid=*", "ann@Pass1"),
        ("*", "ann@Pass1"),
        ("ann", ""),
        ("ann", "wrong"),
        ("ann)(cn=*", "ann@Pass1"),
        ("nobody", "x"),
    ] {
        let refused = login(&cloud, name, password, None).await;
        assert_eq!(refused.refusal(), (401, "WrongPassword"), "{name}: {}", refused.body);
        // Written down with the name as it was typed, not with one that it would match.
        let list = cloud.get(&admin, "/v3/events?scope=system&action=login_fail&limit=1").await.ok();
        assert_eq!((&list["events"][0]["obj_name"], &list["events"][0]["ip"]), (&json!(name), &json!("127.0.0.1")), "{list}");
    }
    // Disabled there since the last synchronisation: the directory's word counts at once, for whoever knows the password.
    server.modify(&format!("dn: uid=bob,ou=people,{SUFFIX}\nchangetype: modify\nreplace: employeeType\nemployeeType: TRUE\n\n"));
    assert_eq!(login(&cloud, "bob", "bob@Pass1", None).await.refusal(), (423, "UserDisabled"));
    assert_eq!(login(&cloud, "bob", "wrong", None).await.refusal(), (401, "WrongPassword"));
    // Gone there.
    server.modify(&format!("dn: uid=bob,ou=people,{SUFFIX}\nchangetype: delete\n\n"));
    assert_eq!(login(&cloud, "bob", "bob@Pass1", None).await.refusal(), (401, "WrongPassword"));
    // Disabled here.
    let ann = user(&cloud, &admin, "ann").await["id"].as_str().expect("ann").to_string();
    cloud.post(&admin, &format!("/v3/users/{ann}/disable"), json!({})).await.ok();
    assert_eq!(login(&cloud, "ann", "ann@Pass1", None).await.status, 423);
    cloud.post(&admin, &format!("/v3/users/{ann}/enable"), json!({})).await.ok();
    // A password here would be a second one beside the directory's.
    let set = cloud.put(&admin, &format!("/v3/users/{ann}"), json!({"user": {"password": "Other@Pass1"}})).await;
    assert_eq!(set.status, 406, "{}", set.body);
    assert_eq!(login(&cloud, "ann", "Other@Pass1", None).await.status, 401);
    login(&cloud, "ann", "ann@Pass1", None).await.ok();
    // The whole provider off.
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/disable"), json!({})).await.ok();
    let off = login(&cloud, "ann", "ann@Pass1", None).await;
    assert!(off.status == 423 && off.body["details"].as_str().is_some_and(|d| d.contains("corp")), "{}", off.body);
    server.down();
}

pub async fn tls() {
    let server = Slapd::start(&person("ann", ""));
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let secure = |host: &str| json!({"url": format!("ldaps://{host}:{}", server.tls)});
    let refused = |answer: crate::kit::Answer| {
        let told = answer.body["details"].as_str().unwrap_or_default().to_string();
        assert!(answer.status == 502 && told.contains("certificate"), "{}", answer.body);
    };
    let make = |config| super::body("corp", config);
    // Not of a known authority; of it, and for another host.
    refused(cloud.post(&admin, "/v3/identity_providers", make(with(ldap(&server), secure("127.0.0.1")))).await);
    refused(cloud.post(&admin, "/v3/identity_providers", make(with(ldap(&server), json!({"start_tls": true})))).await);
    let trusting = with(ldap(&server), json!({"ca_certificate": server.ca}));
    refused(cloud.post(&admin, "/v3/identity_providers", make(with(trusting.clone(), secure("localhost")))).await);

    let odd = with(trusting.clone(), json!({"url": server.url(), "start_tls": true, "ca_certificate": "not PEM"}));
    let refused = cloud.post(&admin, "/v3/identity_providers", make(odd)).await;
    assert!(refused.status == 400 && refused.body["details"].as_str().is_some_and(|d| d.contains("ca_certificate")), "{}", refused.body);

    let id = corp(&cloud, &admin, with(trusting, secure("127.0.0.1"))).await;
    assert_eq!(sync(&cloud, &admin, &id).await["users"]["created"]["names"], json!(["ann"]));
    login(&cloud, "ann", "ann@Pass1", None).await.ok();
    let over = json!({"config": {"ldap": {"url": server.url(), "start_tls": true}}});
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/config"), over).await.ok();
    login(&cloud, "ann", "ann@Pass1", None).await.ok();
    assert_eq!(login(&cloud, "ann", "wrong", None).await.status, 401);
    assert_eq!(sync(&cloud, &admin, &id).await["users"]["unchanged"], 1);
}

pub async fn the_directory_is_down() {
    let mut server = Slapd::start(&(person("ann", "") + &person("bob", "")));
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, ldap(&server)).await;
    sync(&cloud, &admin, &id).await;
    server.down();
    // Who it is about is told why; everybody else does not notice.
    let refused = login(&cloud, "ann", "ann@Pass1", None).await;
    assert_eq!(refused.refusal(), (502, "BadGateway"));
    assert!(
        refused.body["details"].as_str().is_some_and(|d| d.contains("corp") && d.contains("users of the platform")),
        "{}",
        refused.body
    );
    cloud.token("sysadmin", ADMIN_PASSWORD, Some("system")).await;
    // An unanswered question is no empty answer.
    let failed = cloud.post(&admin, &format!("/v3/identity_providers/{id}/sync"), json!({})).await;
    assert_eq!(failed.status, 502, "{}", failed.body);
    let row = shown(&cloud, &admin, &id).await;
    assert_eq!(
        (&row["status"], &row["error_count"], &row["sync_status"], &row["user_count"]),
        (&json!("disconnected"), &json!(1), &json!("idle"), &json!(2))
    );
    assert!(row["last_error"].as_str().is_some_and(|e| e.contains("cannot be reached")), "{row}");
    assert_eq!(user(&cloud, &admin, "ann").await["enabled"], true);
    server.up();
    login(&cloud, "ann", "ann@Pass1", None).await.ok();
    sync(&cloud, &admin, &id).await;
    let row = shown(&cloud, &admin, &id).await;
    assert_eq!((&row["status"], &row["error_count"], &row["last_error"]), (&json!("connected"), &json!(0), &Json::Null));
}

/// With hashes as in use, where nobody is slowed down or locked for guessing.
async fn guessed_at() -> Cloud {
    let strong = keystone::Config::default();
    let config = keystone::Config {
        password_hash_memory_kib: strong.password_hash_memory_kib,
        password_hash_passes: strong.password_hash_passes,
        login_failures_per_second: 0.0,
        login_attempts: 0,
        login_attempts_of_address: 0,
        ..crate::kit::config()
    };
    crate::kit::cloud_with(config, base::Clock::real()).await
}

/// Whom a directory has is told neither by the answer nor by the work nor by the time.
pub async fn nobody_learns_whom_it_has() {
    let mut server = Slapd::start(&(person("ann", "") + &person("bob", "")));
    let cloud = guessed_at().await;
    let admin = cloud.admin().await;
    let id = corp(&cloud, &admin, ldap(&server)).await;
    sync(&cloud, &admin, &id).await;
    let own = json!({"user": {"name": "own", "password": "Own@Pass1", "domain_id": "corp"}});
    cloud.post(&admin, "/v3/users", own).await.ok();
    login(&cloud, "own", "Own@Pass1", None).await.ok();
    let guess = |name: &str, domain: &str| {
        let user = json!({"name": name, "password": "wrong@Pass1", "domain": {"name": domain}});
        json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}})
    };
    let told = async |body: &Json| {
        let before = cloud.keystone.hash_work();
        let answer = cloud.send("POST", "/v3/auth/tokens", None, None, Some(body.clone())).await;
        let work = cloud.keystone.hash_work().argon2 - before.argon2;
        (answer.status, answer.body["class"].clone(), answer.body["details"].clone(), work)
    };
    let (known, unknown) = (guess("ann", "corp"), guess("nobody", "corp"));
    let first = told(&known).await;
    assert_eq!((first.0, first.3), (401, 1));
    assert_eq!(told(&unknown).await, first);
    assert_eq!(told(&guess("own", "corp")).await, first);
    let mut ways = [
        Way::of("wrong password of a user of a directory", known.clone()),
        Way::of("user it does not have", unknown.clone()),
        Way::of("user of the platform in its domain", guess("own", "corp")),
    ];
    alike(&cloud, &mut ways).await;

    // Away, or switched off: it says the same of everybody in its domain, and nothing of anybody elsewhere.
    server.down();
    let away = told(&known).await;
    assert_eq!((away.0, told(&unknown).await), (502, away.clone()));
    assert_eq!(told(&guess("nobody", "Default")).await.0, 401);
    assert_eq!(told(&guess("own", "corp")).await.0, 401, "a guess at a password kept here is counted");
    cloud.post(&admin, &format!("/v3/identity_providers/{id}/disable"), json!({})).await.ok();
    let off = told(&known).await;
    assert_eq!((off.0, told(&unknown).await), (423, off.clone()));
}

/// Several directories and no domain: all are asked about everybody, so that neither answer nor time tells who is where, also while one is away.
pub async fn without_a_domain() {
    let mut servers = [Slapd::start(&person("ann", "")), Slapd::start(&person("bob", ""))];
    let cloud = guessed_at().await;
    let admin = cloud.admin().await;
    let mut ids = Vec::new();
    for (name, server) in ["corp", "labs"].into_iter().zip(&servers) {
        let made = cloud.post(&admin, "/v3/identity_providers", super::body(name, ldap(server))).await.ok();
        let id = made["identity_provider"]["id"].as_str().expect("an id").to_string();
        sync(&cloud, &admin, &id).await;
        ids.push(id);
    }
    cloud.make(&admin, "user", json!({"name": "own", "password": "own@Pass1"})).await;
    let with = |name: &str, password: &str| json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": name, "password": password}}}}});
    let ask = async |name: &str, password: &str| cloud.send("POST", "/v3/auth/tokens", None, None, Some(with(name, password))).await;
    let told = async |name: &str| {
        let answer = ask(name, "wrong@Pass1").await;
        (answer.status, answer.body["class"].clone(), answer.body["details"].clone())
    };
    let all = ["ann", "bob", "own", "nobody"];
    let right = ["ann", "bob", "own"];
    for name in right {
        assert_eq!(ask(name, &format!("{name}@Pass1")).await.status, 200, "{name}");
    }
    let mut ways = all.map(|name| Way::of(name, with(name, "wrong@Pass1")));
    alike(&cloud, &mut ways).await;
    let alike_now = async |status: u16| {
        let first = told("nobody").await;
        assert_eq!(first.0, status, "{first:?}");
        for name in all {
            assert_eq!(told(name).await, first, "{name}");
        }
    };
    alike_now(401).await;
    // One is away. Whoever has his password elsewhere gets in by it; of the others nobody knows.
    servers[1].down();
    alike_now(502).await;
    for (name, status) in [("ann", 200), ("own", 200), ("bob", 502)] {
        assert_eq!(ask(name, &format!("{name}@Pass1")).await.status, status, "{name}");
    }
    // Switched off it is as if it were not there, for its own users too.
    cloud.post(&admin, &format!("/v3/identity_providers/{}/disable", ids[1]), json!({})).await.ok();
    alike_now(401).await;
    assert_eq!(ask("bob", "bob@Pass1").await.status, 401);
}
