//! Events: what QEMU tells without being asked. Those the host agent acts on have a shape; the rest keep their data.

use crate::message::text;
use crate::{Error, Result};
use serde_json::{Map, Value};

/// An event and QEMU's own time of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedEvent {
    /// Microseconds since 1970, or `None` when QEMU could not tell.
    pub micros: Option<i64>,
    pub event: Event,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Shutdown(Shutdown),
    /// The machine was reset and goes on; `guest` says whether the guest did it.
    Reset {
        guest: bool,
    },
    /// The power button was pressed for the guest.
    Powerdown,
    Stop,
    Resume,
    GuestPanicked,
    /// A device is gone after `device_del`; events about parts of a device, which carry only a path, are [`Event::Other`].
    DeviceDeleted {
        device: String,
    },
    BlockIoError(BlockIoError),
    /// `data` may be anything.
    Other {
        name: String,
        data: Value,
    },
}

/// The machine is ending, or has stopped because it was told not to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// Whether the guest itself did it.
    pub guest: bool,
    /// `guest-shutdown`, `guest-panic`, `host-qmp-quit`, `host-signal`, …
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIoError {
    pub node_name: String,
    /// `read` or `write`
    pub operation: String,
    /// `ignore`, `report`, `stop`
    pub action: String,
    pub nospace: bool,
    /// Human words of the system's error.
    pub reason: String,
}

impl TimedEvent {
    pub(crate) fn read(mut object: Map<String, Value>) -> Result<TimedEvent> {
        let Some(Value::String(name)) = object.remove("event") else {
            return Err(Error::Malformed("event without a name".into()));
        };
        let micros = match object.remove("timestamp") {
            None => None,
            Some(Value::Object(stamp)) => {
                let part = |key| match stamp.get(key) {
                    None => Ok(-1),
                    Some(v) => v.as_i64().ok_or_else(|| Error::Malformed(format!("timestamp of {name}"))),
                };
                let (seconds, micros) = (part("seconds")?, part("microseconds")?);
                (seconds >= 0).then(|| seconds.saturating_mul(1_000_000).saturating_add(micros.max(0)))
            }
            Some(_) => return Err(Error::Malformed(format!("timestamp of {name}"))),
        };
        let data = object.remove("data").unwrap_or_default();
        Ok(TimedEvent { micros, event: Event::read(name, data) })
    }
}

impl Event {
    fn read(name: String, data: Value) -> Event {
        let flag = |key: &str| data.get(key).and_then(Value::as_bool).unwrap_or(false);
        match name.as_str() {
            "POWERDOWN" => Event::Powerdown,
            "STOP" => Event::Stop,
            "RESUME" => Event::Resume,
            "GUEST_PANICKED" => Event::GuestPanicked,
            "RESET" => Event::Reset { guest: flag("guest") },
            "SHUTDOWN" => {
                let guest = flag("guest");
                Event::Shutdown(Shutdown { guest, reason: text(&mut object(data), "reason") })
            }
            "DEVICE_DELETED" if data.get("device").is_some_and(Value::is_string) => {
                Event::DeviceDeleted { device: text(&mut object(data), "device") }
            }
            "BLOCK_IO_ERROR" => {
                let nospace = flag("nospace");
                let mut data = object(data);
                Event::BlockIoError(BlockIoError {
                    node_name: text(&mut data, "node-name"),
                    operation: text(&mut data, "operation"),
                    action: text(&mut data, "action"),
                    nospace,
                    reason: text(&mut data, "reason"),
                })
            }
            _ => Event::Other { name, data },
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    fn event(line: &str) -> TimedEvent {
        match Message::parse(line.as_bytes()).unwrap() {
            Message::Event(e) => e,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn shapes() {
        let e =
            event(r#"{"timestamp":{"seconds":10,"microseconds":5},"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}"#);
        assert_eq!(e.micros, Some(10_000_005));
        assert_eq!(e.event, Event::Shutdown(Shutdown { guest: true, reason: "guest-shutdown".into() }));
        assert_eq!(event(r#"{"timestamp":{"seconds":-1,"microseconds":-1},"event":"STOP"}"#).micros, None);
        assert_eq!(
            event(r#"{"event":"DEVICE_DELETED","data":{"device":"nic1","path":"/machine/peripheral/nic1"}}"#).event,
            Event::DeviceDeleted { device: "nic1".into() }
        );
        assert!(matches!(event(r#"{"event":"DEVICE_DELETED","data":{"path":"/machine/x/virtio-backend"}}"#).event, Event::Other { .. }));
        assert_eq!(event(r#"{"event":"RESET","data":7}"#).event, Event::Reset { guest: false });
    }
}
