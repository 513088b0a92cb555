//! Bytes: against another implementation, and hostile.

use dhcp::{Binding, Kind, Malformed, Message, Op, answer, code};
use dhcproto::v4::{self, DhcpOption, OptionCode};
use dhcproto::{Decodable, Encodable};
use proptest::prelude::*;
use std::net::Ipv4Addr;

const MAC: dhcp::Mac = [0x52, 0x54, 0, 1, 2, 3];

fn binding() -> Binding {
    Binding {
        mac: MAC,
        address: Ipv4Addr::new(192, 168, 7, 20),
        prefix_len: 22,
        server_id: Ipv4Addr::new(192, 168, 4, 0),
        gateway: Some(Ipv4Addr::new(192, 168, 4, 1)),
        dns: vec![Ipv4Addr::new(9, 9, 9, 9)],
        ntp: vec![],
        domain: "x.example".into(),
        host_name: "h".into(),
        mtu: 1500,
        routes: vec![dhcp::Route { destination: Ipv4Addr::new(10, 0, 0, 0), prefix_len: 8, via: Ipv4Addr::new(192, 168, 4, 2) }],
        lease_secs: 600,
    }
}

#[test]
fn another_implementation_reads_our_reply() {
    let mut discover = Message::new(Op::Request, Kind::Discover, 77, MAC);
    discover.broadcast = true;
    let bytes = answer(&discover, Some(&binding())).unwrap().message.encode();
    let read = v4::Message::from_bytes(&bytes).unwrap();
    assert_eq!(
        (read.opcode(), read.xid(), read.yiaddr(), read.chaddr()),
        (v4::Opcode::BootReply, 77, Ipv4Addr::new(192, 168, 7, 20), MAC.as_slice())
    );
    assert!(read.flags().broadcast());
    let options = read.opts();
    assert_eq!(options.get(OptionCode::MessageType), Some(&DhcpOption::MessageType(v4::MessageType::Offer)));
    assert_eq!(options.get(OptionCode::SubnetMask), Some(&DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 252, 0))));
    assert_eq!(options.get(OptionCode::AddressLeaseTime), Some(&DhcpOption::AddressLeaseTime(600)));
    assert_eq!(options.get(OptionCode::InterfaceMtu), Some(&DhcpOption::InterfaceMtu(1500)));
    let routes =
        vec![("0.0.0.0/0".parse().unwrap(), Ipv4Addr::new(192, 168, 4, 1)), ("10.0.0.0/8".parse().unwrap(), Ipv4Addr::new(192, 168, 4, 2))];
    assert_eq!(options.get(OptionCode::ClasslessStaticRoute), Some(&DhcpOption::ClasslessStaticRoute(routes)));
}

#[test]
fn we_read_another_implementations_request() {
    let mut theirs = v4::Message::default();
    theirs.set_opcode(v4::Opcode::BootRequest).set_xid(9).set_chaddr(&MAC).set_ciaddr([192, 168, 7, 20]).set_secs(3);
    theirs.set_flags(v4::Flags::default().set_broadcast());
    theirs.opts_mut().insert(DhcpOption::MessageType(v4::MessageType::Request));
    theirs.opts_mut().insert(DhcpOption::RequestedIpAddress(Ipv4Addr::new(192, 168, 7, 20)));
    theirs.opts_mut().insert(DhcpOption::ClassIdentifier(b"MSFT 5.0".to_vec()));
    let ours = Message::decode(&theirs.to_vec().unwrap()).unwrap();
    assert_eq!((ours.op, ours.kind, ours.xid, ours.secs, ours.broadcast, ours.chaddr), (Op::Request, Kind::Request, 9, 3, true, MAC));
    assert_eq!(ours.options.ip(code::REQUESTED_IP), Some(ours.ciaddr));
    assert!(ours.is_windows());
}

#[test]
fn long_values_and_overloaded_fields() {
    let mut message = Message::new(Op::Request, Kind::Discover, 1, MAC);
    let long: Vec<u8> = (0..600).map(|n| n as u8).collect();
    message.options.set(code::VENDOR_CLASS, long.clone());
    assert_eq!(Message::decode(&message.encode()).unwrap().options.get(code::VENDOR_CLASS), Some(long.as_slice()));

    let mut bytes = Message::new(Op::Request, Kind::Discover, 1, MAC).encode();
    bytes[243..247].copy_from_slice(&[code::OVERLOAD, 1, 3, code::END]);
    bytes[108..112].copy_from_slice(&[code::HOST_NAME, 2, b'a', b'b']);
    bytes[44..47].copy_from_slice(&[code::HOST_NAME, 1, b'c']);
    assert_eq!(Message::decode(&bytes).unwrap().options.text(code::HOST_NAME).as_deref(), Some("abc"));
}

#[test]
fn what_is_not_a_message_says_why() {
    let good = Message::new(Op::Request, Kind::Discover, 1, MAC).encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Message::decode(&bytes)
    };
    assert!(Message::decode(&good).is_ok());
    assert_eq!(Message::decode(&good[..239]), Err(Malformed::Short(239)));
    assert_eq!(with(0, 3), Err(Malformed::Op(3)));
    assert_eq!(with(1, 6), Err(Malformed::Hardware(6, 6)));
    assert_eq!(with(2, 16), Err(Malformed::Hardware(1, 16)));
    assert_eq!(with(239, 0), Err(Malformed::Magic));
    assert_eq!(with(241, 200), Err(Malformed::OptionLength(code::MESSAGE_TYPE)));
    assert_eq!(with(242, 99), Err(Malformed::Kind(Some(99))));
    assert_eq!(with(240, code::END), Err(Malformed::Kind(None)));
}

fn any_message() -> impl Strategy<Value = Message> {
    let kinds = prop::sample::select(vec![Kind::Discover, Kind::Request, Kind::Inform, Kind::Release, Kind::Decline]);
    let options = prop::collection::vec((1u8..255, prop::collection::vec(any::<u8>(), 0..400)), 0..12);
    (kinds, any::<u32>(), any::<bool>(), any::<[u32; 4]>(), options).prop_map(|(kind, xid, broadcast, ips, options)| {
        let mut message = Message::new(Op::Request, kind, xid, MAC);
        message.broadcast = broadcast;
        [message.ciaddr, message.yiaddr, message.siaddr, message.giaddr] = ips.map(Ipv4Addr::from);
        for (code, value) in options.into_iter().filter(|(c, _)| ![code::MESSAGE_TYPE, code::OVERLOAD].contains(c)) {
            message.options.set(code, value);
        }
        message
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        let _ = Message::decode(&bytes);
    }

    /// Random bytes seldom pass the header; these always do.
    #[test]
    fn no_option_area_panics(area in prop::collection::vec(any::<u8>(), 0..600), names in prop::collection::vec(any::<u8>(), 192)) {
        let mut bytes = Message::new(Op::Request, Kind::Request, 5, MAC).encode();
        bytes.truncate(243);
        bytes[44..236].copy_from_slice(&names);
        bytes.extend_from_slice(&area);
        if let Ok(message) = Message::decode(&bytes)
            && let Some(reply) = answer(&message, Some(&binding()))
        {
            prop_assert!(Message::decode(&reply.message.encode()).is_ok());
        }
    }

    #[test]
    fn what_is_written_is_read(message in any_message()) {
        let read = Message::decode(&message.encode()).unwrap();
        let sorted = |m: &Message| { let mut o: Vec<_> = m.options.iter().map(|(c, v)| (c, v.to_vec())).collect(); o.sort(); o };
        prop_assert_eq!(sorted(&read), sorted(&message));
        prop_assert_eq!(Message { options: message.options.clone(), ..read }, message);
    }

    #[test]
    fn an_answer_never_gives_another_address(message in any_message()) {
        let binding = binding();
        if let Some(reply) = answer(&message, Some(&binding)) {
            prop_assert!(reply.message.yiaddr.is_unspecified() || reply.message.yiaddr == binding.address);
            prop_assert_eq!(reply.message.xid, message.xid);
        }
    }
}
