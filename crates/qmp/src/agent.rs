//! The guest agent's dialect: no greeting, no ids, no events, one command at a time, and a peer that is the guest's own program.
//!
//! The channel survives guest reboots and may hold half an old answer, so each conversation starts with `guest-sync-delimited`: the agent
//! prefixes its answer with the byte 0xFF, which JSON text cannot contain, and everything before it is thrown away (qemu-ga schema).

use crate::{Error, Frames, Limits, Message, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

const SENTINEL: u8 = 0xff;

/// A conversation with the agent of one guest.
#[derive(Debug)]
pub struct GuestAgent<S = UnixStream> {
    stream: S,
    frames: Frames,
    limits: Limits,
    /// Rises per conversation, so that an older answer cannot be taken for this one's.
    next_sync: u32,
    /// False after a command without an answer: what comes next may be its late answer.
    in_step: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GuestInfo {
    pub version: String,
    pub supported_commands: Vec<GuestCommand>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct GuestCommand {
    pub name: String,
    pub enabled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct GuestInterface {
    pub name: String,
    pub hardware_address: String,
    pub ip_addresses: Vec<GuestIpAddress>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct GuestIpAddress {
    pub ip_address: String,
    /// `ipv4` or `ipv6`
    pub ip_address_type: String,
    pub prefix: u8,
}

#[derive(Serialize)]
struct Password<'a> {
    username: &'a str,
    /// Base64.
    password: &'a str,
    crypted: bool,
}

impl GuestAgent {
    /// Connects to the guest's channel. Succeeds although no agent runs: only [`GuestAgent::ping`] shows one does.
    pub async fn connect(path: &Path, limits: Limits) -> Result<GuestAgent> {
        Ok(GuestAgent::over(UnixStream::connect(path).await?, limits))
    }
}

impl<S> GuestAgent<S>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    pub fn over(stream: S, limits: Limits) -> GuestAgent<S> {
        // The start only has to differ from what an earlier owner of the channel used.
        let start = RandomState::new().build_hasher().finish() as u32;
        GuestAgent { stream, frames: Frames::new(limits.message), limits, next_sync: start >> 1, in_step: false }
    }

    pub async fn ping(&mut self) -> Result<()> {
        self.call("guest-ping", Value::Null).await.map(drop)
    }

    pub async fn info(&mut self) -> Result<GuestInfo> {
        self.typed("guest-info", Value::Null).await
    }

    pub async fn interfaces(&mut self) -> Result<Vec<GuestInterface>> {
        self.typed("guest-network-get-interfaces", Value::Null).await
    }

    /// `password` is clear text in base64.
    pub async fn set_user_password(&mut self, username: &str, password: &str) -> Result<()> {
        let arguments =
            serde_json::to_value(Password { username, password, crypted: false }).map_err(|e| Error::Malformed(e.to_string()))?;
        self.call("guest-set-user-password", arguments).await.map(drop)
    }

    async fn typed<T: serde::de::DeserializeOwned>(&mut self, name: &str, arguments: Value) -> Result<T> {
        let value = self.call(name, arguments).await?;
        serde_json::from_value(value).map_err(|e| Error::Malformed(format!("answer to {name}: {e}")))
    }

    /// Runs a command by name within the usual time.
    pub async fn call(&mut self, name: &str, arguments: Value) -> Result<Value> {
        let within = self.limits.answer;
        match timeout(within, self.exchange(name, arguments)).await {
            Err(_) => Err(Error::Timeout { command: name.into(), after: within }),
            Ok(answer) => answer,
        }
    }

    /// `in_step` is false during the whole exchange, so dropping this future half-way is as good as a missing answer.
    async fn exchange(&mut self, name: &str, arguments: Value) -> Result<Value> {
        if !std::mem::replace(&mut self.in_step, false) {
            self.sync().await?;
        }
        let mut command = json!({"execute": name});
        if !arguments.is_null() {
            command["arguments"] = arguments;
        }
        self.write(command.to_string().into_bytes()).await?;
        let line = self.line().await?;
        let answer = match Message::parse(&line)? {
            Message::Return { value, .. } => Ok(value),
            Message::Error { class, desc, .. } => Err(Error::Refused { command: name.into(), class, desc }),
            _ => return Err(Error::Malformed("neither answer nor error".into())),
        };
        self.in_step = true;
        answer
    }

    async fn sync(&mut self) -> Result<()> {
        self.next_sync = self.next_sync.wrapping_add(1);
        let id = self.next_sync;
        // The sentinel in our direction makes the agent's own parser forget half a command.
        let mut bytes = vec![SENTINEL];
        bytes.extend_from_slice(json!({"execute": "guest-sync-delimited", "arguments": {"id": id}}).to_string().as_bytes());
        self.write(bytes).await?;
        loop {
            let line = self.line().await?;
            let Some(at) = line.iter().rposition(|&b| b == SENTINEL) else { continue };
            if let Ok(Message::Return { value, .. }) = Message::parse(&line[at + 1..])
                && value.as_u64() == Some(u64::from(id))
            {
                return Ok(());
            }
        }
    }

    async fn write(&mut self, mut bytes: Vec<u8>) -> Result<()> {
        bytes.push(b'\n');
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(line) = self.frames.next_line()? {
                return Ok(line.to_vec());
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece).await? {
                0 => return Err(Error::Closed),
                n => self.frames.push(&piece[..n]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream};

    fn limits() -> Limits {
        Limits { message: 4096, answer: Duration::from_millis(500), events: 1 }
    }

    /// Plays an agent: answers syncs, and other commands with what the script says; an empty script line is silence.
    async fn play(stream: DuplexStream, stale: &[u8], script: Vec<&str>) {
        let (read, mut out) = tokio::io::split(stream);
        out.write_all(stale).await.unwrap();
        let mut lines = BufReader::new(read).split(b'\n');
        let mut script = script.into_iter();
        while let Some(mut line) = lines.next_segment().await.unwrap() {
            if line.first() == Some(&SENTINEL) {
                line.remove(0);
            }
            let command: Value = serde_json::from_slice(&line).unwrap();
            if command["execute"] == "guest-sync-delimited" {
                out.write_all(&[SENTINEL]).await.unwrap();
                out.write_all(format!("{{\"return\": {}}}\n", command["arguments"]["id"]).as_bytes()).await.unwrap();
            } else {
                out.write_all(script.next().unwrap_or("").as_bytes()).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn stale_bytes_are_thrown_away() {
        let (ours, theirs) = tokio::io::duplex(1 << 14);
        let play =
            tokio::spawn(
                async move { play(theirs, b"{\"return\": {\"old\"\n\xff{\"return\": 1}\n{\"ret", vec!["{\"return\": {}}\n"]).await },
            );
        let mut agent = GuestAgent::over(ours, limits());
        agent.ping().await.unwrap();
        drop(agent);
        play.await.unwrap();
    }

    #[tokio::test]
    async fn after_silence_the_late_answer_is_not_taken_for_the_next() {
        let (ours, theirs) = tokio::io::duplex(1 << 14);
        let answers = vec!["", "{\"return\": {\"version\": \"late\"}}\n{\"return\": {\"version\": \"8.2\"}}\n"];
        tokio::spawn(async move { play(theirs, b"", answers).await });
        let mut agent = GuestAgent::over(ours, limits());
        assert!(matches!(agent.ping().await, Err(Error::Timeout { .. })));
        // The script's first line is what the agent had to say about the ping; it comes with the next command, after a fresh sync.
        assert_eq!(agent.info().await.unwrap().version, "late");
        assert_eq!(agent.info().await.unwrap().version, "8.2");
    }

    #[tokio::test]
    async fn a_flood_is_bounded() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 14);
        tokio::spawn(async move { while theirs.write_all(&[b'x'; 1024]).await.is_ok() {} });
        assert!(matches!(GuestAgent::over(ours, limits()).ping().await, Err(Error::TooLarge(4096))));
        let (ours, mut theirs) = tokio::io::duplex(1 << 14);
        tokio::spawn(async move { while theirs.write_all(b"\n{\"return\":1}").await.is_ok() {} });
        assert!(matches!(GuestAgent::over(ours, limits()).ping().await, Err(Error::Timeout { .. })));
    }

    #[tokio::test]
    async fn refusal_keeps_step() {
        let (ours, theirs) = tokio::io::duplex(1 << 14);
        let answers = vec![
            "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n",
            "{\"return\": [{\"name\": \"eth0\", \"hardware-address\": \"52:54:00:00:00:01\", \"ip-addresses\": [{\"ip-address\": \"10.0.0.2\", \"ip-address-type\": \"ipv4\", \"prefix\": 24}]}]}\n",
        ];
        tokio::spawn(async move { play(theirs, b"", answers).await });
        let mut agent = GuestAgent::over(ours, limits());
        assert!(matches!(agent.set_user_password("root", "eA==").await, Err(Error::Refused { .. })));
        assert_eq!(agent.interfaces().await.unwrap()[0].ip_addresses[0].prefix, 24);
    }
}
