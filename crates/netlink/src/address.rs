//! Addresses of links.

use crate::{IpNet, Netlink, Result, failed};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use std::net::IpAddr;

/// The address and prefix of a message. Of a point-to-point pair the local end counts.
fn read(message: &AddressMessage) -> Option<IpNet> {
    let find = |want_local: bool| {
        message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(ip) if want_local => Some(*ip),
            AddressAttribute::Address(ip) if !want_local => Some(*ip),
            _ => None,
        })
    };
    IpNet::new(find(true).or_else(|| find(false))?, message.header.prefix_len).ok()
}

impl Netlink {
    /// Addresses of a link with their prefixes, both families, in the kernel's order.
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpNet>> {
        Ok(self.address_messages(index).await?.iter().filter_map(read).collect())
    }

    /// Gives a link an address; the kernel adds the route to its prefix.
    pub async fn ensure_address(&self, index: u32, address: IpNet) -> Result<()> {
        let (ip, prefix): (IpAddr, u8) = (address.addr(), address.prefix_len());
        let done = self.handle.address().add(index, ip, prefix).execute().await;
        match done.map_err(|e| failed(format!("give link {index} the address {address}"), e)) {
            Err(e) if !e.is_present() => Err(e),
            _ => Ok(()),
        }
    }

    /// Takes an address from a link; one that is not there is success.
    pub async fn remove_address(&self, index: u32, address: IpNet) -> Result<()> {
        for message in self.address_messages(index).await? {
            if read(&message) != Some(address) {
                continue;
            }
            let done = self.handle.address().del(message).execute().await;
            match done.map_err(|e| failed(format!("take the address {address} from link {index}"), e)) {
                Err(e) if !e.is_missing() => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    async fn address_messages(&self, index: u32) -> Result<Vec<AddressMessage>> {
        let all = self.handle.address().get().set_link_index_filter(index).execute().try_collect().await;
        all.map_err(|e| failed(format!("list the addresses of link {index}"), e))
    }
}
