//! Routes.

use crate::{IpNet, Netlink, Result, failed};
use futures_util::TryStreamExt;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope, RouteType};
use std::net::IpAddr;

/// Table ordinary look-ups end in.
pub const MAIN_TABLE: u32 = 254;

/// A unicast route through one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    /// None: the destination is on the link.
    pub via: Option<IpAddr>,
    /// Index of the link.
    pub link: u32,
    /// Address packets of this machine get as source.
    pub source: Option<IpAddr>,
    /// Smaller wins.
    pub metric: u32,
    pub table: u32,
}

impl Route {
    fn read(message: &RouteMessage) -> Option<Route> {
        if message.header.kind != RouteType::Unicast {
            return None;
        }
        let family = message.header.address_family;
        let unspecified: IpAddr = match family {
            AddressFamily::Inet => [0; 4].into(),
            AddressFamily::Inet6 => [0; 16].into(),
            _ => return None,
        };
        let ip = |address: &RouteAddress| match address {
            RouteAddress::Inet(ip) => Some(IpAddr::from(*ip)),
            RouteAddress::Inet6(ip) => Some(IpAddr::from(*ip)),
            _ => None,
        };
        let (mut destination, mut via, mut link, mut source, mut metric) = (unspecified, None, None, None, 0);
        let mut table = u32::from(message.header.table);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => destination = ip(address)?,
                RouteAttribute::Gateway(address) => via = ip(address),
                RouteAttribute::PrefSource(address) => source = ip(address),
                RouteAttribute::Oif(index) => link = Some(*index),
                RouteAttribute::Priority(value) => metric = *value,
                RouteAttribute::Table(value) => table = *value,
                _ => {}
            }
        }
        let destination = IpNet::new(destination, message.header.destination_prefix_length).ok()?;
        Some(Route { destination, via, link: link?, source, metric, table })
    }

    fn write(&self) -> Result<RouteMessage> {
        let mut route = RouteMessageBuilder::<IpAddr>::new()
            .output_interface(self.link)
            .priority(self.metric)
            .table_id(self.table)
            .destination_prefix(self.destination.addr(), self.destination.prefix_len())
            .map_err(|e| self.mixed(e))?;
        match self.via {
            Some(via) => route = route.gateway(via).map_err(|e| self.mixed(e))?,
            None => route = route.scope(RouteScope::Link),
        }
        if let Some(source) = self.source {
            route = route.pref_source(source).map_err(|e| self.mixed(e))?;
        }
        Ok(route.build())
    }

    fn mixed(&self, cause: impl std::fmt::Display) -> crate::Error {
        crate::Error::new(format!("write the route to {}", self.destination), std::io::Error::other(cause.to_string()))
    }
}

impl Netlink {
    /// Unicast routes of all tables of one family.
    pub async fn routes(&self, v6: bool) -> Result<Vec<Route>> {
        let mut all = RouteMessage::default();
        all.header.address_family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
        let found = self.handle.route().get(all).execute().try_collect::<Vec<_>>().await;
        Ok(found.map_err(|e| failed("list routes", e))?.iter().filter_map(Route::read).collect())
    }

    /// Adds a route; the same one being there is success.
    pub async fn ensure_route(&self, route: &Route) -> Result<()> {
        let done = self.handle.route().add(route.write()?).execute().await;
        match done.map_err(|e| failed(format!("add the route to {}", route.destination), e)) {
            Err(e) if !e.is_present() => Err(e),
            _ => Ok(()),
        }
    }

    /// Removes a route; one that is not there is success.
    pub async fn remove_route(&self, route: &Route) -> Result<()> {
        let done = self.handle.route().del(route.write()?).execute().await;
        match done.map_err(|e| failed(format!("remove the route to {}", route.destination), e)) {
            Err(e) if !e.is_missing() => Err(e),
            _ => Ok(()),
        }
    }
}
