//! Which address goes to whom. An address is never given twice: the network's row is locked by a conditional counter first, and a unique index
//! over (network, address) stands behind it.

use crate::Range;
use base::{Kind, Resource, Result, Row, err};
use std::{collections::HashSet, net::Ipv4Addr};
use store::{Cond, Read, Select, Tx, add};

/// What an interface asks for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Wanted address; empty: any.
    pub address: String,
    /// Fail when the wanted one is taken, instead of taking another.
    pub exactly: bool,
    /// The wanted one may be set aside (administrators).
    pub reserved: bool,
}

/// Takes an address of a network for good, in the caller's transaction.
pub async fn allocate(tx: &mut Tx, network: &Row, wish: &Wish) -> Result<Ipv4Addr> {
    let full = || err!(InsufficientResource, "network {} has no free address left; use another network or widen its range", network.name());
    // The counter both refuses an overdrawn network and makes allocators of one network queue up behind each other.
    let room =
        Cond::eq("id", network.id()).and(Cond::eq("deleted", false)).and(Cond::Fits { used: "used".into(), add: 1, cap: "size".into() });
    if tx.update("networks", room, vec![add("used", 1)]).await? == 0 {
        return Err(full());
    }
    tx.emit(resource::changed(network)).await?;
    let range = Range::of(network)?;
    let of = |table: &'static str| Select::from(table).column("ip_addr", Kind::Text).filter(Cond::eq("network_id", network.id()));
    let mut taken: HashSet<u32> = HashSet::new();
    for row in tx.rows(&of("guestnetworks").filter(Cond::eq("deleted", false))).await? {
        taken.extend(row[0].as_str().parse::<Ipv4Addr>().map(u32::from));
    }
    let mut aside: HashSet<u32> = HashSet::new();
    for row in tx.rows(&of("reservedips")).await? {
        aside.extend(row[0].as_str().parse::<Ipv4Addr>().map(u32::from));
    }
    if !wish.address.is_empty() {
        let wanted = crate::range::address("address", &wish.address)?;
        if !range.contains(wanted) {
            return Err(err!(
                InputParameter,
                "address: {} lies outside network {} ({} to {})",
                wanted,
                network.name(),
                Ipv4Addr::from(range.start),
                Ipv4Addr::from(range.end)
            ));
        }
        let n = u32::from(wanted);
        if !taken.contains(&n) && (wish.reserved || !aside.contains(&n)) {
            return Ok(wanted);
        }
        if wish.exactly || wish.reserved {
            return Err(err!(
                InsufficientResource,
                "address {} of network {} is taken; choose another or leave it out",
                wanted,
                network.name()
            ));
        }
    }
    taken.extend(aside);
    pick(&range, &taken, network.text("alloc_policy"), rand(tx)).map(Ipv4Addr::from).ok_or_else(full)
}

/// The first free address by policy; `start` seeds the random one.
fn pick(range: &Range, taken: &HashSet<u32>, policy: &str, start: u32) -> Option<u32> {
    let free = |n: &u32| !taken.contains(n);
    match policy {
        "stepup" => (range.start..=range.end).find(free),
        "random" => {
            let size = range.end - range.start + 1;
            (0..size).map(|i| range.start + (start.wrapping_add(i)) % size).find(free)
        }
        _ => (range.start..=range.end).rev().find(free),
    }
}

fn rand(tx: &Tx) -> u32 {
    let mut bytes = [0u8; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        // Only the order of addresses depends on it.
        Err(_) => tx.now().micros() as u32,
    }
}

/// Gives addresses back.
pub async fn release(tx: &mut Tx, network_id: &str, count: i64) -> Result<()> {
    let held = Cond::eq("id", network_id).and(Cond::cmp("used", store::Op::Ge, count));
    tx.update("networks", held, vec![add("used", -count)]).await?;
    if let Some(network) = tx.one(api_compute::Network::facts(), network_id).await? {
        tx.emit(resource::changed(&network)).await?;
    }
    Ok(())
}

/// A MAC nobody has: the platform's prefix and random bytes (spec 30 §3.4). The unique index refuses the one collision in four billion.
pub fn new_mac() -> Result<String> {
    let mut bytes = [0u8; 4];
    getrandom::fill(&mut bytes).map_err(base::Error::internal)?;
    Ok(format!("00:22:{:02x}:{:02x}:{:02x}:{:02x}", bytes[0], bytes[1], bytes[2], bytes[3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let range = Range { start: 10, end: 13, mask: 24 };
        let check =
            |taken: &[u32], policy, want| assert_eq!(pick(&range, &taken.iter().copied().collect(), policy, 2), want, "{policy} {taken:?}");
        check(&[], "stepdown", Some(13));
        check(&[13], "stepdown", Some(12));
        check(&[], "stepup", Some(10));
        check(&[10], "stepup", Some(11));
        check(&[12], "random", Some(13));
        check(&[10, 11, 12, 13], "random", None);
        check(&[10, 11, 12, 13], "stepup", None);
    }
}
