//! How to reach Redis.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use masque_files::read_password;

use crate::address::{Address, Node, Topology};
use crate::open_error::RedisOpenError;

/// How to reach Redis. Its `Debug` output shows no password.
#[derive(Clone)]
pub struct RedisOptions {
    pub(crate) address: Address,
    /// Certificates in PEM of the authorities that are trusted instead of those of the machine.
    pub(crate) root_certificates: Option<Vec<u8>>,
    /// How long an operation waits for its answer. After that Redis counts as unavailable, until it answers again.
    pub command_timeout: Duration,
}

impl RedisOptions {
    /// From a URL:
    ///
    /// - `redis://USER:PASSWORD@HOST:PORT/DATABASE` for one server,
    /// - `redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DATABASE` for the server that these sentinels name.
    ///   Their own password is given by `?sentinel_user=…&sentinel_password=…`,
    /// - `redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT` for the cluster that these nodes belong to.
    ///
    /// All but the hosts and the service can be left out. `rediss` in place of `redis` connects by TLS; `valkey` and
    /// `valkeys` mean the same as `redis` and `rediss`.
    ///
    /// # Errors
    /// [`RedisOpenError::Url`] if it is no such URL.
    pub fn from_url(text: &str) -> Result<Self, RedisOpenError> {
        let address = Address::parse(text).map_err(|reason| RedisOpenError::Url { reason })?;
        Ok(Self { address, root_certificates: None, command_timeout: Duration::from_millis(250) })
    }

    /// With this password instead of that of the URL.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.address.credentials.password = Some(password.to_owned());
        self
    }

    /// With the password in a file, without the line break at its end.
    ///
    /// # Errors
    /// [`RedisOpenError::PasswordFile`] if the file can't be read, is no text, or may be written by every user.
    pub fn with_password_file(self, path: &Path) -> Result<Self, RedisOpenError> {
        let password = read_password(path)
            .map_err(|reason| RedisOpenError::PasswordFile { path: path.to_owned(), reason })?;
        Ok(self.with_password(&password))
    }

    /// Trusts the authorities of these certificates, in PEM, instead of those of the machine.
    #[must_use]
    pub fn with_root_certificates(mut self, pem: Vec<u8>) -> Self {
        self.root_certificates = Some(pem);
        self
    }

    /// Whether connections are made by TLS.
    pub fn is_tls(&self) -> bool {
        self.address.is_tls
    }

    /// Whether every server that is named is on this machine.
    pub fn is_loopback(&self) -> bool {
        let is_loopback = |node: &Node| {
            node.host == "localhost"
                || node.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        self.nodes().iter().all(is_loopback)
    }

    /// The user, if one is named, and the password.
    pub fn credentials(&self) -> (Option<&str>, Option<&str>) {
        let credentials = &self.address.credentials;
        (credentials.user.as_deref(), credentials.password.as_deref())
    }

    /// The hosts and ports, for people to read.
    pub fn target(&self) -> String {
        let nodes: Vec<String> = self.nodes().iter().map(Node::to_string).collect();
        nodes.join(",")
    }

    fn nodes(&self) -> &[Node] {
        match &self.address.topology {
            Topology::Server(node) => std::slice::from_ref(node),
            Topology::Sentinel { sentinels: nodes, .. } | Topology::Cluster(nodes) => nodes,
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisOptions")
            .field("target", &self.target())
            .field("user", &self.address.credentials.user)
            .field("is_tls", &self.address.is_tls)
            .finish_non_exhaustive()
    }
}
