//! The keys that tokens are signed with: kept in the database, sealed, and replaced as they age.
//!
//! A new key is published before it signs, so that every service knows it by then; an old one is believed until the last token it signed has
//! run out.

use crate::{grants::change, revoke::LONGEST, state::State};
use api_identity::SigningKey as Published;
use arc_swap::ArcSwapOption;
use auth::{KeyRing, SigningKey};
use base::{Error, Kind, Result, Timestamp, Value};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::sync::{Arc, Mutex, PoisonError};
use store::{ChangeOp, Name, Op, Put, Read, Select, Tx, work};

/// How long before its first signature a key is published, seconds.
const AHEAD: i64 = 3600;

/// The key that signs now, and all that are believed.
#[derive(Default)]
pub struct Keys {
    signer: ArcSwapOption<SigningKey>,
    published: Mutex<Vec<Published>>,
}

struct Stored {
    id: String,
    public: String,
    sealed: String,
    active_at: Timestamp,
    retires_at: Timestamp,
}

impl Keys {
    /// The key that signs now.
    pub fn signer(&self) -> Result<Arc<SigningKey>> {
        self.signer.load_full().ok_or_else(|| Error::internal("no signing key is loaded"))
    }

    /// The public halves of all keys that are believed.
    pub fn published(&self) -> Vec<Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the keys and hands them to the verifier.
    pub async fn load(&self, state: &State) -> Result<()> {
        let now = state.clock.now();
        let stored = read(&mut state.db.read()).await?;
        let mut ring = KeyRing::new();
        let mut published = Vec::new();
        for key in stored.iter().filter(|k| k.retires_at > now) {
            ring.add(&key.id, &key.public, Some(key.retires_at))?;
            published.push(Published {
                id: key.id.clone(),
                alg: "EdDSA".into(),
                public: key.public.clone(),
                retires_at: key.retires_at.micros(),
            });
        }
        let signer = stored.iter().filter(|k| k.active_at <= now && k.retires_at > now).max_by_key(|k| k.active_at);
        if let Some(key) = signer {
            let seed = URL_SAFE_NO_PAD.decode(state.seal.open(&key.sealed)?).map_err(Error::internal)?;
            self.signer.store(Some(Arc::new(SigningKey::from_seed(&seed)?)));
        }
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = published;
        state.verifier.set_keys(ring);
        Ok(())
    }

    /// Makes the first key, or the next one when the newest has signed long enough. Replicas that do it at once make a key too many, which
    /// harms nobody.
    pub async fn rotate(&self, state: &State) -> Result<bool> {
        let period = state.config.token_key_rotation_seconds.max(AHEAD * 2);
        let made = state
            .db
            .tx(|tx| {
                work(async move {
                    let now = tx.now();
                    let stored = read(tx).await?;
                    let newest = stored.iter().max_by_key(|k| k.active_at);
                    if newest.is_some_and(|k| k.active_at.plus_secs(period) > now) {
                        return Ok(false);
                    }
                    let active_at = if newest.is_some() { now.plus_secs(AHEAD) } else { now };
                    // The others stop to sign then; their last tokens have run out this long after.
                    let end = active_at.plus_secs(LONGEST);
                    let older = store::Cond::cmp("retires_at", Op::Gt, end.micros());
                    tx.update("signing_keys", older, vec![("retires_at".into(), Put::To(end.micros().into()))]).await?;
                    insert(tx, state, active_at).await?;
                    Ok(true)
                })
            })
            .await?;
        if made {
            tracing::info!("a new token signing key was made");
        }
        Ok(made)
    }
}

async fn insert(tx: &mut Tx, state: &State, active_at: Timestamp) -> Result<()> {
    let (key, seed) = SigningKey::generate()?;
    let sealed = state.seal.close(&URL_SAFE_NO_PAD.encode(seed))?;
    let columns: Vec<(Name, Value)> = vec![
        ("id".into(), key.id().into()),
        ("public_key".into(), key.public().into()),
        ("sealed_key".into(), sealed.into()),
        ("created_at".into(), tx.now().micros().into()),
        ("active_at".into(), active_at.micros().into()),
        ("retires_at".into(), i64::MAX.into()),
    ];
    tx.insert_into("signing_keys", columns).await?;
    tx.emit(change("signing_key", key.id(), ChangeOp::Create, "")).await
}

async fn read(read: &mut impl Read) -> Result<Vec<Stored>> {
    let select = Select::from("signing_keys")
        .column("id", Kind::Text)
        .column("public_key", Kind::Text)
        .column("sealed_key", Kind::Text)
        .column("active_at", Kind::Int)
        .column("retires_at", Kind::Int);
    let text = |v: &Value| v.as_str().to_string();
    let time = |v: &Value| Timestamp(v.as_int().unwrap_or(0));
    let rows = read.rows(&select).await?;
    Ok(rows
        .iter()
        .map(|r| Stored { id: text(&r[0]), public: text(&r[1]), sealed: text(&r[2]), active_at: time(&r[3]), retires_at: time(&r[4]) })
        .collect())
}
