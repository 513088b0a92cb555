//! What a process serves: services under path prefixes, with the bounds they share.

use crate::{
    builtin,
    pretence::Told,
    request::Request,
    router::{Route, Router},
    stats::RouteCollector,
};
use base::Result;
use hyper::header::HeaderValue;
use ipnet::IpNet;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use telemetry::Metrics;
use tokio::sync::Notify;

/// Bounds. The defaults suit a control service; tests turn them down.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest JSON or form body in bytes; streams have no limit.
    pub json: usize,
    /// Time to the head of an answer; then 504. Not for requests that take their body as a stream or lift the deadline.
    pub request: Duration,
    /// Time to the head of an answer beyond which a line is logged at WARN; not for requests without a deadline.
    pub slow: Duration,
    /// Time for a request head to arrive, and for an idle connection to stay.
    pub head: Duration,
    /// Largest request head in bytes. The URL alone cannot be longer than 64 KiB.
    pub head_size: usize,
    /// Longest standstill of a body in either direction.
    pub stall: Duration,
    /// Requests handled at once; beyond it 429.
    pub running: usize,
    /// Connections at once; beyond it new ones wait in the kernel's queue.
    pub connections: usize,
    /// How long requests may finish after the stop, before they are cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            json: 8 << 20,
            request: Duration::from_secs(60),
            slow: Duration::from_secs(1),
            head: Duration::from_secs(30),
            head_size: 128 << 10,
            stall: Duration::from_secs(30),
            running: 2048,
            connections: 8192,
            drain: Duration::from_secs(15),
        }
    }
}

/// Looks at a request before its handler does; it is given the name of the service.
pub type Screen = Arc<dyn Fn(&str, &Request) -> Result<()> + Send + Sync>;

/// Services under prefixes, ready to be served. One per process: its figures go to the registry it is given.
pub struct App {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) limits: Limits,
    pub(crate) cors: Vec<String>,
    pub(crate) host_id: HeaderValue,
    trusted: Vec<IpNet>,
    screen: Option<Screen>,
    pub(crate) told: Told,
    metrics: Metrics,
    running: AtomicUsize,
    /// Told when the last running request ends.
    less: Notify,
}

pub(crate) struct Mount {
    /// Decoded segments of the prefix; none for the root.
    prefix: Vec<String>,
    pub name: Arc<str>,
    pub router: Router,
    /// Counts what no route of this service matches.
    pub unmatched: Arc<Route>,
}

impl App {
    pub fn new(metrics: Metrics) -> App {
        let mut hash = DefaultHasher::new();
        rustix::system::uname().nodename().to_bytes().hash(&mut hash);
        let host_id = HeaderValue::from_str(&format!("{:016x}", hash.finish())).expect("hex digits are a header value");
        App {
            mounts: Vec::new(),
            limits: Limits::default(),
            cors: Vec::new(),
            host_id,
            trusted: Vec::new(),
            screen: None,
            told: Told::default(),
            metrics,
            running: AtomicUsize::new(0),
            less: Notify::new(),
        }
    }

    /// Puts a service under a prefix: `/` alone on its port, `/compute` in one process with others. It gets `/version`, `/ping` and the
    /// other common endpoints (spec 01 §10.1) unless it has its own. Two services under one prefix are a mistake of the program.
    #[must_use]
    pub fn mount(mut self, prefix: &str, name: &str, router: Router) -> App {
        let prefix: Vec<String> = prefix.split('/').filter(|p| !p.is_empty()).map(str::to_string).collect();
        assert!(self.mounts.iter().all(|m| m.prefix != prefix), "two services under /{}", prefix.join("/"));
        let mut nowhere = Router::new();
        nowhere.add(hyper::Method::GET, "unmatched", Arc::new(|_| async { unreachable!("it is never called, it only counts") }));
        let unmatched = nowhere.routes.remove(0);
        self.mounts.push(Mount { prefix, name: name.into(), router, unmatched });
        self
    }

    #[must_use]
    pub fn limits(mut self, limits: Limits) -> App {
        self.limits = limits;
        self
    }

    /// Origins browsers may call from, such as `https://console.example.com`; `*` for any. None by default.
    #[must_use]
    pub fn cors(mut self, origins: Vec<String>) -> App {
        self.cors = origins;
        self
    }

    /// Proxies whose `X-Forwarded-For` is believed. None by default.
    #[must_use]
    pub fn trust_proxies(mut self, nets: Vec<IpNet>) -> App {
        self.trusted = nets;
        self
    }

    /// Refuses requests to any service before their handlers see them: for what every service would otherwise have to remember.
    #[must_use]
    pub fn screen(mut self, screen: Screen) -> App {
        self.screen = Some(screen);
        self
    }

    pub(crate) fn screened(&self, service: &str, request: &Request) -> Result<()> {
        self.screen.as_ref().map_or(Ok(()), |screen| screen(service, request))
    }

    /// Adds what every service has, and shows the figures to the registry.
    pub(crate) fn seal(mut self) -> Arc<App> {
        if self.mounts.iter().all(|m| !m.prefix.is_empty()) {
            self = self.mount("/", "platform", Router::new());
        }
        // The longest prefix is asked first.
        self.mounts.sort_by_key(|m| std::cmp::Reverse(m.prefix.len()));
        let app = Arc::new_cyclic(|weak| {
            for mount in &mut self.mounts {
                builtin::add(&mut mount.router, weak, &mount.name, &self.metrics);
            }
            self
        });
        app.metrics.collect(RouteCollector(Arc::downgrade(&app)));
        app
    }

    /// The service of a path, and how many segments its prefix takes.
    pub(crate) fn find(&self, segments: &[String]) -> Option<(&Mount, usize)> {
        self.mounts.iter().find(|m| segments.starts_with(&m.prefix)).map(|m| (m, m.prefix.len()))
    }

    /// Every route with the name of its service.
    pub(crate) fn all_routes(&self) -> impl Iterator<Item = (&str, &Route)> {
        self.mounts.iter().flat_map(|m| m.router.routes.iter().chain([&m.unmatched]).map(|r| (&*m.name, &**r)))
    }

    /// Whom a connection speaks for: the right-most address of `X-Forwarded-For` that is not a proxy of ours.
    pub(crate) fn client_ip(&self, peer: Option<IpAddr>, forwarded: Option<&str>) -> Option<IpAddr> {
        let trusted = |ip: &IpAddr| self.is_proxy(Some(*ip));
        match (peer, forwarded) {
            (Some(proxy), Some(list)) if trusted(&proxy) => {
                let named = list.rsplit(',').map_while(|p| p.trim().parse().ok()).find(|ip| !trusted(ip));
                Some(named.unwrap_or(proxy))
            }
            _ => peer,
        }
    }

    /// Whether the address is that of a proxy of ours.
    pub(crate) fn is_proxy(&self, peer: Option<IpAddr>) -> bool {
        peer.is_some_and(|ip| self.trusted.iter().any(|n| n.contains(&ip)))
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// Ready when nothing runs.
    pub(crate) async fn idle(&self) {
        loop {
            let changed = self.less.notified();
            if self.running() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Takes a place among the running requests; `None` when all are taken.
    pub(crate) fn enter(self: &Arc<App>) -> Option<Running> {
        let place = Running(self.clone());
        (self.running.fetch_add(1, Relaxed) < self.limits.running).then_some(place)
    }
}

/// A place among the running requests, given back when dropped.
pub(crate) struct Running(Arc<App>);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Relaxed) == 1 {
            self.0.less.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forwarded_address_is_believed_only_from_proxies() {
        let app = App::new(Metrics::default()).trust_proxies(vec!["10.0.0.0/8".parse().unwrap()]);
        let ip = |t: &str| Some(t.parse::<IpAddr>().unwrap());
        let check = |peer: &str, list: Option<&str>, want: &str| assert_eq!(app.client_ip(ip(peer), list), ip(want), "{peer} {list:?}");
        check("10.1.1.1", Some("1.2.3.4"), "1.2.3.4");
        check("10.1.1.1", Some("6.6.6.6, 1.2.3.4, 10.2.2.2"), "1.2.3.4");
        check("10.1.1.1", Some("10.3.3.3"), "10.1.1.1");
        check("10.1.1.1", Some("forged, 10.3.3.3"), "10.1.1.1");
        check("10.1.1.1", None, "10.1.1.1");
        check("8.8.8.8", Some("1.2.3.4"), "8.8.8.8");
        assert_eq!(app.client_ip(None, Some("1.2.3.4")), None);
    }
}
