//! Headers by which servers behind a gateway are told who asks, what is asked for, or where from. Here a token says who, the request line what and
//! the connection where from; such a header changes nothing, whatever it says. Whoever sends one tries out whether somebody listens, or stands
//! behind a proxy that was not named: either is worth a line of the log. Called for every request before it is looked at; refuses nothing, since
//! the request is decided as if the header were not there.

use crate::app::App;
use hyper::HeaderMap;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Say who asks, or that something else is asked for.
const IDENTITY: [&str; 22] = [
    "x-user-id",
    "x-user",
    "x-user-name",
    "x-user-domain-id",
    "x-user-domain-name",
    "x-project-id",
    "x-project-name",
    "x-project-domain-id",
    "x-tenant-id",
    "x-tenant",
    "x-tenant-name",
    "x-domain-id",
    "x-roles",
    "x-role",
    "x-identity-status",
    "x-is-admin",
    "x-forwarded-user",
    "x-remote-user",
    "remote-user",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
];
/// Say where from. A named proxy's `X-Forwarded-For` is believed, and is no pretence.
const ORIGIN: [&str; 4] = ["x-forwarded-for", "forwarded", "x-real-ip", "x-client-ip"];

/// How long nothing more is said of an address of which it has been said.
const QUIET: Duration = Duration::from_secs(60);
/// Addresses remembered at most.
const REMEMBERED: usize = 1000;

/// Of whom it was said lately, so that a client cannot fill the disk with lines.
#[derive(Default)]
pub(crate) struct Told(Mutex<HashMap<(Option<IpAddr>, &'static str), Instant>>);

impl Told {
    /// Whether this header of this address is to be said now.
    fn news(&self, peer: Option<IpAddr>, header: &'static str, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(&(peer, header)).is_some_and(|at| now.duration_since(*at) < QUIET) {
            return false;
        }
        if told.len() >= REMEMBERED {
            told.retain(|_, at| now.duration_since(*at) < QUIET);
        }
        // Too many at once: some will be said once more.
        if told.len() >= REMEMBERED {
            told.clear();
        }
        told.insert((peer, header), now);
        true
    }
}

pub(crate) fn note(app: &App, headers: &HeaderMap, peer: Option<IpAddr>) {
    for name in headers.keys() {
        let known = |all: &[&'static str]| all.iter().copied().find(|known| *known == name.as_str());
        if let Some(header) = known(&IDENTITY) {
            if app.told.news(peer, header, Instant::now()) {
                tracing::warn!(header, ?peer, "a header that would say who asks is passed over");
            }
        } else if let Some(header) = known(&ORIGIN)
            && !app.is_proxy(peer)
            && app.told.news(peer, header, Instant::now())
        {
            tracing::info!(
                header,
                ?peer,
                "a header that would say where a request comes from is passed over: its sender is no named proxy"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_so_is_what_is_remembered() {
        let (told, now) = (Told::default(), Instant::now());
        let peer = |n: u32| Some(IpAddr::from(n.to_be_bytes()));
        assert!(told.news(peer(1), "x-user", now) && !told.news(peer(1), "x-user", now));
        assert!(told.news(peer(1), "x-role", now) && told.news(peer(2), "x-user", now));
        assert!(told.news(peer(1), "x-user", now + QUIET));
        for n in 0..5000 {
            told.news(peer(n), "x-user", now);
        }
        assert!(told.0.lock().unwrap().len() <= REMEMBERED);
    }
}
