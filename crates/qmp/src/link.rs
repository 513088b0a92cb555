//! A live QMP link: one task owns the socket, callers send commands through it and match answers by id.
//!
//! ```text
//! connect ── greeting ── qmp_capabilities ──▶ open ──┬─ peer closes, too large, malformed ──▶ closed (all waiting commands fail)
//!                                                    └─ last handle dropped ───────────────▶ closed
//! ```
//! A command that times out leaves the link open: QEMU may be busy for long, and its late answer is dropped by its id.

use crate::message::{Greeting, Message};
use crate::{Command, Error, Event, Frames, Limits, QemuVersion, Result, TimedEvent};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A handle on a link; clones share it.
#[derive(Clone, Debug)]
pub struct Qmp {
    outgoing: mpsc::Sender<Vec<u8>>,
    shared: Arc<Shared>,
    limits: Limits,
    version: QemuVersion,
    oob: bool,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    next_id: AtomicU64,
    lost_events: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    closed: bool,
    answers: HashMap<u64, oneshot::Sender<Answer>>,
}

#[derive(Debug)]
enum Answer {
    Return(Value),
    Error { class: String, desc: String },
}

impl Shared {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of a link, in order; ends when the link does.
#[derive(Debug)]
pub struct Events {
    incoming: mpsc::Receiver<TimedEvent>,
    shared: Arc<Shared>,
}

impl Events {
    /// The next event, `None` after the link has closed.
    pub async fn next(&mut self) -> Option<TimedEvent> {
        self.incoming.recv().await
    }

    /// Events dropped since the last call because nobody read them; when above 0, ask for the state instead of following it.
    pub fn lost(&self) -> u64 {
        self.shared.lost_events.swap(0, Ordering::Relaxed)
    }
}

impl Qmp {
    /// Connects to QEMU's control socket and leaves negotiation mode.
    pub async fn connect(path: &Path, limits: Limits) -> Result<(Qmp, Events)> {
        let stream = UnixStream::connect(path).await?;
        Qmp::over(stream, limits).await
    }

    /// The same over any stream.
    pub async fn over<S>(stream: S, limits: Limits) -> Result<(Qmp, Events)>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut reader, writer) = tokio::io::split(stream);
        let mut frames = Frames::new(limits.message);
        // A QEMU serves one client at a time: while another is connected, connecting succeeds and the greeting does not come.
        let greeting = timeout(limits.answer, greeting(&mut reader, &mut frames))
            .await
            .map_err(|_| Error::Timeout { command: "greeting".into(), after: limits.answer })??;
        let (outgoing, commands) = mpsc::channel(64);
        let (events_in, incoming) = mpsc::channel(limits.events.max(1));
        let shared = Arc::new(Shared::default());
        tokio::spawn(own(reader, writer, frames, commands, events_in, shared.clone()));
        let oob = greeting.capabilities.iter().any(|c| c == "oob");
        let link = Qmp { outgoing, shared: shared.clone(), limits, version: greeting.version, oob };
        let enable = if oob { json!({"enable": ["oob"]}) } else { json!({}) };
        link.raw("qmp_capabilities", enable, limits.answer).await?;
        Ok((link, Events { incoming, shared }))
    }

    /// From the greeting.
    pub fn version(&self) -> &QemuVersion {
        &self.version
    }

    pub fn is_closed(&self) -> bool {
        self.outgoing.is_closed()
    }

    /// Runs a command within the link's usual time.
    pub async fn run<C: Command>(&self, command: &C) -> Result<C::Reply> {
        let arguments = serde_json::to_value(command).map_err(|e| Error::Malformed(format!("{}: {e}", C::NAME)))?;
        let value = self.raw(C::NAME, arguments, self.limits.answer).await?;
        serde_json::from_value(value).map_err(|e| Error::Malformed(format!("answer to {}: {e}", C::NAME)))
    }

    /// Runs a command by name.
    pub async fn raw(&self, name: &str, arguments: Value, within: Duration) -> Result<Value> {
        self.send("execute", name, arguments, within).await
    }

    /// Runs a command ahead of all others (`exec-oob`), for QEMUs that hang in one; only few commands allow it, such as `yank`.
    pub async fn out_of_band(&self, name: &str, arguments: Value, within: Duration) -> Result<Value> {
        self.send(if self.oob { "exec-oob" } else { "execute" }, name, arguments, within).await
    }

    async fn send(&self, verb: &str, name: &str, arguments: Value, within: Duration) -> Result<Value> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut line = json!({verb: name, "id": id});
        if !arguments.is_null() {
            line["arguments"] = arguments;
        }
        let mut line = line.to_string().into_bytes();
        line.push(b'\n');
        let (answer_in, answer) = oneshot::channel();
        {
            let mut waiting = self.shared.waiting();
            if waiting.closed {
                return Err(Error::Closed);
            }
            waiting.answers.insert(id, answer_in);
        }
        // Also when the caller stops waiting, the entry must go.
        let _entry = Entry { shared: &self.shared, id };
        let exchange = async {
            self.outgoing.send(line).await.map_err(|_| Error::Closed)?;
            answer.await.map_err(|_| Error::Closed)
        };
        match timeout(within, exchange).await {
            Err(_) => Err(Error::Timeout { command: name.into(), after: within }),
            Ok(Err(e)) => Err(e),
            Ok(Ok(Answer::Return(value))) => Ok(value),
            Ok(Ok(Answer::Error { class, desc })) => Err(Error::Refused { command: name.into(), class, desc }),
        }
    }
}

struct Entry<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.shared.waiting().answers.remove(&self.id);
    }
}

async fn greeting<R: AsyncRead + Unpin>(reader: &mut R, frames: &mut Frames) -> Result<Greeting> {
    loop {
        if let Some(line) = frames.next_line()? {
            match Message::parse(line)? {
                Message::Greeting(greeting) => return Ok(greeting),
                // Events can come between two clients' links and reach the new one first.
                Message::Event(_) => continue,
                _ => return Err(Error::Malformed("an answer before the greeting".into())),
            }
        }
        let mut piece = [0; 4096];
        match reader.read(&mut piece).await? {
            0 => return Err(Error::Closed),
            n => frames.push(&piece[..n]),
        }
    }
}

/// Owns both directions until one ends, then fails all who wait.
async fn own<R, W>(
    reader: R,
    writer: W,
    frames: Frames,
    commands: mpsc::Receiver<Vec<u8>>,
    events: mpsc::Sender<TimedEvent>,
    shared: Arc<Shared>,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let ended = tokio::select! {
        r = read(reader, frames, events, &shared) => r,
        r = write(writer, commands) => r,
    };
    match ended {
        Ok(()) | Err(Error::Closed) => {}
        // A process that was killed resets its sockets: not worth a line of its own, the owner reports the end.
        Err(Error::Io(e)) => tracing::debug!(error = %e, "QMP link ended"),
        Err(e) => tracing::warn!(error = %e, "QMP link given up"),
    }
    let mut waiting = shared.waiting();
    waiting.closed = true;
    waiting.answers.clear();
}

async fn write<W: AsyncWrite + Unpin>(mut writer: W, mut commands: mpsc::Receiver<Vec<u8>>) -> Result<()> {
    while let Some(line) = commands.recv().await {
        writer.write_all(&line).await?;
        writer.flush().await?;
    }
    Ok(())
}

async fn read<R: AsyncRead + Unpin>(mut reader: R, mut frames: Frames, events: mpsc::Sender<TimedEvent>, shared: &Shared) -> Result<()> {
    let mut piece = vec![0; 16 << 10];
    loop {
        while let Some(line) = frames.next_line()? {
            let (id, answer) = match Message::parse(line)? {
                Message::Event(event) => {
                    keep(&events, shared, event);
                    continue;
                }
                Message::Greeting(_) => return Err(Error::Malformed("a second greeting".into())),
                Message::Return { id, value } => (id, Answer::Return(value)),
                Message::Error { id, class, desc } => (id, Answer::Error { class, desc }),
            };
            // Without an id QEMU could not read what we sent, and we cannot know which command will never be answered.
            let Some(id) = id else {
                return Err(Error::Malformed(format!("an answer without an id: {answer:?}")));
            };
            if let Some(caller) = shared.waiting().answers.remove(&id) {
                let _ = caller.send(answer);
            }
        }
        match reader.read(&mut piece).await? {
            0 => return Ok(()),
            n => frames.push(&piece[..n]),
        }
    }
}

fn keep(events: &mpsc::Sender<TimedEvent>, shared: &Shared, event: TimedEvent) {
    use mpsc::error::TrySendError;
    match events.try_send(event) {
        Ok(()) => {}
        // Waiting for the owner here would stop answers too, and the owner may be waiting for one.
        Err(TrySendError::Full(dropped)) => {
            shared.lost_events.fetch_add(1, Ordering::Relaxed);
            if let Event::Other { .. } = dropped.event {
                return;
            }
            tracing::warn!(event = ?dropped.event, "QMP event dropped");
        }
        Err(TrySendError::Closed(_)) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryStatus, RunState};
    use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream};

    const HELLO: &[u8] = b"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 1, \"minor\": 2, \"major\": 9}, \"package\": \"\"}, \"capabilities\": [\"oob\"]}}\r\n";

    struct Peer {
        lines: tokio::io::Lines<BufReader<tokio::io::ReadHalf<DuplexStream>>>,
        out: tokio::io::WriteHalf<DuplexStream>,
    }

    impl Peer {
        async fn hears(&mut self) -> Value {
            serde_json::from_str(&self.lines.next_line().await.unwrap().expect("a command")).unwrap()
        }
        async fn says(&mut self, line: &str) {
            self.out.write_all(line.as_bytes()).await.unwrap();
            self.out.write_all(b"\r\n").await.unwrap();
        }
    }

    async fn linked(limits: Limits) -> (Qmp, Events, Peer) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (read, mut out) = tokio::io::split(theirs);
        out.write_all(HELLO).await.unwrap();
        let mut peer = Peer { lines: BufReader::new(read).lines(), out };
        let (link, first) = tokio::join!(Qmp::over(ours, limits), async {
            let first = peer.hears().await;
            peer.says(&format!("{{\"return\": {{}}, \"id\": {}}}", first["id"])).await;
            first
        });
        assert_eq!(first["arguments"]["enable"][0], "oob");
        let (qmp, events) = link.unwrap();
        (qmp, events, peer)
    }

    #[tokio::test]
    async fn answers_are_matched_by_id_even_out_of_order() {
        let (qmp, _events, mut peer) = linked(Limits::default()).await;
        let (a, b, ()) = tokio::join!(qmp.raw("a", Value::Null, Duration::from_secs(9)), qmp.run(&QueryStatus {}), async {
            let (first, second) = (peer.hears().await, peer.hears().await);
            peer.says(&format!("{{\"return\": {{\"status\": \"running\", \"running\": true}}, \"id\": {}}}", second["id"])).await;
            peer.says(&format!("{{\"error\": {{\"class\": \"GenericError\", \"desc\": \"no\"}}, \"id\": {}}}", first["id"])).await;
        });
        assert!(matches!(a, Err(Error::Refused { command, .. }) if command == "a"));
        assert_eq!(b.unwrap().status, RunState::Running);
    }

    #[tokio::test]
    async fn silence_times_out_and_a_late_answer_is_dropped() {
        let (qmp, _events, mut peer) = linked(Limits::default()).await;
        let silent = qmp.raw("slow", json!({}), Duration::from_millis(20)).await;
        assert!(matches!(silent, Err(Error::Timeout { .. })));
        let late = peer.hears().await;
        peer.says(&format!("{{\"return\": 1, \"id\": {}}}", late["id"])).await;
        let (answer, ()) = tokio::join!(qmp.raw("quick", json!({}), Duration::from_secs(9)), async {
            let next = peer.hears().await;
            peer.says(&format!("{{\"return\": 2, \"id\": {}}}", next["id"])).await;
        });
        assert_eq!(answer.unwrap(), 2);
        assert!(qmp.shared.waiting().answers.is_empty());
    }

    #[tokio::test]
    async fn the_end_fails_all_who_wait() {
        let (qmp, mut events, mut peer) = linked(Limits::default()).await;
        let (answer, ()) = tokio::join!(qmp.raw("x", json!({}), Duration::from_secs(9)), async {
            peer.hears().await;
            peer.says("{\"event\": \"STOP\"}").await;
            peer.out.shutdown().await.unwrap();
        });
        assert!(matches!(answer, Err(Error::Closed)));
        assert_eq!(events.next().await.unwrap().event, Event::Stop);
        assert!(events.next().await.is_none());
        assert!(matches!(qmp.run(&QueryStatus {}).await, Err(Error::Closed)));
    }

    #[tokio::test]
    async fn too_long_and_malformed_close_the_link() {
        for bad in ["x".repeat(600), "[1]".into(), "{\"return\": {}}".into(), String::from_utf8_lossy(HELLO).into_owned()] {
            let (qmp, _events, mut peer) = linked(Limits { message: 512, ..Limits::default() }).await;
            let (answer, ()) = tokio::join!(qmp.raw("x", json!({}), Duration::from_secs(9)), async {
                peer.hears().await;
                peer.says(&bad).await;
            });
            assert!(matches!(answer, Err(Error::Closed)), "{bad}");
        }
    }

    #[tokio::test]
    async fn events_nobody_reads_do_not_stop_answers() {
        let (qmp, mut events, mut peer) = linked(Limits { events: 2, ..Limits::default() }).await;
        let (answer, ()) = tokio::join!(qmp.raw("x", json!({}), Duration::from_secs(9)), async {
            let next = peer.hears().await;
            for _ in 0..5 {
                peer.says("{\"event\": \"X\"}").await;
            }
            peer.says(&format!("{{\"return\": 2, \"id\": {}}}", next["id"])).await;
        });
        assert_eq!(answer.unwrap(), 2);
        assert_eq!((events.lost(), events.lost()), (3, 0));
        assert!(events.next().await.is_some());
    }
}
