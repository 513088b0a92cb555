//! Address ranges: pure arithmetic, with the rules of a network's fields (spec 10 §3.5).

use base::{Result, Row, err};
use ipnet::Ipv4Net;
use std::net::Ipv4Addr;

/// The addresses of a network, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u32,
    pub end: u32,
    pub mask: u8,
}

impl Range {
    pub fn of(row: &Row) -> Result<Range> {
        let parse = |name: &str| address(name, row.text(name));
        let (start, end) = (parse("guest_ip_start")?, parse("guest_ip_end")?);
        let mask = row.int("guest_ip_mask");
        if !(12..=30).contains(&mask) {
            return Err(err!(InputParameter, "guest_ip_mask: {} is out of range 12 to 30", mask));
        }
        let range = Range { start: start.into(), end: end.into(), mask: mask as u8 };
        let net = Ipv4Net::new(start, range.mask).map_err(base::Error::internal)?;
        if range.start > range.end {
            return Err(err!(InputParameter, "guest_ip_end: {} lies before guest_ip_start {}", end, start));
        }
        if !net.contains(&end) {
            return Err(err!(InputParameter, "guest_ip_end: {} lies outside {}, the subnet of guest_ip_start", end, net.trunc()));
        }
        Ok(range)
    }

    pub fn size(&self) -> i64 {
        i64::from(self.end - self.start) + 1
    }

    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.start..=self.end).contains(&address.into())
    }

    pub fn overlaps(&self, other: &Range) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    pub fn net(&self) -> Ipv4Net {
        // The mask was checked when the range was made.
        Ipv4Net::new(self.start.into(), self.mask).map(|n| n.trunc()).unwrap_or_default()
    }
}

/// The subnet a network's row lies in.
pub fn cidr(row: &Row) -> Result<String> {
    Ok(Range::of(row)?.net().to_string())
}

pub(crate) fn address(field: &str, text: &str) -> Result<Ipv4Addr> {
    text.trim().parse().map_err(|_| err!(InputParameter, "{}: {} is not an IPv4 address", field, text))
}

/// Fills the fields a client may leave out: from `guest_ip_prefix`, gateway first, guests from the second to the third from the end.
pub(crate) fn from_prefix(row: &mut Row, prefix: &str) -> Result<()> {
    let net: Ipv4Net =
        prefix.parse().map_err(|_| err!(InputParameter, "guest_ip_prefix: {} is not a subnet as in 192.168.10.0/24", prefix))?;
    let net = net.trunc();
    if !(12..=29).contains(&net.prefix_len()) {
        return Err(err!(InputParameter, "guest_ip_prefix: {} must be between /12 and /29", prefix));
    }
    let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
    let text = |n: u32| Ipv4Addr::from(n).to_string();
    if row.text("guest_gateway").is_empty() {
        row.set("guest_gateway", text(first + 1));
    }
    row.set("guest_ip_start", text(first + 2));
    row.set("guest_ip_end", text(last - 2));
    row.set("guest_ip_mask", i64::from(net.prefix_len()));
    Ok(())
}

/// Everything that must hold of one network alone.
pub(crate) fn check(row: &Row) -> Result<Range> {
    let range = Range::of(row)?;
    let net = range.net();
    let gateway = row.text("guest_gateway");
    if !gateway.is_empty() {
        let gateway = address("guest_gateway", gateway)?;
        if !net.contains(&gateway) {
            return Err(err!(InputParameter, "guest_gateway: {} lies outside the subnet {}", gateway, net));
        }
        if range.contains(gateway) {
            return Err(err!(
                InputParameter,
                "guest_gateway: {} lies inside the range guests get addresses of; move guest_ip_start or guest_ip_end",
                gateway
            ));
        }
    }
    for (field, bad) in
        [("guest_ip_start", range.start == u32::from(net.network())), ("guest_ip_end", range.end == u32::from(net.broadcast()))]
    {
        if bad {
            return Err(err!(InputParameter, "{}: {} is the subnet's own or broadcast address", field, row.text(field)));
        }
    }
    for field in ["guest_dns", "guest_dhcp"] {
        for part in row.text(field).split(',').map(str::trim).filter(|p| !p.is_empty()) {
            if part.parse::<std::net::IpAddr>().is_err() {
                return Err(err!(InputParameter, "{}: {} is not an IP address", field, part));
            }
        }
    }
    let vlan = row.int("vlan_id");
    if !(1..=4095).contains(&vlan) {
        return Err(err!(InputParameter, "vlan_id: {} is out of range 1 to 4095", vlan));
    }
    for (field, words) in [
        ("server_type", &["guest", "baremetal", "container", "pxe", "ipmi", "eip", "hostlocal"][..]),
        ("alloc_policy", &["none", "stepdown", "stepup", "random"][..]),
    ] {
        if !words.contains(&row.text(field)) {
            return Err(err!(InputParameter, "{}: {} is not one of {}", field, row.text(field), words.join(", ")));
        }
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Resource;

    fn network(start: &str, end: &str, mask: i64, gateway: &str) -> Row {
        let mut row = api_compute::Network {
            guest_ip_start: start.into(),
            guest_ip_end: end.into(),
            guest_ip_mask: mask,
            guest_gateway: gateway.into(),
            vlan_id: 1,
            server_type: "guest".into(),
            alloc_policy: "stepdown".into(),
            ..Default::default()
        }
        .to_row();
        row.set("name", "n");
        row
    }

    #[test]
    fn rules() {
        let check = |start, end, mask, gateway, ok: bool| {
            let got = check(&network(start, end, mask, gateway));
            assert_eq!(got.is_ok(), ok, "{start} {end} {mask} {gateway}: {got:?}");
        };
        check("10.0.0.2", "10.0.0.250", 24, "10.0.0.1", true);
        check("10.0.0.2", "10.0.0.250", 24, "", true);
        check("10.0.0.2", "10.0.0.1", 24, "", false);
        check("10.0.0.2", "10.0.1.1", 24, "", false);
        check("10.0.0.2", "10.0.0.250", 24, "10.0.0.9", false);
        check("10.0.0.2", "10.0.0.250", 24, "10.1.0.1", false);
        check("10.0.0.2", "10.0.0.250", 31, "", false);
        check("10.0.0.0", "10.0.0.250", 24, "", false);
        check("10.0.0.2", "10.0.0.255", 24, "", false);
        check("ten", "10.0.0.255", 24, "", false);
    }

    #[test]
    fn prefix() {
        let mut row = network("", "", 0, "");
        from_prefix(&mut row, "192.168.10.0/24").unwrap();
        assert_eq!(
            (row.text("guest_gateway"), row.text("guest_ip_start"), row.text("guest_ip_end")),
            ("192.168.10.1", "192.168.10.2", "192.168.10.253")
        );
        assert!(from_prefix(&mut row, "192.168.10.0/31").is_err());
        assert!(from_prefix(&mut row, "banana").is_err());
    }
}
