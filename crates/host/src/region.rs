//! The region, as the agent calls it. The real one is [`crate::region_http`], others are in [`crate::sim`].

use api_agent::{ConsoleCall, Enroll, Enrolled, Heard, HostFacts, News, Observed, Registered};
use base::Result;
use host_net::BoxFuture;
use http::tunnel::Tunnel;

/// The calls of the contract (crate `api-agent`).
pub trait Region: Send + Sync {
    fn enroll<'a>(&'a self, enroll: &'a Enroll) -> BoxFuture<'a, Result<Enrolled>>;

    fn register<'a>(&'a self, credential: &'a str, facts: &'a HostFacts) -> BoxFuture<'a, Result<Registered>>;

    /// Waits up to `wait_secs` for a document whose version is not `after`, or for somebody who wants a console.
    fn desired<'a>(&'a self, credential: &'a str, after: i64, wait_secs: u64) -> BoxFuture<'a, Result<News>>;

    fn observed<'a>(&'a self, credential: &'a str, observed: &'a Observed) -> BoxFuture<'a, Result<Heard>>;

    /// Dials in for a console: what comes out is what the person types.
    fn console<'a>(&'a self, credential: &'a str, call: &'a ConsoleCall) -> BoxFuture<'a, Result<Tunnel>>;

    /// Says why there is no console.
    fn console_refused<'a>(&'a self, credential: &'a str, call: &'a ConsoleCall, why: &'a str) -> BoxFuture<'a, Result<()>>;
}
