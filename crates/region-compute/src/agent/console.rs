//! Calls for consoles: somebody waits at one process of the region, and the host that runs the guest is told to dial in there.
//!
//! A call is a row, so that the agent's question may wait at another process than the person. It is handed out once and soon void.

use super::{Agents, HostId};
use api_agent::{ConsoleCall, ConsoleKind};
use base::{Kind, Result, Value};
use std::sync::PoisonError;
use store::{Change, ChangeOp, Cond, Name, Op, Read, Select, work};

/// Kind of the feed's lines about calls; their id is the host's.
pub(super) const FEED: &str = "console_call";
/// A call is void after so many seconds: nobody waits that long for a screen.
const VALID: i64 = 20;

impl Agents {
    /// Asks a host to dial in.
    pub async fn call(&self, host_id: &str, call: &ConsoleCall) -> Result<()> {
        self.db
            .tx(|tx| {
                work(async move {
                    let columns: Vec<(Name, Value)> = vec![
                        ("id".into(), call.id.as_str().into()),
                        ("host_id".into(), host_id.into()),
                        ("guest_id".into(), call.guest_id.as_str().into()),
                        ("kind".into(), call.kind.name().into()),
                        ("url".into(), call.url.as_str().into()),
                        ("expires_at".into(), tx.now().plus_secs(VALID).into()),
                    ];
                    tx.insert_into("console_calls", columns).await?;
                    let line = Change {
                        kind: FEED.into(),
                        id: host_id.into(),
                        op: ChangeOp::Create,
                        version: 0,
                        domain_id: String::new(),
                        project_id: String::new(),
                        data: base::Json::Null,
                    };
                    tx.emit(line).await
                })
            })
            .await
    }

    /// Whether a host is called; without a write, for it is asked often.
    pub(super) async fn is_called(&self, host: &HostId) -> Result<bool> {
        let mut db = &self.db;
        db.exists("console_calls", Cond::eq("host_id", host.as_str())).await
    }

    /// Hands out the calls of a host, and forgets them.
    pub(super) async fn take_calls(&self, host: &HostId) -> Result<Vec<ConsoleCall>> {
        self.db
            .tx(|tx| {
                work(async move {
                    let of_host = Cond::eq("host_id", host.as_str());
                    let columns = ["id", "guest_id", "kind", "url"];
                    let select = columns.iter().fold(Select::from("console_calls"), |s, c| s.column(*c, Kind::Text));
                    let rows = tx.rows(&select.filter(of_host.clone().and(Cond::cmp("expires_at", Op::Gt, tx.now())))).await?;
                    // Those of hosts that never ask go with the next call of any host.
                    tx.delete("console_calls", of_host.or(Cond::cmp("expires_at", Op::Le, tx.now()))).await?;
                    Ok(rows
                        .iter()
                        .map(|row| ConsoleCall {
                            id: row[0].as_str().into(),
                            guest_id: row[1].as_str().into(),
                            kind: ConsoleKind::from_name(row[2].as_str()).unwrap_or_default(),
                            url: row[3].as_str().into(),
                        })
                        .collect())
                })
            })
            .await
    }

    /// Wakes what waits for news of these hosts.
    pub(super) fn ring<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for host in hosts {
            if let Some(sender) = waiting.get(host) {
                sender.send_modify(|news| news.calls += 1);
            }
        }
    }
}
