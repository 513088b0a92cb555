//! A bounded memory of tokens that were verified, in shards so that workers rarely wait for each other.
//!
//! Two generations per shard: a look-up that hits the old one moves the entry to the young one; when the young one is full the old one is
//! dropped. That keeps what is used, in constant time, without a list of ages. The key is the whole token, not a digest: the map compares it
//! in full, so no collision can lend one caller's identity to another.

use super::Claims;
use base::Timestamp;
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 32;

pub(super) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    /// Entries of one generation of one shard.
    half: usize,
}

#[derive(Default)]
struct Shard {
    young: HashMap<Box<str>, Entry>,
    old: HashMap<Box<str>, Entry>,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub claims: Arc<Claims>,
    /// The state of keys and revocations it was checked against.
    pub epoch: u64,
    /// When it must be checked again even if that state stays.
    pub until: Timestamp,
}

impl Cache {
    pub(super) fn new(entries: usize) -> Cache {
        Cache { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new(), half: (entries / SHARDS / 2).max(1) }
    }

    fn shard(&self, token: &str) -> MutexGuard<'_, Shard> {
        // The signature's tail is as good as random; the map hashes the whole with its own key.
        let tail = &token.as_bytes()[token.len().saturating_sub(16)..];
        let i = self.hasher.hash_one(tail) as usize % SHARDS;
        self.shards[i].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, token: &str) -> Option<Entry> {
        let mut shard = self.shard(token);
        if let Some(entry) = shard.young.get(token) {
            return Some(entry.clone());
        }
        let (key, entry) = shard.old.remove_entry(token)?;
        shard.put(key, entry.clone(), self.half);
        Some(entry)
    }

    pub(super) fn put(&self, token: &str, entry: Entry) {
        self.shard(token).put(token.into(), entry, self.half);
    }

    pub(super) fn remove(&self, token: &str) {
        let mut shard = self.shard(token);
        shard.young.remove(token);
        shard.old.remove(token);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap()).map(|s| s.young.len() + s.old.len()).sum()
    }
}

impl Shard {
    fn put(&mut self, token: Box<str>, entry: Entry, half: usize) {
        if self.young.len() >= half && !self.young.contains_key(&token) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, entry);
    }
}
