//! Strangers: each attempt is refused, and the log says so.

use crate::{
    factor::{code, desk, login_with},
    kit::{ADMIN_PASSWORD, Answer, Cloud, Place, cloud_on, cloud_with, config, password_login},
    signed,
    ways::{Way, alike},
};
use base::{Clock, Json, Timestamp};
use keystone::{Config, HashWork};
use serde_json::json;
use std::time::Duration;
use store::{Cond, Db, set, work};
use telemetry::testing::Watch;

/// A request from an address, as a proxy in front tells it.
async fn from(cloud: &Cloud, address: &str, body: &Json) -> Answer {
    let call = cloud.client.post(&format!("{}/v3/auth/tokens", cloud.url)).header("x-forwarded-for", address).json(body);
    let answer = call.send_any().await.expect("an answer");
    let (status, subject) = (answer.status, answer.header("x-subject-token").map(str::to_string));
    let bytes = answer.bytes(1 << 24).await.expect("a body");
    Answer { status, subject, body: serde_json::from_slice(&bytes).unwrap_or(Json::Null) }
}

async fn guess(cloud: &Cloud, address: &str, user: &str, password: &str) -> Answer {
    from(cloud, address, &password_login(user, password, None)).await
}

fn clock() -> Clock {
    Clock::manual(Timestamp::parse("2026-02-03T04:05:00Z").expect("a time"))
}

async fn with_alice(config: Config, clock: &Clock) -> Cloud {
    let cloud = cloud_with(config, clock.clone()).await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "user", json!({"name": "alice", "password": "alice@Pass1"})).await;
    cloud
}

/// Hashes that one guess costs.
async fn cost(cloud: &Cloud, user: &str, password: &str) -> HashWork {
    let before = cloud.keystone.hash_work();
    assert_eq!(cloud.login(user, password, None).await.refusal(), (401, "WrongPassword"), "{user}");
    let after = cloud.keystone.hash_work();
    HashWork { argon2: after.argon2 - before.argon2, bcrypt: after.bcrypt - before.bcrypt }
}

/// Four ways of being refused, on a service that never locks. With `strong` passwords are hashed as in use: it is against that work that
/// everything else must be small.
async fn refusals(strong: bool) -> (Cloud, [Way; 4]) {
    let hashes = if strong { Config::default() } else { config() };
    let config = Config {
        password_hash_memory_kib: hashes.password_hash_memory_kib,
        password_hash_passes: hashes.password_hash_passes,
        login_failures_per_second: 0.0,
        login_attempts: 0,
        login_attempts_of_address: 0,
        ..config()
    };
    let cloud = with_alice(config, &Clock::real()).await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "user", json!({"name": "off", "password": "off@Pass1", "enabled": false})).await;
    let wrong = |user: &str, domain: &str| {
        let mut body = password_login(user, "wrong@Pass1", None);
        body["auth"]["identity"]["password"]["user"]["domain"] = json!({"name": domain});
        body
    };
    let ways = [
        ("wrong password", wrong("alice", "Default")),
        ("unknown user", wrong("nobody", "Default")),
        ("disabled user", wrong("off", "Default")),
        ("unknown domain", wrong("alice", "Elsewhere")),
    ]
    .map(|(name, body)| Way::of(name, body));
    (cloud, ways)
}

pub async fn nobody_learns_who_exists() {
    let (cloud, ways) = refusals(false).await;
    for user in ["alice", "nobody", "off"] {
        assert_eq!(cost(&cloud, user, "wrong").await, HashWork { argon2: 1, bcrypt: 0 }, "{user}: the same work");
    }
    let told = |a: &Answer| (a.status, a.body["class"].clone(), a.body["details"].clone());
    let mut answers = Vec::new();
    for way in &ways {
        answers.push(told(&cloud.send("POST", "/v3/auth/tokens", None, None, Some(way.body.clone())).await));
    }
    assert!(answers.iter().all(|a| *a == answers[0]), "the same answer: {answers:?}");
}

/// A name that several have: without its domain it is nobody's, whatever the password, and nothing tells that there is such a name.
pub async fn names_of_several() {
    let watch = Watch::start();
    let clock = clock();
    let cloud = with_alice(Config { login_attempts: 3, ..config() }, &clock).await;
    let admin = cloud.admin().await;
    cloud.make(&admin, "domain", json!({"name": "acme"})).await;
    cloud.make(&admin, "user", json!({"name": "alice", "password": "other@Pass1", "domain_id": "acme"})).await;
    let without = |user: &str, password: &str| json!({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": user, "password": password}}}}});
    let mut told = Vec::new();
    for (i, (user, password)) in
        [("alice", "wrong"), ("alice", "alice@Pass1"), ("alice", "other@Pass1"), ("nobody", "wrong")].into_iter().enumerate()
    {
        let before = cloud.keystone.hash_work().argon2;
        let answer = from(&cloud, &format!("198.51.100.{i}"), &without(user, password)).await;
        told.push((
            answer.status,
            answer.body["class"].clone(),
            answer.body["details"].clone(),
            cloud.keystone.hash_work().argon2 - before,
        ));
    }
    assert_eq!((told[0].0, told[0].3), (401, 1), "{told:?}");
    assert!(told[0].2.as_str().is_some_and(|d| d.contains("name the domain")), "{told:?}");
    assert!(told.iter().all(|t| *t == told[0]), "{told:?}");
    assert_eq!(watch.told(&["a name that several users have", "alice"]), 3);
    // Guessed at without end, it is locked like a name nobody has, and none of those who have it.
    for _ in 0..6 {
        from(&cloud, "198.51.100.9", &without("alice", "wrong")).await;
    }
    watch.expect("login locked: too many failures");
    for (domain, password) in [("Default", "alice@Pass1"), ("acme", "other@Pass1")] {
        let mut body = without("alice", password);
        body["auth"]["identity"]["password"]["user"]["domain"] = json!({"name": domain});
        assert_eq!(from(&cloud, "198.51.100.10", &body).await.status, 200, "{domain}");
    }
    // A name that one alone has needs no domain.
    assert_eq!(from(&cloud, "198.51.100.10", &without("sysadmin", ADMIN_PASSWORD)).await.status, 200);
}

/// On SQLite, whose work is all in this process, so that the processor's time has all of it.
#[tokio::test]
async fn nobody_learns_by_time_who_exists() {
    crate::kit::on_sqlite(times_do_not_tell()).await;
}

async fn times_do_not_tell() {
    let (cloud, mut ways) = refusals(true).await;
    alike(&cloud, &mut ways).await;
}

/// bcrypt of "U*U", from the reference vectors of that hash.
const OLD_HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// Gives a user the hash an older installation left.
pub async fn give_old_hash(db: &Db, user: &str) {
    let (user, hash) = (user.to_string(), OLD_HASH.to_string());
    db.tx(|tx| {
        let (user, hash) = (user.clone(), hash.clone());
        work(async move { tx.update("users", Cond::eq("name", user), vec![set("password_hash", hash)]).await.map(drop) })
    })
    .await
    .expect("written");
}

pub async fn old_hashes_do_not_tell_either() {
    let place = Place::new().await;
    let open = async || cloud_on(Db::open(&place.url).await.expect("a database"), config(), Clock::real()).await;
    let cloud = open().await;
    let admin = cloud.admin().await;
    for name in ["alice", "bob"] {
        cloud.make(&admin, "user", json!({"name": name, "password": format!("{name}@Pass1")})).await;
    }
    give_old_hash(&cloud.db, "alice").await;
    drop(cloud);
    // While somebody has a hash of the old kind, every wrong password costs one of each.
    let cloud = open().await;
    for user in ["alice", "bob", "nobody"] {
        assert_eq!(cost(&cloud, user, "wrong").await, HashWork { argon2: 1, bcrypt: 1 }, "{user}");
    }
    cloud.token("alice", "U*U", None).await;
    drop(cloud);
    let cloud = open().await;
    for user in ["alice", "bob", "nobody"] {
        assert_eq!(cost(&cloud, user, "wrong").await, HashWork { argon2: 1, bcrypt: 0 }, "{user}");
    }
}

const LOCKED: (u16, &str) = (429, "TooManyFailedAttempts");
const WRONG: (u16, &str) = (401, "WrongPassword");

pub async fn guesses_at_one_user() {
    let watch = Watch::start();
    let clock = clock();
    let cloud = with_alice(Config { login_attempts: 3, ..config() }, &clock).await;
    for want in [WRONG, WRONG, LOCKED, LOCKED] {
        assert_eq!(guess(&cloud, "198.51.100.7", "alice", "guess").await.refusal(), want);
    }
    let before = cloud.keystone.hash_work();
    assert_eq!(guess(&cloud, "198.51.100.7", "alice", "alice@Pass1").await.refusal(), LOCKED, "the right one does not help");
    assert_eq!(cloud.keystone.hash_work(), before, "and costs no work");
    // The user is not locked out: elsewhere he works on. So do others from there.
    assert_eq!(guess(&cloud, "198.51.100.8", "alice", "alice@Pass1").await.status, 200);
    assert_eq!(guess(&cloud, "198.51.100.7", "sysadmin", ADMIN_PASSWORD).await.status, 200);
    clock.advance(Duration::from_secs(901));
    assert_eq!(guess(&cloud, "198.51.100.7", "alice", "alice@Pass1").await.status, 200);
    // A success forgets the failures before it.
    for want in [WRONG, WRONG] {
        assert_eq!(guess(&cloud, "198.51.100.7", "alice", "guess").await.refusal(), want);
    }
    assert_eq!(guess(&cloud, "198.51.100.7", "alice", "alice@Pass1").await.status, 200);
    for want in [WRONG, WRONG, LOCKED] {
        assert_eq!(guess(&cloud, "198.51.100.7", "alice", "guess").await.refusal(), want);
    }
    watch.expect("login locked: too many failures");
}

pub async fn guesses_from_one_address() {
    let watch = Watch::start();
    let place = Place::new().await;
    let clock = clock();
    let config = Config { login_attempts: 3, login_attempts_of_address: 5, ..config() };
    let open = async || Db::open_with(&place.url, clock.clone()).await.expect("a database");
    let cloud = cloud_on(open().await, config.clone(), clock.clone()).await;
    // One password tried on many names; an IPv6 host has a whole network of addresses.
    for (i, want) in [WRONG, WRONG, WRONG, WRONG, LOCKED, LOCKED].into_iter().enumerate() {
        assert_eq!(guess(&cloud, &format!("2001:db8:1:2::{i}"), &format!("user{i}"), "Summer2026").await.refusal(), want, "{i}");
    }
    assert_eq!(guess(&cloud, "2001:db8:1:2::99", "sysadmin", ADMIN_PASSWORD).await.refusal(), LOCKED);
    assert_eq!(guess(&cloud, "2001:db8:1:3::99", "sysadmin", ADMIN_PASSWORD).await.status, 200, "the neighbour");
    drop(cloud);
    let cloud = cloud_on(open().await, config, clock.clone()).await;
    assert_eq!(guess(&cloud, "2001:db8:1:2::99", "sysadmin", ADMIN_PASSWORD).await.refusal(), LOCKED, "a restart does not help");
    clock.advance(Duration::from_secs(901));
    assert_eq!(guess(&cloud, "2001:db8:1:2::99", "sysadmin", ADMIN_PASSWORD).await.status, 200);
    watch.expect("login locked: too many failures");
}

pub async fn too_many_failures_a_second() {
    let watch = Watch::start();
    let clock = clock();
    let config =
        Config { login_failures_per_second: 0.5, login_failures_at_once: 3.0, login_attempts: 0, login_attempts_of_address: 0, ..config() };
    let cloud = with_alice(config, &clock).await;
    let fast = (429, "TooManyRequests");
    for (i, want) in [WRONG, WRONG, WRONG, fast, fast].into_iter().enumerate() {
        assert_eq!(guess(&cloud, "198.51.100.7", &format!("user{i}"), "guess").await.refusal(), want, "{i}");
    }
    assert_eq!(guess(&cloud, "198.51.100.8", "alice", "guess").await.refusal(), WRONG, "another address");
    clock.advance(Duration::from_secs(2));
    assert_eq!(guess(&cloud, "198.51.100.7", "alice", "guess").await.refusal(), WRONG);
    assert_eq!(guess(&cloud, "198.51.100.7", "alice", "guess").await.refusal(), fast);
    clock.advance(Duration::from_secs(2));
    // Logins that succeed are not slowed down.
    for _ in 0..10 {
        assert_eq!(guess(&cloud, "198.51.100.7", "alice", "alice@Pass1").await.status, 200);
    }
    watch.expect("login refused: too many failures a second");
}

pub async fn names_nobody_has_lock_too() {
    let watch = Watch::start();
    let clock = clock();
    for config in [Config { login_attempts: 3, ..config() }, Config { password_error_lock_count: 2, ..config() }] {
        let cloud = with_alice(config, &clock).await;
        let mut told = Vec::new();
        for user in ["alice", "nobody"] {
            let mut answers = Vec::new();
            for _ in 0..5 {
                let answer = guess(&cloud, "198.51.100.7", user, "guess").await;
                let details = answer.body["details"].as_str().expect("a text").replace(user, "USER");
                answers.push((answer.status, answer.body["class"].clone(), details));
            }
            told.push(answers);
        }
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0][2].0, 429);
    }
    watch.expect("login locked: too many failures");
}

pub async fn one_time_passwords_are_not_guessed() {
    let watch = Watch::start();
    let d = desk().await;
    let (secret, codes) = d.turn_on().await;
    let right = code(&secret, &d.clock);
    let wrong: String = right.chars().map(|c| if c == '9' { '0' } else { char::from(c as u8 + 1) }).collect();
    // One wrong code was shown when it was turned on; wherever they come from, they are counted together.
    let mut refused = 0;
    for i in 0..6 {
        let answer = from(&d.cloud, &format!("198.51.100.{i}"), &login_with(&wrong)).await;
        refused += usize::from(answer.refusal() == (401, "InvalidCredentialError"));
        assert_ne!(answer.status, 200);
    }
    assert!((3..=5).contains(&refused), "{refused}");
    for code in [&right, &codes[0]] {
        assert_eq!(from(&d.cloud, "198.51.100.99", &login_with(code)).await.refusal(), LOCKED, "the right one does not help");
    }
    d.clock.advance(Duration::from_secs(901));
    assert_eq!(d.log_in(&code(&secret, &d.clock)).await.status, 200);
    watch.expect("login locked: too many failures");
}

pub async fn a_used_one_time_password() {
    let watch = Watch::start();
    let d = desk().await;
    let (secret, _) = d.turn_on().await;
    let now = code(&secret, &d.clock);
    assert_eq!(d.log_in(&now).await.status, 200);
    assert_eq!(d.log_in(&now).await.refusal(), (401, "InvalidCredentialError"), "caught and replayed");
    watch.expect("a one-time password was used twice");
    // At once, too: one of them gets in.
    d.clock.advance(Duration::from_secs(30));
    let now = code(&secret, &d.clock);
    let (a, b, c) = tokio::join!(d.log_in(&now), d.log_in(&now), d.log_in(&now));
    let inside = [a, b, c].iter().filter(|answer| answer.status == 200).count();
    assert_eq!(inside, 1);
    watch.expect("a one-time password was used twice");
    // An older one after a newer one is no better.
    d.clock.advance(Duration::from_secs(30));
    let older = code(&secret, &d.clock);
    d.clock.advance(Duration::from_secs(30));
    assert_eq!(d.log_in(&code(&secret, &d.clock)).await.status, 200);
    assert_eq!(d.log_in(&older).await.refusal(), (401, "InvalidCredentialError"));
    watch.expect("a one-time password was used twice");
}

pub async fn old_and_future_signatures() {
    let watch = Watch::start();
    let k = signed::keys().await;
    let now = k.cloud.clock.now();
    let minutes = |n: i64| now.plus_secs(n * 60);
    for (what, request, good) in [
        ("now", signed::in_headers(&k, now), true),
        ("ten minutes old", signed::in_headers(&k, minutes(-10)), true),
        ("ten minutes ahead", signed::in_headers(&k, minutes(10)), true),
        ("old", signed::in_headers(&k, minutes(-20)), false),
        ("of the future", signed::in_headers(&k, minutes(20)), false),
        ("a URL in its time", signed::in_query(&k, minutes(-30), 3600), true),
        ("a URL that ran out", signed::in_query(&k, minutes(-30), 600), false),
        ("a URL of the future", signed::in_query(&k, minutes(20), 600), false),
    ] {
        let answer = signed::ask(&k, "/v3/ec2tokens", request).await;
        assert_eq!(answer.status, if good { 200 } else { 401 }, "{what}: {}", answer.body);
        if !good {
            watch.expect("the date of the signature is too far from now");
        }
    }
    // Longer than a week is no signed URL at all.
    let answer = signed::ask(&k, "/v3/ec2tokens", signed::in_query(&k, now, 700_000)).await;
    assert_eq!(answer.refusal(), (401, "UnauthorizedError"));
}
