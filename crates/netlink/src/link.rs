//! Links: look, make, change, remove.

use crate::{Netlink, Result, failed};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

/// Ethernet address.
pub type Mac = [u8; 6];

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Changes when a device is made anew under its old name.
    pub index: u32,
    pub name: String,
    /// `tun` (also for taps), `veth`, `bridge`, …; empty for hardware and for `lo`.
    pub kind: String,
    /// None where the link has no Ethernet address.
    pub mac: Option<Mac>,
    /// Bytes
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Up and with something at the other end.
    pub running: bool,
    /// Index of the bridge or bond it belongs to; 0 when none.
    pub controller: u32,
    /// Free text an operator or program left on it.
    pub alias: String,
}

impl Link {
    fn read(message: LinkMessage) -> Link {
        let flags = message.header.flags;
        let mut link = Link {
            index: message.header.index,
            up: flags.contains(LinkFlags::Up),
            running: flags.contains(LinkFlags::Running),
            ..Link::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok(),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Controller(index) => link.controller = index,
                LinkAttribute::IfAlias(alias) => link.alias = alias,
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        if let LinkInfo::Kind(kind) = info {
                            link.kind = kind.to_string();
                        }
                    }
                }
                _ => {}
            }
        }
        link
    }
}

impl Netlink {
    /// All links of the namespace.
    pub async fn links(&self) -> Result<Vec<Link>> {
        let all = self.handle.link().get().execute().try_collect::<Vec<_>>().await;
        Ok(all.map_err(|e| failed("list links", e))?.into_iter().map(Link::read).collect())
    }

    /// The link of a name, if there is one.
    pub async fn link(&self, name: &str) -> Result<Option<Link>> {
        let found = self.handle.link().get().match_name(name).execute().try_next().await;
        match found.map_err(|e| failed(format!("look up link {name}"), e)) {
            Ok(message) => Ok(message.map(Link::read)),
            Err(e) if e.is_missing() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a pair of connected links; either name taken is an error.
    pub async fn create_veth(&self, name: &str, peer: &str) -> Result<()> {
        let pair = LinkVeth::new(name, peer).build();
        self.handle.link().add(pair).execute().await.map_err(|e| failed(format!("create veth pair {name} and {peer}"), e))
    }

    pub async fn set_up(&self, index: u32, up: bool) -> Result<()> {
        let change = Self::change(index);
        self.set(index, if up { change.up() } else { change.down() }, if up { "set up" } else { "set down" }).await
    }

    /// Bytes
    pub async fn set_mtu(&self, index: u32, mtu: u32) -> Result<()> {
        self.set(index, Self::change(index).mtu(mtu), "set the MTU of").await
    }

    pub async fn set_mac(&self, index: u32, mac: Mac) -> Result<()> {
        self.set(index, Self::change(index).address(mac.to_vec()), "set the hardware address of").await
    }

    /// At most 255 bytes.
    pub async fn set_alias(&self, index: u32, alias: &str) -> Result<()> {
        self.set(index, Self::change(index).alias(alias), "set the alias of").await
    }

    /// Moves a link into the network namespace of a process.
    pub async fn move_to(&self, index: u32, pid: u32) -> Result<()> {
        self.set(index, Self::change(index).setns_by_pid(pid), "move").await
    }

    /// Removes a link; one that is not there is success.
    pub async fn delete_link(&self, name: &str) -> Result<()> {
        let Some(link) = self.link(name).await? else { return Ok(()) };
        match self.handle.link().del(link.index).execute().await.map_err(|e| failed(format!("remove link {name}"), e)) {
            Err(e) if !e.is_missing() => Err(e),
            _ => Ok(()),
        }
    }

    fn change(index: u32) -> LinkMessageBuilder<LinkUnspec> {
        LinkUnspec::new_with_index(index)
    }

    async fn set(&self, index: u32, change: LinkMessageBuilder<LinkUnspec>, what: &str) -> Result<()> {
        self.handle.link().set(change.build()).execute().await.map_err(|e| failed(format!("{what} link {index}"), e))
    }
}
