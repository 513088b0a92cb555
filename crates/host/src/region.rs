//! The region, as the agent calls it. The real one is [`crate::region_http`], others are in [`crate::sim`].

use api_agent::{Desired, Enroll, Enrolled, Heard, HostFacts, Observed, Registered};
use base::Result;
use host_net::BoxFuture;

/// The four calls of the contract (crate `api-agent`).
pub trait Region: Send + Sync {
    fn enroll<'a>(&'a self, enroll: &'a Enroll) -> BoxFuture<'a, Result<Enrolled>>;

    fn register<'a>(&'a self, credential: &'a str, facts: &'a HostFacts) -> BoxFuture<'a, Result<Registered>>;

    /// Waits up to `wait_secs` for a document whose version is not `after`; `None` when there is none.
    fn desired<'a>(&'a self, credential: &'a str, after: i64, wait_secs: u64) -> BoxFuture<'a, Result<Option<Desired>>>;

    fn observed<'a>(&'a self, credential: &'a str, observed: &'a Observed) -> BoxFuture<'a, Result<Heard>>;
}
