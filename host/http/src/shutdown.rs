//! The two signals that end connections.

use tokio_util::sync::CancellationToken;

/// The signals that end all connections of a server. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Accept no more connections, and close each after its running requests.
    pub graceful: CancellationToken,
    /// Close all connections at once.
    pub immediate: CancellationToken,
}
