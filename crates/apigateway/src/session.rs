//! Sessions: what a browser's random value stands for. Kept in the gateway's database, so that any process of the gateway knows them; the value
//! itself is nowhere, only its digest. A value is replaced whenever what it opens changes: at login, project switch and second factor.

use auth::Seal;
use base::{Clock, Error, Kind, Result, Timestamp, hex_id};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{Cond, Db, Name, Op, Order, Read, Select, add, set, work};

const TABLE: &str = "sessions";
/// Random bytes of a value.
const VALUE: usize = 32;
/// The last use is written down at most this often, seconds.
const NOTE_EVERY: i64 = 60;
/// Wrong one-time passwords before a rest, and its length in seconds (spec 03 §2.1).
const ATTEMPTS: i64 = 5;
const REST: i64 = 30;

/// What is known of the second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// None is asked for.
    Off,
    /// The password was right; the one-time password is missing, and so is a token.
    Asked,
    /// Logged in, but must set one up before anything else.
    Wanted,
    /// Shown.
    Shown,
}

impl Factor {
    const ALL: [Factor; 4] = [Factor::Off, Factor::Asked, Factor::Wanted, Factor::Shown];

    fn word(self) -> &'static str {
        match self {
            Factor::Off => "off",
            Factor::Asked => "asked",
            Factor::Wanted => "wanted",
            Factor::Shown => "shown",
        }
    }

    /// Whether the session opens anything but the way to its second factor.
    pub fn open(self) -> bool {
        matches!(self, Factor::Off | Factor::Shown)
    }
}

/// A password that waits for its one-time password: minutes, sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Held {
    pub password: String,
    pub domain: String,
    pub project: String,
    pub until: i64,
}

#[derive(Clone, Debug)]
pub struct Session {
    /// Digest of the value.
    pub id: String,
    /// What pages may know it by.
    pub public_id: String,
    pub user_id: String,
    pub user: String,
    /// Empty while a second factor is asked for.
    pub token: String,
    pub factor: Factor,
    pub held: Option<Held>,
    pub address: String,
    /// Driver of the identity provider that vouched for the user; empty after a login with a password.
    pub provider: String,
    pub failures: i64,
    pub locked_until: Timestamp,
    pub used: Timestamp,
    pub expires: Timestamp,
}

/// What a new session begins with.
#[derive(Clone, Debug)]
pub struct Opening {
    pub user_id: String,
    pub user: String,
    pub token: String,
    pub factor: Factor,
    pub held: Option<Held>,
    pub address: String,
    pub expires: Timestamp,
    /// Driver of the identity provider that vouched for the user; empty after a login with a password.
    pub provider: String,
}

/// A session with the value that opens it: given to the browser once.
pub struct Opened {
    pub value: String,
    pub session: Session,
}

pub struct Sessions {
    db: Db,
    seal: Seal,
    clock: Clock,
    idle: i64,
    per_user: u64,
}

impl Sessions {
    pub fn new(db: Db, seal: Seal, clock: Clock, idle: i64, per_user: u64) -> Sessions {
        Sessions { db, seal, clock, idle, per_user: per_user.max(1) }
    }

    /// Closes and opens what a browser carries for us.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Opens a session in the place of `old`, which is over.
    pub async fn open(&self, opening: Opening, old: Option<&Session>) -> Result<Opened> {
        let mut bytes = [0u8; VALUE];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        let value = URL_SAFE_NO_PAD.encode(bytes);
        let now = self.clock.now();
        let Opening { user_id, user, token, factor, held, address, expires, provider } = opening;
        let session = Session {
            id: digest(&value),
            public_id: hex_id(),
            user_id,
            user,
            token,
            factor,
            held,
            address,
            provider,
            failures: 0,
            locked_until: Timestamp(0),
            used: now,
            expires,
        };
        let sealed = |text: &str| if text.is_empty() { Ok(String::new()) } else { self.seal.close(text) };
        let held = match &session.held {
            Some(held) => serde_json::to_string(held).map_err(Error::internal)?,
            None => String::new(),
        };
        let columns: Vec<(Name, base::Value)> = vec![
            ("id".into(), session.id.as_str().into()),
            ("public_id".into(), session.public_id.as_str().into()),
            ("user_id".into(), session.user_id.as_str().into()),
            ("user_name".into(), session.user.as_str().into()),
            ("token".into(), sealed(&session.token)?.into()),
            ("factor".into(), session.factor.word().into()),
            ("held".into(), sealed(&held)?.into()),
            ("address".into(), session.address.as_str().into()),
            ("provider".into(), session.provider.as_str().into()),
            ("created_at".into(), now.micros().into()),
            ("used_at".into(), now.micros().into()),
            ("expires_at".into(), session.expires.micros().into()),
        ];
        let (columns, old, user) = (&columns, old.map(|o| o.id.as_str()), session.user_id.as_str());
        let newest = Select::from(TABLE)
            .column("id", Kind::Text)
            .filter(Cond::eq("user_id", user))
            .order(Order::desc("used_at"))
            .page(1000, self.per_user);
        let newest = &newest;
        self.db
            .tx(|tx| {
                work(async move {
                    if let Some(old) = old {
                        tx.delete(TABLE, Cond::eq("id", old)).await?;
                    }
                    tx.insert_into(TABLE, columns.clone()).await?;
                    let over: Vec<String> = tx.rows(newest).await?.iter().map(|r| r[0].as_str().to_string()).collect();
                    if !over.is_empty() {
                        tx.delete(TABLE, Cond::is_in("id", over)).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(Opened { value, session })
    }

    /// The session a value opens, if it is not over; its last use is noted.
    pub async fn find(&self, value: &str) -> Result<Option<Session>> {
        // A value has one length; anything else is not worth a question.
        if value.len() != VALUE.div_ceil(3) * 4 - 1 {
            return Ok(None);
        }
        let Some(session) = self.read(Cond::eq("id", digest(value))).await? else { return Ok(None) };
        let now = self.clock.now();
        if now >= session.expires || (self.idle > 0 && now >= session.used.plus_secs(self.idle)) {
            self.close(&session.id).await?;
            return Ok(None);
        }
        if session.used.plus_secs(NOTE_EVERY) <= now {
            let id = session.id.as_str();
            let note = vec![set("used_at", now.micros())];
            self.db
                .tx(|tx| {
                    let note = note.clone();
                    work(async move { tx.update(TABLE, Cond::eq("id", id), note).await.map(drop) })
                })
                .await?;
        }
        Ok(Some(session))
    }

    /// Whether a session that was found earlier still is.
    pub async fn lives(&self, id: &str) -> Result<bool> {
        let now = self.clock.now().micros();
        self.db.read().exists(TABLE, Cond::eq("id", id).and(Cond::cmp("expires_at", Op::Gt, now))).await
    }

    async fn read(&self, cond: Cond) -> Result<Option<Session>> {
        let mut select = Select::from(TABLE).filter(cond);
        for column in ["id", "public_id", "user_id", "user_name", "token", "factor", "held", "address", "provider"] {
            select = select.column(column, Kind::Text);
        }
        for column in ["failures", "locked_until", "used_at", "expires_at"] {
            select = select.column(column, Kind::Int);
        }
        let Some(row) = self.db.read().rows(&select).await?.pop() else { return Ok(None) };
        let text = |i: usize| row[i].as_str().to_string();
        let time = |i: usize| Timestamp(row[i].as_int().unwrap_or(0));
        let opened = |i: usize| if row[i].as_str().is_empty() { Ok(String::new()) } else { self.seal.open(row[i].as_str()) };
        let Some(factor) = Factor::ALL.into_iter().find(|f| f.word() == row[5].as_str()) else { return Ok(None) };
        let held = opened(6)?;
        let held = if held.is_empty() { None } else { Some(serde_json::from_str(&held).map_err(Error::internal)?) };
        Ok(Some(Session {
            id: text(0),
            public_id: text(1),
            user_id: text(2),
            user: text(3),
            token: opened(4)?,
            factor,
            held,
            address: text(7),
            provider: text(8),
            failures: row[9].as_int().unwrap_or(0),
            locked_until: time(10),
            used: time(11),
            expires: time(12),
        }))
    }

    /// Keeps a password for the minutes until its one-time password is shown.
    pub async fn hold(&self, session: &Session, held: Option<&Held>) -> Result<()> {
        let text = match held {
            Some(held) => self.seal.close(&serde_json::to_string(held).map_err(Error::internal)?)?,
            None => String::new(),
        };
        let (id, text) = (session.id.as_str(), text.as_str());
        self.db.tx(|tx| work(async move { tx.update(TABLE, Cond::eq("id", id), vec![set("held", text)]).await.map(drop) })).await
    }

    /// Counts a wrong one-time password; the one too many is followed by a rest.
    pub async fn failed(&self, session: &Session) -> Result<()> {
        let (id, now) = (session.id.as_str(), self.clock.now());
        let rest = (session.failures + 1) % ATTEMPTS == 0;
        self.db
            .tx(|tx| {
                work(async move {
                    let mut sets = vec![add("failures", 1)];
                    if rest {
                        sets.push(set("locked_until", now.plus_secs(REST).micros()));
                    }
                    tx.update(TABLE, Cond::eq("id", id), sets).await.map(drop)
                })
            })
            .await
    }

    pub async fn close(&self, id: &str) -> Result<()> {
        self.db.tx(|tx| work(async move { tx.delete(TABLE, Cond::eq("id", id)).await.map(drop) })).await
    }

    /// Ends all sessions of a user.
    pub async fn close_all(&self, user_id: &str) -> Result<()> {
        self.db.tx(|tx| work(async move { tx.delete(TABLE, Cond::eq("user_id", user_id)).await.map(drop) })).await
    }

    /// Clears away what is over.
    pub async fn sweep(&self) -> Result<u64> {
        let now = self.clock.now().micros();
        self.db.tx(|tx| work(async move { tx.delete(TABLE, Cond::cmp("expires_at", Op::Le, now)).await })).await
    }
}

fn digest(value: &str) -> String {
    hex::encode(Sha256::digest(value.as_bytes()))
}
