//! What a licence bounds: exactly as many as it says, however many ask at once and whichever way; what is there runs on.

use crate::world::{How, World, admin, nothing_leaks, quiet};
use api_agent::Enroll;
use base::{Json, Result, err};
use resource::{Allowance, Bound, BoxFuture, Method};
use serde_json::json;
use std::sync::{Arc, Mutex};
use store::{Cond, Db, Read};

/// A licence that a test takes in; none, one with bounds, or one that is over.
#[derive(Debug, Default)]
struct Paper(Mutex<Terms>);

#[derive(Clone, Debug, Default)]
struct Terms {
    bounds: Vec<Bound>,
    over: bool,
    taken: usize,
}

impl Allowance for Paper {
    fn in_force(&self) -> BoxFuture<'_, Result<Vec<Bound>>> {
        Box::pin(async move {
            let terms = self.0.lock().expect("no panic in between").clone();
            if terms.over { Err(err!(RequireLicense, "the licence does not cover the service {}", "compute_v2")) } else { Ok(terms.bounds) }
        })
    }
}

impl Paper {
    fn take(&self, limits: &[(&'static str, i64)]) {
        let mut terms = self.0.lock().expect("no panic in between");
        terms.taken += 1;
        let mark: Arc<str> = format!("licence-{}", terms.taken).into();
        let bound = |(what, most): &(&'static str, i64)| Bound {
            what,
            table: if *what == "hosts" { "hosts" } else { "servers" },
            sum: (*what == "cpus").then_some("vcpu_held"),
            most: *most,
            mark: mark.clone(),
        };
        terms.bounds = limits.iter().map(bound).collect();
        terms.over = false;
    }

    fn end(&self) {
        self.0.lock().expect("no panic in between").over = true;
    }
}

async fn world(db: Db) -> (World, Arc<Paper>) {
    let paper = Arc::new(Paper::default());
    (World::licensed(db, Some(paper.clone())).await, paper)
}

fn vm(name: &str, cpus: i64) -> Json {
    json!({"server": {"name": name, "vcpu_count": cpus, "vmem_size": 64, "disks": ["tiny:2g"], "disable_delete": false}})
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T>) -> String {
    let e = answer.expect_err("a refusal");
    assert_eq!((e.class().name(), e.class().http()), ("RequireLicenseError", 402), "{e}");
    e.to_string()
}

/// How many of so many who ask at once are let in; the others are refused for the licence's sake.
async fn rush(world: &World, word: &str, many: usize, cpus: i64) -> usize {
    let names: Vec<String> = (0..many).map(|i| format!("{word}{i}")).collect();
    let all = futures_util::future::join_all(names.iter().map(|name| world.post("servers", vm(name, cpus)))).await;
    let made = all.iter().filter(|a| a.is_ok()).count();
    all.into_iter().filter(Result::is_err).for_each(|a| _ = refused(a));
    made
}

async fn kept(world: &World) -> i64 {
    (&world.db).count("allowances", Cond::True).await.expect("a table")
}

async fn exactly_as_many(db: Db) {
    let (world, paper) = world(db).await;
    assert_eq!(rush(&world, "free", 3, 1).await, 3);
    assert_eq!(kept(&world).await, 0, "without bounds nothing is counted");

    // Those who were there before count.
    paper.take(&[("servers", 12)]);
    assert_eq!(rush(&world, "a", 32, 1).await, 9);
    assert_eq!(world.get("servers?scope=system").await.expect("a list")["total"], 12);
    // What goes away for good gives its place back, and one place is one.
    quiet(&world).await;
    world.delete("servers/free0?override_pending_delete=true").await.expect("deleted");
    world.gone("servers/free0").await;
    assert_eq!(rush(&world, "b", 32, 1).await, 1);

    // What was made while another licence was in force was not counted, and is.
    paper.take(&[]);
    assert_eq!(rush(&world, "d", 4, 1).await, 4);
    paper.take(&[("servers", 18)]);
    assert_eq!(rush(&world, "e", 32, 1).await, 2);
    paper.take(&[("servers", 10)]);
    let why = refused(world.post("servers", vm("f", 1)).await);
    assert!(why.contains("for 10 servers") && why.contains("there would be 19"), "{why}");

    // Processors: creations and growth, together with a bound on servers.
    let cpus = 18;
    paper.take(&[("servers", 30), ("cpus", cpus + 7)]);
    assert_eq!(rush(&world, "g", 32, 2).await, 3);
    assert_eq!(rush(&world, "h", 32, 1).await, 1);
    let mut three = vm("three", 1);
    three["server"]["count"] = json!(3);
    paper.take(&[("servers", 30), ("cpus", cpus + 9)]);
    refused(world.post("servers", three).await);
    assert_eq!(rush(&world, "i", 32, 1).await, 2, "nothing of a refused batch stays");
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn growth(db: Db) {
    let (world, paper) = world(db).await;
    let _host = world.host("h1", How::Obedient).await;
    for name in ["a", "b"] {
        world.post("servers", vm(name, 2)).await.expect("a server");
        world.reach(name, &["ready"]).await;
    }
    quiet(&world).await;
    // What lies in the bin can come back.
    paper.take(&[("servers", 2)]);
    world.delete("servers/b").await.expect("into the bin");
    quiet(&world).await;
    refused(world.post("servers", vm("c", 1)).await);
    world.post("servers/b/cancel-delete", json!({})).await.expect("out of the bin");
    paper.take(&[("cpus", 5)]);
    let resize = async |name: &str, cpus: i64| world.post(&format!("servers/{name}/change-config"), json!({"vcpu_count": cpus})).await;
    let why = refused(resize("a", 4).await);
    assert!(why.contains("for 5 cpus") && why.contains("would be 6"), "{why}");
    let both = futures_util::future::join_all([resize("a", 3), resize("b", 3)]).await;
    assert_eq!(both.iter().filter(|a| a.is_ok()).count(), 1, "one processor is left: {both:?}");
    let grown = if both[0].is_ok() { "a" } else { "b" };
    // Over the bound, by a smaller licence: less is always right, and so is more memory.
    paper.take(&[("cpus", 1)]);
    refused(resize(grown, 4).await);
    world.post(&format!("servers/{grown}/change-config"), json!({"vmem_size": 128})).await.expect("memory is not bounded");
    resize(grown, 1).await.expect("less");
    paper.end();
    refused(resize(grown, 2).await);
    world.post(&format!("servers/{grown}/change-config"), json!({"vcpu_count": 1, "vmem_size": 64})).await.expect("less, after the end");
    quiet(&world).await;
    nothing_leaks(&world).await;
}

/// A smaller size that is taken back: until it is certain, nobody else has what it gave up.
async fn taken_back(db: Db) {
    let (world, paper) = world(db).await;
    let host = world.host("h1", How::Obedient).await;
    world.post("servers", vm("a", 4)).await.expect("a server");
    world.reach("a", &["ready"]).await;
    quiet(&world).await;
    let how = |way| *host.how.lock().expect("no panic in between") = way;
    let shrink = async || {
        how(How::Deaf);
        world.post("servers/a/change-config", json!({"vcpu_count": 1, "auto_start": true})).await.expect("it begins");
        assert_eq!(world.get("servers/a").await.expect("the server")["server"]["vcpu_count"], 1);
        // By another licence everything is counted anew, just now.
        paper.take(&[("cpus", 6)]);
    };
    shrink().await;
    let why = refused(world.post("servers", vm("b", 3)).await);
    assert!(why.contains("for 6 cpus") && why.contains("there would be 7"), "{why}");
    world.post("servers", vm("c", 1)).await.expect("two are free");
    how(How::NoStarts);
    world.reach("a", &["ready"]).await;
    quiet(&world).await;
    assert_eq!(world.get("servers/a").await.expect("the server")["server"]["vcpu_count"], 4);
    assert_eq!(rush(&world, "d", 4, 1).await, 1, "with c there are six");
    // One that comes to stay.
    quiet(&world).await;
    shrink().await;
    refused(world.post("servers", vm("b", 1)).await);
    how(How::Obedient);
    world.reach("a", &["running"]).await;
    quiet(&world).await;
    assert_eq!(rush(&world, "e", 8, 1).await, 3, "three were given up");
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn after_the_end(db: Db) {
    let (world, paper) = world(db).await;
    let _host = world.host("h1", How::Obedient).await;
    world.post("servers", vm("a", 1)).await.expect("a server");
    world.reach("a", &["ready"]).await;
    world.post("servers/a/start", json!({})).await.expect("it starts");
    world.reach("a", &["running"]).await;
    quiet(&world).await;
    paper.end();
    assert_eq!(world.reach("a", &["running"]).await["power_states"], "on");
    for path in ["servers", "hosts", "disks", "servers/a"] {
        world.get(path).await.expect(path);
    }
    for (path, body) in [
        ("servers", vm("b", 1)),
        ("disks", json!({"disk": {"name": "d", "size": "1g"}})),
        ("servers/a/createdisk", json!({"disks": ["1g"]})),
        ("keypairs", json!({"keypair": {"name": "k"}})),
    ] {
        refused(world.post(path, body).await);
    }
    // It runs on, stops, starts, is renamed, and goes.
    world.post("servers/a/restart", json!({"timeout_secs": 1})).await.expect("it restarts");
    quiet(&world).await;
    world.reach("a", &["running"]).await;
    world.post("servers/a/stop", json!({"is_force": true})).await.expect("it stops");
    world.reach("a", &["ready"]).await;
    quiet(&world).await;
    world.post("servers/a/start", json!({})).await.expect("it starts again");
    world.reach("a", &["running"]).await;
    quiet(&world).await;
    world.ask(&admin(), Method::Put, "servers/a", json!({"server": {"description": "x"}})).await.expect("described");
    world.delete("servers/a?override_pending_delete=true").await.expect("it goes");
    world.gone("servers/a").await;
    quiet(&world).await;
    nothing_leaks(&world).await;
}

async fn hosts(db: Db) {
    let (world, paper) = world(db).await;
    let _first = world.host("h1", How::Obedient).await;
    let agents = &world.region.agents;
    let token = async || agents.new_token("default", 600).await.expect("a token");
    let enroll = async |token: &str, secret: &str| {
        agents.enroll(Enroll { token: token.into(), hostname: format!("more-{}", &token[..8]), secret: secret.into() }).await
    };
    paper.take(&[("hosts", 3)]);
    let tokens = [token().await, token().await, token().await, token().await];
    let all = futures_util::future::join_all(tokens.iter().map(|t| enroll(t, ""))).await;
    let (made, left): (Vec<_>, Vec<_>) = tokens.iter().zip(all).partition(|(_, a)| a.is_ok());
    assert_eq!(made.len(), 2);
    for (_, answer) in &left {
        assert_eq!(answer.as_ref().expect_err("refused").class().http(), 402);
    }
    // The token of who was refused is good for later.
    let secret = "7".repeat(64);
    paper.end();
    refused(enroll(left[0].0, &secret).await);
    paper.take(&[("hosts", 4)]);
    let fourth = enroll(left[0].0, &secret).await.expect("there is room now");
    refused(enroll(left[1].0, "").await);
    // An agent that asks again because it was not answered is a host already.
    paper.end();
    assert_eq!(enroll(left[0].0, &secret).await.expect("the same").host_id, fourth.host_id);
    assert!(agents.authenticate(&fourth.credential).await.is_ok(), "what is there works on");
    let why = refused(world.post("hosts", json!({"host": {"name": "by hand", "zone_id": "z"}})).await);
    assert!(why.contains("compute_v2"), "{why}");
}

macro_rules! on_both {
    ($($scenario:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $scenario() {
                super::$scenario(store::Db::open("sqlite::memory:").await.expect("a database in memory")).await;
            }
        )+
        #[tokio::test(flavor = "multi_thread")]
        async fn pg_all() {
            $(super::$scenario(store::testing::postgres().await).await;)+
        }
    };
}

mod licensed {
    on_both!(exactly_as_many, growth, taken_back, after_the_end, hosts);
}
