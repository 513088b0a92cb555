//! Tables of requests and the answers they get.

use dhcp::{Binding, Destination, Kind, Mac, Message, Op, Route, answer, code};
use std::net::Ipv4Addr;

const MAC: Mac = [0x00, 0x22, 0x0a, 0, 0, 5];
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 6);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 0);
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 1);
const NONE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn binding() -> Binding {
    Binding {
        mac: MAC,
        address: OWN,
        prefix_len: 24,
        server_id: SERVER,
        gateway: Some(Ipv4Addr::new(10, 0, 1, 1)),
        dns: vec![Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)],
        ntp: vec![Ipv4Addr::new(10, 0, 0, 123)],
        domain: "cloud.example".into(),
        host_name: "vm-5".into(),
        mtu: 1442,
        routes: vec![Route { destination: Ipv4Addr::new(169, 254, 169, 254), prefix_len: 32, via: NONE }],
        lease_secs: 0,
    }
}

fn request(kind: Kind) -> Message {
    Message::new(Op::Request, kind, 0x1234_5678, MAC)
}

/// Kind, option 54, option 50, ciaddr, broadcast flag, giaddr → kind of the answer and where it goes.
#[test]
fn which_answer_and_where_to() {
    use Destination::{Broadcast, Client, Relay};
    use Kind::{Ack, Decline, Discover, Inform, Nak, Offer, Release, Request};
    type Case = (&'static str, Kind, Option<Ipv4Addr>, Option<Ipv4Addr>, Ipv4Addr, bool, Ipv4Addr, Option<(Kind, Destination)>);
    let cases: &[Case] = &[
        ("discover", Discover, None, None, NONE, false, NONE, Some((Offer, Client(OWN)))),
        ("discover, cannot take unicast", Discover, None, None, NONE, true, NONE, Some((Offer, Broadcast))),
        ("discover, hoping for another", Discover, None, Some(OTHER), NONE, false, NONE, Some((Offer, Client(OWN)))),
        ("discover through a relay", Discover, None, None, NONE, true, RELAY, Some((Offer, Relay(RELAY)))),
        ("selecting", Request, Some(SERVER), Some(OWN), NONE, false, NONE, Some((Ack, Client(OWN)))),
        ("selecting, broadcast", Request, Some(SERVER), Some(OWN), NONE, true, NONE, Some((Ack, Broadcast))),
        ("selecting another server", Request, Some(OTHER), Some(OTHER), NONE, false, NONE, None),
        ("selecting a wrong address", Request, Some(SERVER), Some(OTHER), NONE, false, NONE, Some((Nak, Broadcast))),
        ("init-reboot", Request, None, Some(OWN), NONE, false, NONE, Some((Ack, Client(OWN)))),
        ("init-reboot, wrong", Request, None, Some(OTHER), NONE, false, NONE, Some((Nak, Broadcast))),
        ("init-reboot, wrong, through a relay", Request, None, Some(OTHER), NONE, false, RELAY, Some((Nak, Relay(RELAY)))),
        ("renewing or rebinding", Request, None, None, OWN, false, NONE, Some((Ack, Client(OWN)))),
        ("renewing, wrong", Request, None, None, OTHER, false, NONE, Some((Nak, Broadcast))),
        ("neither option 50 nor ciaddr", Request, None, None, NONE, false, NONE, Some((Ack, Client(OWN)))),
        ("inform", Inform, None, None, OWN, false, NONE, Some((Ack, Client(OWN)))),
        ("inform from a foreign address", Inform, None, None, OTHER, false, NONE, None),
        ("decline", Decline, Some(SERVER), Some(OWN), NONE, false, NONE, None),
        ("release", Release, Some(SERVER), None, OWN, false, NONE, None),
        ("offer in a request", Offer, None, None, NONE, false, NONE, None),
    ];
    for (name, kind, server, wanted, ciaddr, broadcast, giaddr, expected) in cases {
        let mut message = request(*kind);
        (message.ciaddr, message.broadcast, message.giaddr) = (*ciaddr, *broadcast, *giaddr);
        server.iter().for_each(|ip| message.options.set(code::SERVER_ID, ip.octets()));
        wanted.iter().for_each(|ip| message.options.set(code::REQUESTED_IP, ip.octets()));
        let reply = answer(&message, Some(&binding()));
        assert_eq!(reply.as_ref().map(|r| (r.message.kind, r.to)), *expected, "{name}");
        if let Some(reply) = reply {
            assert_eq!(reply.message.xid, message.xid, "{name}");
            assert_eq!(reply.message.op, Op::Reply, "{name}");
            assert_eq!(reply.message.chaddr, MAC, "{name}");
            assert_eq!(reply.message.options.ip(code::SERVER_ID), Some(SERVER), "{name}");
            let given = matches!(*kind, Discover | Request) && reply.message.kind != Nak;
            assert_eq!(reply.message.yiaddr, if given { OWN } else { NONE }, "{name}");
            assert_eq!(reply.message.options.get(code::LEASE_TIME).is_some(), given, "{name}: a time only with an address");
            assert_eq!(reply.message.options.get(code::SUBNET_MASK).is_some(), reply.message.kind != Nak, "{name}: a refusal is bare");
        }
    }
}

#[test]
fn strangers_get_silence() {
    assert_eq!(answer(&request(Kind::Discover), None), None);
    let stranger = Message::new(Op::Request, Kind::Discover, 1, [2, 0, 0, 0, 0, 9]);
    assert_eq!(answer(&stranger, Some(&binding())), None, "a binding of another hardware address is none");
    let mut reply = request(Kind::Discover);
    reply.op = Op::Reply;
    assert_eq!(answer(&reply, Some(&binding())), None);
}

#[test]
fn every_option_of_a_lease() {
    let options = answer(&request(Kind::Discover), Some(&binding())).unwrap().message.options;
    assert_eq!(options.ip(code::SUBNET_MASK), Some(Ipv4Addr::new(255, 255, 255, 0)));
    assert_eq!(options.ip(code::BROADCAST), Some(Ipv4Addr::new(10, 0, 1, 255)));
    assert_eq!(options.ips(code::ROUTER), [Ipv4Addr::new(10, 0, 1, 1)]);
    assert_eq!(options.ips(code::DNS), [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)]);
    assert_eq!(options.text(code::HOST_NAME).as_deref(), Some("vm-5"));
    assert_eq!(options.text(code::DOMAIN_NAME).as_deref(), Some("cloud.example"));
    assert_eq!(options.u16(code::MTU), Some(1442));
    assert_eq!(options.ips(code::NTP), [Ipv4Addr::new(10, 0, 0, 123)]);
    // The numbers guests of existing installations know.
    assert_eq!(options.u32(code::LEASE_TIME), Some(100_663_296));
    assert_eq!(options.u32(code::RENEWAL_TIME), Some(67_108_864));
    assert_eq!(options.u32(code::REBINDING_TIME), Some(88_080_384));
    let routes = [0, 10, 0, 1, 1, 32, 169, 254, 169, 254, 0, 0, 0, 0];
    assert_eq!(options.get(code::CLASSLESS_ROUTES), Some(routes.as_slice()));
    assert_eq!(options.get(code::MS_CLASSLESS_ROUTES), None);
}

#[test]
fn what_is_empty_is_not_sent() {
    let bare = Binding {
        gateway: None,
        dns: vec![],
        ntp: vec![],
        domain: String::new(),
        host_name: String::new(),
        mtu: 0,
        routes: vec![],
        ..binding()
    };
    let reply = answer(&request(Kind::Request), Some(&bare)).unwrap();
    let codes: Vec<u8> = reply.message.options.iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [54, 51, 58, 59, 1, 28]);
    let one = Binding { prefix_len: 32, lease_secs: 3600, ..bare };
    let options = answer(&request(Kind::Request), Some(&one)).unwrap().message.options;
    assert_eq!(options.ip(code::SUBNET_MASK), Some(Ipv4Addr::BROADCAST));
    assert_eq!(options.get(code::BROADCAST), None, "a network of one address has no broadcast");
    assert_eq!(
        (options.u32(code::LEASE_TIME), options.u32(code::RENEWAL_TIME), options.u32(code::REBINDING_TIME)),
        (Some(3600), Some(2400), Some(3150))
    );
}

#[test]
fn windows_gets_its_own_route_option_and_no_default_in_it() {
    let mut discover = request(Kind::Discover);
    discover.options.set(code::VENDOR_CLASS, "MSFT 5.0");
    let options = answer(&discover, Some(&binding())).unwrap().message.options;
    assert_eq!(options.get(code::CLASSLESS_ROUTES), None);
    assert_eq!(options.get(code::MS_CLASSLESS_ROUTES), Some([32, 169, 254, 169, 254, 0, 0, 0, 0].as_slice()));
    assert_eq!(options.ips(code::ROUTER), [Ipv4Addr::new(10, 0, 1, 1)]);
}

#[test]
fn prefixes_are_cut_to_their_significant_bytes() {
    let route = |a: [u8; 4], prefix_len| Route { destination: a.into(), prefix_len, via: Ipv4Addr::new(10, 0, 1, 9) };
    let routes = vec![route([10, 255, 1, 1], 0), route([10, 255, 1, 1], 8), route([10, 255, 255, 1], 17), route([10, 255, 1, 1], 32)];
    let binding = Binding { gateway: None, routes, ..binding() };
    let options = answer(&request(Kind::Discover), Some(&binding)).unwrap().message.options;
    let expected = [0, 10, 0, 1, 9, 8, 10, 10, 0, 1, 9, 17, 10, 255, 128, 10, 0, 1, 9, 32, 10, 255, 1, 1, 10, 0, 1, 9];
    assert_eq!(options.get(code::CLASSLESS_ROUTES), Some(expected.as_slice()));
}

#[test]
fn identifier_and_relay_mark_come_back_and_the_mark_is_last() {
    let mut discover = request(Kind::Discover);
    discover.options.set(code::RELAY_AGENT, [1, 2, 7, 7]);
    discover.options.set(code::CLIENT_ID, [1, 0, 0x22, 0x0a, 0, 0, 5]);
    for kind in [Kind::Discover, Kind::Request] {
        discover.kind = kind;
        discover.options.set(code::REQUESTED_IP, if kind == Kind::Request { OTHER.octets() } else { OWN.octets() });
        let bytes = answer(&discover, Some(&binding())).unwrap().message.encode();
        let options = Message::decode(&bytes).unwrap().options;
        assert_eq!(options.get(code::CLIENT_ID), Some([1, 0, 0x22, 0x0a, 0, 0, 5].as_slice()));
        assert_eq!(options.iter().last(), Some((code::RELAY_AGENT, [1, 2, 7, 7].as_slice())));
    }
}

#[test]
fn a_client_with_little_room_keeps_what_matters() {
    let routes: Vec<Route> = (0..20).map(|n| Route { destination: Ipv4Addr::new(172, 16, n, 0), prefix_len: 24, via: OTHER }).collect();
    let long = Binding { routes, ntp: vec![OTHER; 20], dns: vec![OTHER; 4], domain: "d".repeat(60), ..binding() };
    let mut discover = request(Kind::Discover);
    let small = answer(&discover, Some(&long)).unwrap().message;
    assert!(small.encode().len() <= 548);
    assert_eq!(small.options.get(code::NTP), None, "the least important goes first");
    assert!(small.options.get(code::CLASSLESS_ROUTES).is_some() && small.options.get(code::ROUTER).is_some());
    discover.options.set(code::MAX_SIZE, 1500u16.to_be_bytes());
    let large = answer(&discover, Some(&long)).unwrap().message;
    assert_eq!(large.options.ips(code::NTP).len(), 20);
}
