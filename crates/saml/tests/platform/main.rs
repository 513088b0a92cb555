//! Logins through a real SAML provider (pysaml2, which signs with libxmlsec1): the identity service in this process, the program `wolke-saml` as it
//! is built, and what a browser carries between them.

#[allow(dead_code, reason = "a part of the identity service's kit")]
#[path = "../../../keystone/tests/suite/kit.rs"]
mod kit;
#[allow(dead_code, reason = "the platform's tests use the rest")]
mod provider;

use base::{Clock, Json};
use base64::{Engine, engine::general_purpose::STANDARD};
use kit::{Answer, Cloud};
use provider::Idp;
use serde_json::json;

const ACS: &str = "https://cloud.example.org/api/v1/auth/ssologin";

async fn cloud(program: &str) -> Cloud {
    kit::cloud_with(keystone::Config { saml_program: program.into(), ..kit::config() }, Clock::real()).await
}

fn body(saml: Json) -> Json {
    json!({"identity_provider": {"name": "corp", "driver": "saml", "config": {"saml": saml}}})
}

/// A property of the provider.
async fn told(cloud: &Cloud, admin: &str, id: &str, what: &str) -> Json {
    let here = http::path::encode(ACS);
    let path = format!("/v3/identity_providers/{id}/{what}?redirect_uri={here}&state=word");
    cloud.get(admin, &path).await.ok()["identity_provider"].clone()
}

/// A token request with what a browser brought, the XML as it is.
async fn enter(cloud: &Cloud, id: &str, xml: &str) -> Answer {
    let identity = json!({"methods": ["saml"], "id": id, "saml_auth": {"response": STANDARD.encode(xml)}});
    cloud.send("POST", "/v3/auth/tokens", None, None, Some(json!({"auth": {"identity": identity}}))).await
}

/// A login at the provider, begun here; what the browser brings back.
async fn visit(cloud: &Cloud, admin: &str, id: &str, idp: &mut Idp, more: Json) -> String {
    let url = told(cloud, admin, id, "sso-redirect-uri").await["uri"].clone();
    assert!(url.as_str().is_some_and(|u| u.starts_with("https://idp.example.org/redirect?tenant=1&SAMLRequest=")), "{url}");
    let back = idp.answer(&url, more);
    assert_eq!((&back["relay"], &back["destination"]), (&json!("word"), &json!(ACS)), "{back}");
    back["response"].as_str().expect("XML").to_string()
}

fn details(answer: &Answer) -> String {
    answer.body["details"].as_str().unwrap_or_default().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_through_a_real_provider() {
    kit::on_sqlite(story()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pg_logins_through_a_real_provider() {
    kit::on_postgres(story()).await;
}

async fn story() {
    let mut idp = Idp::start();
    let cloud = cloud(env!("CARGO_BIN_EXE_wolke-saml")).await;
    let admin = cloud.admin().await;
    let config = json!({"metadata": idp.metadata(), "user_name_attribute": "uid", "user_displayname_attribute": "displayName",
        "user_email_attribute": "mail", "sp_entity_id": "https://cloud.example.org/"});
    let made = cloud.post(&admin, "/v3/identity_providers", body(config)).await.ok();
    let id = made["identity_provider"]["id"].as_str().expect("an id").to_string();
    let mine = format!("/v3/identity_providers/{id}");
    assert_eq!(idp.trust(&told(&cloud, &admin, &id, "saml-metadata").await["metadata"]), json!(["https://cloud.example.org/"]));

    // Strangers come in when that is wanted.
    let stranger = visit(&cloud, &admin, &id, &mut idp, json!({})).await;
    assert_eq!(enter(&cloud, &id, &stranger).await.refusal(), (404, "UserNotFound"));
    cloud.put(&admin, &mine, json!({"identity_provider": {"auto_create_user": true}})).await.ok();

    // Whatever it signs.
    let mut users = Vec::new();
    for sign in [json!(["assertion"]), json!(["response"]), json!(["assertion", "response"])] {
        let response = visit(&cloud, &admin, &id, &mut idp, json!({"sign": sign})).await;
        let token = enter(&cloud, &id, &response).await.ok()["token"].clone();
        assert_eq!((&token["methods"], &token["user"]["name"]), (&json!(["saml"]), &json!("ann")), "{token}");
        assert_eq!((&token["user"]["displayname"], &token["user"]["email"]), (&json!("Ann Example"), &json!("ann@example.org")));
        users.push(token["user"]["id"].clone());
        // A second time, with the same or with another answer to the same request.
        assert_eq!(enter(&cloud, &id, &response).await.status, 401);
    }
    assert!(users.iter().all(|u| *u == users[0]), "{users:?}");

    // Two answers to one request: one counts. A forgery uses nothing up.
    let url = told(&cloud, &admin, &id, "sso-redirect-uri").await["uri"].clone();
    let (first, second) = (idp.answer(&url, json!({})), idp.answer(&url, json!({})));
    let (first, second) = (first["response"].as_str().expect("XML"), second["response"].as_str().expect("XML"));
    let forged = enter(&cloud, &id, &first.replace(">ann<", ">eve<")).await;
    assert_eq!(forged.refusal().0, 401, "{}", forged.body);
    assert!(details(&forged).contains("not believed"), "{}", forged.body);
    enter(&cloud, &id, first).await.ok();
    let late = enter(&cloud, &id, second).await;
    assert!(late.status == 401 && details(&late).contains("begun"), "{}", late.body);

    // By form.
    let form = told(&cloud, &admin, &id, "saml-request").await;
    assert!(form["url"] == "https://idp.example.org/post" && form["html"].as_str().is_some_and(|h| h.contains("SAMLRequest")), "{form}");
    let back = idp.ask(json!({"do": "answer", "form": form["saml_request"]}), json!({}));
    enter(&cloud, &id, back["response"].as_str().expect("XML")).await.ok();

    // What the provider should do otherwise is said.
    for (more, word) in
        [(json!({"weak": true}), "SHA-256"), (json!({"transient": true}), "user_id_attribute"), (json!({"sign": []}), "not believed")]
    {
        let response = visit(&cloud, &admin, &id, &mut idp, more).await;
        let refused = enter(&cloud, &id, &response).await;
        assert!(refused.status == 401 && details(&refused).contains(word), "{word}: {}", refused.body);
    }

    // Begun at the provider: only when that is allowed, and once.
    let unasked = json!({"do": "answer", "acs": ACS, "sp": "https://cloud.example.org/"});
    let response = idp.ask(unasked.clone(), json!({}))["response"].as_str().expect("XML").to_string();
    assert_eq!(enter(&cloud, &id, &response).await.status, 401);
    let allow = json!({"config": {"saml": {"allow_idp_init": true, "callback_url": ACS}}});
    cloud.post(&admin, &format!("{mine}/config"), allow).await.ok();
    enter(&cloud, &id, &response).await.ok();
    assert_eq!(enter(&cloud, &id, &response).await.status, 401);
    let elsewhere = idp.ask(unasked, json!({"acs": "https://other.example.org/acs"}))["response"].as_str().expect("XML").to_string();
    let refused = enter(&cloud, &id, &elsewhere).await;
    assert!(details(&refused).contains(ACS), "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_wrong_is_named() {
    kit::on_sqlite(async {
        let good = json!({"entity_id": "i", "certificates": include_str!("../corpus/idp.pem"), "redirect_sso_url": "https://i/sso"});
        let with = |key: &str, value: Json| {
            let mut config = good.clone();
            config[key] = value;
            body(config)
        };
        let here = cloud(env!("CARGO_BIN_EXE_wolke-saml")).await;
        let admin = here.admin().await;
        for (wrong, word) in [
            (with("certificates", json!("AAAA")), "certificates"),
            (with("certificates", json!(include_str!("../corpus/weak.pem"))), "2048"),
            (with("metadata", json!("<a/>")), "metadata"),
            (with("redirect_sso_url", json!("")), "redirect_sso_url"),
            (with("entity", json!("x")), "config.saml.entity "),
        ] {
            let refused = here.post(&admin, "/v3/identity_providers", wrong).await;
            assert!((400..500).contains(&refused.status) && details(&refused).contains(word), "{word}: {}", refused.body);
        }
        let id = here.post(&admin, "/v3/identity_providers", body(good.clone())).await.ok()["identity_provider"]["id"].clone();
        let id = id.as_str().expect("an id");
        for nothing in ["", "<a/>", "%%%"] {
            let refused = enter(&here, id, nothing).await;
            assert!((400..500).contains(&refused.status), "{}", refused.body);
        }
        // Without the program.
        let bare = cloud("/nowhere/wolke-saml").await;
        let admin = bare.admin().await;
        let refused = bare.post(&admin, "/v3/identity_providers", body(good)).await;
        assert!(refused.refusal() == (400, "InvalidIdpStatus") && details(&refused).contains("install it"), "{}", refused.body);
    })
    .await;
}
