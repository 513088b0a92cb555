//! One incoming message, read from its line. Pure.

use crate::event::TimedEvent;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What QEMU may send (qmp-spec, "Server to client").
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Greeting(Greeting),
    Return { id: Option<u64>, value: Value },
    Error { id: Option<u64>, class: String, desc: String },
    Event(TimedEvent),
}

/// The first message of a link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Greeting {
    pub version: QemuVersion,
    /// `oob` when commands may overtake each other.
    pub capabilities: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct QemuVersion {
    pub qemu: Triple,
    /// The packager's own addition, such as a distribution's revision.
    pub package: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Triple {
    pub major: u32,
    pub minor: u32,
    pub micro: u32,
}

impl std::fmt::Display for Triple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

impl Message {
    /// Reads one line. Members the protocol does not know are ignored.
    pub fn parse(line: &[u8]) -> Result<Message> {
        let value: Value = serde_json::from_slice(line).map_err(|e| Error::Malformed(e.to_string()))?;
        let Value::Object(mut object) = value else {
            return Err(Error::Malformed("not an object".into()));
        };
        let id = object.get("id").and_then(Value::as_u64);
        if let Some(value) = object.remove("return") {
            return Ok(Message::Return { id, value });
        }
        if let Some(Value::Object(mut error)) = object.remove("error") {
            return Ok(Message::Error { id, class: text(&mut error, "class"), desc: text(&mut error, "desc") });
        }
        if object.contains_key("event") {
            return Ok(Message::Event(TimedEvent::read(object)?));
        }
        match object.remove("QMP") {
            Some(Value::Object(mut greeting)) => {
                let version = greeting.remove("version").unwrap_or_default();
                let version = serde_json::from_value(version).map_err(|e| Error::Malformed(format!("greeting: {e}")))?;
                let capabilities = match greeting.remove("capabilities") {
                    Some(Value::Array(all)) => all.into_iter().filter_map(|c| c.as_str().map(str::to_string)).collect(),
                    _ => Vec::new(),
                };
                Ok(Message::Greeting(Greeting { version, capabilities }))
            }
            _ => Err(Error::Malformed("neither greeting, answer nor event".into())),
        }
    }
}

pub(crate) fn text(object: &mut Map<String, Value>, key: &str) -> String {
    match object.remove(key) {
        Some(Value::String(s)) => s,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GREETING: &str =
        r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "Debian 1:10.0.2"}, "capabilities": ["oob"]}}"#;

    #[test]
    fn every_kind() {
        let Message::Greeting(g) = Message::parse(GREETING.as_bytes()).unwrap() else { panic!("greeting") };
        assert_eq!((g.version.qemu.to_string().as_str(), g.capabilities), ("10.0.2", vec!["oob".to_string()]));
        assert_eq!(
            Message::parse(br#"{"return": {}, "id": 7}"#).unwrap(),
            Message::Return { id: Some(7), value: Value::Object(Map::new()) }
        );
        assert_eq!(
            Message::parse(br#"{"error": {"class": "GenericError", "desc": "no"}, "id": 8}"#).unwrap(),
            Message::Error { id: Some(8), class: "GenericError".into(), desc: "no".into() }
        );
    }

    /// Inputs that have broken parsers of this kind: none may panic, and none of these is a message.
    #[test]
    fn hostile_corpus() {
        let deep = "[".repeat(100_000);
        let deep_object = "{\"QMP\":".repeat(5_000);
        let long_number = format!("{{\"event\":\"X\",\"timestamp\":{{\"seconds\":{}}}}}", "9".repeat(5_000));
        for bad in [
            "",
            " ",
            "null",
            "[]",
            "1e999999",
            "{\"QMP\":1}",
            "{\"QMP\":{\"version\":{\"qemu\":{\"major\":-1}}}}",
            "{\"error\":[]}",
            "{\"event\":{}}",
            "{\"event\":\"X\",\"timestamp\":7}",
            "{\"return\":{}",
            "{\"id\":1}",
            "\u{0}",
            "{\"event\":\"\\ud800\"}",
            &deep,
            &deep_object,
            &long_number,
        ] {
            assert!(Message::parse(bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(60)]);
        }
        assert!(Message::parse(b"{\"event\":\"\xff\"}").is_err(), "not UTF-8");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Message::parse(&bytes);
        }

        /// Real messages with some bytes changed reach deeper than noise does.
        #[test]
        fn never_panics_near_the_truth(which in 0usize..4, at in 0usize..200, with in any::<u8>(), cut in 0usize..200) {
            let real = [
                GREETING,
                r#"{"timestamp": {"seconds": 1700000000, "microseconds": 5}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
                r#"{"timestamp": {"seconds": 1, "microseconds": 5}, "event": "BLOCK_IO_ERROR", "data": {"device":"","node-name":"d","nospace":true,"reason":"x","action":"stop","operation":"write"}}"#,
                r#"{"error": {"class": "GenericError", "desc": "no"}, "id": 8}"#,
            ][which];
            let mut bytes = real.as_bytes().to_vec();
            let n = bytes.len();
            bytes[at % n] = with;
            let _ = Message::parse(&bytes);
            let _ = Message::parse(&real.as_bytes()[..cut % n]);
        }
    }
}
