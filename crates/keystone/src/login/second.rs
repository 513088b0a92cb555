//! The second factor: one-time passwords of a generator app, and recovery codes for when it is lost.
//!
//! A credential of type `totp` alone asks for nothing: existing web gateways make them and check them by themselves. What is asked for here at
//! every password login is a factor its user has confirmed here (`second_factors`).

use super::guard;
use crate::{access, revoke, state::State};
use api_identity::{Credential, Secret, User};
use auth::totp::{self, Verdict};
use base::{Ctx, Error, Json, Resource, Result, Row, Value, err};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use store::{Cond, Db, Name, Op, Read, Select, set, work};

/// Bytes of a secret: as long as the hash (RFC 4226 §4).
const SECRET: usize = 20;
/// Recovery codes of a set.
const CODES: usize = 10;

/// A factor that is asked for.
pub struct Factor {
    /// The credential.
    id: String,
    secret: Secret,
    last_step: i64,
}

/// The factor of a user, if one is asked for.
pub async fn of(state: &State, user: &str) -> Result<Option<Factor>> {
    let mut db = state.db.read();
    let select = Select::from("second_factors")
        .column("id", base::Kind::Text)
        .column("last_step", base::Kind::Int)
        .filter(Cond::eq("user_id", user));
    for row in db.rows(&select).await? {
        // Deleted with its credential by an administrator: then it is gone.
        if let Some(credential) = db.one(Credential::facts(), row[0].as_str()).await?.filter(|c| !c.flag("deleted")) {
            let secret = secret_of(state, &credential)?;
            return Ok(Some(Factor { id: row[0].as_str().to_string(), secret, last_step: row[1].as_int().unwrap_or(i64::MIN) }));
        }
    }
    Ok(None)
}

fn secret_of(state: &State, credential: &Row) -> Result<Secret> {
    let blob: Json = serde_json::from_str(&state.seal.open(credential.text("sealed_blob"))?).map_err(Error::internal)?;
    Ok(Secret::new(blob["totp"].as_str().unwrap_or_default()))
}

/// Checks a code of the generator, or a recovery code, and uses it up.
pub async fn check(state: &State, user: &Row, factor: &Factor, passcode: &Secret) -> Result<()> {
    guard::admit_factor(state, user).await?;
    let code: String = passcode.expose().chars().filter(|c| !c.is_whitespace()).take(64).collect();
    let six = code.len() == totp::DIGITS as usize && code.bytes().all(|b| b.is_ascii_digit());
    let fits = if six { generated(state, user, factor, &code).await? } else { recovery(state, user, &code).await? };
    if fits {
        return guard::succeeded_factor(state, user).await;
    }
    guard::failed_factor(state, user).await?;
    Err(err!(InvalidCredential, "the one-time password or recovery code is wrong"))
}

async fn generated(state: &State, user: &Row, factor: &Factor, code: &str) -> Result<bool> {
    let replayed = || {
        tracing::warn!(user = user.name(), "login refused: a one-time password was used twice");
        err!(InvalidCredential, "this one-time password was used before; wait for the next one")
    };
    match totp::verify(factor.secret.expose().as_bytes(), code, state.clock.now(), factor.last_step) {
        Verdict::Wrong => Ok(false),
        Verdict::Replayed => {
            guard::failed_factor(state, user).await?;
            Err(replayed())
        }
        Verdict::Right(step) => {
            let unused = Cond::eq("id", factor.id.as_str()).and(Cond::cmp("last_step", Op::Lt, step));
            let used = state
                .db
                .tx(|tx| {
                    let unused = unused.clone();
                    work(async move { tx.update("second_factors", unused, vec![set("last_step", step)]).await })
                })
                .await?;
            // Two logins at once with one code: the database lets one of them have it.
            if used == 1 { Ok(true) } else { Err(replayed()) }
        }
    }
}

async fn recovery(state: &State, user: &Row, code: &str) -> Result<bool> {
    let id = digest(state, user.id(), code);
    let used = state.db.tx(|tx| {
        let id = id.clone();
        work(async move { tx.delete("recovery_codes", Cond::eq("id", id)).await })
    });
    let used = used.await? == 1;
    if used {
        tracing::warn!(user = user.name(), "a recovery code was used instead of a one-time password");
    }
    Ok(used)
}

fn digest(state: &State, user: &str, code: &str) -> String {
    let plain: String = code.chars().filter(|c| *c != '-').flat_map(char::to_lowercase).collect();
    state.seal.fingerprint(&format!("recovery:{user}:{plain}"))
}

/// What a generator app is given.
pub struct Begun {
    pub secret: String,
    /// `otpauth://totp/…`, as apps read it from a picture.
    pub uri: String,
}

/// Makes a secret that is not asked for until it is confirmed. One that was begun and not confirmed is thrown away.
pub async fn begin(state: &State, ctx: &Ctx, user: &Row) -> Result<Begun> {
    if of(state, user.id()).await?.is_some() {
        return Err(err!(Conflict, "a second factor is in use already; remove it first"));
    }
    let mut bytes = [0u8; SECRET];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    // As text, because other services read it as such; the same bytes go to the app.
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let blob = serde_json::json!({"totp": secret, "timestamp": state.clock.now().micros() / 1_000_000}).to_string();
    let now = state.clock.now();
    let mut row = Credential::default().to_row();
    row.set("id", base::hex_id());
    row.set("name", format!("totp-default-{}", user.name()));
    row.set("created_at", now);
    row.set("updated_at", now);
    row.set("enabled", true);
    row.set("owner_id", user.id());
    row.set("project_id", "default");
    row.set("type", "totp");
    row.set("sealed_blob", state.seal.close(&blob)?);
    row.set("key_hash", state.seal.fingerprint(&blob));
    let begun = begun_by(user);
    let (row, begun) = (&row, &begun);
    state
        .db
        .tx(|tx| {
            work(async move {
                for old in tx.find(Credential::facts(), begun.clone()).await? {
                    access::bury(tx, ctx, &old).await?;
                }
                tx.insert(row).await?;
                resource::audit(tx, ctx, row, "create", String::new()).await
            })
        })
        .await?;
    let app_secret = totp::base32(secret.as_bytes());
    let issuer = http::path::encode(&state.config.second_factor_issuer);
    let uri = format!(
        "otpauth://totp/{issuer}:{}?secret={app_secret}&issuer={issuer}&algorithm=SHA1&digits={}&period={}",
        http::path::encode(user.name()),
        totp::DIGITS,
        totp::PERIOD
    );
    Ok(Begun { secret: app_secret, uri })
}

/// Credentials made by [`begin`]; those of web gateways have other names.
fn begun_by(user: &Row) -> Cond {
    let name = format!("totp-default-{}", user.name());
    Cond::eq("owner_id", user.id()).and(Cond::eq("type", "totp")).and(Cond::eq("name", name)).and(Cond::eq("deleted", false))
}

/// From now on the factor is asked for, once its user has shown a code of it. Gives a set of recovery codes.
pub async fn confirm(state: &State, ctx: &Ctx, user: &Row, passcode: &Secret) -> Result<Vec<String>> {
    if of(state, user.id()).await?.is_some() {
        return Err(err!(Conflict, "a second factor is in use already; remove it first"));
    }
    let begun = state.db.read().find(Credential::facts(), begun_by(user)).await?.pop();
    let begun = begun.ok_or_else(|| err!(InvalidStatus, "no second factor was begun; begin with a new secret"))?;
    guard::admit_factor(state, user).await?;
    let secret = secret_of(state, &begun)?;
    let Verdict::Right(step) = totp::verify(secret.expose().as_bytes(), passcode.expose().trim(), state.clock.now(), i64::MIN) else {
        guard::failed_factor(state, user).await?;
        return Err(err!(InvalidCredential, "the one-time password or recovery code is wrong"));
    };
    let codes = fresh_codes()?;
    let (begun, stored) = (&begun, &digests(state, user.id(), &codes));
    state
        .db
        .tx(|tx| {
            work(async move {
                let columns: Vec<(Name, Value)> = vec![
                    ("id".into(), begun.id().into()),
                    ("user_id".into(), user.id().into()),
                    ("last_step".into(), step.into()),
                    ("confirmed_at".into(), tx.now().micros().into()),
                ];
                tx.delete("second_factors", Cond::eq("user_id", user.id())).await?;
                tx.insert_into("second_factors", columns).await?;
                keep(tx, user.id(), stored).await?;
                // What was logged in with the password alone is not enough any more.
                revoke::user(tx, user.id()).await?;
                access::record(tx, ctx, user, "enable_second_factor").await
            })
        })
        .await?;
    state.catch_up().await?;
    Ok(codes)
}

/// A new set of recovery codes; the old ones are void.
pub async fn renew_codes(state: &State, ctx: &Ctx, user: &Row) -> Result<Vec<String>> {
    let codes = fresh_codes()?;
    let stored = &digests(state, user.id(), &codes);
    state
        .db
        .tx(|tx| {
            work(async move {
                keep(tx, user.id(), stored).await?;
                access::record(tx, ctx, user, "renew_recovery_codes").await
            })
        })
        .await?;
    Ok(codes)
}

/// The factor is not asked for any more, and its secret is gone.
pub async fn remove(state: &State, ctx: &Ctx, user: &Row) -> Result<()> {
    state
        .db
        .tx(|tx| {
            work(async move {
                let ids = tx.texts("second_factors", "id", Cond::eq("user_id", user.id())).await?;
                for old in
                    tx.find(Credential::facts(), Cond::is_in("id", ids.iter().map(String::as_str)).and(Cond::eq("deleted", false))).await?
                {
                    access::bury(tx, ctx, &old).await?;
                }
                tx.delete("second_factors", Cond::eq("user_id", user.id())).await?;
                tx.delete("recovery_codes", Cond::eq("user_id", user.id())).await?;
                access::record(tx, ctx, user, "disable_second_factor").await
            })
        })
        .await?;
    state.catch_up().await
}

/// Which of these credentials are factors in use.
pub async fn in_use(mut db: &Db, credentials: Vec<String>) -> Result<Vec<String>> {
    db.texts("second_factors", "id", Cond::is_in("id", credentials)).await
}

/// Recovery codes a user has left.
pub async fn codes_left(state: &State, user: &str) -> Result<i64> {
    state.db.read().count("recovery_codes", Cond::eq("user_id", user)).await
}

fn fresh_codes() -> Result<Vec<String>> {
    (0..CODES)
        .map(|_| {
            let mut bytes = [0u8; 10];
            getrandom::fill(&mut bytes).map_err(Error::internal)?;
            let text = totp::base32(&bytes).to_lowercase();
            Ok(format!("{}-{}-{}-{}", &text[..4], &text[4..8], &text[8..12], &text[12..]))
        })
        .collect()
}

fn digests(state: &State, user: &str, codes: &[String]) -> Vec<String> {
    codes.iter().map(|code| digest(state, user, code)).collect()
}

async fn keep(tx: &mut store::Tx, user: &str, digests: &[String]) -> Result<()> {
    tx.delete("recovery_codes", Cond::eq("user_id", user)).await?;
    for id in digests {
        tx.insert_into("recovery_codes", vec![("id".into(), id.as_str().into()), ("user_id".into(), user.into())]).await?;
    }
    Ok(())
}

/// The row of a user who lives.
pub async fn user(state: &State, id: &str) -> Result<Row> {
    let row = state.db.read().one(User::facts(), id).await?.filter(|u| !u.flag("deleted"));
    row.ok_or_else(|| err!(ResourceNotFound, "{} {} not found", "user", id))
}
