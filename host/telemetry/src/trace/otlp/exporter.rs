//! Sends batches on the runtime of the host, each within its time, and counts those that are lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

use super::last_failure::LastFailure;
use crate::metrics::turns::SPANS_DROPPED;

/// How often the log says that spans are lost.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The batch processor has a thread of its own, which has no tokio runtime; the exporters need one for their connections,
/// timers and retries.
#[derive(Debug)]
pub(super) struct RuntimeExporter<E> {
    pub(super) exporter: Arc<E>,
    pub(super) runtime: Handle,
    pub(super) timeout: Duration,
    /// Spans in the queue before this exporter.
    pub(super) queued: Arc<AtomicUsize>,
    pub(super) losses: Arc<LossReport>,
    pub(super) failure: LastFailure,
}

impl<E: SpanExporter + 'static> SpanExporter for RuntimeExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queued.fetch_sub(spans, Ordering::AcqRel);
        let (exporter, timeout) = (Arc::clone(&self.exporter), self.timeout);
        let sending =
            self.runtime.spawn(async move { tokio::time::timeout(timeout, exporter.export(batch)).await });
        let result = match sending.await {
            Ok(Ok(result)) => result,
            Ok(Err(_elapsed)) => Err(OTelSdkError::Timeout(timeout)),
            // The exporter panicked, which the hook has logged, or the runtime is gone.
            Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
        };
        if let Err(error) = &result {
            self.losses.add("export", spans, &self.failure.explain(error));
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }
}

/// Counts spans that are lost, and says so in the log from time to time.
#[derive(Debug, Default)]
pub(super) struct LossReport(Mutex<Unreported>);

#[derive(Debug, Default)]
struct Unreported {
    spans: usize,
    last: Option<Instant>,
}

impl LossReport {
    /// `reason` is a label of the metric. `cause` holds neither headers nor the path and query of the
    /// endpoint.
    pub(super) fn add(&self, reason: &'static str, spans: usize, cause: &str) {
        SPANS_DROPPED.add(&[reason], u64::try_from(spans).unwrap_or(u64::MAX));
        if let Some(spans) = self.due(spans, Instant::now()) {
            tracing::warn!(spans, cause, "traces are lost");
        }
    }

    /// How many losses are to be reported now.
    fn due(&self, spans: usize, now: Instant) -> Option<usize> {
        let mut unreported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        unreported.spans += spans;
        let is_due =
            unreported.last.is_none_or(|last| now.saturating_duration_since(last) >= REPORT_INTERVAL);
        is_due.then(|| {
            unreported.last = Some(now);
            std::mem::take(&mut unreported.spans)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_reported_at_most_once_a_minute_and_none_is_left_out() {
        let (report, start) = (LossReport::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(report.due(3, at(0)), Some(3));
        assert_eq!(report.due(4, at(1)), None);
        assert_eq!(report.due(5, at(59)), None);
        assert_eq!(report.due(6, at(60)), Some(15));
        assert_eq!(report.due(7, at(61)), None);
    }
}
