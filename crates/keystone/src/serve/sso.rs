//! What identity providers call themselves: the end of a login (OpenID Connect Back-Channel Logout 1.0). Without a token of ours: the token in the
//! form is believed for its signature.

use super::{Desk, Visit, on};
use crate::provider::oidc::logout;
use http::{Reply, Response, Router, StatusCode};
use std::sync::Arc;

pub(super) fn routes(router: Router, desk: &Arc<Desk>) -> Router {
    router.post("/v3/auth/sso/{provider}/backchannel-logout", on(desk, |desk, visit| async move { ended(&desk, visit).await }))
}

async fn ended(desk: &Desk, visit: Visit) -> Reply {
    // A form's fields arrive among the parameters of the query.
    let token = visit.request.query.text("logout_token").unwrap_or_default();
    let provider = visit.request.param("provider").to_string();
    let answer = match logout::end(&desk.state, &visit.ctx, &provider, token).await {
        Ok(()) => Response::new(StatusCode::OK),
        Err(e) if e.class().http() < 500 => Response::json(&logout::refusal()).with_status(StatusCode::BAD_REQUEST),
        Err(e) => return Err(e),
    };
    Ok(answer.with_header("Cache-Control", "no-store"))
}
