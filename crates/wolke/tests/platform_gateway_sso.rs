//! Logins at identity providers through the console's gateway: a certified OpenID provider and a SAML provider with a real browser, and a small CAS
//! server step by step.

mod lab;
#[allow(dead_code, reason = "a part of the identity service's kit")]
#[path = "../../keystone/tests/sso/node.rs"]
mod node;

#[allow(dead_code, reason = "a part of the kit of the program for SAML")]
#[path = "../../saml/tests/platform/provider.rs"]
mod saml;

use http::Method;
use lab::{
    Platform,
    browser::{Browser, PASSWORD, platform, user},
    page,
};
use node::{Node, SECRET};
use serde_json::{Value as Json, json};

async fn provider(admin: &mut Browser, body: Json) -> String {
    admin.post("/api/v1/identity_providers", body).await["id"].as_str().expect("an id").to_string()
}

fn parameter(url: &str, key: &str) -> String {
    let query = http::Query::parse(url.split_once('?').map_or("", |(_, q)| q)).expect("a query");
    query.text(key).unwrap_or_default().to_string()
}

/// Where an answer leads.
fn to(browser: &Browser) -> String {
    browser.headers.get("location").and_then(|v| v.to_str().ok()).unwrap_or_default().to_string()
}

async fn led(browser: &mut Browser, path: &str) -> String {
    let (status, body) = browser.take(browser.call(Method::GET, path)).await;
    assert_eq!(status, 302, "{path}: {}", String::from_utf8_lossy(&body));
    to(browser)
}

/// A path of the platform's own.
fn own(platform: &Platform, url: &str) -> String {
    url.strip_prefix(&platform.url()).unwrap_or_else(|| panic!("{url} is elsewhere")).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn platform_gateway_sso() {
    let (platform, mut admin) = platform(&["--set", "keystone.sso_http_on_loopback=true"]).await;
    let callback = format!("{}/api/v1/auth/ssologin", platform.url());
    let mut node = Node::start(std::slice::from_ref(&callback));
    by_browser(&platform, &mut admin, &mut node).await;
    step_by_step(&platform, &mut admin, &mut node).await;
    by_saml(&platform, &mut admin, &mut node).await;
}

/// SAML, with the request by redirect and by form.
async fn by_saml(platform: &Platform, admin: &mut Browser, node: &mut Node) {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_wolke")).with_file_name("wolke-saml");
    assert!(program.exists(), "{} is missing: cargo build -p saml", program.display());
    let dora = json!({"user": "dora-1", "attributes": {"uid": "dora", "mail": "dora@example.org", "displayName": "Dora Example"}});
    let mut idp = saml::Idp::of(&dora);
    let about = idp.about();
    let base = about["base"].as_str().expect("an address").to_string();
    let mapping = json!({"user_name_attribute": "uid", "user_displayname_attribute": "displayName", "user_email_attribute": "mail"});
    let config = |own: Json| {
        let mut config = mapping.clone();
        own.as_object().expect("an object").iter().for_each(|(k, v)| config[k] = v.clone());
        json!({"saml": config})
    };
    let by_redirect =
        json!({"name": "works", "driver": "saml", "auto_create_user": true, "config": config(json!({"metadata": about["xml"]}))});
    let form_only =
        json!({"entity_id": format!("{base}/idp"), "certificates": about["certificate"], "post_sso_url": format!("{base}/post")});
    let by_form = json!({"name": "works-by-form", "driver": "saml", "auto_create_user": true, "config": config(form_only)});
    for (word, body) in [("redirect", by_redirect), ("post", by_form)] {
        let id = provider(admin, body).await;
        let metadata = admin.get(&format!("/api/v1/auth/idp/{id}/saml-metadata")).await["metadata"].clone();
        let callback = format!("{}/api/v1/auth/ssologin", platform.url());
        assert_eq!(idp.trust(&metadata), json!([callback]), "called by its address");

        // What the way there is, and that the page that posts itself is held by its policy.
        let mut browser = Browser::new(&platform.url());
        let (status, page) = browser.take(browser.call(Method::GET, &format!("/api/v1/auth/sso/redirect/{id}"))).await;
        let header = |name: &str| browser.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
        if word == "redirect" {
            assert!(
                status == 302 && header("location").starts_with(&format!("{base}/redirect?tenant=1&SAMLRequest=")),
                "{}",
                header("location")
            );
        } else {
            let policy = header("content-security-policy");
            assert!(
                status == 200 && policy.contains(&format!("form-action {base};")) && policy.contains("script-src 'sha256-"),
                "{policy}"
            );
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe") && header("x-frame-options") == "DENY");
            assert!(String::from_utf8_lossy(&page).contains(&format!("action=\"{base}/post\"")));
        }
        assert!(browser.set.iter().any(|c| c.starts_with("wolke_away=") && c.contains("HttpOnly")), "{:?}", browser.set);

        node.run("forget", json!({}));
        let back = node.walk(
            &format!("{}/api/v1/auth/sso/redirect/{id}?to=/servers", platform.url()),
            &format!("{}/auth", platform.url()),
            "dora",
        );
        assert_eq!((parameter(&back, "result").as_str(), parameter(&back, "to").as_str()), ("success", "/servers"), "{word}: {back}");
        let cookies = node.run("cookies", json!({}))["cookies"].clone();
        let value = |name: &str| {
            cookies.as_array().into_iter().flatten().find(|c| c["name"] == name).and_then(|c| c["value"].as_str().map(String::from))
        };
        assert!(value("wolke_away").is_none(), "what was carried is given back: {cookies}");
        let mut dora = Browser::new(&platform.url());
        for name in ["wolke_session", "yunionauth"] {
            dora.jar.insert(name.into(), value(name).expect("a value"));
        }
        assert_eq!(dora.shown()["is_sso"], true);
        let told = dora.get("/api/v1/auth/user").await["data"].clone();
        assert_eq!(
            (told["idps"][0]["idp_driver"].as_str(), told["displayname"].as_str(), told["email"].as_str()),
            (Some("saml"), Some("Dora Example"), Some("dora@example.org")),
            "{told}"
        );

        // An answer in another browser is nobody's login.
        let asked = idp.ask(json!({"do": "answer", "acs": callback, "sp": callback}), dora_again());
        let form = format!("SAMLResponse={}&RelayState=x", http::path::encode(&encoded(&asked)));
        let mut victim = Browser::new(&platform.url());
        victim.origin = Some(base.clone());
        let call =
            victim.call(Method::POST, &format!("/api/v1/auth/ssologin/{id}")).header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(victim.take(call.bytes(form.into_bytes())).await.0, 302);
        assert_eq!(
            (parameter(&to(&victim), "result").as_str(), victim.session().as_str()),
            ("error", ""),
            "begun at the provider, which was not allowed"
        );
        admin.post(&format!("/api/v1/identity_providers/{id}/disable"), json!({})).await;
    }
}

fn dora_again() -> Json {
    json!({"user": "dora-1", "attributes": {"uid": "dora"}})
}

fn encoded(answer: &Json) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(answer["response"].as_str().expect("XML"))
}

async fn by_browser(platform: &Platform, admin: &mut Browser, node: &mut Node) {
    node.person("ann", json!({"name": "Ann Example", "groups": ["devs"], "project": ["web"], "roles": ["project_owner"]}));
    let config = json!({"endpoint": node.issuer, "client_id": "wolke", "client_secret": SECRET, "scopes": ["openid", "profile", "email", "groups"],
        "groups_attribute": "groups", "project_attribute": "project", "roles_attribute": "roles"});
    let body = json!({"name": "corp", "driver": "oidc", "auto_create_user": true, "auto_create_project": true, "config": {"oidc": config}});
    let id = provider(admin, body).await;
    let shown = Browser::new(&platform.url()).get("/api/v1/auth/regions").await;
    let known = shown["idps"].as_array().is_some_and(|all| all.iter().any(|p| p["id"] == id.as_str() && p["driver"] == "oidc"));
    assert!(known, "{shown}");

    let begun = format!("{}/api/v1/auth/sso/redirect/{id}?to=/servers", platform.url());
    let back = node.walk(&begun, &format!("{}/auth", platform.url()), "ann");
    assert_eq!((parameter(&back, "result").as_str(), parameter(&back, "to").as_str()), ("success", "/servers"), "{back}");
    let cookies = node.run("cookies", json!({}))["cookies"].clone();
    let cookie = |name: &str| cookies.as_array().into_iter().flatten().find(|c| c["name"] == name).cloned().unwrap_or_default();
    let session = cookie("wolke_session");
    assert!(session["httpOnly"] == true && session["sameSite"] == "Lax", "{cookies}");
    assert!(cookie("wolke_away").is_null(), "what was carried is given back: {cookies}");
    let mut ann = Browser::new(&platform.url());
    for name in ["wolke_session", "yunionauth"] {
        ann.jar.insert(name.into(), cookie(name)["value"].as_str().expect("a value").into());
    }
    let shown = ann.shown();
    assert!(shown["is_sso"] == true && shown["user"] == "ann" && shown["totp_on"] == false, "{shown}");
    let told = ann.get("/api/v1/auth/user").await["data"].clone();
    assert_eq!((told["name"].as_str(), told["projectName"].as_str()), (Some("ann"), Some("web")), "{told}");
    let change = json!({"password_old": "x", "password_new": "Another-horse-8", "password_confirm": "Another-horse-8"});
    assert_eq!(ann.send(Method::POST, "/api/v1/auth/password", Some(change)).await.0, 403, "the password is the provider's");
    // Another project is as much a login at the provider as the first.
    ann.post("/api/v1/auth/login", json!({"tenantId": told["projectId"]})).await;
    assert_eq!(ann.shown()["is_sso"], true);

    // Somebody who has a password links himself from his profile, by hand, on the console's own pages; a provider that makes users takes no links.
    let config = json!({"endpoint": node.issuer, "client_id": "wolke", "client_secret": SECRET, "scopes": ["openid", "profile", "email"]});
    let id = provider(admin, json!({"name": "partner", "driver": "oidc", "config": {"oidc": config}})).await;
    user(admin, "lena", "project_owner").await;
    node.person("lena-there", json!({"name": "Lena Example"}));
    let mut script = page::script("link.mjs");
    script.args([&platform.url(), "lena", PASSWORD, &id, "lena-there"]);
    let status = tokio::task::spawn_blocking(move || script.status()).await.expect("no panic").expect("node (Debian package nodejs)");
    assert!(status.success(), "the link is not made or unmade as it should");
}

async fn step_by_step(platform: &Platform, admin: &mut Browser, node: &mut Node) {
    let server = node.run("cas", json!({"user": "bob", "attributes": {}}))["url"].clone();
    let body = json!({"name": "campus", "driver": "cas", "config": {"cas": {"cas_server_url": server}}});
    let id = provider(admin, body).await;
    let begin = format!("/api/v1/auth/sso/redirect/{id}");
    let mut browser = Browser::new(&platform.url());
    browser.origin = None;
    // To the provider and back, by hand.
    async fn walk(browser: &mut Browser, begin: &str) -> String {
        let there = led(browser, begin).await;
        assert!(browser.set.iter().any(|c| c.starts_with("wolke_away=") && c.contains("HttpOnly") && c.contains("SameSite=Lax")));
        let answer = browser.client.get(&there).send_any().await.expect("the provider answers");
        answer.header("location").expect("a way back").to_string()
    }

    // A stranger is told what to do, on the page for people.
    let back = walk(&mut browser, &begin).await;
    let end = led(&mut browser, &own(platform, &back)).await;
    assert!(end.starts_with(&format!("{}/auth?result=error", platform.url())), "{end}");
    assert_eq!(parameter(&end, "error_class"), "UserNotFound");
    assert!(parameter(&end, "error_details").contains("link-idp") && !browser.jar.contains_key("wolke_session"), "{end}");

    // Somebody who is logged in links himself; not at the wish of another site's page, and not who is nobody.
    user(admin, "carl", "project_owner").await;
    let mut carl = Browser::new(&platform.url());
    assert_eq!(carl.login("carl", PASSWORD).await.0, 200);
    let linking = format!("{begin}?linkuser=true");
    for site in ["cross-site", "same-site"] {
        let (status, _) = carl.take(carl.call(Method::GET, &linking).header("sec-fetch-site", site)).await;
        assert!(status == 302 && parameter(&to(&carl), "error_class") == "ForbiddenError", "{site}: {}", to(&carl));
    }
    let (_, _) = browser.take(browser.call(Method::GET, &linking).header("sec-fetch-site", "same-origin")).await;
    assert_eq!(parameter(&to(&browser), "error_class"), "InvalidCredentialError");
    let back = walk(&mut carl, &linking).await;
    let end = led(&mut carl, &own(platform, &back)).await;
    assert!(end.starts_with(&format!("{}/profile?result=success", platform.url())), "{end}");
    let told = carl.get("/api/v1/auth/user").await["data"].clone();
    assert_eq!((told["idps"][0]["idp_entity_id"].as_str(), told["name"].as_str()), (Some("bob"), Some("carl")), "{told}");

    // From now on that is a way in; a page of somebody else's is no place to go on at.
    let back = walk(&mut browser, &format!("{begin}?to=//evil.example/&rf=https://evil.example/")).await;
    let end = led(&mut browser, &own(platform, &back)).await;
    assert_eq!(end, format!("{}/auth?result=success", platform.url()));
    assert_eq!(browser.get("/api/v1/auth/user").await["data"]["name"], "carl");
    let first = browser.session();

    // The same answer once more, an answer in another browser, and one with another state.
    let end = led(&mut browser, &own(platform, &back)).await;
    assert_eq!((parameter(&end, "result"), parameter(&end, "error_class")), ("error".into(), "InvalidCredentialError".into()), "{end}");
    let back = walk(&mut browser, &begin).await;
    let mut victim = Browser::new(&platform.url());
    let end = led(&mut victim, &own(platform, &back)).await;
    assert!(
        parameter(&end, "error_class") == "InvalidCredentialError" && victim.session().is_empty(),
        "nobody is logged in as another: {end}"
    );
    let other = own(platform, &back).replace("state=", "state=x");
    assert_eq!(parameter(&led(&mut browser, &other).await, "result"), "error");
    // By form, as some providers answer; and a new value for what the login opens.
    let back = walk(&mut browser, &begin).await;
    let form = own(platform, &back).split_once('?').map(|(_, q)| q.to_string()).expect("a query");
    let call = browser.call(Method::POST, "/api/v1/auth/ssologin").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(browser.take(call.bytes(form.into_bytes())).await.0, 302);
    assert_eq!(parameter(&to(&browser), "result"), "success", "{}", to(&browser));
    assert!(browser.session() != first && browser.get("/api/v1/auth/user").await["data"]["name"] == "carl");
    let mut old = browser.clone();
    old.jar.insert("wolke_session".into(), first);
    assert_eq!(old.send(Method::GET, "/api/v1/auth/user", None).await.0, 401);

    // What to register there; a provider that is off, and one that is not there.
    assert_eq!(admin.get(&format!("/api/v1/auth/idp/{id}/info")).await["redirect_uri"], format!("{}/api/v1/auth/ssologin", platform.url()));
    carl.post("/api/v1/auth/unlink-idp", json!({"idp_id": id})).await;
    assert_eq!(browser.send(Method::GET, "/api/v1/auth/user", None).await.0, 401, "who came that way is out");
    admin.post(&format!("/api/v1/identity_providers/{id}/disable"), json!({})).await;
    for path in [begin.as_str(), "/api/v1/auth/sso/redirect/nothing"] {
        let end = led(&mut browser, path).await;
        assert!(parameter(&end, "result") == "error" && end.starts_with(&platform.url()), "{end}");
    }
}
