//! The lease of the turn that writes a log, as far as this host knows.
//!
//! Threat: the host is paused (`SIGSTOP`, a frozen virtual machine) for longer than its leases last. Other hosts may have run
//! the turn again meanwhile, and a reader that is served before anything else would get text that was never stored. Policy:
//! the log knows until when the lease lasts at least, and gives nothing after that. Accepted consequence: a reader is told
//! `lease-lost` although the turn may have been completed; the conversation tells.

use tokio::time::Instant;

use super::event_log::{EventLog, LEASE_MARGIN};

impl EventLog {
    /// Notes that the turn has its lease until `ends` at least. Has no effect once the turn has ended.
    pub(crate) fn renew_lease(&self, ends: Instant) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.lease_ends = Some(ends);
        }
    }

    /// When the lease may end; `None` if the events need none.
    pub(crate) fn lease_ends(&self) -> Option<Instant> {
        self.state().lease_ends
    }

    /// Whether the lease may have ended, so that nothing more may be given to readers.
    pub(crate) fn is_lease_over(&self) -> bool {
        self.state().is_lease_over()
    }

    /// Resolves when the lease may have ended; never for a log that needs none.
    pub(crate) async fn lease_over(&self) {
        while let Some(ends) = self.lease_ends() {
            if self.is_lease_over() {
                return;
            }
            tokio::time::sleep_until(ends - LEASE_MARGIN).await;
        }
        std::future::pending::<()>().await;
    }
}
