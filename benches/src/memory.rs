//! What happens in memory only: tokens and placement, on one core.

use crate::table::Table;
use anyhow::Result;
use auth::{Claims, KeyRing, SigningKey, Verifier};
use base::{Caller, Clock, Role};
use scheduler::{DiskWish, HostView, NetView, NetWish, Reach, Request, Shared, Snapshot, StorageView, place};
use std::{fs, hint::black_box, sync::Arc};

/// Processor seconds of this thread so far, from /proc, so that a busy machine does not change the figures.
fn cpu() -> Result<f64> {
    // Nanoseconds on the processor are the first word (Linux, sched-stats).
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().unwrap_or("0").parse::<u64>()? as f64 / 1e9)
}

/// How often something can be done in a second of one core.
fn rate(mut once: impl FnMut()) -> Result<f64> {
    let mut n = 1u64;
    loop {
        let start = cpu()?;
        (0..n).for_each(|_| once());
        let took = cpu()? - start;
        if took > 1.0 {
            return Ok(n as f64 / took);
        }
        n *= 2;
    }
}

pub fn measure(table: &mut Table) -> Result<()> {
    table.section("in memory, one core");
    tokens(table)?;
    placement(table)
}

fn tokens(table: &mut Table) -> Result<()> {
    let clock = Clock::real();
    let key = SigningKey::generate()?.0;
    let caller = Caller {
        user_id: base::hex_id(),
        user: "alice".into(),
        user_domain_id: "default".into(),
        user_domain: "Default".into(),
        project_id: base::hex_id(),
        project: "demo".into(),
        project_domain_id: "default".into(),
        project_domain: "Default".into(),
        roles: (0..3).map(|i| Role { id: base::hex_id(), name: format!("role{i}") }).collect(),
        is_system_account: false,
    };
    let claims = Claims {
        caller: Arc::new(caller),
        methods: vec!["password".into()],
        issued: clock.now(),
        expires: clock.now().plus_secs(3600),
        audit_ids: vec![base::hex_id()],
        source: "cli".into(),
        ..Claims::default()
    };
    let fresh: Vec<String> =
        (0..2000).map(|i| Claims { audit_ids: vec![i.to_string()], ..claims.clone() }.sign(&key)).collect::<base::Result<_>>()?;
    let forgetful = Verifier::new(KeyRing::new().with(&key), 64, clock.clone());
    let mut at = 0;
    let unknown = rate(|| {
        at = (at + 1) % fresh.len();
        assert!(black_box(forgetful.verify(&fresh[at])).is_ok());
    })?;
    let verifier = Verifier::new(KeyRing::new().with(&key), 10_000, clock);
    let known = rate(|| {
        at = (at + 1) % fresh.len();
        assert!(black_box(verifier.verify(&fresh[at])).is_ok());
    })?;
    let signature = {
        // What the signature alone costs where its key is met for the first time.
        use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|e| anyhow::anyhow!("{e}"))?;
        let (public, message) = (UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref().to_vec()), vec![7; fresh[0].len() - 87]);
        let signed = pair.sign(&message);
        rate(|| assert!(black_box(public.verify(&message, signed.as_ref())).is_ok()))?
    };
    table.row("for comparison: one signature of that length in `ring`", &format!("{signature:.0}/s"), "", 0.0, "");
    // The peer: 121 validations a second over HTTP, with 14 ms of processor time each in service and database.
    table.row("verify a token, seen before", &format!("{known:.0}/s"), "≥ 20000/s", known / 20_000.0, "");
    table.row(
        "verify a token, never seen",
        &format!("{unknown:.0}/s"),
        "≥ 20000/s",
        unknown / 20_000.0,
        &format!("{:.0}×", unknown / (1.0 / 0.014)),
    );
    Ok(())
}

/// Ten thousand hosts on ten wires, two storages each, a hundred networks; some hosts full, disabled, away.
fn world() -> Snapshot {
    let mut s = Snapshot::default();
    for n in 0..100 {
        let id = format!("net-{n}");
        let view = NetView {
            wire_id: format!("wire-{}", n % 10),
            free: 500 + n,
            takes_servers: true,
            reach: Reach { shared: if n % 3 == 0 { Shared::Everybody } else { Shared::Nobody }, ..Reach::default() },
            auto: n % 7 == 0,
            id: id.clone(),
            ..NetView::default()
        };
        s.networks.insert(id, view);
    }
    for n in 0..10_000i64 {
        let storage = |medium: &str| StorageView {
            id: base::new_id(),
            storage_type: "local".into(),
            medium: medium.into(),
            free: 4 << 20,
            usable: true,
            ..StorageView::default()
        };
        let view = HostView {
            name: format!("host-{n}"),
            zone_id: format!("zone-{}", n % 3),
            host_type: "hypervisor".into(),
            architecture: "x86_64".into(),
            enabled: n % 50 != 0,
            online: n % 60 != 0,
            cpu_capacity: 512,
            cpu_commit: n * 37 % 530,
            mem_capacity: 524_288,
            mem_commit: n * 7919 % 530_000,
            storages: vec![storage("ssd"), storage("rotate")],
            wires: [format!("wire-{}", n % 10)].into(),
            id: base::new_id(),
            ..HostView::default()
        };
        s.put(view);
    }
    s
}

fn placement(table: &mut Table) -> Result<()> {
    let s = world();
    let request = Request {
        vcpu_count: 2,
        vmem_size: 2048,
        disks: vec![DiskWish { size: 10_240, ..DiskWish::default() }],
        nets: vec![NetWish::default()],
        ..Request::default()
    };
    let impossible = Request { vcpu_count: 128, vmem_size: 600_000, ..request.clone() };
    let fixed = Request { nets: vec![NetWish { network_id: "net-0".into(), ..NetWish::default() }], ..request.clone() };
    let cases = [("any network", &request, true), ("a given network", &fixed, true), ("no host can", &impossible, false)];
    for (name, request, fits) in cases {
        let rate = rate(|| {
            let out = place(&s, request, 3);
            assert_eq!(out.candidates.is_empty(), !fits);
            black_box(out.explain(request));
        })?;
        // The peer with 10000 hosts and 4 servers: 0.7 a second, 2.4 s of processor time each.
        let peer = format!("{:.0}×", rate / (1.0 / 2.448));
        table.row(&format!("place among 10000 hosts and explain, {name}"), &format!("{rate:.0}/s"), "≥ 500/s", rate / 500.0, &peer);
    }
    Ok(())
}
