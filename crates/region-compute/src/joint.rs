//! What ties servers to disks and networks. Ties come and go by actions of the server, whichever way they are asked for: only these keep the books and
//! wait for the guest to let go. What may be changed about a tie is checked here and told to its host.

use crate::intent;
use api_compute::{DiskConfig, GuestDisk, GuestNetwork, NIC_DRIVERS, Server, status};
use base::{Resource, Result, Row, err};
use resource::{Actions, BoxFuture, Hooks, Kind, Map, Naming, Op, Tying};
use serde_json::json;
use std::sync::Arc;
use store::{Cond, Read, Tx};

/// The host chooses the other one by itself where this one cannot be.
const AIO_MODES: [&str; 1] = ["native"];
/// Mbit/s: what a switch port can be held to.
const MOST_BANDWIDTH: i64 = 100_000;

fn one_of(field: &str, old: &Row, row: &Row, words: &[&str]) -> Result<()> {
    let word = row.text(field);
    if old.text(field) == word || words.contains(&word) {
        return Ok(());
    }
    Err(err!(InputParameter, "{}: {} is not one of {}", field, word, words.join(", ")))
}

fn within(field: &str, old: &Row, row: &Row, least: i64, most: i64) -> Result<()> {
    let n = row.int(field);
    if old.int(field) == n || (least..=most).contains(&n) {
        return Ok(());
    }
    Err(err!(InputParameter, "{}: {} is out of range {} to {}", field, n, least, most))
}

/// The server of a tie that is about to change: nothing else happens to it, and it is down if what the guest sees as another device changes.
async fn server_of(tx: &mut Tx, old: &Row, new: &Row, device: &[&str]) -> Result<Row> {
    tx.lock("servers", Cond::eq("id", old.text("guest_id"))).await?;
    let server = intent::server_row(tx, old.text("guest_id")).await?;
    if server.flag("freezed") {
        return Err(err!(BadRequest, "{} {} is frozen; unfreeze it first", Server::facts().name, server.name()));
    }
    let server = intent::idle_server(tx, &server).await?;
    if let Some(field) = device.iter().find(|c| old.get(c) != new.get(c))
        && server.text("status") != status::READY
    {
        return Err(err!(InvalidStatus, "{}: server {} is {}; stop it first", field, server.name(), server.text("status")));
    }
    Ok(server)
}

struct DiskTie;

impl Hooks for DiskTie {
    fn update<'a>(&'a self, _op: &'a Op<'a>, old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let words = DiskConfig { driver: row.text("driver").into(), cache: row.text("cache_mode").into(), ..Default::default() };
            words.check_words("disk")?;
            one_of("aio_mode", old, row, &AIO_MODES)?;
            within("boot_index", old, row, -1, 127)
        })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let server = server_of(tx, old, row, &["driver"]).await?;
            intent::touch_host(tx, server.text("host_id")).await
        })
    }
}

struct NicTie;

impl Hooks for NicTie {
    fn update<'a>(&'a self, _op: &'a Op<'a>, old: &'a Row, _body: &'a mut Map, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            one_of("driver", old, row, NIC_DRIVERS)?;
            within("bw_limit", old, row, 0, MOST_BANDWIDTH)?;
            within("index", old, row, 0, crate::server::MOST_NICS as i64 - 1)?;
            if old.flag("is_default") && !row.flag("is_default") {
                return Err(err!(
                    InputParameter,
                    "is_default: give the default route to another interface instead of taking it from this one"
                ));
            }
            Ok(())
        })
    }

    fn updated<'a>(&'a self, _op: &'a Op<'a>, tx: &'a mut Tx, old: &'a Row, row: &'a mut Row) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let server = server_of(tx, old, row, &["driver", "index"]).await?;
            let others = Cond::eq("guest_id", server.id()).and(Cond::eq("deleted", false)).and(Cond::ne("id", row.id()));
            if tx.exists("guestnetworks", others.clone().and(Cond::eq("index", row.int("index")))).await? {
                return Err(err!(Conflict, "index: {} is another interface's of server {}", row.int("index"), server.name()));
            }
            if row.flag("is_default") && !old.flag("is_default") {
                for other in tx.find(GuestNetwork::facts(), others.and(Cond::eq("is_default", true))).await? {
                    intent::change(tx, other, |r| r.set("is_default", false)).await?;
                }
            }
            intent::touch_host(tx, server.text("host_id")).await
        })
    }
}

/// What a client says of a new tie, with the slave beside it.
fn with(mut body: Map, key: &str, id: &str) -> Map {
    body.insert(key.into(), json!(id));
    body
}

fn only(pairs: &[(&str, base::Json)]) -> Map {
    pairs.iter().map(|(key, value)| ((*key).to_string(), value.clone())).collect()
}

pub(crate) fn kinds() -> Vec<Kind> {
    let disks = Actions {
        attach: "attachdisk",
        attaching: |disk, body| with(body, "disk_id", disk),
        detach: "detachdisk",
        // Whoever unties says nothing of the disk itself: it stays.
        detaching: |tie| only(&[("disk_id", json!(tie.text("disk_id"))), ("keep_disk", json!(true))]),
    };
    let nics = Actions {
        attach: "attachnetwork",
        attaching: |network, body| only(&[("nets", json!([with(body, "network", network)]))]),
        detach: "detachnetwork",
        detaching: |tie| only(&[("mac", json!(tie.text("mac_addr")))]),
    };
    vec![
        Kind::new::<GuestDisk, _>(&Arc::new(DiskTie))
            .naming(Naming::Free)
            .parent("server", "guest_id")
            .joint(("servers", "guest_id"), ("disks", "disk_id"), Tying::Actions(disks))
            .done(),
        Kind::new::<GuestNetwork, _>(&Arc::new(NicTie))
            .naming(Naming::Free)
            .parent("server", "guest_id")
            .joint(("servers", "guest_id"), ("networks", "network_id"), Tying::Actions(nics))
            .done(),
    ]
}
