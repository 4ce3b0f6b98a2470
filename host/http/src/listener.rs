//! A listener over TCP, on one address or on both loopback addresses, or over a Unix socket. It is bound here, or was passed by
//! a service manager, which keeps it open when this process ends.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// How often a free port is chosen again because it is taken on the other loopback address.
const MAX_PORTS_TRIED: usize = 16;

/// A socket that listens for connections.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// Over TCP, on both loopback addresses with the same port.
    Localhost(TcpListener, TcpListener),
    /// Over TCP, one or two sockets that another process keeps open. Whoever is not accepted here is accepted by the next
    /// process that gets them.
    Inherited(TcpListener, Option<TcpListener>),
    /// A Unix socket.
    Unix(UnixListener),
}

/// A connection that was accepted, before TLS and HTTP.
pub(crate) enum AcceptedSocket {
    /// With the address of the other end.
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens on the address. The text can be followed by how to choose another.
    #[error("{0} is in use by another process; stop it, or choose another address")]
    InUse(SocketAddr),
    /// The port is below 1024. The text can be followed by how to choose another.
    #[error("{0} needs privileges that this process does not have; choose a port from 1024")]
    PermissionDenied(SocketAddr),
    /// No interface has the address. The text can be followed by how to choose another.
    #[error("{0} is no address of this machine; choose another")]
    NotAvailable(SocketAddr),
    /// Another error of the system call.
    #[error("can't listen on {0}")]
    Other(SocketAddr, #[source] io::Error),
}

impl BindError {
    /// Whether another address would help.
    pub fn is_fixed_by_another_address(&self) -> bool {
        !matches!(self, Self::Other(..))
    }

    /// Whether the machine does not have the address, or not its family: a container may have no IPv6.
    fn is_without_address(&self) -> bool {
        match self {
            Self::NotAvailable(_) => true,
            Self::Other(_, error) => Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT),
            Self::InUse(_) | Self::PermissionDenied(_) => false,
        }
    }
}

impl Listener {
    /// Listens on a TCP address. Port 0 lets the system choose a free port.
    ///
    /// # Errors
    /// The address is in use, forbidden, or not an address of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        Ok(Self::Tcp(bind_tcp(address).await?))
    }

    /// Listens on both loopback addresses, or on the one that the machine has. Port 0 lets the system choose a port that is
    /// free on both.
    ///
    /// # Errors
    /// One of the addresses is in use or forbidden, or the machine has neither.
    pub async fn bind_localhost(port: u16) -> Result<Self, BindError> {
        let mut tries = 1..=MAX_PORTS_TRIED;
        loop {
            let last_try = tries.next().is_none() || port != 0;
            let v4 = bind_tcp((Ipv4Addr::LOCALHOST, port).into()).await;
            let same_port = match &v4 {
                Ok(listener) => listener.local_addr().map_or(port, |address| address.port()),
                Err(_) => port,
            };
            let v6 = bind_tcp((Ipv6Addr::LOCALHOST, same_port).into()).await;
            return match (v4, v6) {
                (Ok(v4), Ok(v6)) => Ok(Self::Localhost(v4, v6)),
                (Ok(_), Err(BindError::InUse(_))) if !last_try => continue,
                (Ok(only), Err(missing)) | (Err(missing), Ok(only)) if missing.is_without_address() => {
                    tracing::info!("only one of the two loopback addresses is listened on: {missing}");
                    Ok(Self::Tcp(only))
                }
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
    }

    /// Listens on sockets that another process has bound and keeps open: one, or two for both loopback addresses.
    ///
    /// # Errors
    /// A socket is none that listens for TCP connections.
    pub fn inherited(
        first: std::net::TcpListener,
        second: Option<std::net::TcpListener>,
    ) -> io::Result<Self> {
        Ok(Self::Inherited(adopt(first)?, second.map(adopt).transpose()?))
    }

    /// Whether another process keeps the socket open.
    pub fn is_inherited(&self) -> bool {
        matches!(self, Self::Inherited(..))
    }

    /// The bound TCP addresses, with the port that the system chose; none for a Unix socket.
    ///
    /// # Errors
    /// The system can't tell an address.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp(listener) => Ok(vec![listener.local_addr()?]),
            Self::Localhost(v4, v6) => Ok(vec![v4.local_addr()?, v6.local_addr()?]),
            Self::Inherited(first, second) => {
                [Some(first), second.as_ref()].into_iter().flatten().map(TcpListener::local_addr).collect()
            }
            Self::Unix(_) => Ok(Vec::new()),
        }
    }

    /// Waits for the next connection. Dropping the future loses no connection.
    pub(crate) async fn accept(&self) -> io::Result<AcceptedSocket> {
        match self {
            Self::Tcp(listener) | Self::Inherited(listener, None) => listener.accept().await.map(tcp),
            Self::Localhost(first, second) | Self::Inherited(first, Some(second)) => {
                let accepted = tokio::select! {
                    accepted = first.accept() => accepted,
                    accepted = second.accept() => accepted,
                };
                accepted.map(tcp)
            }
            Self::Unix(listener) => listener.accept().await.map(|(socket, _)| AcceptedSocket::Unix(socket)),
        }
    }
}

async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        io::ErrorKind::PermissionDenied => BindError::PermissionDenied(address),
        io::ErrorKind::AddrNotAvailable => BindError::NotAvailable(address),
        _ => BindError::Other(address, error),
    })
}

fn adopt(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    if !SockRef::from(&socket).is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen"));
    }
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

fn tcp((socket, peer): (TcpStream, SocketAddr)) -> AcceptedSocket {
    disable_nagle(&socket);
    AcceptedSocket::Tcp(socket, peer)
}

/// Without `TCP_NODELAY`, every event of a stream waits up to 40 ms for the acknowledgement of the event before.
fn disable_nagle(socket: &TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_listened_on_and_accepted_from_on_both_loopback_addresses() {
        let listener = Listener::bind_localhost(0).await.unwrap();
        let addresses = listener.addresses().unwrap();
        assert_eq!(addresses.len(), 2, "this machine has both loopback addresses");
        assert_eq!(addresses[0].port(), addresses[1].port());
        for address in addresses {
            let client = TcpStream::connect(address).await.unwrap();
            let AcceptedSocket::Tcp(_, peer) = listener.accept().await.unwrap() else {
                panic!("not over TCP")
            };
            assert_eq!(peer, client.local_addr().unwrap());
        }
    }

    #[tokio::test]
    async fn whoever_is_not_accepted_from_an_inherited_socket_is_there_for_the_next_process() {
        let kept = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let first = Listener::inherited(kept.try_clone().unwrap(), None).unwrap();
        let client = TcpStream::connect(first.addresses().unwrap()[0]).await.unwrap();
        drop(first);
        let next = Listener::inherited(kept, None).unwrap();
        let AcceptedSocket::Tcp(_, peer) = next.accept().await.unwrap() else { panic!("not over TCP") };
        assert_eq!(peer, client.local_addr().unwrap());
    }

    #[tokio::test]
    async fn a_socket_that_does_not_listen_is_not_inherited() {
        use std::os::fd::OwnedFd;
        let datagrams = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let refused = Listener::inherited(OwnedFd::from(datagrams).into(), None).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn a_program_on_either_loopback_address_keeps_localhost_from_being_listened_on() {
        for taken in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))]
        {
            let other = TcpListener::bind(taken).await.unwrap();
            let port = other.local_addr().unwrap().port();
            let refused = Listener::bind_localhost(port).await.unwrap_err();
            assert!(matches!(refused, BindError::InUse(address) if address.ip() == taken.ip()), "{refused}");
        }
    }
}
