//! The finished spans of one turn, held until it is known how the turn ended.
//!
//! A turn that failed is worth more than one that did not, and which it is, is known at its end only. The spans are therefore
//! kept in memory, in a bounded number, and are exported or dropped together. Where there are too many, [`Eviction`] decides
//! which are dropped.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_sdk::trace::SpanData;

use super::context::TraceContext;
use super::eviction::{Eviction, Victim};
use crate::metrics::Histogram;

/// The most spans that are held for one turn. Further ones are counted.
pub const MAX_SPANS: usize = 128;

/// The spans of one turn that have ended.
#[derive(Debug, Default)]
pub struct HeldSpans {
    finished: Mutex<FinishedSpans>,
    captures_content: bool,
}

/// What was held.
#[derive(Debug, Default)]
pub struct FinishedSpans {
    /// In the order in which they ended.
    pub spans: Vec<SpanData>,
    /// How many did not fit.
    pub dropped: u32,
    eviction: Eviction,
    /// What steps measured, which leads to the trace if it is kept. As many as spans at most.
    exemplars: Vec<PendingExemplar>,
}

/// A value of a histogram whose exemplar is the trace, if that is kept.
#[derive(Debug)]
struct PendingExemplar {
    histogram: &'static Histogram,
    labels: Vec<String>,
    value: f64,
}

impl HeldSpans {
    /// Nothing is held yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Nothing is held yet. `captures_content` says whether spans may contain what users and models wrote.
    pub fn with_content(captures_content: bool) -> Arc<Self> {
        Arc::new(Self { captures_content, ..Self::default() })
    }

    /// Whether spans may contain what users and models wrote.
    pub fn captures_content(&self) -> bool {
        self.captures_content
    }

    /// How many did not fit so far.
    pub fn dropped(&self) -> u32 {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }

    /// Takes what is held.
    pub fn take(&self) -> FinishedSpans {
        std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a value that a step has counted in this histogram.
    pub(crate) fn note_exemplar(&self, histogram: &'static Histogram, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let mut held = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        if held.exemplars.len() < MAX_SPANS {
            held.exemplars.push(PendingExemplar { histogram, labels, value });
        }
    }

    /// Adds a span, in place of another where all places are taken. That of the whole turn, which ends last, always has one.
    pub(crate) fn push(&self, span: SpanData, is_root: bool) {
        let mut held = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        let FinishedSpans { spans, dropped, eviction, .. } = &mut *held;
        if is_root || spans.len() < MAX_SPANS - 1 {
            spans.push(span);
            return;
        }
        *dropped += 1;
        if let Victim::Held(index) = eviction.choose(spans, &span) {
            spans.remove(index);
            spans.push(span);
        }
    }
}

impl FinishedSpans {
    /// The trace is kept: what its steps measured leads to it.
    pub(crate) fn record_exemplars(&self, trace: TraceContext) {
        for PendingExemplar { histogram, labels, value } in &self.exemplars {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            histogram.record_exemplar(&labels, *value, trace);
        }
    }
}
