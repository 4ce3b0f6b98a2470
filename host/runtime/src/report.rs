//! What a call used and asked the host for, for the layer that made it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// The most requests to the host that one report lists. Further ones are counted.
pub const MAX_HOST_CALLS: usize = 256;

/// Whether reports contain what was asked and answered, or only sizes and digests of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportContent {
    /// Values in full.
    Full,
    /// Sizes and digests.
    Digests,
}

/// Collects the facts of one call while it runs. They can be read at any time, also after the call was cancelled.
#[derive(Debug)]
pub struct CallReport {
    content: ReportContent,
    facts: Mutex<CallFacts>,
}

/// What is known of a call.
#[derive(Clone, Debug, Default)]
pub struct CallFacts {
    /// Time from the permit of the pool to the instance, if it was a fresh one.
    pub instantiation: Duration,
    /// CPU time used.
    pub cpu: Duration,
    /// The most bytes of memory that the guest had.
    pub peak_memory: u64,
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
    /// How long it took.
    pub duration: Duration,
    /// `ok`, or the code of the failure.
    pub outcome: String,
    /// What was asked and answered, a JSON object. Never credentials, header values or query strings.
    pub detail: Value,
}

impl CallReport {
    /// A report that is empty.
    pub fn new(content: ReportContent) -> Arc<Self> {
        Arc::new(Self { content, facts: Mutex::default() })
    }

    /// What the report contains.
    pub fn content(&self) -> ReportContent {
        self.content
    }

    /// What is known so far.
    pub fn facts(&self) -> CallFacts {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut CallFacts)) {
        change(&mut self.facts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn add(&self, call: HostCall) {
        self.change(|facts| {
            if facts.host_calls.len() < MAX_HOST_CALLS {
                facts.host_calls.push(call);
            } else {
                facts.host_calls_dropped += 1;
            }
        });
    }
}
