//! Against guessing: how fast an address may fail, and how often before it must wait.
//!
//! ```text
//! throttle (memory of this process: failures per second of an address)
//!   ─▶ locks (database, so that restarts and replicas know them: user from an address, address, second factor)
//!   ─▶ the password is looked at ─▶ failure is counted │ success is forgotten
//! ```
//!
//! A name that nobody has is counted and locked like a user's: otherwise the lock would tell who exists. Whom it locks out is the address that
//! guesses, not the user elsewhere; locking the user everywhere is the older rule beside it (`password_error_lock_count`).

use super::wrong_password;
use crate::state::State;
use base::{Error, Kind, Result, Row, Timestamp, err};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};
use store::{Cond, Match, Name, Op, Read, Select, Tx, add, set, work};

/// One login that is being looked at.
pub(super) struct Attempt {
    /// The address as it is counted.
    address: String,
    /// The user's id, or the name nobody has.
    who: String,
    /// The name as it was given.
    name: String,
    exists: bool,
}

/// Wrong one-time passwords before the user's second factor rests, wherever they come from: whoever guesses them has the password already.
const SECOND_FACTOR_ATTEMPTS: i64 = 5;
/// Rows nothing was added to for so long are forgotten, seconds.
const REMEMBERED: i64 = 30 * 86_400;

impl Attempt {
    pub fn new(user: Option<&Row>, name: &str, domain: &str, peer: Option<IpAddr>) -> Attempt {
        let who = user.map_or_else(|| format!("{}@{domain}", name.to_lowercase()), |u| u.id().to_string());
        Attempt { address: block(peer), who, name: name.to_string(), exists: user.is_some() }
    }

    fn pair(&self) -> String {
        format!("pair:{}:{}", self.address, self.who)
    }

    fn of_address(&self) -> String {
        format!("address:{}", self.address)
    }

    fn of_name(&self) -> String {
        format!("name:{}", self.who)
    }
}

/// An address as it is counted: an IPv6 host has a whole /64 to choose from.
fn block(peer: Option<IpAddr>) -> String {
    match peer.map(|ip| ip.to_canonical()) {
        None => "local".to_string(),
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => {
            let s = ip.segments();
            format!("{:x}:{:x}:{:x}:{:x}::/64", s[0], s[1], s[2], s[3])
        }
    }
}

/// How fast addresses may fail: a bucket each, that refills.
#[derive(Default)]
pub struct Throttle(Mutex<HashMap<String, Bucket>>);

struct Bucket {
    left: f64,
    at: Timestamp,
    /// Whether the log knows that it is empty.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Yes,
    No {
        /// It has just run out.
        first: bool,
    },
}

/// Addresses remembered at most; those that have not failed lately go first.
const BUCKETS: usize = 50_000;

impl Throttle {
    /// Takes one, if there is one left.
    fn take(&self, address: &str, now: Timestamp, per_second: f64, at_once: f64) -> Taken {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let level = |b: &Bucket| (b.left + now.since(b.at).max(0) as f64 / 1e6 * per_second).min(at_once);
        if buckets.len() >= BUCKETS && !buckets.contains_key(address) {
            buckets.retain(|_, b| level(b) < at_once);
            if buckets.len() >= BUCKETS {
                return Taken::No { first: false };
            }
        }
        let bucket = buckets.entry(address.to_string()).or_insert(Bucket { left: at_once, at: now, told: false });
        let left = level(bucket);
        let first = !bucket.told;
        let enough = left >= 1.0;
        *bucket = Bucket { left: if enough { left - 1.0 } else { left }, at: now, told: !enough };
        if enough { Taken::Yes } else { Taken::No { first } }
    }

    /// Gives one back: it was no failure.
    fn give_back(&self, address: &str) {
        if let Some(bucket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(address) {
            bucket.left += 1.0;
        }
    }
}

/// Whether the attempt is looked at. Called before any work on the password.
pub(super) async fn admit(state: &State, attempt: &Attempt) -> Result<()> {
    let (now, config) = (state.clock.now(), &state.config);
    let free = config.login_failures_per_second <= 0.0;
    let (per_second, at_once) = (config.login_failures_per_second, config.login_failures_at_once.max(1.0));
    if !free && let Taken::No { first } = state.throttle.take(&attempt.address, now, per_second, at_once) {
        if first {
            tracing::warn!(address = attempt.address, user = attempt.name, "login refused: too many failures a second");
        }
        return Err(err!(TooManyRequests, "too many failed logins from your address; wait a few seconds"));
    }
    for row in counted(&mut state.db.read(), &[attempt.pair(), attempt.of_address(), attempt.of_name()]).await? {
        if row.until > now {
            return Err(waiting(row.until, now));
        }
        let most = config.password_error_lock_count;
        if !attempt.exists && most > 0 && row.id == attempt.of_name() && row.failures > most {
            return Err(super::user_locked(&attempt.name));
        }
    }
    Ok(())
}

fn waiting(until: Timestamp, now: Timestamp) -> Error {
    err!(TooManyFailedAttempts, "too many failed logins from your address; try again in {} seconds", until.since(now) / 1_000_000 + 1)
}

/// Counts a wrong secret that is not a user's password; gives back what to answer.
pub(super) async fn failed(state: &State, attempt: &Attempt) -> Result<Error> {
    let nobody = !attempt.exists && state.config.password_error_lock_count > 0;
    count_failure(state, attempt, if nobody { Account::Nobody } else { Account::None }).await
}

/// Counts a wrong password at the door; gives back what to answer. One transaction with as many steps for a name nobody has: the time of
/// the answer would tell otherwise.
pub(super) async fn failed_password(state: &State, attempt: &Attempt, user: Option<&Row>) -> Result<Error> {
    count_failure(state, attempt, user.map_or(Account::Nobody, Account::User)).await
}

/// Counts a login that failed because somebody else could not be asked: at the address and the pair alone. Gives back what to answer if one of
/// them waits from now on.
pub(super) async fn undecided(state: &State, attempt: &Attempt) -> Result<Option<Error>> {
    let limits = [(attempt.pair(), state.config.login_attempts), (attempt.of_address(), state.config.login_attempts_of_address)];
    count(state, &limits, &attempt.name).await
}

/// Whose account a failure is counted at, besides user and address.
enum Account<'a> {
    User(&'a Row),
    /// That of a name that nobody has.
    Nobody,
    None,
}

async fn count_failure(state: &State, attempt: &Attempt, account: Account<'_>) -> Result<Error> {
    let config = &state.config;
    let limits = [(attempt.pair(), config.login_attempts), (attempt.of_address(), config.login_attempts_of_address)];
    let (name, most, seconds) = (attempt.of_name(), config.password_error_lock_count, config.login_lock_seconds.max(1));
    let (tripped, count, locked) = state
        .db
        .tx(|tx| {
            let (limits, name, account) = (&limits, &name, &account);
            work(async move {
                let tripped = trip(tx, limits, seconds).await?;
                let (count, locked) = match account {
                    Account::User(user) => super::note_failure(tx, user, most).await?,
                    Account::Nobody => (bump(tx, name, REMEMBERED).await?, false),
                    Account::None => (0, false),
                };
                Ok((tripped, count, locked))
            })
        })
        .await?;
    let waits = told(&tripped, &attempt.name, state.clock.now(), seconds);
    match account {
        Account::User(user) if most > 0 && count > most && !user.flag("is_system_account") => {
            if locked {
                state.catch_up().await?;
                tracing::info!(user = user.name(), count, "user locked after too many wrong passwords");
            }
            Ok(super::too_many())
        }
        Account::Nobody if most > 0 && count == most + 1 => Ok(super::too_many()),
        _ => Ok(waits.unwrap_or_else(wrong_password)),
    }
}

/// The right password: what was counted for this user from this address is forgotten.
pub(super) async fn succeeded(state: &State, attempt: &Attempt) -> Result<()> {
    state.throttle.give_back(&attempt.address);
    forget(state, attempt.pair()).await
}

/// Forgets what was counted under an id.
async fn forget(state: &State, id: String) -> Result<()> {
    // Most have failed at nothing: a look instead of a transaction.
    if counted(&mut state.db.read(), std::slice::from_ref(&id)).await?.is_empty() {
        return Ok(());
    }
    let id = &id;
    state.db.tx(|tx| work(async move { tx.delete("login_failures", Cond::eq("id", id.as_str())).await.map(drop) })).await
}

/// The password was right and something else decides: no failure of the address.
pub(super) fn passed_over(state: &State, attempt: &Attempt) {
    state.throttle.give_back(&attempt.address);
}

fn of_factor(user: &Row) -> String {
    format!("totp:{}", user.id())
}

/// Whether the second factor of a user is looked at.
pub(super) async fn admit_factor(state: &State, user: &Row) -> Result<()> {
    let now = state.clock.now();
    match counted(&mut state.db.read(), &[of_factor(user)]).await?.first() {
        Some(row) if row.until > now => Err(err!(
            TooManyFailedAttempts,
            "too many wrong one-time passwords; try again in {} seconds",
            row.until.since(now) / 1_000_000 + 1
        )),
        _ => Ok(()),
    }
}

/// Counts a wrong one-time password.
pub(super) async fn failed_factor(state: &State, user: &Row) -> Result<()> {
    count(state, &[(of_factor(user), SECOND_FACTOR_ATTEMPTS)], user.name()).await.map(drop)
}

pub(super) async fn succeeded_factor(state: &State, user: &Row) -> Result<()> {
    forget(state, of_factor(user)).await
}

/// Adds one to each; where that is the last one allowed, waiting begins.
async fn count(state: &State, limits: &[(String, i64)], name: &str) -> Result<Option<Error>> {
    let seconds = state.config.login_lock_seconds.max(1);
    let tripped = state.db.tx(|tx| work(async move { trip(tx, limits, seconds).await })).await?;
    Ok(told(&tripped, name, state.clock.now(), seconds))
}

/// The same within a transaction; gives back those that wait from now on.
async fn trip(tx: &mut Tx, limits: &[(String, i64)], seconds: i64) -> Result<Vec<String>> {
    let mut tripped = Vec::new();
    for (id, most) in limits.iter().filter(|(_, most)| *most > 0) {
        if bump(tx, id, seconds).await? >= *most {
            let sets = vec![set("failures", 0), set("locked_until", tx.now().plus_secs(seconds).micros())];
            tx.update("login_failures", Cond::eq("id", id.as_str()), sets).await?;
            tripped.push(id.clone());
        }
    }
    Ok(tripped)
}

/// Logs who waits from now on, and what to answer if somebody does.
fn told(tripped: &[String], name: &str, now: Timestamp, seconds: i64) -> Option<Error> {
    for id in tripped {
        tracing::warn!(lock = id, user = name, seconds, "login locked: too many failures");
    }
    (!tripped.is_empty()).then(|| waiting(now.plus_secs(seconds), now))
}

/// Adds one to a row whose last failure is at most `window` seconds old, and to a new one otherwise; the failures now.
async fn bump(tx: &mut Tx, id: &str, window: i64) -> Result<i64> {
    let now = tx.now();
    let recent = Cond::eq("id", id).and(Cond::cmp("last_at", Op::Gt, now.plus_secs(-window).micros()));
    if tx.update("login_failures", recent, vec![add("failures", 1), set("last_at", now.micros())]).await? == 0 {
        let columns: Vec<(Name, base::Value)> = vec![
            ("id".into(), id.into()),
            ("failures".into(), 1i64.into()),
            ("last_at".into(), now.micros().into()),
            ("locked_until".into(), 0i64.into()),
        ];
        tx.upsert("login_failures", &["id"], columns).await?;
    }
    Ok(counted(tx, &[id.to_string()]).await?.first().map_or(0, |r| r.failures))
}

struct Counted {
    id: String,
    failures: i64,
    until: Timestamp,
}

async fn counted(read: &mut impl Read, ids: &[String]) -> Result<Vec<Counted>> {
    let select = Select::from("login_failures")
        .column("id", Kind::Text)
        .column("failures", Kind::Int)
        .column("locked_until", Kind::Int)
        .filter(Cond::is_in("id", ids.iter().map(String::as_str)));
    let rows = read.rows(&select).await?;
    let counted = |r: &Vec<base::Value>| Counted {
        id: r[0].as_str().to_string(),
        failures: r[1].as_int().unwrap_or(0),
        until: Timestamp(r[2].as_int().unwrap_or(0)),
    };
    Ok(rows.iter().map(counted).collect())
}

/// Forgets old failures, and looks whether old hashes are still about.
pub async fn upkeep(state: &State) -> Result<()> {
    let before = state.clock.now().plus_secs(-REMEMBERED).micros();
    state.db.tx(|tx| work(async move { tx.delete("login_failures", Cond::cmp("last_at", Op::Le, before)).await.map(drop) })).await?;
    let old = Cond::Text("password_hash".into(), Match::Starts, "$2".into()).and(Cond::eq("deleted", false));
    state.hashed.expect_old(state.db.read().exists("users", old).await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_refill_and_are_each_address_its_own() {
        let throttle = Throttle::default();
        let at = |s: i64| Timestamp(s * 1_000_000);
        let take = |who: &str, s: i64| throttle.take(who, at(s), 1.0, 3.0) == Taken::Yes;
        assert_eq!([take("a", 0), take("a", 0), take("a", 0), take("a", 0)], [true, true, true, false]);
        assert!(take("b", 0), "another address");
        assert!(take("a", 1) && !take("a", 1));
        throttle.give_back("a");
        assert!(take("a", 1) && !take("a", 1));
        assert_eq!([take("a", 100), take("a", 100), take("a", 100), take("a", 100)], [true, true, true, false], "no more than at once");
        assert!(!take("a", 50), "a clock that goes back gives nothing");
    }

    #[test]
    fn addresses_as_they_are_counted() {
        let of = |text: &str| block(Some(text.parse().expect("an address")));
        assert_eq!(of("10.0.0.9"), "10.0.0.9");
        assert_eq!(of("::ffff:10.0.0.9"), "10.0.0.9");
        assert_eq!(of("2001:db8:1:2:aaaa::1"), of("2001:db8:1:2:bbbb::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(block(None), "local");
    }
}
