//! What one call has used so far. It is read while the call runs, and after it was dropped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use masque_telemetry::trace::TraceSpan;

use super::upstream_wait::UpstreamWait;

/// The use of one call.
#[derive(Debug)]
pub(crate) struct CallUsage {
    begun: Instant,
    /// From the beginning of the call to its permit of the pool, in nanoseconds; the same unit below.
    placed: AtomicU64,
    instantiation: AtomicU64,
    cpu: AtomicU64,
    peak_memory: AtomicU64,
    upstream: Mutex<UpstreamWait>,
    /// The spans of requests whose answer is not read to its end. They end with the call, although its store, which holds the
    /// requests, may be dropped a moment later.
    open_spans: Mutex<Vec<TraceSpan>>,
}

impl CallUsage {
    /// Nothing is used by a call that begins at `begun`.
    pub(crate) fn new(begun: Instant) -> Arc<Self> {
        Arc::new(Self {
            begun,
            placed: AtomicU64::new(0),
            instantiation: AtomicU64::new(0),
            cpu: AtomicU64::new(0),
            peak_memory: AtomicU64::new(0),
            upstream: Mutex::default(),
            open_spans: Mutex::default(),
        })
    }

    /// The beginning of the call.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// The call has its permits of the pool.
    pub(crate) fn record_placement(&self) {
        self.placed.store(nanoseconds(self.begun.elapsed()), Ordering::Relaxed);
    }

    /// A fresh instance is ready.
    pub(crate) fn record_instantiation(&self) {
        let now = nanoseconds(self.begun.elapsed());
        let placed = self.placed.load(Ordering::Relaxed);
        self.instantiation.store(now.saturating_sub(placed), Ordering::Relaxed);
    }

    /// Adds CPU time of the call itself.
    pub(crate) fn add_cpu(&self, used: Duration) {
        self.cpu.fetch_add(nanoseconds(used), Ordering::Relaxed);
    }

    /// The guest has memories of so many bytes.
    pub(crate) fn record_memory(&self, bytes: usize) {
        self.peak_memory.fetch_max(bytes as u64, Ordering::Relaxed);
    }

    /// A request waits for its upstream until the returned value is dropped.
    pub(crate) fn wait_for_upstream(self: &Arc<Self>) -> Waiting {
        self.upstream().begin(Instant::now());
        Waiting(Arc::clone(self))
    }

    /// Keeps the span of a request until [`Self::take_span`] or the end of the call.
    pub(super) fn keep_span(&self, span: TraceSpan) {
        self.open_spans().push(span);
    }

    /// Changes the span with this id, if it has not ended.
    pub(super) fn change_span(&self, id: u64, change: impl FnOnce(&TraceSpan)) {
        if let Some(span) = self.open_spans().iter().find(|span| span.context().span_id() == id) {
            change(span);
        }
    }

    /// Takes the span with this id, if it has not ended.
    pub(super) fn take_span(&self, id: u64) -> Option<TraceSpan> {
        let mut spans = self.open_spans();
        let index = spans.iter().position(|span| span.context().span_id() == id)?;
        Some(spans.swap_remove(index))
    }

    /// Ends the spans of all requests.
    pub(crate) fn end_spans(&self) {
        self.open_spans().clear();
    }

    fn open_spans(&self) -> MutexGuard<'_, Vec<TraceSpan>> {
        self.open_spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time from the permit of the pool to a fresh instance; zero where the instance was kept, or is not ready.
    pub(crate) fn instantiation(&self) -> Duration {
        Duration::from_nanos(self.instantiation.load(Ordering::Relaxed))
    }

    /// CPU time of the call, without that of nested calls.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Ordering::Relaxed))
    }

    /// The most bytes of memories that the guest had.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.peak_memory.load(Ordering::Relaxed)
    }

    /// How long the call waited for upstreams.
    pub(crate) fn upstream_wait(&self) -> Duration {
        self.upstream().total(Instant::now())
    }

    fn upstream(&self) -> MutexGuard<'_, UpstreamWait> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that waits for its upstream.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<CallUsage>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.upstream().end(Instant::now());
    }
}

/// 64 bits of nanoseconds overflow after 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
