//! The serial console of a server on this machine: the terminal becomes the server's until Ctrl-].

use crate::{
    body,
    fail::{Fail, Result},
    server,
    session::Session,
};
use clap::ArgMatches;
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};
use std::{
    io::{ErrorKind, IsTerminal, Read, Write},
    os::unix::net::UnixStream,
};

/// Ctrl-]
const ESCAPE: u8 = 0x1d;

pub async fn run(matches: &ArgMatches) -> Result<()> {
    let which = body::text(matches, "id").unwrap_or_default();
    let session = Session::open(matches).await?;
    let seen = server::fetch(&session, which, "desc").await?;
    let Some(path) = seen["serial"].as_str().filter(|p| !p.is_empty()) else {
        return Err(Fail::usage(format!("server {which} has no console now; it must run: wolke server start {which}")));
    };
    let socket = match UnixStream::connect(path) {
        Ok(socket) => socket,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let host = server::fetch(&session, which, "").await?["host"].as_str().unwrap_or("its host").to_string();
            return Err(Fail::usage(format!("the console of {which} is on {host}; run this command there, or `wolke server ssh {which}`")));
        }
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Err(Fail::usage(format!("{path}: not permitted; run this command as root")));
        }
        Err(e) => return Err(Fail::file(path, &e)),
    };
    eprintln!("console of {which}; Ctrl-] leaves, Enter may bring the prompt");
    let outcome = attach(socket);
    eprintln!("\r\nconsole left");
    outcome
}

/// The terminal as it was, given back however we leave.
struct Raw(Option<Termios>);

impl Raw {
    fn take() -> Result<Raw> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return Ok(Raw(None));
        }
        let before = tcgetattr(&stdin).map_err(|e| Fail::file("terminal", &e.into()))?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).map_err(|e| Fail::file("terminal", &e.into()))?;
        Ok(Raw(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _gone = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn attach(mut socket: UnixStream) -> Result<()> {
    let _raw = Raw::take()?;
    let lost = |e: std::io::Error| Fail::file("console", &e);
    let (mut typing, mut buffer) = (true, [0u8; 4096]);
    loop {
        let stdin = std::io::stdin();
        let mut watched = vec![PollFd::new(&socket, PollFlags::IN)];
        if typing {
            watched.push(PollFd::new(&stdin, PollFlags::IN));
        }
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.map(drop).map_err(|e| lost(e.into()))?,
        }
        let (from_guest, from_user) = (!watched[0].revents().is_empty(), typing && !watched[1].revents().is_empty());
        drop(watched);
        if from_guest {
            let n = socket.read(&mut buffer).map_err(lost)?;
            if n == 0 {
                return Ok(());
            }
            let mut out = std::io::stdout().lock();
            out.write_all(&buffer[..n]).and_then(|()| out.flush()).map_err(lost)?;
        }
        if from_user {
            // Straight from the descriptor: the buffer of std's stdin would hide input from poll.
            let n = rustix::io::read(&stdin, &mut buffer[..]).map_err(|e| lost(e.into()))?;
            let typed = &buffer[..n];
            let end = typed.iter().position(|b| *b == ESCAPE);
            socket.write_all(&typed[..end.unwrap_or(n)]).map_err(lost)?;
            if end.is_some() {
                return Ok(());
            }
            // The end of a pipe: what the guest still says is shown until it falls silent at its own end.
            typing = n > 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_says_ends_with_the_guest() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(b"login: ").expect("written");
        drop(theirs);
        attach(ours).expect("the end is not an error");
    }
}
