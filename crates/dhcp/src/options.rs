//! The option area: code, length, value; typed readers and writers for those we use.

use crate::message::Malformed;
use std::net::Ipv4Addr;

/// Option codes (RFC 2132 unless noted).
pub mod code {
    pub const PAD: u8 = 0;
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DNS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const MTU: u8 = 26;
    pub const BROADCAST: u8 = 28;
    pub const NTP: u8 = 42;
    pub const REQUESTED_IP: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_ID: u8 = 54;
    pub const PARAMETERS: u8 = 55;
    pub const MESSAGE: u8 = 56;
    pub const MAX_SIZE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const VENDOR_CLASS: u8 = 60;
    pub const CLIENT_ID: u8 = 61;
    pub const TFTP_SERVER: u8 = 66;
    pub const BOOT_FILE: u8 = 67;
    /// RFC 3046; always last in a reply.
    pub const RELAY_AGENT: u8 = 82;
    /// RFC 4578: architecture of the client's firmware.
    pub const CLIENT_ARCH: u8 = 93;
    /// RFC 4578: identity of the machine.
    pub const CLIENT_UUID: u8 = 97;
    /// RFC 3442.
    pub const CLASSLESS_ROUTES: u8 = 121;
    /// The same content under the number Windows took before RFC 3442.
    pub const MS_CLASSLESS_ROUTES: u8 = 249;
    pub const END: u8 = 255;
}

/// Options in the order they were set or seen. A code occurs once: instances on the wire are joined (RFC 3396).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.iter().find(|(c, _)| *c == code).map(|(_, v)| v.as_slice())
    }

    pub fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) {
        let value = value.into();
        match self.0.iter_mut().find(|(c, _)| *c == code) {
            Some((_, v)) => *v = value,
            None => self.0.push((code, value)),
        }
    }

    pub fn remove(&mut self, code: u8) {
        self.0.retain(|(c, _)| *c != code);
    }

    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(c, v)| (*c, v.as_slice()))
    }

    pub fn u8(&self, code: u8) -> Option<u8> {
        <[u8; 1]>::try_from(self.get(code)?).ok().map(|[b]| b)
    }

    pub fn u16(&self, code: u8) -> Option<u16> {
        self.get(code)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub fn u32(&self, code: u8) -> Option<u32> {
        self.get(code)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub fn ip(&self, code: u8) -> Option<Ipv4Addr> {
        <[u8; 4]>::try_from(self.get(code)?).ok().map(Ipv4Addr::from)
    }

    pub fn ips(&self, code: u8) -> Vec<Ipv4Addr> {
        self.get(code).unwrap_or_default().chunks_exact(4).filter_map(|c| <[u8; 4]>::try_from(c).ok()).map(Ipv4Addr::from).collect()
    }

    /// The value as text, without the NULs some clients end it with.
    pub fn text(&self, code: u8) -> Option<String> {
        self.get(code).map(|v| String::from_utf8_lossy(v).trim_end_matches('\0').to_string())
    }

    /// Writes nothing for an empty list: an option without value is malformed.
    pub fn set_ips(&mut self, code: u8, ips: &[Ipv4Addr]) {
        if !ips.is_empty() {
            self.set(code, ips.iter().flat_map(|ip| ip.octets()).collect::<Vec<u8>>());
        }
    }

    /// Writes nothing for an empty text.
    pub fn set_text(&mut self, code: u8, text: &str) {
        if !text.is_empty() {
            self.set(code, text.as_bytes());
        }
    }

    /// Reads an option area up to its end mark or its last byte, whichever is first.
    pub(crate) fn decode_into(&mut self, mut area: &[u8]) -> Result<(), Malformed> {
        loop {
            match area {
                [] | [code::END, ..] => return Ok(()),
                [code::PAD, rest @ ..] => area = rest,
                [code, len, rest @ ..] if rest.len() >= usize::from(*len) => {
                    let (value, rest) = rest.split_at(usize::from(*len));
                    match self.0.iter_mut().find(|(c, _)| c == code) {
                        Some((_, v)) => v.extend_from_slice(value),
                        None => self.0.push((*code, value.to_vec())),
                    }
                    area = rest;
                }
                [code, ..] => return Err(Malformed::OptionLength(*code)),
            }
        }
    }

    /// Appends the area with its end mark; values above 255 bytes become several instances.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let last = |code: u8| code == code::RELAY_AGENT;
        for (code, value) in self.0.iter().filter(|o| !last(o.0)).chain(self.0.iter().filter(|o| last(o.0))) {
            if value.is_empty() {
                out.extend_from_slice(&[*code, 0]);
            }
            for part in value.chunks(usize::from(u8::MAX)) {
                out.push(*code);
                out.push(part.len() as u8);
                out.extend_from_slice(part);
            }
        }
        out.push(code::END);
    }
}
