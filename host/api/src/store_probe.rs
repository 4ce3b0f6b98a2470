//! Whether the store works, for probes that anyone may send.
//!
//! The threat is a flood of probes, each of which would occupy a reading thread of the store. The policy: the store is
//! asked once in a second at most, by one request at a time, and the others get the same answer.

use std::time::Duration;

use masque_store::StoreError;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long an answer of the store is used.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last answer of the store.
#[derive(Debug, Default)]
pub(crate) struct StoreProbe(Mutex<Option<(Instant, bool)>>);

impl StoreProbe {
    /// Whether the store works, by `check` or by the last answer.
    pub(crate) async fn is_ok(&self, check: impl Future<Output = Result<(), StoreError>>) -> bool {
        // Locked while the store is asked: requests that come meanwhile wait for its answer and don't ask themselves.
        let mut last = self.0.lock().await;
        if let Some((at, is_ok)) = *last
            && at.elapsed() < MAX_AGE
        {
            return is_ok;
        }
        let checked = check.await;
        if let Err(error) = &checked {
            tracing::warn!(%error, "the store does not answer");
        }
        *last = Some((Instant::now(), checked.is_ok()));
        checked.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_probes_asks_the_store_once_in_a_second() {
        let (probe, asked) = (StoreProbe::default(), AtomicUsize::new(0));
        let check = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(())
        };
        let flood = async || {
            let answers = futures::future::join_all((0..1000).map(|_| probe.is_ok(check()))).await;
            assert!(answers.into_iter().all(|is_ok| is_ok));
            asked.load(Ordering::Relaxed)
        };
        assert_eq!((flood().await, flood().await), (1, 1));
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(flood().await, 2);
        assert!(probe.is_ok(async { Err(StoreError::Unavailable("not asked".into())) }).await);
        tokio::time::advance(MAX_AGE).await;
        assert!(!probe.is_ok(async { Err(StoreError::Unavailable("asked".into())) }).await);
    }
}
