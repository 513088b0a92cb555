//! Users of a directory, against a real OpenLDAP server: brought over, kept in step, let in; and what must not happen when it fails.

mod guard;
#[allow(dead_code, reason = "a part of the suite's kit")]
#[path = "../suite/kit.rs"]
mod kit;
mod large;
mod login;
mod slapd;
mod story;
#[path = "../suite/ways.rs"]
mod ways;

use base::Json;
use kit::Cloud;
use serde_json::json;
use slapd::{SERVICE, SERVICE_PASSWORD, SUFFIX, Slapd};
use std::time::{Duration, Instant};

/// The configuration for a test's server.
fn ldap(server: &Slapd) -> Json {
    json!({"url": server.url(), "suffix": SUFFIX, "user": SERVICE, "password": SERVICE_PASSWORD, "user_objectclass": "inetOrgPerson",
        "user_tree_dn": format!("ou=people,{SUFFIX}"), "group_tree_dn": format!("ou=groups,{SUFFIX}"),
        "user_enabled_attribute": "employeeType", "group_objectclass": "groupOfNames",
        "user_additional_attribute_mapping": ["displayName:displayname", "mail:email", "departmentNumber:department"]})
}

fn with(mut config: Json, more: Json) -> Json {
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    config
}

fn body(name: &str, config: Json) -> Json {
    json!({"identity_provider": {"name": name, "template": "openldap_one_domain", "config": {"ldap": config}}})
}

/// Makes the provider `corp`; answers its id.
async fn corp(cloud: &Cloud, admin: &str, config: Json) -> String {
    let made = cloud.post(admin, "/v3/identity_providers", body("corp", config)).await.ok();
    made["identity_provider"]["id"].as_str().expect("an id").to_string()
}

/// Brings everything over and answers what was changed. A request waits only so long; the work goes on.
async fn sync(cloud: &Cloud, admin: &str, id: &str) -> Json {
    let begun = Instant::now();
    let done = cloud.post(admin, &format!("/v3/identity_providers/{id}/sync"), json!({})).await.ok();
    let result = &done["identity_provider"]["result"];
    if !result.is_null() {
        return result.clone();
    }
    while shown(cloud, admin, id).await["sync_status"] != "idle" {
        assert!(begun.elapsed() < Duration::from_secs(240), "not done");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cloud.get(admin, &format!("/v3/identity_providers/{id}/sync-result")).await.ok()["identity_provider"]["result"].clone()
}

async fn shown(cloud: &Cloud, admin: &str, id: &str) -> Json {
    cloud.get(admin, &format!("/v3/identity_providers/{id}")).await.ok()["identity_provider"].clone()
}

/// A user of the directory, by name.
async fn user(cloud: &Cloud, admin: &str, name: &str) -> Json {
    let list = cloud.get(admin, &format!("/v3/users?scope=system&domain=corp&name={name}")).await.ok();
    list["users"].as_array().and_then(|all| all.iter().find(|u| u["name"] == name)).cloned().unwrap_or(Json::Null)
}

/// A login in the directory's domain; into a project when one is named.
async fn login(cloud: &Cloud, name: &str, password: &str, project: Option<&str>) -> kit::Answer {
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": {"name": name, "password": password, "domain": {"name": "corp"}}}}});
    if let Some(project) = project {
        auth["scope"] = json!({"project": {"name": project, "domain": {"name": "corp"}}});
    }
    cloud.send("POST", "/v3/auth/tokens", None, None, Some(json!({ "auth": auth }))).await
}

macro_rules! tests {
    ($run:ident: $($module:ident { $($name:ident)* })*) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::kit::$run(crate::$module::$name()).await;
            })*
        })*
    };
}

mod sqlite {
    tests! {
        on_sqlite:
        story { a_directory_is_brought_over providers_and_their_configuration }
        login { who_gets_in tls the_directory_is_down nobody_learns_whom_it_has without_a_domain }
        guard { half_of_the_house_does_not_go one_replica_synchronises }
        large { ten_thousand_users }
    }
}

mod postgres {
    tests! {
        on_postgres:
        story { a_directory_is_brought_over }
        guard { one_replica_synchronises }
    }
}
