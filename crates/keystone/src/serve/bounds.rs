//! What tokens of application credentials are kept from in this service: requests outside their rules, and whatever would get them a login
//! without bounds.

use super::{Desk, Visit};
use base::{Result, err};
use http::Method;

pub(super) fn check(desk: &Desk, visit: &Visit) -> Result<()> {
    let Some(limits) = visit.who.claims.as_ref().and_then(|c| c.limits.as_ref()) else { return Ok(()) };
    desk.guard.screen(api_identity::SERVICE, &visit.request)?;
    let path = visit.request.segments();
    let word = |at: usize| path.get(at).map_or("", String::as_str);
    let reads = matches!(visit.request.method, Method::GET | Method::HEAD);
    let caller = &visit.ctx.caller;
    let own = word(1) == "users" && (word(2) == caller.user_id || word(2) == caller.user);
    let secrets = word(1) == "credentials" || (word(1) == "users" && word(3) == "credentials");
    let logins = own || word(1) == "application_credentials" || (word(1) == "users" && path.len() > 3);
    // The chain of its tokens begins with the credential: giving itself up it may.
    let itself = visit.request.method == Method::DELETE
        && path.len() == 3
        && word(1) == "application_credentials"
        && visit.who.claims.as_ref().and_then(|c| c.audit_ids.first()).is_some_and(|id| id == word(2));
    if (limits.restricted || !limits.rules.is_empty()) && !itself && (secrets || (logins && !reads)) {
        return Err(err!(Forbidden, "an application credential may not handle credentials and logins unless it was made unrestricted"));
    }
    Ok(())
}
