//! A file on its way to a client.

use base::{Error, Result, err};
use futures_util::{Stream, stream};
use http::Bytes;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use tokio::sync::mpsc;

/// Read at once. Big enough that hand-over costs nothing, small enough that many downloads stay cheap.
const PIECE: usize = 256 << 10;
/// Pieces read ahead of the network.
const AHEAD: usize = 4;

/// `length` bytes from `start`. A thread of its own reads ahead; it ends when nobody listens. Holds `keep` until then.
pub fn stream(file: File, start: u64, length: u64, keep: impl Send + 'static) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    let (pieces, outbox) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let _keep = keep;
        let end = start + length;
        let mut at = start;
        while at < end {
            let piece = read(&file, at, (end - at).min(PIECE as u64) as usize);
            let failed = piece.is_err();
            at += piece.as_ref().map_or(0, |p| p.len() as u64);
            if pieces.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    stream::unfold(outbox, |mut outbox| async move { outbox.recv().await.map(|piece| (piece, outbox)) })
}

fn read(file: &File, at: u64, want: usize) -> Result<Bytes> {
    let mut buf = vec![0u8; want];
    match file.read_exact_at(&mut buf, at) {
        Ok(()) => Ok(Bytes::from(buf)),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
            Err(err!(ServiceAbnormal, "the image file is shorter than it was; download it again"))
        }
        Err(e) => Err(Error::internal(e).with_context("reading an image file")),
    }
}
