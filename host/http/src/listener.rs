//! One listening socket, over TCP or Unix.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A socket that listens for connections.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
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
}

impl Listener {
    /// Listens on a TCP address. Port 0 lets the system choose a free port.
    ///
    /// # Errors
    /// The address is in use, forbidden, or not an address of this machine.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            io::ErrorKind::PermissionDenied => BindError::PermissionDenied(address),
            io::ErrorKind::AddrNotAvailable => BindError::NotAvailable(address),
            _ => BindError::Other(address, error),
        })?;
        Ok(Self::Tcp(listener))
    }

    /// The bound TCP address, with the port that the system chose; `None` for a Unix socket.
    ///
    /// # Errors
    /// The system can't tell the address.
    pub fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix(_) => Ok(None),
        }
    }

    /// Waits for the next connection. Dropping the future loses no connection.
    pub(crate) async fn accept(&self) -> io::Result<AcceptedSocket> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                disable_nagle(&socket);
                Ok(AcceptedSocket::Tcp(socket, peer))
            }
            Self::Unix(listener) => listener.accept().await.map(|(socket, _)| AcceptedSocket::Unix(socket)),
        }
    }
}

/// Without `TCP_NODELAY`, every event of a stream waits up to 40 ms for the acknowledgement of the event before.
fn disable_nagle(socket: &TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
}
