//! DHCP on the service port of a bridge.
//!
//! The flows bring each request under the alias of the port it came from, and take the reply back to that port under the server's name: an
//! ordinary UDP socket is enough, the sender is certain, and no frame of this exchange reaches the wire. Lives in the agent; there is no
//! lease memory to lose.

use crate::flows::{BROADCAST_PORT, SERVICE};
use crate::view::View;
use arc_swap::ArcSwap;
use base::{Error, Result};
use dhcp::{Destination, Message};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// Larger ones are not DHCP.
const MAX_REQUEST: usize = 2048;

/// The socket requests arrive at. Bound to the device: the same address is on every service port.
pub(crate) fn bind(device: &str) -> Result<UdpSocket> {
    let open = || -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.bind_device(Some(device.as_bytes()))?;
        socket.bind(&SocketAddr::from((SERVICE, dhcp::SERVER_PORT)).into())?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket.into())
    };
    open().map_err(|e| Error::internal(e).with_context(format!("DHCP socket on {device}")))
}

/// Answers until dropped.
pub(crate) async fn run(socket: UdpSocket, view: Arc<ArcSwap<View>>) {
    let mut buffer = [0; MAX_REQUEST];
    loop {
        let (len, from) = match socket.recv_from(&mut buffer).await {
            Ok((len, SocketAddr::V4(from))) => (len, from),
            Ok(_) => continue,
            Err(e) => {
                // The device is gone or the machine is short of memory; a new socket comes with the next apply.
                tracing::warn!(error = %e, "DHCP socket");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Some((bytes, to)) = answer(&view.load(), &buffer[..len], from) else { continue };
        if let Err(e) = socket.send_to(&bytes, to).await {
            tracing::warn!(error = %e, %to, "DHCP reply");
        }
    }
}

/// The reply to a datagram and where it goes, as the flows understand it.
fn answer(view: &View, bytes: &[u8], from: SocketAddrV4) -> Option<(Vec<u8>, SocketAddrV4)> {
    let subject = view.by_alias(*from.ip())?;
    let binding = subject.nic.binding.as_ref()?;
    let request = match Message::decode(bytes) {
        Ok(request) => request,
        Err(e) => {
            tracing::debug!(tap = subject.nic.tap, error = %e, "not a DHCP request");
            return None;
        }
    };
    // A guest is no relay.
    if !request.giaddr.is_unspecified() {
        return None;
    }
    if matches!(request.kind, dhcp::Kind::Decline) {
        // Not louder: a guest decides how often.
        tracing::debug!(guest = subject.nic.guest.id, address = %binding.address, "the guest says its address is in use by another");
    }
    let reply = dhcp::answer(&request, Some(binding))?;
    tracing::debug!(guest = subject.nic.guest.id, request = ?request.kind, reply = ?reply.message.kind, address = %binding.address, "DHCP");
    let port = match reply.to {
        Destination::Client(ip) if ip == binding.address => dhcp::CLIENT_PORT,
        Destination::Broadcast => BROADCAST_PORT,
        // Only the guest's own address is reachable.
        Destination::Client(_) | Destination::Relay(_) => return None,
    };
    Some((reply.message.encode(), SocketAddrV4::new(*from.ip(), port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::flows::alias;
    use crate::plan::tests::{network, nic};
    use crate::plan::{Document, Plan};
    use crate::view::Subject;
    use api_agent::GuestSpec;
    use dhcp::{Kind, Op};

    const MAC: dhcp::Mac = [0x00, 0x22, 0x0a, 0, 0, 5];

    fn view() -> View {
        let guest = GuestSpec { id: "g".into(), nics: vec![nic(5, "n", "10.0.1.5"), nic(6, "n", "")], ..Default::default() };
        let document = Arc::new(Document::new(&[network("n", "10.0.1.0/24", "10.0.1.1")], &[guest]));
        let plan = Plan::new(&Config::new("/x"), &document);
        let subject = |tap: &str| Subject { nic: Arc::new(plan.bridges["wolke0"].nics[tap].clone()), document: document.clone() };
        View::of([(5, subject("tap5")), (6, subject("tap6"))])
    }

    #[test]
    fn replies_go_back_under_the_alias() {
        let from = |port| SocketAddrV4::new(alias(port), 68);
        let mut discover = Message::new(Op::Request, Kind::Discover, 1, MAC);
        let (bytes, to) = answer(&view(), &discover.encode(), from(5)).unwrap();
        assert_eq!((to, Message::decode(&bytes).unwrap().kind), (from(5), Kind::Offer));
        discover.broadcast = true;
        assert_eq!(answer(&view(), &discover.encode(), from(5)).unwrap().1, SocketAddrV4::new(alias(5), BROADCAST_PORT));
        assert_eq!(answer(&view(), &discover.encode(), from(6)), None, "a NIC without an address");
        assert_eq!(answer(&view(), &discover.encode(), from(7)), None, "an unknown port");
        assert_eq!(answer(&view(), &discover.encode(), SocketAddrV4::new([10, 0, 1, 5].into(), 68)), None, "not an alias");
        assert_eq!(answer(&view(), b"hello", from(5)), None);
        discover.giaddr = [10, 0, 1, 5].into();
        assert_eq!(answer(&view(), &discover.encode(), from(5)), None, "a guest that plays relay");
        let other = Message::new(Op::Request, Kind::Discover, 1, [0, 0x22, 0x0a, 0, 0, 9]);
        assert_eq!(answer(&view(), &other.encode(), from(5)), None, "another hardware address than the port's");
    }
}
