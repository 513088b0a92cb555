//! The record of authentications: every login and every refusal is an event beside those of changes (spec 01 §12), with who, when, from where, how
//! and why not. Passwords, keys, tokens and what was sent in their place never get here.

use crate::{login::Issued, state::State};
use api_identity::{Auth, User};
use base::{Caller, Ctx, Error, Resource, Result, Row, err};
use resource::audit;
use serde_json::json;
use std::{net::IpAddr, sync::Arc};
use store::{Cond, Db, Op, Order, Read, work};

/// Characters of a claimed name that are kept.
const LONGEST: usize = 128;

/// Writes down how a token request ended. A record that cannot be written fails the login: what leaves no trace does not happen.
pub async fn login(state: &State, ctx: &Ctx, auth: &Auth, peer: Option<IpAddr>, outcome: &Result<Issued>) -> Result<()> {
    let methods = &auth.identity.methods;
    let method: String = methods.first().map(|m| m.chars().take(32).collect()).unwrap_or_default();
    let mut notes = json!({ "method": method });
    if let Some(peer) = peer {
        notes["peer"] = json!(peer.to_string());
    }
    if !auth.context.source.is_empty() {
        notes["source"] = json!(auth.context.source.chars().take(32).collect::<String>());
    }
    let told = crate::login::said_address(state, &auth.context, peer);
    let (row, caller, action) = match outcome {
        Ok(issued) => {
            let subject = &issued.subject;
            notes["audit_id"] = json!(subject.audit_ids.last());
            if let base::Json::Object(told) = &issued.told {
                notes.as_object_mut().into_iter().for_each(|notes| notes.extend(told.clone()));
            }
            let project = subject.project.clone().unwrap_or_default();
            let caller = Caller {
                user_id: subject.user.id.clone(),
                user: subject.user.name.clone(),
                user_domain_id: subject.user.domain.id.clone(),
                user_domain: subject.user.domain.name.clone(),
                project_id: project.id,
                project: project.name,
                project_domain_id: project.domain.id,
                project_domain: project.domain.name,
                roles: subject.roles.iter().map(|r| base::Role { id: r.id.clone(), name: r.name.clone() }).collect(),
                ..Caller::default()
            };
            (
                known(&subject.user.id, &subject.user.name, &subject.user.domain.id),
                caller,
                if method == "token" { "rescope" } else { "login" },
            )
        }
        Err(error) => {
            if !auth.identity.id.is_empty() {
                notes["provider"] = json!(auth.identity.id.chars().take(LONGEST).collect::<String>());
            }
            notes["class"] = json!(error.class().name());
            notes["reason"] = json!(error.template());
            (claimed(state, auth).await?, Caller::default(), "login_fail")
        }
    };
    state.logins.get_or_create(&[("outcome", action)]).inc();
    let ctx = Ctx { caller: Arc::new(caller), peer: told.or(peer), ..ctx.clone() };
    if let Err(error) = outcome {
        tracing::info!(user = row.name(), peer = ?peer, class = error.class().name(), request_id = %ctx.request_id, "login refused");
    }
    let (row, ctx, notes) = (&row, &ctx, notes.to_string());
    state
        .db
        .tx(|tx| {
            let notes = notes.clone();
            work(async move { audit(tx, ctx, row, action, notes).await })
        })
        .await
}

fn known(id: &str, name: &str, domain: &str) -> Row {
    let mut row = User::default().to_row();
    row.set("id", id);
    row.set("name", name);
    row.set("domain_id", domain);
    row
}

/// Whom a refused request spoke of: the account when there is one, else the name as it was given.
async fn claimed(state: &State, auth: &Auth) -> Result<Row> {
    let short = |text: &str| text.chars().take(LONGEST).collect::<String>();
    let Some(password) = &auth.identity.password else { return Ok(known("", "", "")) };
    let asked = &password.user;
    let (id, name) = (short(&asked.id), short(&asked.name));
    let mut cond = Cond::eq("deleted", false);
    cond = if id.is_empty() { cond.and(Cond::eq("name", name.as_str())) } else { cond.and(Cond::eq("id", id.as_str())) };
    let wanted = [&asked.domain.id, &asked.domain.name];
    let mut found = state.db.read().find(User::facts(), cond).await?;
    found.retain(|row| {
        let domain = row.text("domain_id");
        asked.domain.is_empty() || wanted.iter().any(|w| **w == domain) || state.directory.domain_name(domain) == asked.domain.name
    });
    Ok(match found.as_slice() {
        [one] => known(one.id(), one.name(), one.text("domain_id")),
        _ => known("", if name.is_empty() { &id } else { &name }, ""),
    })
}

/// Writes down that somebody made a token void.
pub async fn logout(tx: &mut store::Tx, ctx: &Ctx, caller: &Caller) -> Result<()> {
    let row = known(&caller.user_id, &caller.user, &caller.user_domain_id);
    audit(tx, ctx, &row, "logout", String::new()).await
}

/// Writes down that an identity provider ended a login of its own.
pub async fn ended(tx: &mut store::Tx, ctx: &Ctx, provider: &Row, subject: &str, session: &str) -> Result<()> {
    let short = |text: &str| text.chars().take(LONGEST).collect::<String>();
    audit(tx, ctx, provider, "sso_logout", json!({"subject": short(subject), "session": short(session)}).to_string()).await
}

/// Records looked at in one go of [`trim`].
const BATCH: i64 = 10_000;

/// Forgets records older than so many days; the oldest first, some at a time.
pub async fn trim(db: &Db, days: i64) -> Result<u64> {
    if days <= 0 {
        return Ok(0);
    }
    let before = db.clock().now().plus_secs(-days * 86_400);
    let mut read = db;
    let oldest = read.page(resource::Event::facts(), Cond::cmp("ops_time", Op::Lt, before), vec![Order::asc("id")], 1, 0).await?;
    let Some(first) = oldest.first().map(|row| row.int("id")) else { return Ok(0) };
    let old = Cond::cmp("ops_time", Op::Lt, before).and(Cond::cmp("id", Op::Lt, first + BATCH));
    db.tx(|tx| {
        let old = old.clone();
        work(async move { tx.delete("events", old).await })
    })
    .await
}

/// How records leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of names, then a line per record (RFC 4180).
    Csv,
    /// One JSON object per line.
    JsonLines,
}

impl Format {
    pub fn parse(word: &str) -> Result<Format> {
        match word {
            "csv" => Ok(Format::Csv),
            "jsonl" | "json-lines" | "" => Ok(Format::JsonLines),
            other => Err(err!(InputParameter, "format {} is unknown; use csv or jsonl", other)),
        }
    }

    /// What stands before the records.
    pub fn head(self, columns: &[&str]) -> String {
        match self {
            Format::Csv => columns.join(",") + "\r\n",
            Format::JsonLines => String::new(),
        }
    }

    /// One record.
    pub fn line(self, columns: &[&str], record: &base::Json) -> Result<String> {
        match self {
            Format::JsonLines => serde_json::to_string(record).map(|text| text + "\n").map_err(Error::internal),
            Format::Csv => {
                let cell = |name: &&str| match &record[*name] {
                    base::Json::Null => String::new(),
                    base::Json::String(text) => quoted(text),
                    other => quoted(&other.to_string()),
                };
                Ok(columns.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n")
            }
        }
    }
}

/// A cell of CSV. What a spreadsheet would take for a formula gets an apostrophe before it: names in records are chosen by strangers.
fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && text.parse::<f64>().is_err();
    let text = if formula { format!("'{text}") } else { text.to_string() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        let columns = ["a", "b", "c"];
        let line = |record: base::Json| Format::Csv.line(&columns, &record).unwrap();
        assert_eq!(Format::Csv.head(&columns), "a,b,c\r\n");
        assert_eq!(line(json!({"a": "x,\"y\"\n", "b": 5, "d": "not asked"})), "\"x,\"\"y\"\"\n\",5,\r\n");
        assert_eq!(line(json!({"a": "=cmd()", "b": "-7", "c": "@x,y"})), "'=cmd(),-7,\"'@x,y\"\r\n");
        assert_eq!(Format::JsonLines.line(&columns, &json!({"a": "x\ny"})).unwrap(), "{\"a\":\"x\\ny\"}\n");
        assert!(Format::parse("xls").is_err());
    }
}
