//! What is known about the connection that a request came over.

use std::net::SocketAddr;

/// The kind of listener that accepted a request's connection. It is in the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// The main address, for all clients.
    Public,
    /// The operators' own address, if one is configured.
    Admin,
    /// The Unix socket in the data folder: only the host's own user can open it, and no web page can.
    Socket,
}

/// What is known about a connection. It is in the extensions of every request that came over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The kind of listener that accepted the connection.
    pub listener: ListenerKind,
    /// The address of the other end; `None` for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Whether the host itself terminates TLS on this connection.
    pub is_encrypted: bool,
}
