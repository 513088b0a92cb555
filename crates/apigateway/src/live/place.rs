//! How many pages follow changes: all of them, and those of one user, who shall not take everybody's places.

use crate::Options;
use base::{Result, err};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

#[derive(Default)]
pub struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    all: usize,
    of: HashMap<String, usize>,
}

/// A place among them, given back when dropped.
pub struct Place {
    places: Arc<Places>,
    user: String,
}

impl Places {
    pub fn open(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    pub fn take(self: &Arc<Places>, user: &str, options: &Options) -> Result<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.of.get(user).copied().unwrap_or(0);
        for (have, most) in [(taken.all, options.live_streams), (own, options.live_streams_per_user)] {
            if have >= most {
                return Err(err!(TooManyRequests, "{} pages follow changes already; this one asks again by itself", most));
            }
        }
        taken.all += 1;
        taken.of.insert(user.to_string(), own + 1);
        Ok(Place { places: self.clone(), user: user.to_string() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(own) = taken.of.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.of.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_does_not_take_all() {
        let options = Options { live_streams: 3, live_streams_per_user: 2, ..Options::default() };
        let places = Arc::new(Places::default());
        let take = |user: &str| places.take(user, &options);
        let mine = [take("ann").expect("free"), take("ann").expect("free")];
        assert!(take("ann").is_err());
        let other = take("bob").expect("free");
        assert!(take("cid").is_err() && places.open() == 3);
        drop(mine);
        drop((take("ann").expect("given back"), take("cid").expect("given back"), other));
        assert!(places.open() == 0 && places.0.lock().expect("no panic in between").of.is_empty());
    }
}
