//! What a server answers: a pure function of the request and of the binding of its hardware address.
//!
//! Rules: RFC 2131 §4.3, with the choices of spec 32 §2.3 to §2.5.

use crate::message::{Kind, Mac, Message, Op};
use crate::options::{Options, code};
use crate::{CLIENT_PORT, DEFAULT_LEASE_SECS, SERVER_PORT};
use std::net::Ipv4Addr;

/// Largest message every client must take (RFC 2132 §9.10), counted with 28 bytes of IP and UDP headers.
const ANY_CLIENT_SIZE: u16 = 576;
const IP_UDP_HEADERS: usize = 28;

/// A classless route. `via` unspecified means on link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: Ipv4Addr,
    /// 0 to 32
    pub prefix_len: u8,
    pub via: Ipv4Addr,
}

/// All a client with one hardware address gets. Optional things left empty are not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub mac: Mac,
    pub address: Ipv4Addr,
    /// 0 to 32
    pub prefix_len: u8,
    /// Identity of the server; must be the same whichever machine answers, or leases do not move with a guest.
    pub server_id: Ipv4Addr,
    /// Only where this interface supplies the client's default route.
    pub gateway: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub ntp: Vec<Ipv4Addr>,
    pub domain: String,
    pub host_name: String,
    /// Bytes; 0 is not sent.
    pub mtu: u16,
    /// Without the default route, which follows from `gateway`.
    pub routes: Vec<Route>,
    /// 0 means [`DEFAULT_LEASE_SECS`].
    pub lease_secs: u32,
}

/// Where a reply goes. The frame always goes to the client's hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the limited broadcast address, client port.
    Broadcast,
    /// To the client's address, client port.
    Client(Ipv4Addr),
    /// To the relay the request came through, server port.
    Relay(Ipv4Addr),
}

impl Destination {
    pub fn address(self) -> Ipv4Addr {
        match self {
            Destination::Broadcast => Ipv4Addr::BROADCAST,
            Destination::Client(ip) | Destination::Relay(ip) => ip,
        }
    }

    pub fn port(self) -> u16 {
        if matches!(self, Destination::Relay(_)) { SERVER_PORT } else { CLIENT_PORT }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub message: Message,
    pub to: Destination,
}

/// The reply to a request, if it deserves one. `binding` is that of the request's hardware address; without one there is silence, so that
/// another server on the wire may answer. Release and decline change nothing: the address stays the client's.
pub fn answer(request: &Message, binding: Option<&Binding>) -> Option<Reply> {
    let binding = binding.filter(|b| b.mac == request.chaddr)?;
    if request.op != Op::Request {
        return None;
    }
    let for_us = |id: Option<Ipv4Addr>| id.is_none_or(|id| id == binding.server_id);
    match request.kind {
        Kind::Discover => Some(lease(request, binding, Kind::Offer)),
        // A client that names another server has taken that one's offer.
        Kind::Request if !for_us(request.options.ip(code::SERVER_ID)) => None,
        Kind::Request => {
            let wanted = request.options.ip(code::REQUESTED_IP).into_iter().chain(Some(request.ciaddr).filter(|ip| !ip.is_unspecified()));
            match wanted.into_iter().all(|ip| ip == binding.address) {
                true => Some(lease(request, binding, Kind::Ack)),
                false => Some(refuse(request, binding)),
            }
        }
        // It has an address from elsewhere; only its own would reach it.
        Kind::Inform => (request.ciaddr == binding.address).then(|| inform(request, binding)),
        Kind::Decline | Kind::Release | Kind::Offer | Kind::Ack | Kind::Nak => None,
    }
}

fn lease(request: &Message, binding: &Binding, kind: Kind) -> Reply {
    let mut reply = reply_to(request, binding, kind);
    reply.yiaddr = binding.address;
    reply.ciaddr = if kind == Kind::Ack { request.ciaddr } else { Ipv4Addr::UNSPECIFIED };
    let secs = if binding.lease_secs == 0 { DEFAULT_LEASE_SECS } else { binding.lease_secs };
    // Two thirds: the ratio installed guests know (100663296 and 67108864). Seven eighths: RFC 2131 §4.4.5.
    let part = |n: u64, of: u64| (u64::from(secs) * n / of) as u32;
    reply.options.set(code::LEASE_TIME, secs.to_be_bytes());
    reply.options.set(code::RENEWAL_TIME, part(2, 3).to_be_bytes());
    reply.options.set(code::REBINDING_TIME, part(7, 8).to_be_bytes());
    configure(&mut reply.options, request, binding);
    finish(request, reply)
}

/// The client has its address from elsewhere and asks only for the rest (RFC 2131 §4.3.5): no address, no times.
fn inform(request: &Message, binding: &Binding) -> Reply {
    let mut reply = reply_to(request, binding, Kind::Ack);
    reply.ciaddr = request.ciaddr;
    configure(&mut reply.options, request, binding);
    finish(request, reply)
}

/// Bare, as RFC 2131 table 3 has it.
fn refuse(request: &Message, binding: &Binding) -> Reply {
    let mut message = reply_to(request, binding, Kind::Nak);
    message.options.set_text(code::MESSAGE, "this address is not yours");
    echo(request, &mut message.options);
    if request.giaddr.is_unspecified() {
        return Reply { message, to: Destination::Broadcast };
    }
    // The relay must broadcast it too.
    message.broadcast = true;
    Reply { message, to: Destination::Relay(request.giaddr) }
}

fn reply_to(request: &Message, binding: &Binding, kind: Kind) -> Message {
    let mut reply = Message::new(Op::Reply, kind, request.xid, request.chaddr);
    reply.broadcast = request.broadcast;
    reply.giaddr = request.giaddr;
    reply.options.set(code::SERVER_ID, binding.server_id.octets());
    reply
}

fn configure(options: &mut Options, request: &Message, binding: &Binding) {
    let mask = u32::MAX.checked_shl(32 - u32::from(binding.prefix_len.min(32))).unwrap_or(0);
    options.set(code::SUBNET_MASK, mask.to_be_bytes());
    if binding.prefix_len < 31 {
        options.set(code::BROADCAST, (u32::from(binding.address) | !mask).to_be_bytes());
    }
    options.set_ips(code::ROUTER, binding.gateway.as_slice());
    options.set_ips(code::DNS, &binding.dns);
    options.set_text(code::HOST_NAME, &binding.host_name);
    options.set_text(code::DOMAIN_NAME, &binding.domain);
    if binding.mtu >= 68 {
        options.set(code::MTU, binding.mtu.to_be_bytes());
    }
    options.set_ips(code::NTP, &binding.ntp);
    // A client that reads classless routes ignores the router option (RFC 3442), so the default route is said again; Windows keeps it.
    let windows = request.is_windows();
    let default = binding.gateway.filter(|_| !windows).map(|via| Route { destination: Ipv4Addr::UNSPECIFIED, prefix_len: 0, via });
    let routes: Vec<u8> = default.iter().chain(&binding.routes).flat_map(route_bytes).collect();
    if !routes.is_empty() {
        options.set(if windows { code::MS_CLASSLESS_ROUTES } else { code::CLASSLESS_ROUTES }, routes);
    }
}

/// RFC 3442: width, the destination's significant bytes, router.
fn route_bytes(route: &Route) -> Vec<u8> {
    let width = route.prefix_len.min(32);
    let mask = u32::MAX.checked_shl(32 - u32::from(width)).unwrap_or(0);
    let destination = (u32::from(route.destination) & mask).to_be_bytes();
    let mut out = vec![width];
    out.extend_from_slice(&destination[..usize::from(width.div_ceil(8))]);
    out.extend_from_slice(&route.via.octets());
    out
}

/// What a server must repeat: the client's identifier (RFC 6842) and the relay's mark (RFC 3046).
fn echo(request: &Message, options: &mut Options) {
    for code in [code::CLIENT_ID, code::RELAY_AGENT] {
        if let Some(value) = request.options.get(code).filter(|v| v.len() <= usize::from(u8::MAX)) {
            options.set(code, value);
        }
    }
}

fn finish(request: &Message, mut message: Message) -> Reply {
    echo(request, &mut message.options);
    let limit = usize::from(request.options.u16(code::MAX_SIZE).unwrap_or(0).max(ANY_CLIENT_SIZE)) - IP_UDP_HEADERS;
    for code in [code::NTP, code::DOMAIN_NAME, code::HOST_NAME, code::DNS] {
        // A client drops what it cannot hold: better without the least important things than without an address.
        if message.encode().len() <= limit {
            break;
        }
        message.options.remove(code);
    }
    let to = if !request.giaddr.is_unspecified() {
        Destination::Relay(request.giaddr)
    } else if !request.ciaddr.is_unspecified() {
        Destination::Client(request.ciaddr)
    } else if request.broadcast {
        Destination::Broadcast
    } else {
        Destination::Client(message.yiaddr)
    };
    Reply { message, to }
}
