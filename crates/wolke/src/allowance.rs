//! The licence, as the services of this process keep to it: in the transactions that make things, so that no way in leads around it.

use apigateway::licence::{Licence, judge};
use base::{Clock, Result};
use resource::{Allowance, Bound, BoxFuture};
use std::{fmt, sync::Arc};

/// What one service may make.
pub struct Licensed {
    licence: Arc<Licence>,
    /// The service's type in the catalogue.
    kind: &'static str,
    clock: Clock,
}

impl Licensed {
    pub fn new(licence: &Arc<Licence>, kind: &'static str, clock: &Clock) -> Arc<Licensed> {
        Arc::new(Licensed { licence: licence.clone(), kind, clock: clock.clone() })
    }
}

impl fmt::Debug for Licensed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Licensed({})", self.kind)
    }
}

impl Allowance for Licensed {
    fn in_force(&self) -> BoxFuture<'_, Result<Vec<Bound>>> {
        Box::pin(async move {
            let (terms, how, mark) = self.licence.in_force(self.clock.now()).await?;
            judge(&terms, how, self.kind)?;
            let limits = terms.limits;
            let bound = |what, table, sum, most| Bound { what, table, sum, most, mark: mark.clone() };
            let all = [
                bound("servers", "servers", None, limits.servers),
                bound("cpus", "servers", Some("vcpu_held"), limits.cpus),
                bound("hosts", "hosts", None, limits.hosts),
            ];
            // Nought is any number.
            Ok(all.into_iter().filter(|bound| bound.most > 0).collect())
        })
    }
}
