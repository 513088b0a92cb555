//! Consoles of servers over the network: the terminal becomes the server's until Ctrl-], or a port of this machine becomes its screen.

use crate::{
    body,
    catalog::Service,
    fail::{Fail, Result},
    session::{Session, segment},
};
use clap::ArgMatches;
use http::{Method, tunnel::Tunnel};
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};
use std::{
    io::{IsTerminal, Read, Write},
    os::unix::net::UnixStream,
};
use tokio::{io::copy_bidirectional, net::TcpListener};

/// What consoles of the compute service are upgraded to.
const PROTOCOL: &str = "wolke-console";
/// Ctrl-]
const ESCAPE: u8 = 0x1d;

/// `wolke server console ID`.
pub async fn run(matches: &ArgMatches) -> Result<()> {
    let which = body::text(matches, "id").unwrap_or_default();
    let session = Session::open(matches).await?;
    let mut guest = open(&session, which, "serial").await?;
    eprintln!("console of {which}; Ctrl-] leaves, Enter may bring the prompt");
    let (terminal, ours) = UnixStream::pair().map_err(|e| Fail::file("terminal", &e))?;
    let mut ours = tokio::net::UnixStream::from_std(nonblocking(ours)?).map_err(|e| Fail::file("terminal", &e))?;
    // The terminal is read by a thread of its own: there is no other way that leaves it as it was.
    let person = tokio::task::spawn_blocking(move || attach(terminal));
    let over = copy_bidirectional(&mut ours, &mut guest).await;
    drop(ours);
    let outcome = person.await.map_err(|e| Fail::usage(e.to_string()))?;
    eprintln!("\r\nconsole left");
    over.map_err(|e| Fail::file("console", &e))?;
    outcome
}

fn nonblocking(socket: UnixStream) -> Result<UnixStream> {
    socket.set_nonblocking(true).map_err(|e| Fail::file("terminal", &e))?;
    Ok(socket)
}

/// `wolke server vnc ID`: a port of this machine is the server's screen until Ctrl-C.
pub async fn vnc(matches: &ArgMatches) -> Result<()> {
    let which = body::text(matches, "id").unwrap_or_default().to_string();
    let at = body::text(matches, "listen").unwrap_or("127.0.0.1:0");
    let session = std::sync::Arc::new(Session::open(matches).await?);
    // Whether it can be had at all is said now, not to the viewer.
    drop(open(&session, &which, "vnc").await?);
    let listener = TcpListener::bind(at).await.map_err(|e| Fail::file(at, &e))?;
    let address = listener.local_addr().map_err(|e| Fail::file(at, &e))?;
    println!("vnc://{address}");
    eprintln!("the screen of {which}, for any VNC viewer: {address}; Ctrl-C ends it");
    loop {
        let (mut viewer, _) = listener.accept().await.map_err(|e| Fail::file(at, &e))?;
        let (session, which) = (session.clone(), which.clone());
        tokio::spawn(async move {
            match open(&session, &which, "vnc").await {
                Ok(mut screen) => {
                    if let Err(e) = copy_bidirectional(&mut viewer, &mut screen).await {
                        eprintln!("a viewer left: {e}");
                    }
                }
                Err(e) => eprintln!("{}", e.message()),
            }
        });
    }
}

/// The server's console, wherever its host is.
async fn open(session: &Session, which: &str, kind: &str) -> Result<Tunnel> {
    let call = session.call(Service::Compute, Method::GET, &format!("/servers/{}/console", segment(which)))?;
    session.tunnel(call.query("kind", kind), PROTOCOL).await
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
