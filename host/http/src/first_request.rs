//! Tells when a connection has sent its first request, and with which protocol version.

use std::time::Duration;

use http::Version;
use tokio::sync::watch;

/// The protocol version of a connection's first request; `None` until there was one.
pub(crate) struct FirstRequest(watch::Sender<Option<Version>>);

impl FirstRequest {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// To be called for every request; only the first has an effect.
    pub(crate) fn record(&self, version: Version) {
        self.0.send_if_modified(|first| first.replace(version).is_none());
    }

    pub(crate) fn version(&self) -> Option<Version> {
        *self.0.borrow()
    }

    /// Resolves once there was a request whose version matches.
    pub(crate) async fn received(&self, matches: impl Fn(Version) -> bool) {
        let mut changes = self.0.subscribe();
        // The sender lives in `self`, so the wait can't fail.
        let _ = changes.wait_for(|first| first.is_some_and(&matches)).await;
    }

    /// Waits for the first request. Returns whether none came within `timeout`.
    ///
    /// hyper's own limit on request heads starts when the protocol is known, so it does not apply to a client that sends
    /// nothing at all.
    pub(crate) async fn is_missing_after(&self, timeout: Duration) -> bool {
        tokio::time::timeout(timeout, self.received(|_| true)).await.is_err()
    }
}
