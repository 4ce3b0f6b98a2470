//! Exemplars: for each bucket of a histogram, the last sampled trace with a value in it.
//!
//! `prometheus` has none, so they are kept beside the histogram. They are shown in the OpenMetrics format only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// One trace that had a value in a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: u128,
    pub(crate) value: f64,
    pub(crate) at: SystemTime,
}

/// The exemplars of one series: one place for each bucket, that of `+Inf` last.
pub(crate) type OfBuckets = Vec<Option<Exemplar>>;

/// The exemplars of one family, by the values of the labels in their declared order. As many as the family has series.
#[derive(Debug)]
pub(crate) struct Exemplars(Mutex<BTreeMap<Vec<String>, OfBuckets>>);

impl Exemplars {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Replaces the exemplar of the bucket that `value` is in.
    pub(crate) fn record(&self, labels: &[&str], buckets: &[f64], value: f64, trace_id: u128) {
        let exemplar = Exemplar { trace_id, value, at: SystemTime::now() };
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let mut series = self.lock();
        let kept = series.entry(labels).or_insert_with(|| vec![None; buckets.len() + 1]);
        // A bucket includes its upper bound.
        if let Some(place) = kept.get_mut(buckets.partition_point(|bound| value > *bound)) {
            *place = Some(exemplar);
        }
    }

    /// The exemplars of the series with these values of its labels.
    pub(crate) fn of(&self, labels: &[String]) -> OfBuckets {
        self.lock().get(labels).cloned().unwrap_or_default()
    }

    /// Forgets those of one series.
    pub(crate) fn remove(&self, labels: &[String]) {
        self.lock().remove(labels);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<String>, OfBuckets>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_keeps_the_last_trace_with_a_value_in_it() {
        let exemplars = Exemplars::new();
        for (value, trace_id) in [(0.5, 1), (1.0, 2), (1.5, 3), (99.0, 4)] {
            exemplars.record(&["a"], &[1.0, 2.0], value, trace_id);
        }
        let of = |label: &str| {
            let kept = exemplars.of(&[label.to_owned()]);
            kept.into_iter().map(|kept| kept.map(|kept| kept.trace_id)).collect::<Vec<_>>()
        };
        assert_eq!(of("a"), [Some(2), Some(3), Some(4)]);
        assert!(of("b").is_empty());
        exemplars.remove(&["a".to_owned()]);
        assert!(of("a").is_empty());
    }
}
