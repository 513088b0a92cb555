//! Credentials: secrets of users, sealed at rest (spec 02 §6).

use super::enabled_unless_said;
use crate::{login::second, revoke, state::State};
use api_identity::{CREDENTIAL_TYPES, Credential, User};
use base::{Error, Json, Resource, Result, Row, Scope, err};
use resource::{BoxFuture, Deleted, Extra, Hooks, Kind, Map, Naming, Op, Page, Removal};
use std::sync::Arc;
use store::{Cond, Read, Tx};

struct CredentialHooks {
    state: Arc<State>,
}

pub fn kind(state: &Arc<State>) -> Kind {
    Kind::new::<Credential, _>(&Arc::new(CredentialHooks { state: state.clone() })).extras(EXTRAS).naming(Naming::Free).done()
}

const EXTRAS: &[Extra] = &[
    Extra::create("blob", base::Kind::Json, "The secret, as the type wants it; for aksk {\"secret\": ..}.").required().secret(),
    Extra::create("user_id", base::Kind::Text, "Whose it is to be, by id or name; your own when left out."),
];

/// Longest secret, bytes.
const MAX_BLOB: usize = 65_536;

/// The secret of a body: a JSON text, or the object itself.
fn blob(body: &Map) -> Result<Option<String>> {
    let text = match body.get("blob") {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.len() > MAX_BLOB {
        return Err(err!(InputParameter, "blob: at most {} bytes, got {}", MAX_BLOB, text.len()));
    }
    Ok(Some(text))
}

impl CredentialHooks {
    fn seal(&self, row: &mut Row, text: &str) -> Result<()> {
        row.set("sealed_blob", self.state.seal.close(text)?);
        row.set("key_hash", self.state.seal.fingerprint(text));
        Ok(())
    }

    /// Which of the rows are second factors that are asked for at login.
    async fn in_use(&self, rows: &[Row]) -> Result<Vec<String>> {
        let factors: Vec<String> = rows.iter().filter(|r| r.text("type") == "totp").map(|r| r.id().to_string()).collect();
        if factors.is_empty() { Ok(Vec::new()) } else { second::in_use(&self.state.db, factors).await }
    }
}

impl Hooks for CredentialHooks {
    fn create<'a>(&'a self, op: &'a Op<'a>, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            enabled_unless_said(body, row);
            let kind = row.text("type").to_string();
            if !CREDENTIAL_TYPES.contains(&kind.as_str()) {
                return Err(err!(InputParameter, "{}: {} is none of {}", "type", kind, CREDENTIAL_TYPES.join(", ")));
            }
            let text = blob(body)?.ok_or_else(|| err!(MissingParameter, "{} is missing", "blob"))?;
            if kind == "aksk" {
                let secret = serde_json::from_str::<Json>(&text).ok().and_then(|j| j["secret"].as_str().map(str::len));
                if secret.is_none_or(|n| n < 16) {
                    return Err(err!(InputParameter, "blob: an access key needs a secret of at least {} characters", 16));
                }
            }
            self.seal(row, &text)?;
            let mut owner = op.ctx.caller.user.clone();
            if let Some(which) = resource::text(body, &["user_id", "user", "owner_id"]) {
                let user = op.engine.resolve(op.ctx, "user", &which).await?;
                if user.id() != op.ctx.caller.user_id && op.engine.widest(op.ctx, op.kind, "create", &[]) < Scope::System {
                    return Err(err!(Forbidden, "only an administrator of the platform makes credentials for somebody else"));
                }
                row.set("owner_id", user.id());
                owner = user.name().to_string();
            }
            let project = match row.text("project_id") {
                "" if op.ctx.caller.project_id.is_empty() => "default".to_string(),
                "" => op.ctx.caller.project_id.clone(),
                "default" => "default".to_string(),
                which => op.engine.resolve(op.ctx, "project", which).await?.id().to_string(),
            };
            row.set("project_id", project.as_str());
            if row.name().is_empty() {
                let named = self.state.directory.find_project(&project).map_or(project, |p| p.project);
                row.set("name", format!("{kind}-{named}-{owner}"));
            }
            Ok(())
        })
    }

    fn update<'a>(&'a self, _op: &'a Op<'a>, old: &'a Row, body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            if let Some(text) = blob(body)? {
                if !old.text("type").starts_with("container_") {
                    return Err(err!(
                        NotAcceptable,
                        "the secret of a credential of type {} cannot be changed; make a new one",
                        old.text("type")
                    ));
                }
                self.seal(row, &text)?;
            }
            Ok(())
        })
    }

    fn deletable<'a>(&'a self, op: &'a Op<'a>, rows: &'a [Row]) -> BoxFuture<'a, Result<Vec<Option<Error>>>> {
        Box::pin(async move {
            let used = self.in_use(rows).await?;
            let refusal = |row: &Row| {
                let own = row.text("owner_id") == op.ctx.caller.user_id;
                (own && used.iter().any(|id| id == row.id()))
                    .then(|| err!(ProtectedResource, "this second factor is in use; remove it with a code of it"))
            };
            Ok(rows.iter().map(refusal).collect())
        })
    }

    fn delete<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, row: &'a mut Row, _how: Removal) -> BoxFuture<'a, Result<Deleted>> {
        Box::pin(async move {
            revoke::access_key(tx, row.id()).await?;
            row.set("sealed_blob", "");
            Ok(Deleted::Now)
        })
    }

    fn view<'a>(&'a self, _op: &'a Op<'a>, page: &'a mut Page) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let used = self.in_use(&page.rows).await?;
            let users = self.state.db.read().find(User::facts(), Cond::is_in("id", page.ids("owner_id"))).await?;
            for i in 0..page.rows.len() {
                let (owner, sealed) = (page.rows[i].text("owner_id").to_string(), page.rows[i].text("sealed_blob").to_string());
                page.add(i, "user_id", owner.as_str());
                // A second factor that can be read with a token is none.
                if !sealed.is_empty() && !used.iter().any(|id| id == page.rows[i].id()) {
                    page.add(i, "blob", self.state.seal.open(&sealed)?);
                }
                if let Some(user) = users.iter().find(|u| u.id() == owner) {
                    let domain = user.text("domain_id").to_string();
                    page.add(i, "user", user.name());
                    page.add(i, "domain", self.state.directory.domain_name(&domain));
                    page.add(i, "domain_id", domain);
                }
            }
            Ok(())
        })
    }
}
