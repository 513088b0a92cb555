//! Memory of hashes gone by, kept for the next ones: fetched from the kernel anew for each password it costs half of what the hash does. Called by
//! [`super::Stored::verify`] alone.
//!
//! What nobody used for [`KEEP`] is given back, so that an idle service has none of it.

use super::Cost;
use argon2::Block;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

const KEEP: Duration = Duration::from_secs(5);

/// More hashes at once than this fetch memory of their own.
const MOST: usize = 4;

struct Spare {
    pieces: Vec<(Vec<Block>, Instant)>,
    /// Whether a thread waits to give back what lies idle.
    watched: bool,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare { pieces: Vec::new(), watched: false });

fn spare() -> MutexGuard<'static, Spare> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a hash in so many blocks of memory. What they hold is left of others' passwords as the hash leaves it, from which nobody finds back.
pub(super) fn lend<T>(blocks: usize, hash: impl FnOnce(&mut [Block]) -> T) -> T {
    let mut piece = fitting(blocks).unwrap_or_else(|| vec![Block::new(); blocks]);
    let done = hash(&mut piece[..blocks]);
    // What a stored hash of another cost needed is not kept: whoever imports one does not decide how much memory lies about.
    if piece.len() <= Cost::default().memory_kib as usize {
        keep(piece);
    }
    done
}

/// The last one used: it is still in the processor's caches.
fn fitting(blocks: usize) -> Option<Vec<Block>> {
    let pieces = &mut spare().pieces;
    let at = pieces.iter().rposition(|(piece, _)| piece.len() >= blocks)?;
    Some(pieces.remove(at).0)
}

fn keep(piece: Vec<Block>) {
    let mut spare = spare();
    if spare.pieces.len() < MOST {
        spare.pieces.push((piece, Instant::now()));
    }
    if !spare.watched {
        spare.watched = thread::Builder::new().name("hash-memory".into()).spawn(watch).is_ok();
        if !spare.watched {
            // Nobody would ever give it back.
            spare.pieces.clear();
        }
    }
}

/// Gives back what lies idle, until nothing is left.
fn watch() {
    loop {
        thread::sleep(KEEP);
        let mut spare = spare();
        spare.pieces.retain(|(_, used)| used.elapsed() < KEEP);
        if spare.pieces.is_empty() {
            spare.watched = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_then_given_back() {
        let wanted = Cost::default().memory_kib as usize;
        let address = |blocks: &mut [Block]| blocks.as_ptr() as usize;
        let first = lend(wanted, address);
        assert!(!spare().pieces.is_empty());
        let again = (0..100).any(|_| lend(wanted, address) == first);
        assert!(again, "memory is fetched anew for each hash");
        // A larger one is not kept, and takes nobody's place.
        lend(wanted + 1, |blocks| assert_eq!(blocks.len(), wanted + 1));
        assert!(!spare().pieces.is_empty() && spare().pieces.iter().all(|(piece, _)| piece.len() <= wanted));

        let began = Instant::now();
        while !spare().pieces.is_empty() {
            assert!(began.elapsed() < KEEP * 10, "memory is never given back");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
