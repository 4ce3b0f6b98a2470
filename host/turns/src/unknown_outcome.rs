//! How a write is repeated whose outcome is unknown, because its connection was lost.

use std::time::Duration;

/// The time between two questions for the outcome of an admission or a commit that is unknown: a lost connection is replaced in
/// less, and a client that waits hardly notices.
pub(crate) const UNKNOWN_INTERVAL: Duration = Duration::from_millis(250);
/// How long the store is asked for an unknown outcome: a database that fails over answers again by then. The lease lasts
/// longer.
pub(crate) const UNKNOWN_LIMIT: Duration = Duration::from_secs(10);
