//! The typed client. It logs in when it must and again when its token runs out.

use crate::{
    Auth, AuthContext, AuthRequest, Call, Changes, DirectoryDomain, DirectoryProject, Identity, PasswordMethod, PasswordUser, PolicyTrees,
    Reply, Revocations, RuleBook, ScopeProject, ScopeWish, Secret, SigningKey, Subject, TokenAnswer, Transport, Which,
};
use base::{Class, Clock, Error, Json, Result, Timestamp, err};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio::sync::Mutex;

/// With whose name and password the client works.
#[derive(Clone, Debug, Default)]
pub struct Login {
    pub user: String,
    pub password: Secret,
    /// Domain of the user and the project, by name.
    pub domain: String,
    /// Project by name.
    pub project: String,
    /// `srv`, `cli`, `operator`…
    pub source: String,
}

/// A token with what it stands for.
#[derive(Clone, Debug, Default)]
pub struct Issued {
    pub token: String,
    pub subject: Subject,
}

/// Speaks to the identity service.
pub struct IdentityClient {
    transport: Arc<dyn Transport>,
    login: Option<Login>,
    clock: Clock,
    session: Mutex<Option<Arc<Issued>>>,
}

/// A token this near to its end is not used any more.
const SPARE_SECS: i64 = 120;
/// A refusal within this time of the login is meant; later the token may have become void.
const AGED_SECS: i64 = 60;
/// Rows per page when everything is read.
const PAGE: usize = 2048;

impl IdentityClient {
    /// A client without a login can issue tokens and read the signing keys.
    pub fn new(transport: Arc<dyn Transport>, login: Option<Login>, clock: Clock) -> IdentityClient {
        IdentityClient { transport, login, clock, session: Mutex::new(None) }
    }

    /// `POST /auth/tokens`
    pub async fn issue(&self, request: &AuthRequest) -> Result<Issued> {
        let body = serde_json::to_value(request).map_err(Error::internal)?;
        let call = Call { method: "POST", path: "/auth/tokens", token: None, subject: None, body: Some(body) };
        let reply = self.transport.call(call).await?;
        let token = reply.subject.clone().filter(|t| !t.is_empty()).ok_or_else(|| unreadable("the answer has no X-Subject-Token"))?;
        let answer: TokenAnswer = read(reply.body)?;
        Ok(Issued { token, subject: answer.token })
    }

    /// The client's own token, fresh enough for a request.
    pub async fn session(&self) -> Result<Arc<Issued>> {
        let mut session = self.session.lock().await;
        if let Some(issued) = session.as_ref().filter(|s| self.fresh(s)) {
            return Ok(issued.clone());
        }
        let login = self.login.as_ref().ok_or_else(|| err!(Unauthorized, "no login is configured for the identity service"))?;
        let issued = Arc::new(self.issue(&login.request()).await?);
        *session = Some(issued.clone());
        Ok(issued)
    }

    fn fresh(&self, issued: &Issued) -> bool {
        Timestamp::parse(&issued.subject.expires_at).is_some_and(|end| end > self.clock.now().plus_secs(SPARE_SECS))
    }

    fn aged(&self, issued: &Issued) -> bool {
        Timestamp::parse(&issued.subject.issued_at).is_none_or(|at| at.plus_secs(AGED_SECS) <= self.clock.now())
    }

    /// Forgets the client's own token, unless another request has replaced it already.
    async fn forget(&self, stale: &Arc<Issued>) {
        let mut session = self.session.lock().await;
        if session.as_ref().is_some_and(|s| Arc::ptr_eq(s, stale)) {
            *session = None;
        }
    }

    /// A request in the client's own name. A token refused although it looked good was revoked: one new login is tried. Services answer a void
    /// token with 403, so that counts too once the token is not brand-new.
    async fn call(&self, method: &'static str, path: &str, subject: Option<&str>, body: Option<Json>) -> Result<Reply> {
        for again in [false, true] {
            let session = self.session().await?;
            let call = Call { method, path, token: Some(&session.token), subject, body: body.clone() };
            match self.transport.call(call).await {
                Err(e) if !again && (e.class() == Class::Unauthorized || (e.class() == Class::Forbidden && self.aged(&session))) => {
                    self.forget(&session).await;
                }
                other => return other,
            }
        }
        unreachable!("the second round returns")
    }

    /// `GET /auth/tokens`: what a token stands for; an error when it is not valid.
    pub async fn verify(&self, token: &str) -> Result<Subject> {
        let reply = self.call("GET", "/auth/tokens", Some(token), None).await?;
        read::<TokenAnswer>(reply.body).map(|a| a.token)
    }

    /// `DELETE /auth/tokens`, in the name of the token itself: it and all that come from it are void.
    pub async fn revoke(&self, token: &str) -> Result<()> {
        let call = Call { method: "DELETE", path: "/auth/tokens", token: Some(token), subject: Some(token), body: None };
        self.transport.call(call).await.map(|_| ())
    }

    /// `GET /auth/policies`: what the holder of a token may do.
    pub async fn policies_of(&self, token: &str) -> Result<PolicyTrees> {
        let call = Call { method: "GET", path: "/auth/policies", token: Some(token), subject: None, body: None };
        read(self.transport.call(call).await?.body)
    }

    /// `POST /auth/policies`: what a user may do in a project, from an address.
    pub async fn policies_for(&self, user_id: &str, project_id: &str, ip: &str) -> Result<PolicyTrees> {
        let body = serde_json::json!({"user_id": user_id, "project_id": project_id, "login_ip": ip});
        read(self.call("POST", "/auth/policies", None, Some(body)).await?.body)
    }

    /// Every project.
    pub async fn projects(&self) -> Result<Vec<DirectoryProject>> {
        self.all("projects").await
    }

    /// Every domain.
    pub async fn domains(&self) -> Result<Vec<DirectoryDomain>> {
        self.all("domains").await
    }

    async fn all<T: DeserializeOwned>(&self, plural: &str) -> Result<Vec<T>> {
        let mut out: Vec<T> = Vec::new();
        loop {
            let path = format!("/{plural}?scope=system&details=false&order_by=id&limit={PAGE}&offset={}", out.len());
            let mut body = self.call("GET", &path, None, None).await?.body;
            let page: Vec<T> = read(body.get_mut(plural).map(Json::take).unwrap_or_default())?;
            let got = page.len();
            out.extend(page);
            if got < PAGE {
                return Ok(out);
            }
        }
    }

    /// The address of a service, out of the catalogue that came with the client's own token.
    pub async fn endpoint(&self, service: &str, region: &str, interface: &str) -> Result<String> {
        let session = self.session().await?;
        let found = session.subject.endpoint(service, region, interface).map(str::to_string);
        found.ok_or_else(|| err!(NotFound, "the catalogue has no {} endpoint of service {} in region {}", interface, service, region))
    }

    /// `GET /auth/keys`: the keys tokens are signed with. Needs no login.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        let call = Call { method: "GET", path: "/auth/keys", token: None, subject: None, body: None };
        let mut body = self.transport.call(call).await?.body;
        read(body.get_mut("keys").map(Json::take).unwrap_or_default())
    }

    /// `GET /auth/revocations`
    pub async fn revocations(&self) -> Result<Revocations> {
        read(self.call("GET", "/auth/revocations", None, None).await?.body)
    }

    /// `GET /auth/bindings`
    pub async fn rules(&self) -> Result<RuleBook> {
        read(self.call("GET", "/auth/bindings", None, None).await?.body)
    }

    /// `GET /auth/changes`: waits up to `wait_secs` for something beyond the cursor.
    pub async fn changes(&self, after: i64, wait_secs: u64) -> Result<Changes> {
        read(self.call("GET", &format!("/auth/changes?after={after}&wait={wait_secs}"), None, None).await?.body)
    }
}

impl Login {
    /// The token request of this login.
    pub fn request(&self) -> AuthRequest {
        let domain = Which::named(&self.domain);
        let user =
            PasswordUser { name: self.user.clone(), password: self.password.clone(), domain: domain.clone(), ..PasswordUser::default() };
        AuthRequest {
            auth: Auth {
                identity: Identity { methods: vec!["password".into()], password: Some(PasswordMethod { user }), ..Identity::default() },
                scope: Some(ScopeWish::Project(ScopeProject { name: self.project.clone(), domain, ..ScopeProject::default() })),
                context: AuthContext { source: self.source.clone(), ip: String::new() },
            },
        }
    }
}

fn read<T: DeserializeOwned>(body: Json) -> Result<T> {
    serde_json::from_value(body).map_err(unreadable)
}

fn unreadable(cause: impl std::fmt::Display) -> Error {
    err!(BadGateway, "the answer of the identity service cannot be read").with_context(cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::Future, pin::Pin, sync::Mutex as Lock};

    /// Answers by rule and keeps what it was asked.
    struct Fake {
        clock: Clock,
        asked: Lock<Vec<String>>,
        revoked: Lock<Vec<String>>,
    }

    impl Transport for Fake {
        fn call<'a>(&'a self, call: Call<'a>) -> Pin<Box<dyn Future<Output = Result<Reply>> + Send + 'a>> {
            Box::pin(async move {
                let mut asked = self.asked.lock().expect("not poisoned");
                asked.push(format!("{} {}", call.method, call.path));
                if call.token.is_some_and(|t| self.revoked.lock().expect("not poisoned").iter().any(|r| r == t)) {
                    return Err(err!(Unauthorized, "revoked"));
                }
                if call.path == "/auth/tokens" {
                    let token = format!("t{}", asked.iter().filter(|a| *a == "POST /auth/tokens").count());
                    let expires = self.clock.now().plus_secs(3600).to_string();
                    let body = serde_json::json!({"id": token, "token": {"user": {"id": "u", "name": "u", "domain": {"id": "d", "name": "d"}}, "expires_at": expires}});
                    return Ok(Reply { subject: Some(token), body });
                }
                let offset: usize = call.path.rsplit('=').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                let n = if offset == 0 { PAGE } else { 3 };
                let rows: Vec<Json> = (0..n)
                    .map(|i| serde_json::json!({"id": (offset + i).to_string(), "name": "n", "domain_id": "d", "extra": 1}))
                    .collect();
                Ok(Reply { subject: None, body: serde_json::json!({"projects": rows}) })
            })
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_login_serves_until_it_runs_out_or_is_revoked() {
        let clock = Clock::manual(Timestamp::parse("2026-02-03T04:05:06Z").expect("a time"));
        let fake = Arc::new(Fake { clock: clock.clone(), asked: Lock::default(), revoked: Lock::default() });
        let client = IdentityClient::new(fake.clone(), Some(Login::default()), clock.clone());
        let logins = || fake.asked.lock().expect("not poisoned").iter().filter(|a| a.starts_with("POST")).count();

        assert_eq!(client.projects().await.expect("a list").len(), PAGE + 3);
        assert_eq!(logins(), 1);
        clock.advance(std::time::Duration::from_secs(3500));
        client.projects().await.expect("a list");
        assert_eq!(logins(), 2, "the first token was about to run out");
        fake.revoked.lock().expect("not poisoned").push("t2".into());
        client.projects().await.expect("a list");
        assert_eq!(logins(), 3, "the second was revoked");
        fake.revoked.lock().expect("not poisoned").extend(["t3".into(), "t4".into(), "t5".into()]);
        assert_eq!(client.projects().await.expect_err("all are revoked").class(), Class::Unauthorized);
        assert_eq!(logins(), 4, "one new login, not an endless loop");
    }
}
