//! A guest's consoles for a user on the same host: bytes both ways over the sockets in the guest's directory.
//!
//! A socket serves one client at a time; the next is served when the one before has gone. Nothing is stored here: what the guest writes to
//! its serial console is in `serial.log` beside the socket whether anybody looks or not.

use crate::files::safe_name;
use crate::qemu::GuestFiles;
use base::{Result, err};
use std::io;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

/// Ends [`relay`] when typed: Ctrl-], as in telnet.
pub const ESCAPE: u8 = 0x1d;

/// The serial console of a guest; `data` is the agent's data directory.
pub async fn serial(data: &Path, guest: &str) -> Result<UnixStream> {
    safe_name(guest)?;
    connect(&GuestFiles::new(data, guest)?.serial(), guest).await
}

/// The screen of a guest, as an RFB (VNC) stream.
pub async fn vnc(data: &Path, guest: &str) -> Result<UnixStream> {
    safe_name(guest)?;
    connect(&GuestFiles::new(data, guest)?.vnc(), guest).await
}

async fn connect(path: &Path, guest: &str) -> Result<UnixStream> {
    UnixStream::connect(path).await.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            err!(InvalidStatus, "guest {} is not running here, or has no console of this kind", guest)
        }
        io::ErrorKind::PermissionDenied => err!(Forbidden, "only root may open the consoles of guests"),
        _ => err!(Internal, "the console of guest {} cannot be opened: {}", guest, e),
    })
}

/// Carries bytes between a console and a user until either ends or the user types [`ESCAPE`].
pub async fn relay(console: UnixStream, mut input: impl AsyncRead + Unpin, mut output: impl AsyncWrite + Unpin) -> io::Result<()> {
    let (mut from_guest, mut to_guest) = console.into_split();
    let down = async {
        let mut piece = vec![0; 4096];
        loop {
            match from_guest.read(&mut piece).await? {
                0 => return Ok(()),
                n => output.write_all(&piece[..n]).await?,
            }
            output.flush().await?;
        }
    };
    let up = async {
        let mut piece = vec![0; 1024];
        loop {
            let n = input.read(&mut piece).await?;
            let typed = &piece[..n];
            let end = typed.iter().position(|b| *b == ESCAPE);
            to_guest.write_all(&typed[..end.unwrap_or(n)]).await?;
            if n == 0 || end.is_some() {
                return Ok(());
            }
        }
    };
    tokio::select! {
        ended = down => ended,
        ended = up => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_ways_until_the_escape() {
        let (ours, mut guest) = UnixStream::pair().unwrap();
        let (mut keyboard, input) = tokio::io::duplex(64);
        let (output, mut screen) = tokio::io::duplex(64);
        let relaying = tokio::spawn(relay(ours, input, output));
        guest.write_all(b"login: ").await.unwrap();
        let mut seen = [0; 7];
        screen.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"login: ");
        keyboard.write_all(b"root\n\x1dnot sent").await.unwrap();
        relaying.await.unwrap().unwrap();
        let mut typed = String::new();
        guest.read_to_string(&mut typed).await.unwrap();
        assert_eq!(typed, "root\n");
    }

    #[tokio::test]
    async fn a_guest_that_is_not_here() {
        let dir = tempfile::tempdir().unwrap();
        assert!(serial(dir.path(), "g").await.unwrap_err().to_string().contains("not running"));
        assert!(vnc(dir.path(), "../g").await.is_err());
    }
}
