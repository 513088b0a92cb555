//! Verifications per second of one core's time, with and without the cache, and passwords. `cargo bench -p auth`.
//!
//! Time is that of the thread on the processor, so a busy machine does not change the figures.

use auth::password::{Cost, Stored};
use auth::{Claims, KeyRing, Policy, SigningKey, Verifier};
use base::{Caller, Clock, Role};
use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, sync::Arc};

fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn rate(name: &str, mut once: impl FnMut()) {
    let mut n = 1u64;
    loop {
        let start = cpu();
        (0..n).for_each(|_| once());
        let took = cpu() - start;
        if took > 1.0 {
            println!("{name}: {:.0}/s ({:.0} ns each)", n as f64 / took, took / n as f64 * 1e9);
            return;
        }
        n *= 4;
    }
}

fn main() {
    // Alone when asked for, beside a service that issues tokens: what a login cannot go below.
    let stored = auth::password::hash("Wolke@sysadmin1", Cost::default()).expect("a hash");
    let stored = Stored::parse(&stored).expect("one of ours");
    rate("check a password", || assert!(black_box(stored.verify("Wolke@sysadmin1", Cost::default())).is_right()));
    if std::env::args().any(|word| word == "password") {
        return;
    }
    let clock = Clock::real();
    let key = SigningKey::generate().expect("random").0;
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
    let token = claims.sign(&key).expect("short enough");
    println!("token: {} bytes", token.len());
    rate("sign", || drop(black_box(claims.sign(&key))));

    let verifier = Verifier::new(KeyRing::new().with(&key), 10_000, clock.clone());
    // Every change of the keys makes the cached entry stale only for time and revocations, so the uncached rate needs fresh tokens.
    let fresh: Vec<String> =
        (0..2000).map(|i| Claims { audit_ids: vec![i.to_string()], ..claims.clone() }.sign(&key).expect("short enough")).collect();
    let mut at = 0;
    let small = Verifier::new(KeyRing::new().with(&key), 64, clock.clone());
    rate("verify, not cached", || {
        at = (at + 1) % fresh.len();
        assert!(black_box(small.verify(&fresh[at])).is_ok());
    });
    rate("verify, cached", || assert!(black_box(verifier.verify(&token)).is_ok()));

    let editor = auth::defaults::policies().iter().find(|p| p.name == "project-server-editor").expect("built in");
    let editor = Policy::parse("p", &editor.blob).expect("compiles");
    println!("policy: {} rules", editor.rules().len());
    rate("decide", || assert!(black_box(editor.allows("compute", "servers", "perform", &["start"]))));
}
