//! Where the server may stand: on this machine or in the company's own network, unless the settings say otherwise.

use hyper_util::client::legacy::connect::dns::Name;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Whether an address belongs to this machine or to a private network (RFC 1918, 3927, 4193, 4291, 6598).
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private_v4(v4),
            None => v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    address.is_loopback() || address.is_private() || address.is_link_local() || shared
}

/// What is said of a server elsewhere that the settings name in `section`.
pub(crate) fn refused(section: &str, host: &str, address: Option<IpAddr>) -> String {
    let at = address.map_or(String::new(), |address| format!(" ({address})"));
    format!(
        "[{section}] url: {host}{at} is not an address of this machine or of a private network, and customers' words \
         would leave the company; if that is meant, set allow_public = true"
    )
}

/// Looks names up and refuses those that lead outside, at each connection: what a name means may change.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    /// The section of the settings that names the server.
    pub(crate) section: Arc<str>,
    pub(crate) allow_public: bool,
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (allow_public, section) = (self.allow_public, Arc::clone(&self.section));
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let outside = found.iter().find(|address| !is_private(address.ip()));
            match outside {
                Some(address) if !allow_public => {
                    Err(io::Error::other(refused(&section, name.as_str(), Some(address.ip()))))
                }
                _ => Ok(found.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_private;

    #[test]
    fn private_networks_are_known() {
        for inside in [
            "127.0.0.1",
            "127.8.8.8",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.9.9",
            "169.254.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_private(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "0.0.0.0",
            "2001:db8::1",
            "::ffff:8.8.8.8",
            "::",
            "224.0.0.1",
        ] {
            assert!(!is_private(outside.parse().unwrap()), "{outside}");
        }
    }
}
