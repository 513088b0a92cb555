//! The whole agent over simulated effects: documents in, reports out, and what a death in the middle does.

use api_agent::*;
use base::{Clock, err};
use host::sim::{MemoryRegion, PowerButton, Script, World};
use host::{Agent, Talk};
use std::sync::Arc;
use std::time::Duration;

/// Virtual time: tests run with the clock paused, so this is only how long simulated waiting may take.
const WITHIN: Duration = Duration::from_secs(600);

struct Bench {
    world: Arc<World>,
    region: Arc<MemoryRegion>,
    agent: Option<Agent>,
}

impl Bench {
    async fn new() -> Bench {
        let mut bench = Bench { world: World::new(World::facts("sim-1")), region: MemoryRegion::new(), agent: None };
        bench.start().await;
        bench
    }

    async fn start(&mut self) {
        self.agent = None;
        let talk = Talk { enroll_token: self.region.token(), ..Talk::default() };
        self.agent = Some(Agent::start(self.world.parts(self.region.clone(), Clock::real()), talk).await.unwrap());
    }

    /// Waits until the agent has reported all of the newest document, whatever came of it.
    async fn shows(&self, what: &str, shows: impl Fn(&Observed) -> bool) -> Observed {
        let version = self.region.document().version;
        let seen = self.region.until(WITHIN, |o| o.version == version && shows(o)).await;
        seen.unwrap_or_else(|| panic!("{what}; last: {:#?}", self.region.last()))
    }

    async fn guest(&self, state: GuestState) -> GuestObserved {
        let generation = self.region.document().guests[0].generation;
        let is = |g: &GuestObserved| g.state == state && g.generation == generation;
        let all = self.shows(&format!("guest is {state:?}"), |o| o.guests.first().is_some_and(is)).await;
        all.guests[0].clone()
    }

    fn change(&self, by: impl FnOnce(&mut GuestSpec)) {
        self.region.edit(|d| {
            by(&mut d.guests[0]);
            d.guests[0].generation += 1;
        });
    }
}

fn disk(id: &str) -> DiskSpec {
    DiskSpec { id: id.into(), generation: 1, size_mb: 100, image_id: "img".into(), storage_path: "/sim".into(), ..Default::default() }
}

fn guest_disk(id: &str, index: i64) -> GuestDisk {
    GuestDisk { disk_id: id.into(), index, driver: "virtio".into(), boot_index: -1, ..Default::default() }
}

fn nic(index: i64) -> GuestNic {
    GuestNic {
        index,
        ifname: format!("tap{index}"),
        mac: format!("52:54:00:00:00:0{index}"),
        network_id: "net".into(),
        ..Default::default()
    }
}

fn one_guest(d: &mut Desired) {
    d.images = vec![ImageSpec { id: "img".into(), size: 10, ..Default::default() }];
    d.networks = vec![NetworkSpec { id: "net".into(), ..Default::default() }];
    d.disks = vec![disk("d0")];
    d.guests = vec![GuestSpec {
        id: "g".into(),
        generation: 1,
        power: Power::On,
        starts: 1,
        vmem_size: 128,
        stop_timeout_secs: 60,
        disks: vec![guest_disk("d0", 0)],
        nics: vec![nic(0)],
        ..Default::default()
    }];
}

#[tokio::test(start_paused = true)]
async fn life_of_a_guest() {
    let bench = Bench::new().await;
    bench.region.edit(one_guest);
    let up = bench.guest(GuestState::Running).await;
    assert!(up.pid > 0 && up.error.is_empty() && up.serial.ends_with("serial.sock"), "{up:?}");
    let all = bench.region.last();
    assert_eq!((all.disks[0].state, all.disks[0].size_mb, all.orphans.len()), (DiskState::Ready, 100, 0));
    assert_eq!(all.stats.memory_used_mb, 128);
    assert_eq!(bench.region.registered().unwrap().accelerator, "kvm");
    assert_eq!(bench.world.network.ports()["tap0"], "net");

    bench.change(|g| g.power = Power::Off);
    let down = bench.guest(GuestState::Stopped).await;
    assert!(!down.ended_by_itself && down.pid == 0);
    assert!(bench.world.network.ports().is_empty(), "ports are given back");

    bench.change(|g| (g.power, g.starts) = (Power::On, 2));
    bench.guest(GuestState::Running).await;
    bench.change(|g| g.restarts = 1);
    let restarted = bench.shows("restarted", |o| o.guests[0].restarts == 1 && o.guests[0].state == GuestState::Running).await;
    assert_ne!(restarted.guests[0].pid, up.pid);
    assert_eq!(bench.world.hypervisor.launches("g"), 3);

    bench.world.hypervisor.guest_ends("g", "the guest shut down");
    let ended = bench.guest(GuestState::Stopped).await;
    assert!(ended.ended_by_itself && ended.error == "the guest shut down", "{ended:?}");
    // A change that crosses the end wakes nobody; a start does.
    bench.change(|g| g.name = "renamed".into());
    assert!(bench.guest(GuestState::Stopped).await.ended_by_itself);
    bench.change(|g| g.starts = 3);
    bench.guest(GuestState::Running).await;

    bench.region.edit(|d| {
        (d.guests[0].existence, d.guests[0].generation) = (Existence::Absent, 99);
        (d.disks[0].existence, d.disks[0].generation) = (Existence::Absent, 2);
    });
    bench.guest(GuestState::Absent).await;
    bench.shows("disk gone", |o| o.disks[0].state == DiskState::Absent).await;
    assert!(bench.world.disks.sizes().is_empty() && bench.world.network.ports().is_empty());
    assert!(bench.world.records.snapshot().guests.is_empty());
    bench.region.edit(|d| (d.guests, d.disks) = (vec![], vec![]));
    bench.shows("nothing left", |o| o.guests.is_empty() && o.disks.is_empty()).await;
}

#[tokio::test]
async fn a_guest_that_ignores_the_button_is_cut_off_in_time() {
    let bench = Bench::new().await;
    bench.world.hypervisor.script("g", Script { power_button: PowerButton::Ignores, ..Default::default() });
    bench.region.edit(one_guest);
    bench.guest(GuestState::Running).await;
    // Deadlines of guests outlive agents and are of the wall clock, so here time is not paused. It has a minute, until it was seen waiting.
    bench.change(|g| g.power = Power::Off);
    bench.guest(GuestState::Stopping).await;
    bench.change(|g| g.stop_timeout_secs = 1);
    bench.guest(GuestState::Stopped).await;
}

#[tokio::test(start_paused = true)]
async fn wanted_again_while_it_goes_down() {
    let bench = Bench::new().await;
    let slow = Script { power_button: PowerButton::ObeysAfter(Duration::from_millis(500)), ..Default::default() };
    bench.world.hypervisor.script("g", slow);
    bench.region.edit(one_guest);
    let first = bench.guest(GuestState::Running).await.pid;
    bench.change(|g| g.power = Power::Off);
    bench.guest(GuestState::Stopping).await;
    bench.change(|g| (g.power, g.starts) = (Power::On, 2));
    let again = bench.shows("up again", |o| o.guests[0].state == GuestState::Running && o.guests[0].generation == 3).await;
    assert_ne!(again.guests[0].pid, first);
}

#[tokio::test(start_paused = true)]
async fn plug_and_unplug() {
    let bench = Bench::new().await;
    bench.region.edit(one_guest);
    bench.guest(GuestState::Running).await;
    bench.region.edit(|d| {
        d.disks.push(disk("d1"));
        d.guests[0].disks.push(guest_disk("d1", 1));
        d.guests[0].nics.push(nic(1));
        d.guests[0].generation = 2;
    });
    bench.guest(GuestState::Running).await;
    assert_eq!(bench.world.hypervisor.devices("g"), ["disk0", "disk1", "nic0", "nic1"]);
    // A disk in use is not deleted under its guest.
    bench.region.edit(|d| (d.disks[1].existence, d.disks[1].generation) = (Existence::Absent, 2));
    bench.shows("waits", |o| o.disks[1].error.contains("guest g still uses it")).await;
    bench.change(|g| drop((g.disks.pop(), g.nics.remove(0))));
    bench.guest(GuestState::Running).await;
    bench.shows("deleted", |o| o.disks[1].state == DiskState::Absent).await;
    assert_eq!(bench.world.hypervisor.devices("g"), ["disk0", "nic1"]);
    assert_eq!(bench.world.network.ports().into_keys().collect::<Vec<_>>(), ["tap1"]);
    assert_eq!(bench.world.hypervisor.launches("g"), 1);

    // Growing goes through the guest.
    bench.region.edit(|d| (d.disks[0].size_mb, d.disks[0].generation) = (200, 2));
    bench.shows("grown", |o| o.disks[0].size_mb == 200).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_the_guest_keeps_fails_the_change_not_the_guest() {
    let bench = Bench::new().await;
    bench.world.hypervisor.script("g", Script { keeps_devices: true, ..Default::default() });
    bench.region.edit(one_guest);
    bench.guest(GuestState::Running).await;
    bench.change(|g| g.nics.clear());
    let seen = bench.guest(GuestState::Running).await;
    assert!(seen.error.contains("did not let go of nic0"), "{seen:?}");
    assert!(bench.world.network.ports().contains_key("tap0"), "its port stays, for it is in use");
}

#[tokio::test(start_paused = true)]
async fn a_running_guest_is_given_a_password_once() {
    let mut bench = Bench::new().await;
    let login = |account: &str, password: &str| Some((account.to_string(), password.to_string()));
    bench.region.edit(|d| {
        one_guest(d);
        (d.guests[0].meta.password, d.guests[0].meta.password_generation) = ("first".into(), 1);
    });
    bench.guest(GuestState::Running).await;
    assert_eq!(bench.world.hypervisor.login("g"), None, "what it starts with it is told at its start");
    bench.change(|g| (g.meta.login_account, g.meta.password, g.meta.password_generation) = ("ann".into(), "second".into(), 2));
    bench.guest(GuestState::Running).await;
    assert_eq!(bench.world.hypervisor.login("g"), login("ann", "second"));
    // One that it cannot be given fails, and not the guest; the one before stays.
    bench.world.faults.fail("set_password", err!(Timeout, "no agent answers"), 9);
    bench.change(|g| (g.meta.password, g.meta.password_generation) = ("third".into(), 3));
    assert!(bench.guest(GuestState::Running).await.error.contains("no agent answers"));
    bench.change(|g| (g.meta.password, g.meta.password_generation) = ("second".into(), 2));
    assert_eq!(bench.guest(GuestState::Running).await.error, "");
    // Neither another life of the agent nor another start gives it again.
    bench.start().await;
    bench.change(|g| g.restarts = 1);
    bench.shows("restarted", |o| o.guests[0].restarts == 1 && o.guests[0].state == GuestState::Running).await;
    assert_eq!(bench.world.hypervisor.login("g"), None, "a new process, told at its start");
}

/// A device that is wanted again while the guest still has to let go of the one it was asked for is plugged anew; who stops the guest does not wait for it.
#[tokio::test(start_paused = true)]
async fn a_slow_device_is_waited_for_unless_the_guest_is_to_end() {
    const SLOW: Duration = Duration::from_secs(20);
    let bench = Bench::new().await;
    bench.world.hypervisor.script("g", Script { slow_devices: SLOW, ..Default::default() });
    bench.region.edit(one_guest);
    bench.guest(GuestState::Running).await;
    let began = tokio::time::Instant::now();
    bench.change(|g| g.nics.clear());
    tokio::time::sleep(SLOW / 4).await;
    bench.change(|g| g.nics = vec![nic(0)]);
    let seen = bench.guest(GuestState::Running).await;
    assert!(began.elapsed() >= SLOW && seen.error.is_empty(), "{seen:?} after {:?}", began.elapsed());
    assert!(bench.world.hypervisor.devices("g").contains(&"nic0".to_string()), "it is plugged");
    assert!(bench.world.network.ports().contains_key("tap0"));

    let began = tokio::time::Instant::now();
    bench.change(|g| g.nics.clear());
    tokio::time::sleep(SLOW / 4).await;
    bench.change(|g| (g.power, g.force_stop) = (Power::Off, true));
    bench.guest(GuestState::Stopped).await;
    assert!(began.elapsed() < SLOW, "{:?}", began.elapsed());
}

/// How long a guest without an agent is asked for it.
const SILENCE: Duration = Duration::from_secs(300);

/// A guest that is to be given a password by its agent, which does not answer.
async fn waiting_for_an_agent() -> Bench {
    let bench = Bench::new().await;
    bench.world.hypervisor.script("g", Script { no_agent: Some(SILENCE), ..Default::default() });
    bench.region.edit(one_guest);
    bench.guest(GuestState::Running).await;
    bench.change(|g| (g.meta.password, g.meta.password_generation) = ("second".into(), 2));
    bench.shows("the password is waited for", |o| o.guests[0].generation == 1).await;
    bench
}

/// A guest that the document names no more while it is waited for is left alone, and so is the processor.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_guest_that_is_not_named() {
    let bench = waiting_for_an_agent().await;
    bench.region.edit(|d| d.guests.clear());
    bench.shows("nothing is told of it", |o| o.guests.is_empty()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(bench.region.last().guests.is_empty(), "somebody still tells of it");
}

/// Nobody waits for a guest whose agent does not answer: what is wanted by now is done at once.
#[tokio::test(start_paused = true)]
async fn waiting_for_a_guest_ends_when_something_else_is_wanted() {
    type Wish = fn(&mut GuestSpec);
    let wishes: [(Wish, GuestState); 5] = [
        (|g| (g.power, g.force_stop) = (Power::Off, true), GuestState::Stopped),
        (|g| g.power = Power::Off, GuestState::Stopped),
        (|g| (g.restarts, g.force_stop) = (1, true), GuestState::Running),
        (|g| g.existence = Existence::Absent, GuestState::Absent),
        // Taken back.
        (|g| g.meta.password_generation = 0, GuestState::Running),
    ];
    for (wish, state) in wishes {
        let bench = waiting_for_an_agent().await;
        let began = tokio::time::Instant::now();
        bench.change(wish);
        let seen = bench.guest(state).await;
        assert!(began.elapsed() < SILENCE / 10, "{state:?} after {:?}", began.elapsed());
        assert_eq!((seen.error.as_str(), bench.world.hypervisor.login("g")), ("", None));
    }
    // Another disk comes before the password, and the press of a button beside it; in the end it is said what did not come.
    let bench = waiting_for_an_agent().await;
    let began = tokio::time::Instant::now();
    bench.region.edit(|d| {
        d.disks.push(disk("d1"));
        d.guests[0].disks.push(guest_disk("d1", 1));
        d.guests[0].generation += 1;
    });
    while !bench.world.hypervisor.devices("g").contains(&"disk1".to_string()) {
        assert!(began.elapsed() < SILENCE / 10, "the disk waits for the password");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let seen = bench.guest(GuestState::Running).await;
    assert!(seen.error.contains("agent does not answer"), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_say_why_and_are_not_repeated() {
    let bench = Bench::new().await;
    bench.world.faults.fail("disk.create", err!(OutOfResource, "the storage at {} is full", "/sim"), 9);
    bench.region.edit(one_guest);
    let seen = bench.guest(GuestState::Failed).await;
    assert_eq!(seen.error, "disk d0: the storage at /sim is full");
    assert_eq!(bench.region.last().disks[0].state, DiskState::Failed);
    // Room was made: the disk is asked for anew, then the guest.
    bench.world.faults.fail("disk.create", err!(Internal, "x"), 0);
    bench.region.edit(|d| d.disks[0].generation = 2);
    bench.shows("disk ready", |o| o.disks[0].state == DiskState::Ready).await;
    bench.guest(GuestState::Failed).await;
    bench.change(|_| {});
    bench.guest(GuestState::Running).await;

    bench.change(|g| g.power = Power::Off);
    bench.guest(GuestState::Stopped).await;
    // A passing failure is tried again by itself, a lasting one is not.
    bench.world.faults.fail("launch", err!(Timeout, "slow"), 2);
    bench.change(|g| g.power = Power::On);
    bench.guest(GuestState::Running).await;
    bench.change(|g| g.power = Power::Off);
    bench.guest(GuestState::Stopped).await;
    bench.world.faults.fail("launch", err!(Internal, "no such machine"), 1);
    bench.change(|g| g.power = Power::On);
    assert_eq!(bench.guest(GuestState::Failed).await.error, "no such machine");
    assert!(bench.world.network.ports().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_network_is_waited_for() {
    let bench = Bench::new().await;
    bench.world.network.break_with(Some("bridge is missing"));
    bench.region.edit(one_guest);
    let seen = bench.shows("says why", |o| o.guests.first().is_some_and(|g| g.error.contains("bridge is missing"))).await;
    assert_eq!(seen.guests[0].state, GuestState::Starting);
    bench.world.network.break_with(None);
    bench.guest(GuestState::Running).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_works_from_what_it_kept() {
    let mut bench = Bench::new().await;
    bench.region.edit(one_guest);
    let before = bench.guest(GuestState::Running).await;
    bench.region.set_away(true);
    bench.start().await;
    // Nobody tells it anything, and it still ends what was already to be ended.
    bench.region.set_away(false);
    bench.change(|g| g.name = "so that a new report is waited for".into());
    let after = bench.guest(GuestState::Running).await;
    assert_eq!((before.pid, bench.world.hypervisor.launches("g")), (after.pid, 1));

    // It ended while no agent looked.
    bench.agent = None;
    bench.world.hypervisor.guest_ends("g", "the guest shut down");
    bench.start().await;
    let ended = bench.guest(GuestState::Stopped).await;
    assert!(ended.ended_by_itself && bench.world.hypervisor.launches("g") == 1);
    bench.change(|g| g.starts = 2);
    bench.guest(GuestState::Running).await;

    // The machine went down: what should run runs again, without the region.
    bench.agent = None;
    bench.world.reboot();
    bench.region.set_away(true);
    bench.start().await;
    let mut tries = 0;
    while bench.world.hypervisor.running() != ["g"] {
        tries += 1;
        assert!(tries < 10_000, "not started again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_document_does_not_name_is_left_alone() {
    let mut bench = Bench::new().await;
    bench.region.edit(one_guest);
    bench.guest(GuestState::Running).await;
    let guests = bench.region.document().guests;
    bench.region.edit(|d| (d.guests, d.disks) = (vec![], vec![]));
    let seen = bench.shows("orphans", |o| o.guests.is_empty() && o.orphans.len() == 2).await;
    assert_eq!(seen.orphans, ["d0", "g"]);
    bench.start().await;
    bench.shows("still orphans", |o| o.orphans.len() == 2).await;
    assert_eq!(bench.world.hypervisor.running(), ["g"]);
    assert!(bench.world.network.ports().contains_key("tap0"), "a port of a guest that is here");
    // Named again, it is taken over as it runs.
    bench.region.edit(|d| (d.guests, d.disks) = (guests, vec![disk("d0")]));
    bench.guest(GuestState::Running).await;
    assert_eq!(bench.world.hypervisor.launches("g"), 1);
}

#[tokio::test(start_paused = true)]
async fn jobs_are_done_once() {
    let mut bench = Bench::new().await;
    bench.region.edit(one_guest);
    bench.guest(GuestState::Running).await;
    let job =
        |id: &str, guest: &str| Job { id: id.into(), work: Work::ResetGuest { guest_id: guest.into() }, request_id: "req-job".into() };
    bench.region.edit(|d| {
        d.jobs = vec![job("j1", "g"), job("j2", "nobody"), Job { id: "j3".into(), work: Work::Unknown, request_id: "req-job".into() }]
    });
    let seen = bench.shows("three results", |o| o.jobs.len() == 3).await;
    let errors: Vec<bool> = seen.jobs.iter().map(|j| j.error.is_empty()).collect();
    assert_eq!(errors, [true, false, false], "{:?}", seen.jobs);
    bench.start().await;
    bench.region.edit(|_| {});
    bench.shows("kept results", |o| o.jobs.len() == 3).await;
    assert_eq!(bench.world.hypervisor.resets("g"), 1);
    bench.region.edit(|d| d.jobs.clear());
    bench.shows("forgotten", |o| o.jobs.is_empty()).await;
    while !bench.world.records.snapshot().jobs.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lines of a log, for whoever asks later.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl Lines {
    fn has(&self, parts: &[&str]) -> bool {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().any(|line| parts.iter().all(|part| line.contains(part)))
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn work_is_logged_under_its_request() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let bench = Bench::new().await;
    bench.region.edit(|d| {
        one_guest(d);
        (d.guests[0].request_id, d.disks[0].request_id) = ("req-create".into(), "req-create".into());
    });
    bench.guest(GuestState::Running).await;
    assert!(lines.has(&["guest started", "req-create"]) && lines.has(&["disk made", "req-create"]));
    // Whoever asked: nothing is done anew because of it.
    let before = bench.region.last();
    bench.region.edit(|d| (d.guests[0].request_id, d.disks[0].request_id) = ("req-other".into(), String::new()));
    let after = bench.shows("the same", |o| o.guests == before.guests && o.disks == before.disks).await;
    assert_eq!((after.guests[0].pid, bench.world.hypervisor.launches("g")), (before.guests[0].pid, 1));
    assert!(!lines.has(&["req-other"]));
    bench.region.edit(|d| {
        d.jobs = vec![Job { id: "j1".into(), work: Work::ResetGuest { guest_id: "g".into() }, request_id: "req-reset".into() }];
    });
    bench.shows("a result", |o| o.jobs.len() == 1).await;
    assert!(lines.has(&["job done", "req-reset"]));
    // A start that fails says for whom.
    bench.world.faults.fail("launch", err!(Internal, "no such machine"), 1);
    bench.change(|g| (g.restarts, g.request_id) = (1, "req-restart".into()));
    bench.guest(GuestState::Failed).await;
    assert!(lines.has(&["WARN", "cannot be made as wanted", "req-restart"]));
}

/// What a user does in a minute, as documents.
fn scenario() -> Vec<fn(&mut Desired)> {
    vec![
        one_guest,
        |d| {
            d.disks.push(disk("d1"));
            d.guests[0].disks.push(guest_disk("d1", 1));
            d.guests[0].nics.push(nic(1));
            d.guests[0].generation = 2;
        },
        |d| {
            d.guests[0].nics.remove(0);
            d.guests[0].generation = 3;
            (d.guests[0].meta.password, d.guests[0].meta.password_generation) = ("other".into(), 3);
            d.jobs = vec![Job { id: "j".into(), work: Work::ResetGuest { guest_id: "g".into() }, request_id: "req-job".into() }];
        },
        |d| (d.guests[0].restarts, d.guests[0].generation) = (1, 4),
        |d| (d.guests[0].power, d.guests[0].generation) = (Power::Off, 5),
        |d| {
            d.guests[0].existence = Existence::Absent;
            d.guests[0].generation = 6;
            for disk in &mut d.disks {
                disk.existence = Existence::Absent;
                disk.generation = 2;
            }
        },
    ]
}

/// All that a stage should have led to is reported.
fn done(o: &Observed, d: &Desired) -> bool {
    let states = o.guests.iter().zip(&d.guests).all(|(seen, wanted)| {
        let state = match (wanted.existence, wanted.power) {
            (Existence::Absent, _) => GuestState::Absent,
            (_, Power::On) => GuestState::Running,
            (_, Power::Off) => GuestState::Stopped,
        };
        let restarted = wanted.existence == Existence::Absent || seen.restarts == wanted.restarts;
        seen.state == state && seen.generation == wanted.generation && restarted
    });
    let disks = o
        .disks
        .iter()
        .zip(&d.disks)
        .all(|(seen, wanted)| seen.state == if wanted.existence == Existence::Absent { DiskState::Absent } else { DiskState::Ready });
    o.guests.len() == d.guests.len() && o.disks.len() == d.disks.len() && states && disks && o.jobs.len() == d.jobs.len()
}

/// Kills the agent at every point it passes, one run each, and looks that a new one makes everything true, without a start too many.
#[tokio::test(start_paused = true)]
async fn killed_anywhere() {
    let mut died_at = Vec::new();
    for n in 0.. {
        let mut bench = Bench::new().await;
        bench.shows("enrolled", |_| true).await;
        bench.world.faults.crash_in(n);
        let mut launches_at_most = 0;
        for (stage, edit) in scenario().into_iter().enumerate() {
            bench.region.edit(edit);
            let wanted = bench.region.document();
            if matches!(stage, 0 | 3) {
                launches_at_most += 1;
            }
            let whole = bench.region.until(WITHIN, |o| o.version == wanted.version && done(o, &wanted));
            let seen = tokio::select! {
                seen = whole => seen,
                () = bench.world.faults.crashed() => {
                    bench.start().await;
                    bench.region.until(WITHIN, |o| o.version == wanted.version && done(o, &wanted)).await
                }
            };
            let Some(seen) = seen else {
                panic!("stage {stage} of run {n}: {:#?}\n{:?}", bench.region.last(), bench.world.faults.passed());
            };
            let launches = bench.world.hypervisor.launches("g");
            // A death between making the process and noting it must not make a second one.
            assert!(launches <= launches_at_most, "stage {stage} of run {n}: {launches} launches, {:?}", bench.world.faults.passed());
            assert!(bench.world.hypervisor.resets("g") <= 1, "run {n}: reset twice");
            if stage == 2 {
                assert_eq!(bench.world.hypervisor.devices("g"), ["disk0", "disk1", "nic1"], "run {n}");
                assert!(seen.jobs[0].error.is_empty() || seen.jobs[0].error.contains("restarted"), "{:?}", seen.jobs);
            }
        }
        assert!(bench.world.disks.sizes().is_empty() && bench.world.hypervisor.running().is_empty(), "run {n}");
        assert!(bench.world.records.snapshot().guests.is_empty(), "run {n}");
        let ports = bench.world.network.ports();
        assert!(ports.is_empty(), "run {n}: {ports:?}");
        if bench.world.faults.no_crash() {
            break;
        }
        died_at.push(bench.world.faults.passed().into_iter().find(|p| p.contains("died")).unwrap_or_default());
    }
    assert!(died_at.len() > 40, "only {} points: {died_at:?}", died_at.len());
    for point in
        ["launch", "launch.done", "records.guest", "records.guest.done", "records.desired", "plug_nic.done", "unplug_nic", "reset.done"]
    {
        assert!(died_at.contains(&format!("{point} (died here)")), "never died at {point}: {died_at:?}");
    }
}

/// A thousand agents in one process, each with guests.
#[tokio::test(start_paused = true)]
async fn a_thousand_agents() {
    let began = std::time::Instant::now();
    let mut benches = Vec::new();
    for _ in 0..1000 {
        benches.push(Bench::new().await);
    }
    for bench in &benches {
        bench.region.edit(one_guest);
    }
    for bench in &benches {
        bench.guest(GuestState::Running).await;
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(120), "{took:?}");
}
