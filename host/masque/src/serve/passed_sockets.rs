//! Listening sockets that a service manager has bound and passes to the host (socket activation, `sd_listen_fds(3)`).
//!
//! The manager keeps them open over a restart, so no connection is refused or reset meanwhile: it waits in the backlog for the
//! next process.
//!
//! Threat: a socket on another address than the one that the configuration was checked for, such as all interfaces with
//! authentication off. Policy: a socket has the name of a listener and the address that this listener is configured with.
//! Anything else refuses the start.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::FromRawFd;

use anyhow::{Context, anyhow, bail, ensure};
use masque_config::ListenAddress;
use masque_http::{Listener, ListenerKind};

/// The names of sockets: `FileDescriptorName=` of the socket unit.
const PUBLIC: &str = "public";
const ADMIN: &str = "admin";

/// The sockets that were passed to this process and have no listener yet.
#[derive(Debug)]
pub(crate) struct PassedSockets(Vec<PassedSocket>);

#[derive(Debug)]
struct PassedSocket {
    kind: ListenerKind,
    address: SocketAddr,
    socket: TcpListener,
}

impl PassedSockets {
    /// Takes over all sockets that were passed. To be called once in a process, before it opens a descriptor or starts a thread,
    /// and so before there is an asynchronous runtime: what `LISTEN_FDS` counts may not have been passed, and its number then be
    /// given to the first descriptor that is opened.
    ///
    /// # Errors
    /// One is missing, has no name of a listener, or is none of TCP.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let passed = sd_notify::listen_fds_with_names()
            .context("the sockets that the service manager passes can't be taken over")?;
        let sockets = passed.map(|(descriptor, name)| {
            // SAFETY: the descriptor is open, since it could be marked to be closed on exec. The process has opened none
            // before this function is called, so it was there when the process started, for the process to own; and only
            // this function, which is called once, takes it.
            let socket = unsafe { TcpListener::from_raw_fd(descriptor) };
            let kind = match name.as_str() {
                PUBLIC => ListenerKind::Public,
                ADMIN => ListenerKind::Admin,
                _ => bail!(
                    "the service manager passes a socket named {name:?}; give its socket unit \
                     `FileDescriptorName={PUBLIC}` or `FileDescriptorName={ADMIN}`"
                ),
            };
            let address = socket.local_addr().with_context(|| {
                format!("the socket {name:?} that the service manager passes is none of TCP")
            })?;
            Ok(PassedSocket { kind, address, socket })
        });
        Ok(Self(sockets.collect::<Result<_, _>>()?))
    }

    /// Whether there is one.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The listener on the sockets of this kind, which is configured with `address` by `setting`. `None` if none was passed.
    ///
    /// # Errors
    /// The sockets have other addresses, no address is configured, or a socket does not listen.
    pub(super) fn take_listener(
        &mut self,
        kind: ListenerKind,
        address: Option<ListenAddress>,
        setting: &str,
    ) -> anyhow::Result<Option<Listener>> {
        let (sockets, others) =
            std::mem::take(&mut self.0).into_iter().partition(|socket| socket.kind == kind);
        self.0 = others;
        let sockets: Vec<PassedSocket> = sockets;
        let passed: Vec<SocketAddr> = sockets.iter().map(|socket| socket.address).collect();
        let mut sockets = sockets.into_iter().map(|socket| socket.socket);
        let Some(first) = sockets.next() else { return Ok(None) };
        let listed = passed.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ");
        let Some(address) = address else {
            bail!("the service manager passes a socket on {listed} for operators, and {setting} is not set");
        };
        ensure!(
            is_as_configured(&passed, address),
            "the service manager passes a socket on {listed}, and {setting} is {address}; name the same address in both"
        );
        let listener = Listener::inherited(first, sockets.next());
        let listener = listener.map_err(|error| anyhow!(error).context(listed));
        listener.map(Some).context("a socket that the service manager passes can't be used")
    }
}

/// Whether these sockets are what an address stands for. Port 0 stands for any port.
fn is_as_configured(passed: &[SocketAddr], configured: ListenAddress) -> bool {
    let is_port = |port| configured.port() == 0 || configured.port() == port;
    let is_loopback = |ip| ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST);
    match (passed, configured) {
        ([one], ListenAddress::One(address)) => one.ip() == address.ip() && is_port(one.port()),
        ([one], ListenAddress::Localhost(_)) => is_loopback(one.ip()) && is_port(one.port()),
        ([one, other], ListenAddress::Localhost(_)) => {
            one.ip() != other.ip()
                && [one, other].iter().all(|socket| is_loopback(socket.ip()) && is_port(socket.port()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_on_another_address_than_the_configured_one_is_refused() {
        let one = |text: &str| ListenAddress::One(text.parse().unwrap());
        let cases: [(&[&str], ListenAddress, bool); 13] = [
            (&["127.0.0.1:8000"], one("127.0.0.1:8000"), true),
            (&["127.0.0.1:8001"], one("127.0.0.1:8000"), false),
            (&["127.0.0.1:8001"], one("127.0.0.1:0"), true),
            (&["0.0.0.0:8000"], one("127.0.0.1:8000"), false),
            (&["0.0.0.0:8000"], one("127.0.0.1:0"), false),
            (&["[::]:8000"], one("0.0.0.0:8000"), false),
            (&["[::]:8000"], one("[::]:8000"), true),
            (&["127.0.0.1:8000", "[::1]:8000"], one("127.0.0.1:8000"), false),
            (&["127.0.0.1:8000", "[::1]:8000"], ListenAddress::Localhost(8000), true),
            (&["[::1]:8000"], ListenAddress::Localhost(8000), true),
            (&["127.0.0.1:8000", "[::1]:8001"], ListenAddress::Localhost(8000), false),
            (&["127.0.0.1:8000", "0.0.0.0:8000"], ListenAddress::Localhost(8000), false),
            (&["127.0.0.1:8000", "127.0.0.1:8000"], ListenAddress::Localhost(8000), false),
        ];
        for (passed, configured, expected) in cases {
            let passed: Vec<SocketAddr> = passed.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(is_as_configured(&passed, configured), expected, "{passed:?} for {configured}");
        }
    }
}
