//! What tokens of application credentials are kept from in this service: requests outside their rules, and whatever would get them a login
//! without bounds.

use super::Visit;
use base::{Result, err};
use http::Method;

pub(super) fn check(visit: &Visit) -> Result<()> {
    let Some(limits) = visit.who.claims.as_ref().and_then(|c| c.limits.as_ref()) else { return Ok(()) };
    let (method, path) = (&visit.request.method, visit.request.segments());
    let word = |at: usize| path.get(at).map_or("", String::as_str);
    // Who one is and where services are: every client asks first.
    if word(1) == "auth" || path.len() < 2 {
        return Ok(());
    }
    if !limits.allow(api_identity::SERVICE, method.as_str(), path) {
        return Err(err!(
            Forbidden,
            "the access rules of the application credential do not have {} {}",
            method.as_str(),
            visit.request.path.raw()
        ));
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let caller = &visit.ctx.caller;
    let own = word(1) == "users" && (word(2) == caller.user_id || word(2) == caller.user);
    let secrets = word(1) == "credentials" || (word(1) == "users" && word(3) == "credentials");
    let logins = own || word(1) == "application_credentials" || (word(1) == "users" && path.len() > 3);
    if (limits.restricted || !limits.rules.is_empty()) && (secrets || (logins && !reads)) {
        return Err(err!(Forbidden, "an application credential may not handle credentials and logins unless it was made unrestricted"));
    }
    Ok(())
}
