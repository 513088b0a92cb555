//! The switch's database: what is configured, and changes to it in one transaction.

use super::daemons::{Running, ended};
use crate::run::run;
use base::{Error, Result, err};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Seconds the switch may take to carry out a change.
const TIMEOUT: &str = "--timeout=45";
/// The same for a change somebody else made.
const SETTLE: Duration = Duration::from_secs(45);

pub(crate) struct Database {
    socket: PathBuf,
    /// The process that carries changes out.
    vswitchd: u32,
}

/// Bridges and ports by name.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The switch has carried out all of it.
    settled: bool,
    pub bridges: BTreeMap<String, BridgeRow>,
    pub ports: BTreeMap<String, PortRow>,
}

#[derive(Debug, Default)]
pub(crate) struct BridgeRow {
    pub marks: Marks,
    pub datapath: String,
    pub fail_mode: String,
}

/// A port with one interface of the same name, as all of ours are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PortRow {
    pub bridge: String,
    pub tag: Option<u16>,
    pub marks: Marks,
    /// OpenFlow number; none while the switch could not open the device.
    pub number: Option<u16>,
    /// `internal`, empty for an existing device.
    pub kind: String,
    pub mac: String,
    pub mtu_request: Option<u16>,
    /// Why the device could not be opened.
    pub error: String,
}

impl PortRow {
    /// Whether this row has the settings of another; marks of other programs do not matter.
    pub fn is(&self, wanted: &PortRow) -> bool {
        let settings = |row: &PortRow| (row.bridge.clone(), row.tag, row.kind.clone(), row.mac.clone(), row.mtu_request);
        settings(self) == settings(wanted) && wanted.marks.iter().all(|(key, value)| self.marks.get(key) == Some(value))
    }
}

/// What programs left on a row.
pub(crate) type Marks = BTreeMap<String, String>;

/// One change; many make a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Bridge {
        name: String,
        datapath: &'static str,
        marks: Marks,
    },
    /// Makes the port these settings. Must not be on another bridge.
    Port {
        name: String,
        port: PortRow,
    },
    DropPort {
        name: String,
    },
    DropBridge {
        name: String,
    },
}

impl Database {
    pub fn of(switch: &Running) -> Database {
        Database { socket: switch.db.clone(), vswitchd: switch.vswitchd }
    }

    /// Everything, once the switch has carried out what is written: whoever wrote it may have died before.
    pub async fn state(&self) -> Result<State> {
        let until = Instant::now() + SETTLE;
        loop {
            let state = self.read().await?;
            if state.settled {
                return Ok(state);
            }
            if Instant::now() >= until {
                return Err(err!(Timeout, "Open vSwitch did not carry out its configuration within {} seconds", SETTLE.as_secs()));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn read(&self) -> Result<State> {
        let text = self
            .vsctl(&[
                "--",
                "--columns=cur_cfg,next_cfg",
                "list",
                "Open_vSwitch",
                "--",
                "--columns=name,ports,external_ids,datapath_type,fail_mode",
                "list",
                "bridge",
                "--",
                "--columns=_uuid,name,tag,external_ids",
                "list",
                "port",
                "--",
                "--columns=name,ofport,type,mac,mtu_request,error",
                "list",
                "interface",
            ])
            .await?;
        read_state(&text).map_err(|e| Error::internal(e).with_context("answer of ovs-vsctl"))
    }

    /// Carries out all changes or none, and waits until the switch has.
    pub async fn change(&self, changes: &[Change]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let words: Vec<String> = changes.iter().flat_map(Change::words).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.vsctl(&words).await.map(drop)
    }

    async fn vsctl(&self, words: &[&str]) -> Result<String> {
        let db = format!("--db=unix:{}", self.socket.display());
        let words = [&[db.as_str(), TIMEOUT, "--format=json"], words].concat();
        // Nothing is carried out by a dead switch: do not wait for it.
        tokio::select! {
            done = run("ovs-vsctl", &words, "") => done,
            () = ended(self.vswitchd) => Err(err!(ServiceAbnormal, "Open vSwitch of this host ended while it was configured")),
        }
    }
}

impl Change {
    /// The commands of `ovs-vsctl`, each preceded by `--`.
    fn words(&self) -> Vec<String> {
        let own = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
        match self {
            Change::Bridge { name, datapath, marks } => {
                let mut words = own(&["--", "--may-exist", "add-br", name, "--", "set", "bridge", name]);
                // Closed until flows are there; nothing tagged by accident; no spanning tree among taps.
                words.extend([format!("datapath_type={datapath}"), "fail_mode=secure".into(), "stp_enable=false".into()]);
                words.push("protocols=[OpenFlow10,OpenFlow13,OpenFlow14]".into());
                words.extend(mark_words(marks));
                words
            }
            Change::Port { name, port } => {
                let mut words = own(&["--", "--may-exist", "add-port", &port.bridge, name, "--", "set", "port", name]);
                words.push(format!("tag={}", port.tag.map_or("[]".into(), |t| t.to_string())));
                words.extend(mark_words(&port.marks));
                words.extend(own(&["--", "set", "interface", name]));
                words.push(format!("type={}", if port.kind.is_empty() { "\"\"" } else { &port.kind }));
                words.push(format!("mac={}", if port.mac.is_empty() { "[]".into() } else { format!("\"{}\"", port.mac) }));
                words.push(format!("mtu_request={}", port.mtu_request.map_or("[]".into(), |m| m.to_string())));
                words
            }
            Change::DropPort { name } => own(&["--", "--if-exists", "del-port", name]),
            Change::DropBridge { name } => own(&["--", "--if-exists", "del-br", name]),
        }
    }
}

fn mark_words(marks: &Marks) -> impl Iterator<Item = String> {
    marks.iter().map(|(key, value)| format!("external_ids:{key}=\"{value}\""))
}

/// Three tables, one JSON document a line.
fn read_state(text: &str) -> Result<State, String> {
    let mut tables = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut table = |name: &str| rows(tables.next().ok_or(format!("no table {name}"))?.map_err(|e| e.to_string())?);
    let (root, bridges, ports, interfaces) = (table("Open_vSwitch")?, table("bridge")?, table("port")?, table("interface")?);
    let carried_out = |row: &Row| row["cur_cfg"].as_i64() >= row["next_cfg"].as_i64();
    let mut state = State { settled: root.iter().all(carried_out), ..State::default() };
    let mut bridge_of = BTreeMap::new();
    for row in bridges {
        let name = string(&row["name"]);
        for port in set(&row["ports"]) {
            bridge_of.insert(uuid(port), name.clone());
        }
        let bridge =
            BridgeRow { marks: map(&row["external_ids"]), datapath: string(&row["datapath_type"]), fail_mode: string(&row["fail_mode"]) };
        state.bridges.insert(name, bridge);
    }
    for row in ports {
        let bridge = bridge_of.remove(&uuid(&row["_uuid"])).unwrap_or_default();
        let port = PortRow { bridge, tag: number(&row["tag"]), marks: map(&row["external_ids"]), ..PortRow::default() };
        state.ports.insert(string(&row["name"]), port);
    }
    for row in interfaces {
        if let Some(port) = state.ports.get_mut(&string(&row["name"])) {
            port.number = number(&row["ofport"]);
            port.kind = string(&row["type"]);
            port.mac = string(&row["mac"]);
            port.mtu_request = number(&row["mtu_request"]);
            port.error = string(&row["error"]);
        }
    }
    Ok(state)
}

type Row = BTreeMap<String, Value>;

fn rows(table: Value) -> Result<Vec<Row>, String> {
    let list = |key: &str| table[key].as_array().ok_or(format!("a table without {key}"));
    let headings: Vec<String> = list("headings")?.iter().map(string).collect();
    let cells = |row: &Value| headings.iter().cloned().zip(row.as_array().into_iter().flatten().cloned()).collect();
    Ok(list("data")?.iter().map(cells).collect())
}

/// Elements of an OVSDB set; a set of one is its element (RFC 7047 §5.1).
fn set(value: &Value) -> Vec<&Value> {
    match value.as_array().map(Vec::as_slice) {
        Some([Value::String(tag), Value::Array(elements)]) if tag == "set" => elements.iter().collect(),
        _ => vec![value],
    }
}

fn uuid(value: &Value) -> String {
    value.get(1).map(string).unwrap_or_default()
}

/// Text; empty for the empty set.
fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// A number in range; none for the empty set and for -1, which means failed.
fn number(value: &Value) -> Option<u16> {
    value.as_i64().and_then(|n| u16::try_from(n).ok())
}

fn map(value: &Value) -> Marks {
    let pairs = value.get(1).and_then(Value::as_array).into_iter().flatten();
    pairs.filter_map(|pair| Some((pair.get(0)?.as_str()?.to_string(), pair.get(1)?.as_str()?.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_read_from_the_tools_json() {
        let text = r#"{"data":[[4,5]],"headings":["cur_cfg","next_cfg"]}
{"data":[["wolke0",["set",[["uuid","u1"],["uuid","u2"]]],["map",[["wolke-owner","ab"]]],"netdev","secure"],["br1",["uuid","u3"],["map",[]],"",["set",[]]]],"headings":["name","ports","external_ids","datapath_type","fail_mode"]}
{"data":[[["uuid","u2"],"tap1",100,["map",[["wolke-owner","ab"],["wolke-kind","tap"]]]],[["uuid","u1"],"wolke0",["set",[]],["map",[]]],[["uuid","u3"],"br1",["set",[]],["map",[]]]],"headings":["_uuid","name","tag","external_ids"]}
{"data":[["tap1",-1,"","0e:57:00:00:00:01",1442,"could not open network device tap1"],["wolke0",65534,"internal",["set",[]],["set",[]],["set",[]]]],"headings":["name","ofport","type","mac","mtu_request","error"]}
"#;
        let state = read_state(text).unwrap();
        assert!(!state.settled && read_state(&text.replace("[[4,5]]", "[[5,5]]")).unwrap().settled);
        assert_eq!(state.bridges["wolke0"].marks["wolke-owner"], "ab");
        assert_eq!((state.bridges["wolke0"].datapath.as_str(), state.bridges["br1"].fail_mode.as_str()), ("netdev", ""));
        let tap = &state.ports["tap1"];
        assert_eq!((tap.bridge.as_str(), tap.tag, tap.number, tap.mtu_request), ("wolke0", Some(100), None, Some(1442)));
        assert_eq!(
            (tap.mac.as_str(), tap.error.starts_with("could not"), tap.marks["wolke-kind"].as_str()),
            ("0e:57:00:00:00:01", true, "tap")
        );
        assert_eq!((state.ports["wolke0"].number, state.ports["br1"].bridge.as_str()), (Some(65534), "br1"));
        assert!(read_state("{}").is_err() && read_state("").is_err());
    }

    #[test]
    fn a_change_is_one_transaction() {
        let marks = Marks::from([("wolke-owner".into(), "ab".into())]);
        let port = PortRow { bridge: "wolke0".into(), tag: Some(5), marks, ..PortRow::default() };
        let words = Change::Port { name: "tap1".into(), port }.words().join(" ");
        assert_eq!(
            words,
            "-- --may-exist add-port wolke0 tap1 -- set port tap1 tag=5 external_ids:wolke-owner=\"ab\" \
             -- set interface tap1 type=\"\" mac=[] mtu_request=[]"
        );
    }
}
