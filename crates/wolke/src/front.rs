//! Where a process listens: its address, its certificate, and the URL clients are told.
//!
//! Tokens and passwords go over this wire, so it is TLS wherever somebody else could listen: on loopback plain HTTP is the default, elsewhere
//! a certificate of the operator's, or one of the CA in the data directory made anew at every start.

use crate::{data::Data, settings::Settings};
use anyhow::{Context, Result, bail};
use base::Clock;
use http::{ClientCerts, Tls, ca::Ca};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
};

pub struct Front {
    pub address: SocketAddr,
    /// What clients are told, without a slash at the end.
    pub url: String,
    /// This very process among those behind `url`, for hosts; empty with the operator's certificate, which is for a name.
    pub own: String,
    /// What a process on this machine uses.
    pub local: String,
    pub tls: Option<Tls>,
    /// The CA that signed our certificate, when it is our own.
    pub ca: Option<PathBuf>,
}

impl Front {
    pub fn new(settings: &Settings, data: &Data, port: u16) -> Result<Front> {
        let listen = if settings.listen.is_empty() { format!("127.0.0.1:{port}") } else { settings.listen.clone() };
        // Now, though it is bound again later: a taken port is the commonest mistake, and the catalogue needs the number when it is 0.
        let listener = std::net::TcpListener::bind(&listen)
            .with_context(|| format!("cannot listen on {listen}; choose another address with --listen, as in 127.0.0.1:7780"))?;
        let address = listener.local_addr()?;
        let own = match (settings.certificate.as_os_str().is_empty(), settings.private_key.as_os_str().is_empty()) {
            (true, true) => None,
            (false, false) => Some((&settings.certificate, &settings.private_key)),
            _ => bail!("certificate and private_key belong together: set both, or none"),
        };
        let secure = own.is_some() || !(settings.plain || address.ip().is_loopback());
        let scheme = if secure { "https" } else { "http" };
        let seen = if address.ip().is_unspecified() { reached_at().unwrap_or(address.ip()) } else { address.ip() };
        let here = format!("{scheme}://{}", SocketAddr::new(seen, address.port()));
        let url = match settings.url.trim_end_matches('/') {
            "" => here.clone(),
            url => url.to_string(),
        };
        let near = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
        let local = format!("{scheme}://{}", SocketAddr::new(near, address.port()));
        let own_url = if own.is_some() { String::new() } else { here };
        let (tls, ca) = match own {
            Some((certificate, key)) => {
                let read = |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
                (Some(Tls::new(&read(certificate)?, &read(key)?, ClientCerts::Ignored)?), None)
            }
            None if secure => {
                let ca = Ca::load_or_create(&data.dir, Clock::real())?;
                let (names, mut addresses) = (names(&url), vec![near, seen, IpAddr::V4(Ipv4Addr::LOCALHOST)]);
                addresses.extend(names.iter().filter_map(|n| n.parse::<IpAddr>().ok()));
                addresses.sort();
                addresses.dedup();
                let hosts: Vec<&str> = names.iter().map(String::as_str).filter(|n| n.parse::<IpAddr>().is_err()).collect();
                let issued = ca.server(&hosts, &addresses)?;
                (Some(Tls::new(&issued.cert, &issued.key, ClientCerts::Ignored)?), Some(data.path("ca.pem")))
            }
            None => (None, None),
        };
        Ok(Front { address, url, own: own_url, local, tls, ca })
    }
}

/// Names the certificate is for: the machine's, and whatever clients are told.
fn names(url: &str) -> Vec<String> {
    let mut names = vec!["localhost".to_string()];
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // A name with other characters could not be in a certificate, nor in DNS.
    if machine.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')) {
        names.push(machine);
    }
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    names.push(host.to_string());
    names.retain(|n| !n.is_empty());
    names.sort();
    names.dedup();
    names
}

/// The address that this machine speaks to others from. Nothing is sent: the kernel only looks up its way to TEST-NET-1 (RFC 5737).
fn reached_at() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_wherever_somebody_else_could_listen() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = Data::open(dir.path()).expect("ours");
        let front = |listen: &str, plain: bool, url: &str| {
            Front::new(&Settings { listen: listen.into(), plain, url: url.into(), ..Settings::default() }, &data, 0).expect("a front")
        };
        let here = front("127.0.0.1:0", false, "");
        assert!(here.tls.is_none() && here.url.starts_with("http://127.0.0.1:") && here.url == here.local);
        assert!(!data.path("ca.pem").exists(), "nothing is made that nobody needs");
        let all = front("0.0.0.0:0", false, "");
        assert!(all.tls.is_some() && all.url.starts_with("https://") && all.local.starts_with("https://127.0.0.1:"), "{}", all.url);
        assert_eq!(all.ca, Some(data.path("ca.pem")));
        assert!(!all.url.contains("0.0.0.0"), "nobody can connect to {}", all.url);
        let behind = front("0.0.0.0:0", true, "https://cloud.example.com/");
        assert!(behind.tls.is_none() && behind.url == "https://cloud.example.com" && behind.local.starts_with("http://127.0.0.1:"));
        assert!(Front::new(&Settings { certificate: "x".into(), ..Settings::default() }, &data, 0).is_err());
    }

    #[test]
    fn names_of_a_certificate() {
        assert!(names("https://[fd00::1]:8/x").contains(&"fd00::1".to_string()));
        assert!(names("https://cloud.example.com:443").contains(&"cloud.example.com".to_string()));
    }
}
