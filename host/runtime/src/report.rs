//! What a call used and asked the host for, for the layer that made it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::observe::CallUsage;

/// The most requests to the host that one report lists. Further ones are counted.
pub const MAX_HOST_CALLS: usize = 256;
/// The most bytes of texts in one report, as many as the record of a turn may have. What does not fit is described by size and
/// digest alone.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// The most messages and keys that one report lists. A page has up to a thousand, and a call may ask for many pages.
const MAX_ITEMS: usize = 1024;

/// Whether reports contain what was asked and answered, or only sizes and digests of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportContent {
    /// Values in full.
    Full,
    /// Sizes and digests.
    Digests,
    /// Neither: requests to the host are not listed, only what the call used.
    Times,
}

/// Collects the facts of one call while it runs. They can be read at any time, also after the call was cancelled.
#[derive(Debug)]
pub struct CallReport {
    content: ReportContent,
    /// Bytes of text.
    texts: ReportBudget,
    /// Messages and keys.
    items: ReportBudget,
    /// Set when the call begins.
    usage: OnceLock<Arc<CallUsage>>,
    host_calls: Mutex<HostCalls>,
}

#[derive(Debug, Default)]
struct HostCalls {
    listed: Vec<Listed>,
    dropped: u64,
}

#[derive(Debug)]
enum Listed {
    Ended(HostCall),
    UnderWay(Arc<dyn HostCallUnderWay>),
}

/// A request of a guest to the host that may still go on.
pub(crate) trait HostCallUnderWay: fmt::Debug + Send + Sync {
    /// What is known of it.
    fn host_call(&self) -> HostCall;
}

/// What is known of a call.
#[derive(Clone, Debug, Default)]
pub struct CallFacts {
    /// Time from the permit of the pool to the instance, if it was a fresh one.
    pub instantiation: Duration,
    /// CPU time used, without that of nested calls.
    pub cpu: Duration,
    /// The most bytes of memory that the guest had.
    pub peak_memory: u64,
    /// The time in which at least one of its requests to upstreams waited for bytes. Work of the host in between, such as
    /// looking at bytes that have arrived, is not part of it as far as the host can tell.
    pub upstream_wait: Duration,
    /// What the guest asked the host for, in order.
    pub host_calls: Vec<HostCall>,
    /// Requests beyond [`MAX_HOST_CALLS`].
    pub host_calls_dropped: u64,
}

/// One request of a guest to the host.
#[derive(Clone, Debug)]
pub struct HostCall {
    /// The interface: `state`, `history`, `models` or `http`.
    pub interface: &'static str,
    /// The function, such as `get`; for `http` the method.
    pub operation: String,
    /// From the beginning of the call to the request.
    pub started: Duration,
    /// How long it took, or has taken so far.
    pub duration: Duration,
    /// `ok`, or the code of the failure; `cancelled` where the call ended first. A request over HTTP is `ok` with whatever
    /// status it was answered, and `running` while it has no answer.
    pub outcome: String,
    /// What was asked and answered, a JSON object. Never credentials, header values or query strings.
    pub detail: Value,
}

impl CallReport {
    /// A report that is empty. It is for one call.
    pub fn new(content: ReportContent) -> Arc<Self> {
        Arc::new(Self {
            content,
            texts: ReportBudget::new(match content {
                ReportContent::Full => MAX_TEXT_BYTES,
                ReportContent::Digests | ReportContent::Times => 0,
            }),
            items: ReportBudget::new(MAX_ITEMS),
            usage: OnceLock::new(),
            host_calls: Mutex::default(),
        })
    }

    /// What the report contains.
    pub fn content(&self) -> ReportContent {
        self.content
    }

    /// Whether requests to the host are listed.
    pub(crate) fn lists_host_calls(&self) -> bool {
        self.content != ReportContent::Times
    }

    /// What is known so far.
    pub fn facts(&self) -> CallFacts {
        let (host_calls, host_calls_dropped) = {
            let calls = self.host_calls();
            let listed = calls.listed.iter().map(|listed| match listed {
                Listed::Ended(call) => call.clone(),
                Listed::UnderWay(call) => call.host_call(),
            });
            (listed.collect(), calls.dropped)
        };
        let facts = CallFacts { host_calls, host_calls_dropped, ..CallFacts::default() };
        let Some(usage) = self.usage.get() else { return facts };
        CallFacts {
            instantiation: usage.instantiation(),
            cpu: usage.cpu(),
            peak_memory: usage.peak_memory(),
            upstream_wait: usage.upstream_wait(),
            ..facts
        }
    }

    /// How long the call has waited for upstreams so far.
    pub fn upstream_wait(&self) -> Duration {
        self.usage.get().map_or(Duration::ZERO, |usage| usage.upstream_wait())
    }

    /// The call begins. Its use is read from `usage`.
    pub(crate) fn begin(&self, usage: Arc<CallUsage>) {
        // A second call with the same report is not described by it.
        let _ = self.usage.set(usage);
    }

    /// The texts that the report may still hold.
    pub(crate) fn texts(&self) -> &ReportBudget {
        &self.texts
    }

    /// The messages and keys that the report may still list.
    pub(crate) fn items(&self) -> &ReportBudget {
        &self.items
    }

    pub(crate) fn add(&self, call: HostCall) {
        self.list(|| Listed::Ended(call));
    }

    pub(crate) fn add_under_way(&self, call: Arc<dyn HostCallUnderWay>) {
        self.list(|| Listed::UnderWay(call));
    }

    fn list(&self, listed: impl FnOnce() -> Listed) {
        let mut calls = self.host_calls();
        if calls.listed.len() < MAX_HOST_CALLS {
            calls.listed.push(listed());
        } else {
            calls.dropped += 1;
        }
    }

    fn host_calls(&self) -> MutexGuard<'_, HostCalls> {
        self.host_calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one report may still hold of something. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ReportBudget(Arc<AtomicUsize>);

impl ReportBudget {
    fn new(amount: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(amount)))
    }

    /// Whether nothing is wanted, or nothing more fits.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Takes room, if there is enough.
    pub(crate) fn take(&self, amount: usize) -> bool {
        let take = |left: usize| left.checked_sub(amount);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_call(operation: &str) -> HostCall {
        HostCall {
            interface: "state",
            operation: operation.to_owned(),
            started: Duration::ZERO,
            duration: Duration::ZERO,
            outcome: "ok".to_owned(),
            detail: Value::Null,
        }
    }

    #[test]
    fn of_many_host_calls_the_first_are_listed_and_all_are_counted() {
        let report = CallReport::new(ReportContent::Digests);
        for number in 0..MAX_HOST_CALLS + 3 {
            report.add(host_call(&number.to_string()));
        }
        let facts = report.facts();
        assert_eq!((facts.host_calls.len(), facts.host_calls_dropped), (MAX_HOST_CALLS, 3));
        assert_eq!(facts.host_calls[0].operation, "0");
    }

    #[test]
    fn texts_have_room_in_full_reports_only_and_only_as_long_as_they_fit() {
        let full = CallReport::new(ReportContent::Full);
        assert!(full.texts().take(MAX_TEXT_BYTES - 1) && !full.texts().take(2) && full.texts().take(1));
        assert!(full.texts().is_spent());
        assert!(!CallReport::new(ReportContent::Digests).texts().take(1));
    }
}
