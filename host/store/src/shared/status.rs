//! Whether the shared memory can be reached.

use std::time::Duration;

/// Tells the state of the shared memory.
pub trait SharedHealth: Send + Sync {
    /// The state at this moment, without asking a server.
    fn status(&self) -> SharedStatus;
}

/// The state of the shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedStatus {
    /// The memory of this process: there is nothing to be reached.
    InProcess,
    /// Shared with other hosts.
    Connected,
    /// The server can't be reached, and this host counts alone.
    Unavailable {
        /// For how long.
        since: Duration,
        /// Why, in words for the operator, without credentials.
        reason: String,
    },
}
