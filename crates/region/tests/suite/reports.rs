//! Reports of hosts: what they change, whoever of several processes they come to.

use crate::world::{How, LONG, World, admin, document_of, obey, quiet};
use api_agent::{Enroll, GuestObserved, GuestState, Observed};
use base::{Clock, Json, Timestamp};
use resource::Method;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;
use store::{Cond, Name, work};

crate::world::on_both!(
    an_enrolment_may_be_asked_for_again,
    machines_of_one_name_come_at_once,
    each_process_comes_to_know,
    a_host_learns_which_request_it_works_for,
    servers_of_a_silent_host_are_unknown,
    a_failed_start_is_remembered
);

/// A stopped server on a host; its identifier, and the host's.
async fn stopped(world: &World) -> (String, region_compute::agent::HostId) {
    let host = world.machine("h1").await;
    let how = Mutex::new(How::Obedient);
    let made = async {
        let vm = json!({"name": "vm", "vmem_size": 512, "disks": ["tiny:2g"], "disable_delete": false});
        world.post("servers", json!({ "server": vm })).await.unwrap();
        let vm = world.reach("vm", &["ready"]).await;
        quiet(world).await;
        vm["id"].as_str().unwrap().to_string()
    };
    let id = tokio::select! {
        id = made => id,
        () = obey(&world.region.agents, &host, &how) => unreachable!("it goes on for ever"),
    };
    (id, host)
}

async fn an_enrolment_may_be_asked_for_again(world: World) {
    let agents = &world.region.agents;
    let token = agents.new_token("default", 600).await.unwrap();
    let ask = |secret: &str| Enroll { token: token.clone(), hostname: "h1".into(), secret: secret.repeat(32) };
    let short = agents.enroll(Enroll { secret: "ab".into(), ..ask("") }).await.unwrap_err();
    assert_eq!(short.class().name(), "InputParameterError");
    // The answer was lost: the agent asks again.
    let first = agents.enroll(ask("a1")).await.unwrap();
    let again = agents.enroll(ask("a1")).await.unwrap();
    assert_eq!((&first.host_id, &first.credential), (&again.host_id, &again.credential));
    assert_eq!(agents.authenticate(&again.credential).await.unwrap().as_str(), first.host_id);
    assert_eq!(world.get("hosts").await.unwrap()["total"], 1);
    // Another machine with the same token is told so.
    for secret in ["b2", ""] {
        let e = agents.enroll(ask(secret)).await.unwrap_err();
        assert!(e.class().name() == "UnauthorizedError" && e.to_string().contains("used or expired; make a new one"), "{e}");
    }
    // A host that is gone has no credential any more.
    world.post("hosts/h1/disable", json!({})).await.unwrap();
    world.delete("hosts/h1").await.unwrap();
    assert!(agents.authenticate(&first.credential).await.is_err_and(|e| e.to_string().contains("enrol the host again")));
    assert!(agents.enroll(ask("a1")).await.is_err());
}

/// Cloned machines, say, that are switched on together.
async fn machines_of_one_name_come_at_once(world: World) {
    const MANY: usize = 8;
    let agents = &world.region.agents;
    for round in ["node", "rack.example"] {
        let mut tokens = Vec::new();
        for _ in 0..MANY {
            tokens.push(agents.new_token("default", 600).await.unwrap());
        }
        let enroll = |token: String| {
            let agents = agents.clone();
            tokio::spawn(async move { agents.enroll(Enroll { token, hostname: round.into(), secret: String::new() }).await })
        };
        let mut hosts = BTreeSet::new();
        for answer in futures_util::future::join_all(tokens.into_iter().map(enroll)).await {
            let enrolled = answer.unwrap().unwrap();
            assert_eq!(agents.authenticate(&enrolled.credential).await.unwrap().as_str(), enrolled.host_id);
            hosts.insert(enrolled.host_id);
        }
        let all = world.get("hosts?scope=system&limit=100").await.unwrap();
        let named = all["hosts"].as_array().unwrap().iter().filter(|h| hosts.contains(h["id"].as_str().unwrap()));
        let names: BTreeSet<&str> = named.map(|h| h["name"].as_str().unwrap()).collect();
        let numbered: Vec<String> = (1..MANY).map(|n| format!("{round}-{n}")).collect();
        assert_eq!(names, numbered.iter().map(String::as_str).chain([round]).collect());
    }
}

async fn each_process_comes_to_know(world: World) {
    let (id, host) = stopped(&world).await;
    let clock = Clock::manual(Timestamp(1_700_000_000_000_000));
    let [one, other] = [World::at(world.db.clone(), clock.clone()).await, World::at(world.db.clone(), clock.clone()).await];
    let report = |state: GuestState| Observed {
        guests: vec![GuestObserved { id: id.clone(), generation: 1, state, ..GuestObserved::default() }],
        ..Observed::default()
    };
    let status = async || world.get("servers/vm").await.unwrap()["server"]["status"].clone();
    let tell = async |to: &World, state| drop(to.region.agents.observed(&host, report(state)).await.unwrap());
    tell(&one, GuestState::Stopped).await;
    tell(&other, GuestState::Running).await;
    assert_eq!(status().await, "running");
    // To the first it is no news.
    clock.advance(Duration::from_secs(25));
    tell(&one, GuestState::Stopped).await;
    assert_eq!(status().await, "ready");

    // What came while a task held the server counts once it is over.
    let hold: Vec<(Name, base::Value)> =
        vec![("kind".into(), "server".into()), ("id".into(), id.as_str().into()), ("task_id".into(), "t".into())];
    let hold = &hold;
    world.db.tx(|tx| work(async move { tx.insert_into("task_holds", hold.clone()).await })).await.unwrap();
    tell(&one, GuestState::Running).await;
    assert_eq!(status().await, "ready");
    world.db.tx(|tx| work(async move { tx.delete("task_holds", Cond::eq("task_id", "t")).await })).await.unwrap();
    clock.advance(Duration::from_secs(25));
    tell(&one, GuestState::Running).await;
    assert_eq!(status().await, "running");
}

async fn a_host_learns_which_request_it_works_for(world: World) {
    let host = world.machine("h1").await;
    let agents = &world.region.agents;
    let asker = |id: &str| base::Ctx { request_id: id.into(), ..admin() };
    let ask = async |id: &str, path: &str, body: Json| world.ask(&asker(id), Method::Post, path, body).await.unwrap();
    let until = async |what: &str, seen: &dyn Fn(&api_agent::Desired) -> bool| {
        let found = tokio::time::timeout(LONG, async {
            loop {
                let document = document_of(agents, &host).await;
                if seen(&document) {
                    return document;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("{what}"))
    };
    ask("req-create", "servers", json!({"server": {"name": "vm", "vmem_size": 512, "disks": ["tiny:2g"], "disable_delete": false}})).await;
    let document = until("a disk to make", &|d| !d.disks.is_empty()).await;
    assert_eq!((document.disks[0].request_id.as_str(), document.guests.len()), ("req-create", 0), "{document:?}");
    let how = Mutex::new(How::Obedient);
    tokio::select! {
        _ = async { world.reach("vm", &["ready"]).await; quiet(&world).await } => {}
        () = obey(agents, &host, &how) => {}
    }
    let rest = document_of(agents, &host).await;
    assert_eq!((rest.disks[0].request_id.as_str(), rest.guests[0].request_id.as_str()), ("", ""));

    ask("req-start", "servers/vm/start", json!({})).await;
    let document = until("a guest to start", &|d| d.guests[0].generation > rest.guests[0].generation).await;
    assert_eq!(document.guests[0].request_id, "req-start");
    tokio::select! {
        _ = async { world.reach("vm", &["running"]).await; quiet(&world).await } => {}
        () = obey(agents, &host, &how) => {}
    }
    ask("req-reset", "servers/vm/reset", json!({})).await;
    let document = until("a button to press", &|d| !d.jobs.is_empty()).await;
    assert_eq!((document.jobs[0].request_id.as_str(), &document.guests[0].id), ("req-reset", &rest.guests[0].id));
    tokio::select! {
        () = quiet(&world) => {}
        () = obey(agents, &host, &how) => {}
    }
    assert!(document_of(agents, &host).await.jobs.is_empty());
}

async fn servers_of_a_silent_host_are_unknown(world: World) {
    let (id, host) = stopped(&world).await;
    let clock = Clock::manual(Clock::real().now());
    let one = World::at(world.db.clone(), clock.clone()).await;
    let report = |state: GuestState, error: &str| Observed {
        guests: vec![GuestObserved { id: id.clone(), generation: 1, state, error: error.into(), ..GuestObserved::default() }],
        ..Observed::default()
    };
    let vm = async || world.get("servers/vm").await.unwrap()["server"].clone();
    let is = async |status: &str, power: &str| {
        let vm = vm().await;
        assert_eq!((vm["status"].as_str(), vm["power_states"].as_str()), (Some(status), Some(power)), "{vm}");
    };
    one.region.agents.observed(&host, report(GuestState::Stopped, "")).await.unwrap();
    // Nobody was heard by a process that has just begun.
    clock.advance(Duration::from_secs(3600));
    let young = World::at(world.db.clone(), clock.clone()).await;
    assert_eq!(young.region.agents.mark_offline().await.unwrap(), 0);
    is("ready", "off").await;

    // A task at work on the server keeps its word until it ends.
    let hold: Vec<(Name, base::Value)> =
        vec![("kind".into(), "server".into()), ("id".into(), id.as_str().into()), ("task_id".into(), "t".into())];
    let hold = &hold;
    world.db.tx(|tx| work(async move { tx.insert_into("task_holds", hold.clone()).await })).await.unwrap();
    assert_eq!(one.region.agents.mark_offline().await.unwrap(), 1);
    is("ready", "off").await;
    world.db.tx(|tx| work(async move { tx.delete("task_holds", Cond::eq("task_id", "t")).await })).await.unwrap();
    let seen = world.db.feed().settle().await.unwrap();
    assert_eq!(one.region.agents.mark_offline().await.unwrap(), 0);
    is("unknown", "unknown").await;
    world.db.feed().settle().await.unwrap();
    let told = world.db.feed().after(seen, 1000).await.unwrap().changes;
    let told: Vec<_> = told.iter().filter(|(_, _, c)| c.kind == "server").map(|(_, _, c)| (c.id.clone(), c.version)).collect();
    assert_eq!(told, [(id.clone(), vm().await["update_version"].as_i64().unwrap())], "consoles are told once");

    // What was seen before is not how it is; the server may go, but not run.
    world.post("servers/vm/syncstatus", json!({})).await.unwrap();
    is("unknown", "unknown").await;
    for word in ["start", "stop", "reset"] {
        let e = world.post(&format!("servers/vm/{word}"), json!({})).await.unwrap_err();
        assert_eq!(e.class().name(), "InvalidStatusError", "{e}");
    }
    // The same report as before the silence is news now.
    one.region.agents.observed(&host, report(GuestState::Stopped, "")).await.unwrap();
    is("ready", "off").await;
    // A host that comes back without a server that should run says why.
    one.region.agents.observed(&host, report(GuestState::Running, "")).await.unwrap();
    is("running", "on").await;
    clock.advance(Duration::from_secs(3600));
    assert_eq!(one.region.agents.mark_offline().await.unwrap(), 1);
    is("unknown", "unknown").await;
    one.region.agents.observed(&host, report(GuestState::Failed, "no accelerator")).await.unwrap();
    is("ready", "off").await;
    clock.advance(Duration::from_secs(3600));
    assert_eq!(one.region.agents.mark_offline().await.unwrap(), 1);
    assert!(world.delete("servers/vm").await.is_ok());
}

async fn a_failed_start_is_remembered(world: World) {
    let (_, host) = stopped(&world).await;
    let how = Mutex::new(How::NoStarts);
    let failed = async {
        world.post("servers/vm/start", json!({})).await.unwrap();
        world.reach("vm", &["start_fail"]).await;
        quiet(&world).await;
    };
    tokio::select! {
        () = failed => {}
        () = obey(&world.region.agents, &host, &how) => {}
    }
    let db = world.db.clone();
    drop(world);
    // Its successor has heard nothing yet, so everything is news to it.
    let next = World::on(db).await;
    for _ in 0..3 {
        let document = document_of(&next.region.agents, &host).await;
        let guests = document.guests.iter().map(|g| GuestObserved {
            id: g.id.clone(),
            generation: g.generation,
            state: GuestState::Stopped,
            ..GuestObserved::default()
        });
        let report = Observed { version: document.version, guests: guests.collect(), ..Observed::default() };
        next.region.agents.observed(&host, report).await.unwrap();
        let vm = next.ask(&admin(), Method::Get, "servers/vm", Json::Null).await.unwrap()["server"].clone();
        assert_eq!(vm["status"], "start_fail", "{vm}");
        assert!(vm["status_reason"].as_str().unwrap().contains("no accelerator"), "{vm}");
    }
}
