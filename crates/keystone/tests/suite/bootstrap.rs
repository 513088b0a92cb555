//! The first start, the second, and two at once.

use crate::kit::{ADMIN_PASSWORD, Place, cloud, cloud_on, config, names};
use api_identity::Secret;
use base::{Clock, Resource};
use store::{Cond, Db, Read};

pub async fn every_table_is_as_the_facts_say() {
    let cloud = cloud().await;
    for facts in [
        api_identity::Domain::facts(),
        api_identity::Project::facts(),
        api_identity::User::facts(),
        api_identity::Group::facts(),
        api_identity::Role::facts(),
        api_identity::Policy::facts(),
        api_identity::RolePolicy::facts(),
        api_identity::Service::facts(),
        api_identity::Endpoint::facts(),
        api_identity::Region::facts(),
        api_identity::Credential::facts(),
        api_identity::ApplicationCredential::facts(),
        api_identity::Assignment::facts(),
        api_identity::Membership::facts(),
        api_identity::IdentityProvider::facts(),
        api_identity::IdentityLink::facts(),
    ] {
        assert_eq!(store::ddl::check(&cloud.db, facts).await.expect("a schema"), Vec::<String>::new());
    }
}

pub async fn a_second_start_changes_nothing() {
    let place = Place::new().await;
    let url = &place.url;
    let tables = [
        "domains",
        "projects",
        "users",
        "roles",
        "policies",
        "rolepolicies",
        "services",
        "endpoints",
        "regions",
        "assignments",
        "signing_keys",
        "events",
    ];
    let mut counts: Vec<Vec<i64>> = Vec::new();
    let mut old_token = None;
    for fresh in [true, false] {
        let db = Db::open(url).await.expect("a database");
        let cloud = cloud_on(db, config(), Clock::real()).await;
        assert_eq!(cloud.keystone.outcome.fresh, fresh);
        assert!(cloud.keystone.outcome.admin_password.is_none(), "it was given");
        let mut row = Vec::new();
        for table in tables {
            // The login of the first round leaves a record; a start leaves none.
            let cond = if table == "events" { Cond::ne("action", "login") } else { Cond::True };
            row.push(cloud.db.read().count(table, cond).await.expect("a count"));
        }
        counts.push(row);
        let token = cloud.admin().await;
        assert_eq!(cloud.get(&token, "/v3/users/sysadmin").await.ok()["user"]["is_system_account"], true);
        if let Some(old) = old_token.replace(token) {
            assert_eq!(cloud.get(&old, "/v3/users/sysadmin").await.status, 200, "tokens outlive a restart");
        }
    }
    assert_eq!(counts[0], counts[1]);
}

pub async fn what_a_platform_begins_with() {
    let cloud = cloud().await;
    let admin = cloud.admin().await;
    let list = |path: &'static str| {
        let (cloud, admin) = (&cloud, &admin);
        async move { cloud.get(admin, path).await.ok() }
    };
    assert_eq!(names(&list("/v3/domains").await, "domains"), ["Default"]);
    assert_eq!(names(&list("/v3/projects").await, "projects"), ["system"]);
    assert_eq!(names(&list("/v3/regions").await, "regions"), ["region0"]);
    let roles = names(&list("/v3/roles").await, "roles");
    for role in ["admin", "domainadmin", "project_owner", "project_viewer", "sys_opsadmin", "normal_user"] {
        assert!(roles.iter().any(|r| r == role), "{role}");
    }
    assert_eq!(list("/v3/policies?limit=1").await["total"], auth::defaults::policies().len());
    assert_eq!(
        names(&list("/v3/services").await, "services"),
        ["common", "external-service", "glance", "keystone", "region2", "yunionagent"]
    );
    assert_eq!(list("/v3/endpoints").await["total"], 7);
    assert_eq!(names(&list("/v3/users").await, "users"), Vec::<String>::new(), "system accounts are hidden");
    assert_eq!(names(&list("/v3/users?system=true&scope=system").await, "users"), ["regionadmin", "sysadmin"]);
    let ties = list("/v3/rolepolicies?policy=sysadmin").await;
    assert_eq!(ties["rolepolicies"][0]["name"], "admin/system/sysadmin", "{ties}");
    assert_eq!(ties["rolepolicies"][0]["scope"], "system");
}

pub async fn a_password_is_made_up_once() {
    let place = Place::new().await;
    let url = &place.url;
    let plain = || keystone::Config { bootstrap_admin_user_password: Secret::default(), ..config() };
    let cloud = cloud_on(Db::open(url).await.expect("a database"), plain(), Clock::real()).await;
    let password = cloud.keystone.outcome.admin_password.clone().expect("a password");
    assert!(password.expose().len() >= 20);
    cloud.token("sysadmin", password.expose(), Some("system")).await;
    let again = cloud_on(Db::open(url).await.expect("a database"), plain(), Clock::real()).await;
    assert!(again.keystone.outcome.admin_password.is_none());
    again.token("sysadmin", password.expose(), Some("system")).await;
}

pub async fn the_configuration_moves_endpoints_and_sets_passwords() {
    let place = Place::new().await;
    let url = &place.url;
    let first = cloud_on(Db::open(url).await.expect("a database"), config(), Clock::real()).await;
    let old = first.token("regionadmin", crate::kit::SERVICE_PASSWORD, Some("system")).await;
    drop(first);
    let mut changed = config();
    changed.services[1].public_url = "http://127.0.0.1:40888".into();
    changed.services[1].account_password = Secret::new("Another@service2");
    let second = cloud_on(Db::open(url).await.expect("a database"), changed, Clock::real()).await;
    assert_eq!(second.login("regionadmin", crate::kit::SERVICE_PASSWORD, Some("system")).await.refusal(), (401, "WrongPassword"));
    let answer = second.login("regionadmin", "Another@service2", Some("system")).await.ok();
    let compute =
        answer["token"]["catalog"].as_array().expect("a catalogue").iter().find(|s| s["type"] == "compute_v2").expect("compute").clone();
    for endpoint in compute["endpoints"].as_array().expect("endpoints") {
        assert_eq!(endpoint["url"], "http://127.0.0.1:40888");
        assert_eq!((&endpoint["region"], &endpoint["region_id"]), (&"region0".into(), &"region0".into()));
    }
    assert_eq!(second.get(&old, "/v3/users").await.status, 403, "tokens of the old password are void");
}

pub async fn two_starts_at_once() {
    let place = Place::new().await;
    let url = &place.url;
    let start = || async {
        let db = Db::open(url).await.expect("a database");
        keystone::build(config(), db, Clock::real()).await.expect("the service starts")
    };
    let (a, b) = tokio::join!(start(), start());
    assert!(a.outcome.fresh || b.outcome.fresh);
    let cloud = cloud_on(Db::open(url).await.expect("a database"), config(), Clock::real()).await;
    assert!(!cloud.keystone.outcome.fresh);
    cloud.token("sysadmin", ADMIN_PASSWORD, Some("system")).await;
}
