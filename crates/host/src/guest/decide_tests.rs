//! Cases of the decision, and properties it has whatever happens.

use super::change::Change;
use super::decide::*;
use super::memory::*;
use crate::hypervisor::Life;
use api_agent::{Existence, GuestNic, GuestSpec, Power};
use base::Timestamp;
use proptest::prelude::*;

const BOOT: &str = "this-boot";
const NOW: i64 = 10_000_000_000;

fn host() -> HostNow {
    HostNow { boot_id: BOOT.into(), booted: 0, now: Timestamp(NOW) }
}

fn spec(power: Power) -> GuestSpec {
    GuestSpec { id: "g".into(), generation: 5, power, stop_timeout_secs: 60, ..Default::default() }
}

fn run() -> Run {
    Run { boot_id: BOOT.into(), started: 1, ..Default::default() }
}

fn memory(phase: Phase) -> Memory {
    Memory { phase, ..Default::default() }
}

fn up() -> Phase {
    Phase::Up { run: run() }
}

fn stopping(ago: i64, pressed_ago: i64) -> Phase {
    Phase::Stopping { run: run(), since: NOW - ago * 1_000_000, pressed: NOW - pressed_ago * 1_000_000 }
}

fn ended() -> Phase {
    Phase::Ended { run: run(), generation: 5, reason: "r".into() }
}

fn gone() -> Life {
    Life::Gone { reason: "r".into() }
}

#[test]
fn table() {
    use Action::*;
    let on = spec(Power::On);
    let off = spec(Power::Off);
    let absent = GuestSpec { existence: Existence::Absent, ..on.clone() };
    let forced = GuestSpec { force_stop: true, ..off.clone() };
    let restarted = GuestSpec { restarts: 1, ..on.clone() };
    let newer = GuestSpec { generation: 6, ..on.clone() };
    let renamed = GuestSpec { generation: 6, starts: 0, name: "new".into(), ..on.clone() };
    let started = GuestSpec { generation: 6, starts: 1, ..on.clone() };
    let nic = GuestNic { ifname: "t0".into(), ..Default::default() };
    let with_nic = GuestSpec { nics: vec![nic.clone()], ..on.clone() };
    let waiting = Needs::Waiting("disk d".into());
    let failed = Needs::Failed("disk d: full".into());
    let failure = |generation| Memory { failure: Some(Failure { generation, error: "e".into() }), ..memory(Phase::Off) };
    let other_boot = |started| Phase::Up { run: Run { boot_id: "before".into(), started, ..run() } };
    let counted = |starts| Phase::Ended { run: Run { starts, ..run() }, generation: 5, reason: "r".into() };
    let ready = Needs::Ready;
    let by_itself = || Close(super::decide::Close::ByItself { reason: "r".into() });
    let as_wanted = || Close(super::decide::Close::AsWanted);
    let fell = |soon| Close(super::decide::Close::HostFell { soon });
    let later = |secs: i64| RestUntil(Timestamp(NOW + secs * 1_000_000));

    let cases: Vec<(&str, &GuestSpec, Life, &Needs, Memory, Action)> = vec![
        ("new, off", &off, gone(), &ready, memory(Phase::Off), Rest),
        ("new, on", &on, gone(), &ready, memory(Phase::Off), Launch),
        ("new, on, disks not there", &on, gone(), &waiting, memory(Phase::Off), WaitFor("disk d".into())),
        ("new, on, disk failed", &on, gone(), &failed, memory(Phase::Off), Fail("disk d: full".into())),
        ("failed, same generation", &on, gone(), &ready, failure(5), Rest),
        ("failed, newer generation", &newer, gone(), &ready, failure(5), Launch),
        ("runs as wanted", &on, Life::Running, &ready, memory(up()), Rest),
        ("runs, document newer", &newer, Life::Running, &ready, memory(up()), Rest),
        ("runs, disks of it lost sight of", &on, Life::Running, &failed, memory(up()), Rest),
        ("paused by a full disk", &on, Life::Paused { reason: "x".into() }, &ready, memory(up()), Rest),
        ("silent", &on, Life::Silent, &ready, memory(up()), Rest),
        ("agent died launching, process there", &on, Life::Running, &ready, memory(Phase::Launching { run: run() }), Adopt),
        ("agent died launching, no process", &on, gone(), &ready, memory(Phase::Launching { run: run() }), as_wanted()),
        ("record lost, process there", &on, Life::Running, &ready, memory(Phase::Off), Adopt),
        ("record lost, process there, off", &off, Life::Running, &ready, memory(Phase::Off), Adopt),
        ("stop", &off, Life::Running, &ready, memory(up()), PowerDown),
        ("stop by force", &forced, Life::Running, &ready, memory(up()), Kill),
        ("stopping", &off, Life::Running, &ready, memory(stopping(5, 5)), later(5)),
        ("stopping, press again", &off, Life::Running, &ready, memory(stopping(20, 10)), PowerDown),
        ("stopping, deadline before next press", &off, Life::Running, &ready, memory(stopping(55, 1)), later(5)),
        ("stopping, time is over", &off, Life::Running, &ready, memory(stopping(60, 3)), Kill),
        ("stopping, then force", &forced, Life::Running, &ready, memory(stopping(1, 1)), Kill),
        ("stopping, then wanted again", &on, Life::Running, &ready, memory(stopping(5, 5)), later(5)),
        ("stopped, wanted again", &on, gone(), &ready, memory(stopping(5, 5)), as_wanted()),
        ("stopped", &off, gone(), &ready, memory(stopping(5, 5)), as_wanted()),
        ("ended while it was about to be stopped", &off, gone(), &ready, memory(up()), as_wanted()),
        ("restart", &restarted, Life::Running, &ready, memory(up()), PowerDown),
        ("restart, gone already", &restarted, gone(), &ready, memory(up()), as_wanted()),
        ("ended by itself", &on, gone(), &ready, memory(up()), by_itself()),
        ("stays ended", &on, gone(), &ready, memory(ended()), Rest),
        ("ended, then switched off", &off, gone(), &ready, memory(ended()), as_wanted()),
        ("ended, then restarted", &restarted, gone(), &ready, memory(ended()), as_wanted()),
        ("ended, newer generation, starts not counted", &renamed, gone(), &ready, memory(ended()), as_wanted()),
        ("ended, renamed, starts counted", &started, gone(), &ready, memory(counted(1)), Rest),
        ("ended, started again", &started, gone(), &ready, memory(counted(0)), as_wanted()),
        ("host rebooted long after", &on, gone(), &ready, memory(other_boot(-901_000_000)), fell(false)),
        ("host rebooted soon after", &on, gone(), &ready, memory(other_boot(-899_000_000)), fell(true)),
        ("host rebooted, off", &off, gone(), &ready, memory(other_boot(0)), as_wanted()),
        (
            "takes the host down each time",
            &on,
            gone(),
            &ready,
            Memory { falls: 3, ..memory(Phase::Off) },
            Fail("the host went down 3 times in a row soon after this guest was started".into()),
        ),
        ("plug", &with_nic, Life::Running, &ready, memory(up()), Change(super::change::Change::PlugNic(nic.clone()))),
        ("plug, network not there", &with_nic, Life::Running, &waiting, memory(up()), WaitFor("disk d".into())),
        ("delete, running", &absent, Life::Running, &ready, memory(up()), Kill),
        ("delete, stopped", &absent, gone(), &ready, memory(Phase::Off), Erase),
        ("deleted", &absent, gone(), &ready, memory(Phase::Erased), Rest),
        ("deleted, then made again", &on, gone(), &ready, memory(Phase::Erased), Launch),
    ];
    for (name, spec, life, needs, memory, want) in cases {
        assert_eq!(decide(spec, &life, needs, &memory, &host()), want, "{name}");
    }
}

fn any_phase() -> impl Strategy<Value = Phase> {
    let run = (0i64..3, 0i64..3, prop_oneof![Just(BOOT), Just("before")]).prop_map(|(restarts, starts, boot)| Run {
        restarts,
        starts,
        boot_id: boot.into(),
        ..Default::default()
    });
    (0usize..6, run, 0i64..200, 0i64..20, 3i64..7).prop_map(|(kind, run, ago, pressed, generation)| match kind {
        0 => Phase::Off,
        1 => Phase::Launching { run },
        2 => Phase::Up { run },
        3 => Phase::Stopping { run, since: NOW - ago * 1_000_000, pressed: NOW - pressed.min(ago) * 1_000_000 },
        4 => Phase::Ended { run, generation, reason: String::new() },
        _ => Phase::Erased,
    })
}

fn any_spec() -> impl Strategy<Value = GuestSpec> {
    (3i64..7, 0i64..3, 0i64..3, any::<(bool, bool, bool)>(), 0usize..3).prop_map(
        |(generation, restarts, starts, (on, absent, force), nics)| GuestSpec {
            generation,
            restarts,
            starts,
            power: if on { Power::On } else { Power::Off },
            existence: if absent { Existence::Absent } else { Existence::Present },
            force_stop: force,
            stop_timeout_secs: 60,
            nics: (0..nics).map(|i| GuestNic { index: i as i64, ifname: format!("t{i}"), ..Default::default() }).collect(),
            ..Default::default()
        },
    )
}

fn any_life() -> impl Strategy<Value = Life> {
    prop_oneof![
        2 => Just(Life::Running),
        1 => Just(Life::Paused { reason: String::new() }),
        1 => Just(Life::Silent),
        3 => Just(gone()),
    ]
}

fn any_memory() -> impl Strategy<Value = Memory> {
    (any_phase(), proptest::option::of(3i64..7), 0u32..4).prop_map(|(phase, failure, falls)| Memory {
        phase,
        falls,
        failure: failure.map(|generation| Failure { generation, error: "e".into() }),
        ..Default::default()
    })
}

fn any_needs() -> impl Strategy<Value = Needs> {
    prop_oneof![Just(Needs::Ready), Just(Needs::Waiting("w".into())), Just(Needs::Failed("f".into()))]
}

/// Does what the driver does, in a world where everything works. Returns whether a process runs afterwards.
fn apply(action: &Action, spec: &GuestSpec, memory: &mut Memory, host: &mut HostNow, life: &mut Life) {
    match action {
        Action::Rest | Action::WaitFor(_) => {}
        Action::RestUntil(at) => host.now = *at,
        Action::Adopt => memory.up(spec, BOOT, host.now),
        Action::Launch => {
            memory.launching(Run::of(spec, BOOT, host.now));
            *life = Life::Running;
        }
        Action::PowerDown => memory.stopping(spec, BOOT, host.now),
        Action::Kill => {
            memory.stopping(spec, BOOT, host.now);
            *life = gone();
        }
        Action::Close(Close::AsWanted) => memory.off(),
        Action::Close(Close::HostFell { soon }) => memory.fell(*soon),
        Action::Close(Close::ByItself { reason }) => memory.ended(spec.generation, reason),
        Action::Change(change) => change.note(memory.phase.run_mut().expect("only a running guest is changed")),
        Action::Fail(why) => memory.failed(spec.generation, why),
        Action::Erase => *memory = Memory { phase: Phase::Erased, ..Default::default() },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Nothing that runs is ended or made twice, and nothing is removed, unless the document says so.
    #[test]
    fn harmless(spec in any_spec(), life in any_life(), needs in any_needs(), memory in any_memory()) {
        let action = decide(&spec, &life, &needs, &memory, &host());
        let ends = matches!(action, Action::Kill | Action::PowerDown);
        if ends {
            let asked = spec.existence == Existence::Absent
                || matches!(memory.phase, Phase::Stopping { .. })
                || spec.power == Power::Off
                || memory.phase.run().is_some_and(|r| spec.restarts > r.restarts);
            prop_assert!(asked && !life.is_gone());
        }
        if action == Action::Launch {
            prop_assert!(life.is_gone() && spec.power == Power::On && spec.existence == Existence::Present && needs == Needs::Ready);
            prop_assert!(memory.phase.run().is_none(), "what an earlier life left is closed first");
        }
        if action == Action::Erase {
            prop_assert!(life.is_gone() && spec.existence == Existence::Absent);
        }
        if spec.force_stop {
            prop_assert!(action != Action::PowerDown);
        }
    }

    /// In a world where everything works, a few steps make the document true, from wherever it starts; and then nothing is done any more.
    #[test]
    fn converges(spec in any_spec(), life in any_life(), memory in any_memory(), obeys in any::<bool>()) {
        let (mut life, mut memory, mut host, mut launches) = (life, memory, host(), 0);
        let may_end = memory.phase.run().is_some() || matches!(memory.phase, Phase::Ended { .. });
        let mut last = Action::Adopt;
        for _ in 0..40 {
            last = decide(&spec, &life, &Needs::Ready, &memory, &host);
            launches += i32::from(last == Action::Launch);
            apply(&last, &spec, &mut memory, &mut host, &mut life);
            if last == Action::PowerDown && obeys {
                life = gone();
            }
            if last == Action::Rest {
                break;
            }
        }
        prop_assert_eq!(&last, &Action::Rest, "{:?}", memory);
        prop_assert!(launches <= 1);
        match (spec.existence, spec.power) {
            (Existence::Absent, _) => prop_assert!(life.is_gone() && memory.phase == Phase::Erased),
            (_, Power::Off) => prop_assert!(life.is_gone() && matches!(memory.phase, Phase::Off | Phase::Erased)),
            (_, Power::On) if life.is_gone() => {
                let excused = memory.failed_at(spec.generation).is_some() || (may_end && matches!(memory.phase, Phase::Ended { .. }));
                prop_assert!(excused, "{:?}", memory);
            }
            (_, Power::On) => {
                let is_up = matches!(memory.phase, Phase::Up { .. });
                prop_assert!(is_up);
                let run = memory.phase.run().unwrap();
                prop_assert!(run.restarts >= spec.restarts);
                prop_assert!(run.nics == spec.nics || memory.failed_at(spec.generation).is_some());
            }
        }
    }

    /// A guest that ended by itself is not started until somebody asks.
    #[test]
    fn an_end_stays(spec in any_spec(), memory in any_memory(), more in (0i64..2, 0i64..2)) {
        let spec = GuestSpec { existence: Existence::Present, power: Power::On, ..spec };
        let run = Run { restarts: spec.restarts + more.0, starts: spec.starts + more.1, ..run() };
        let memory = Memory { phase: Phase::Up { run }, ..memory };
        let (mut memory, mut host, mut life) = (memory, host(), gone());
        for _ in 0..5 {
            let action = decide(&spec, &life, &Needs::Ready, &memory, &host);
            prop_assert!(action != Action::Launch);
            apply(&action, &spec, &mut memory, &mut host, &mut life);
        }
        let ended = matches!(memory.phase, Phase::Ended { .. });
        prop_assert!(ended, "{:?}", memory);
    }
}

#[test]
fn changes_name_what_they_change() {
    let mut run = Run::default();
    let nic = GuestNic { ifname: "t0".into(), ..Default::default() };
    Change::PlugNic(nic.clone()).note(&mut run);
    Change::RefreshNic(GuestNic { bw_limit: 5, ..nic.clone() }).note(&mut run);
    assert_eq!((run.nics.len(), run.nics[0].bw_limit), (1, 5));
    Change::UnplugNic(nic).note(&mut run);
    assert!(run.nics.is_empty());
}
