//! One message: fixed header, magic cookie, options.

use crate::options::{Options, code};
use std::net::Ipv4Addr;

/// Ethernet address.
pub type Mac = [u8; 6];

const MAGIC: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// Fixed header with the magic cookie.
const HEADER: usize = 240;
/// Smallest BOOTP message; relays and old clients drop shorter ones.
const MIN_SIZE: usize = 300;
const BROADCAST_FLAG: u16 = 0x8000;

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{0} bytes are too few for a DHCP message")]
    Short(usize),
    #[error("no DHCP magic cookie")]
    Magic,
    #[error("operation {0} is neither request nor reply")]
    Op(u8),
    #[error("hardware type {0} with addresses of {1} bytes is not Ethernet")]
    Hardware(u8, u8),
    #[error("option {0} is longer than the message")]
    OptionLength(u8),
    #[error("message type {0:?} is unknown")]
    Kind(Option<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Request,
    Reply,
}

/// Message type, option 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Discover = 1,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Discover,
            2 => Kind::Offer,
            3 => Kind::Request,
            4 => Kind::Decline,
            5 => Kind::Ack,
            6 => Kind::Nak,
            7 => Kind::Release,
            8 => Kind::Inform,
            _ => return None,
        })
    }
}

/// A DHCP message over Ethernet. `options` holds everything but the type, which is `kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub op: Op,
    pub kind: Kind,
    pub hops: u8,
    /// Chosen by the client, repeated in the reply.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// The client cannot take unicast before it has an address.
    pub broadcast: bool,
    /// Address the client has and answers at.
    pub ciaddr: Ipv4Addr,
    /// Address the server gives.
    pub yiaddr: Ipv4Addr,
    /// Next server to boot from.
    pub siaddr: Ipv4Addr,
    /// Relay the request came through.
    pub giaddr: Ipv4Addr,
    pub chaddr: Mac,
    pub options: Options,
}

impl Message {
    pub fn new(op: Op, kind: Kind, xid: u32, chaddr: Mac) -> Message {
        let none = Ipv4Addr::UNSPECIFIED;
        Message {
            op,
            kind,
            hops: 0,
            xid,
            secs: 0,
            broadcast: false,
            ciaddr: none,
            yiaddr: none,
            siaddr: none,
            giaddr: none,
            chaddr,
            options: Options::default(),
        }
    }

    /// Reads the payload of a UDP datagram.
    pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
        let Some((header, area)) = bytes.split_first_chunk::<HEADER>() else { return Err(Malformed::Short(bytes.len())) };
        let op = match header[0] {
            1 => Op::Request,
            2 => Op::Reply,
            other => return Err(Malformed::Op(other)),
        };
        if (header[1], header[2]) != (1, 6) {
            return Err(Malformed::Hardware(header[1], header[2]));
        }
        if header[236..240] != MAGIC {
            return Err(Malformed::Magic);
        }
        let mut options = Options::default();
        options.decode_into(area)?;
        // RFC 2131 §4.1: the file name first, then the server name, may carry further options.
        let overload = options.u8(code::OVERLOAD).unwrap_or(0);
        options.remove(code::OVERLOAD);
        if overload & 1 != 0 {
            options.decode_into(&header[108..236])?;
        }
        if overload & 2 != 0 {
            options.decode_into(&header[44..108])?;
        }
        let kind = options.u8(code::MESSAGE_TYPE);
        let kind = kind.and_then(Kind::from_byte).ok_or(Malformed::Kind(kind))?;
        options.remove(code::MESSAGE_TYPE);
        let ip = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        Ok(Message {
            op,
            kind,
            hops: header[3],
            xid: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            secs: u16::from_be_bytes([header[8], header[9]]),
            broadcast: u16::from_be_bytes([header[10], header[11]]) & BROADCAST_FLAG != 0,
            ciaddr: ip(12),
            yiaddr: ip(16),
            siaddr: ip(20),
            giaddr: ip(24),
            chaddr: [header[28], header[29], header[30], header[31], header[32], header[33]],
            options,
        })
    }

    /// Writes the payload of a UDP datagram, at least 300 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MIN_SIZE * 2);
        out.extend_from_slice(&[if self.op == Op::Request { 1 } else { 2 }, 1, 6, self.hops]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&self.secs.to_be_bytes());
        out.extend_from_slice(&(if self.broadcast { BROADCAST_FLAG } else { 0 }).to_be_bytes());
        for ip in [self.ciaddr, self.yiaddr, self.siaddr, self.giaddr] {
            out.extend_from_slice(&ip.octets());
        }
        out.extend_from_slice(&self.chaddr);
        out.resize(HEADER - MAGIC.len(), 0);
        out.extend_from_slice(&MAGIC);
        // First, because some clients look for it only there.
        out.extend_from_slice(&[code::MESSAGE_TYPE, 1, self.kind as u8]);
        self.options.encode(&mut out);
        out.resize(out.len().max(MIN_SIZE), code::PAD);
        out
    }

    /// Whether the client says it is Windows, which reads classless routes from its own option number.
    pub fn is_windows(&self) -> bool {
        self.options.get(code::VENDOR_CLASS).is_some_and(|v| v.starts_with(b"MSFT "))
    }
}
