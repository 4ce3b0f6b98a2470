//! The kinds of metric families, as the crates of the host use them.
//!
//! A family that can't be registered counts nothing and disturbs nobody: a metric is no reason to fail.

use std::sync::LazyLock;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec};

use super::exemplars::Exemplars;
use crate::trace::TraceContext;

/// What all kinds of families have in common.
pub(crate) trait Family: Sync {
    /// Registers the family. Where its first value is known to be 0, also makes the series.
    fn register(&self);

    /// Makes the series with these labels, without a value.
    fn begin(&self, labels: &[&str]);

    /// Removes every series with these labels, each a name and a value.
    fn remove_series(&self, labels: &[&str], wanted: &[(&str, &str)]);

    /// The upper bounds of a histogram's buckets; empty for other kinds.
    fn buckets(&self) -> &'static [f64] {
        &[]
    }

    /// The exemplars of a histogram.
    fn exemplars(&self) -> Option<&Exemplars> {
        None
    }
}

/// A family of counters of whole things.
pub struct Counter(LazyLock<Option<IntCounterVec>>);

impl Counter {
    pub(crate) const fn new(register: fn() -> Option<IntCounterVec>) -> Self {
        Self(LazyLock::new(register))
    }

    /// Counts one.
    pub fn increment(&self, labels: &[&str]) {
        self.add(labels, 1);
    }

    /// Counts several.
    pub fn add(&self, labels: &[&str], amount: u64) {
        if let Some(Ok(counter)) = self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            counter.inc_by(amount);
        }
    }

    /// Makes a series at 0, so that its first increase is seen: Prometheus takes the first value that it sees for the
    /// beginning.
    pub fn begin(&self, labels: &[&str]) {
        self.add(labels, 0);
    }

    /// The count so far.
    pub fn value(&self, labels: &[&str]) -> u64 {
        match self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            Some(Ok(counter)) => counter.get(),
            _ => 0,
        }
    }
}

impl Family for Counter {
    fn register(&self) {
        begin_at_zero(self.0.as_ref());
    }

    fn begin(&self, labels: &[&str]) {
        self.add(labels, 0);
    }

    fn remove_series(&self, labels: &[&str], wanted: &[(&str, &str)]) {
        self.0.iter().for_each(|family| drop(remove_matching(family, labels, wanted)));
    }
}

/// A family of counters of seconds or other fractions.
pub struct FractionalCounter(LazyLock<Option<CounterVec>>);

impl FractionalCounter {
    pub(crate) const fn new(register: fn() -> Option<CounterVec>) -> Self {
        Self(LazyLock::new(register))
    }

    /// Adds an amount that is not negative.
    pub fn add(&self, labels: &[&str], amount: f64) {
        if let Some(Ok(counter)) = self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            counter.inc_by(amount.max(0.0));
        }
    }

    /// The sum so far.
    pub fn value(&self, labels: &[&str]) -> f64 {
        match self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            Some(Ok(counter)) => counter.get(),
            _ => 0.0,
        }
    }
}

impl Family for FractionalCounter {
    fn register(&self) {
        begin_at_zero(self.0.as_ref());
    }

    fn begin(&self, labels: &[&str]) {
        self.add(labels, 0.0);
    }

    fn remove_series(&self, labels: &[&str], wanted: &[(&str, &str)]) {
        self.0.iter().for_each(|family| drop(remove_matching(family, labels, wanted)));
    }
}

/// A family of values that rise and fall.
pub struct Gauge(LazyLock<Option<GaugeVec>>);

impl Gauge {
    pub(crate) const fn new(register: fn() -> Option<GaugeVec>) -> Self {
        Self(LazyLock::new(register))
    }

    /// Sets the value.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
    pub fn set(&self, labels: &[&str], value: u64) {
        self.set_fraction(labels, value as f64);
    }

    /// Sets a value that is not whole.
    pub fn set_fraction(&self, labels: &[&str], value: f64) {
        if let Some(Ok(gauge)) = self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            gauge.set(value);
        }
    }

    /// Adds, or subtracts with a negative amount.
    pub fn add(&self, labels: &[&str], amount: f64) {
        if let Some(Ok(gauge)) = self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            gauge.add(amount);
        }
    }

    /// The value now.
    pub fn value(&self, labels: &[&str]) -> f64 {
        match self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            Some(Ok(gauge)) => gauge.get(),
            _ => 0.0,
        }
    }

    /// Adds one until the returned guard is dropped.
    #[must_use]
    pub fn raise(&self, labels: &[&str]) -> Raised {
        let gauge = self.0.as_ref().and_then(|family| family.get_metric_with_label_values(labels).ok());
        if let Some(gauge) = &gauge {
            gauge.inc();
        }
        Raised(gauge)
    }

    /// Removes one series.
    pub fn remove(&self, labels: &[&str]) {
        if let Some(family) = self.0.as_ref() {
            // A series that is absent is removed already.
            let _ = family.remove_label_values(labels);
        }
    }
}

/// No series begins by itself: an expiry or a time of 0 would raise an alert before the first value is known.
impl Family for Gauge {
    fn register(&self) {
        LazyLock::force(&self.0);
    }

    fn begin(&self, labels: &[&str]) {
        self.add(labels, 0.0);
    }

    fn remove_series(&self, labels: &[&str], wanted: &[(&str, &str)]) {
        self.0.iter().for_each(|family| drop(remove_matching(family, labels, wanted)));
    }
}

/// One that is counted in a gauge while this value lives.
#[derive(Debug)]
pub struct Raised(Option<prometheus::Gauge>);

impl Drop for Raised {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.dec();
        }
    }
}

/// A family of distributions.
pub struct Histogram {
    family: LazyLock<Option<HistogramVec>>,
    buckets: &'static [f64],
    exemplars: Exemplars,
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Histogram").finish_non_exhaustive()
    }
}

impl Histogram {
    pub(crate) const fn new(register: fn() -> Option<HistogramVec>, buckets: &'static [f64]) -> Self {
        Self { family: LazyLock::new(register), buckets, exemplars: Exemplars::new() }
    }

    /// Counts one value.
    pub fn observe(&self, labels: &[&str], value: f64) {
        if let Some(histogram) = self.with(labels) {
            histogram.observe(value);
        }
    }

    /// Counts one value. If the trace is sampled, its id becomes the exemplar of the value's bucket. A caller that decides
    /// later whether a trace is kept observes at the end, with [`TraceContext::sampled`] where it is.
    pub fn observe_traced(&self, labels: &[&str], value: f64, trace: TraceContext) {
        self.observe(labels, value);
        if trace.is_sampled() {
            self.record_exemplar(labels, value, trace);
        }
    }

    /// Makes a trace the exemplar of the bucket of a value that was counted before.
    pub(crate) fn record_exemplar(&self, labels: &[&str], value: f64, trace: TraceContext) {
        self.exemplars.record(labels, self.buckets, value, trace.trace_id());
    }

    /// The distribution with these labels, for many values in a row.
    pub fn with(&self, labels: &[&str]) -> Option<prometheus::Histogram> {
        self.family.as_ref()?.get_metric_with_label_values(labels).ok()
    }

    /// The trace that is the exemplar of the bucket of this value.
    #[cfg(test)]
    pub(crate) fn exemplar(&self, labels: &[&str], value: f64) -> Option<u128> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let kept = self.exemplars.of(&labels);
        kept.get(self.buckets.partition_point(|bound| value > *bound))?.map(|exemplar| exemplar.trace_id)
    }

    /// How many values were counted.
    pub fn count(&self, labels: &[&str]) -> u64 {
        self.with(labels).map_or(0, |histogram| histogram.get_sample_count())
    }
}

impl Family for Histogram {
    fn register(&self) {
        begin_at_zero(self.family.as_ref());
    }

    fn begin(&self, labels: &[&str]) {
        // The series exists from here on.
        let _ = self.with(labels);
    }

    fn remove_series(&self, labels: &[&str], wanted: &[(&str, &str)]) {
        let Some(family) = self.family.as_ref() else { return };
        for removed in remove_matching(family, labels, wanted) {
            self.exemplars.remove(&removed);
        }
    }

    fn buckets(&self) -> &'static [f64] {
        self.buckets
    }

    fn exemplars(&self) -> Option<&Exemplars> {
        Some(&self.exemplars)
    }
}

/// Makes the one series of a family without labels, so that its first increase is seen: Prometheus takes the first value
/// that it sees for the beginning.
fn begin_at_zero<B: MetricVecBuilder>(family: Option<&MetricVec<B>>) {
    if let Some(family) = family {
        // A family with labels refuses this: its series are not known yet.
        let _ = family.get_metric_with_label_values::<&str>(&[]);
    }
}

/// Removes the series with these labels and returns the values of their labels, in the order of `labels`.
fn remove_matching<B: MetricVecBuilder>(
    family: &MetricVec<B>,
    labels: &[&str],
    wanted: &[(&str, &str)],
) -> Vec<Vec<String>> {
    let mut removed = Vec::new();
    for collected in family.collect() {
        for metric in collected.get_metric() {
            let value = |label: &str| {
                metric.get_label().iter().find(|pair| pair.name() == label).map(|pair| pair.value())
            };
            if !wanted.iter().all(|(label, wanted)| value(label) == Some(*wanted)) {
                continue;
            }
            let values: Vec<String> =
                labels.iter().filter_map(|label| value(label)).map(str::to_owned).collect();
            // An error means that another thread has removed the series in between.
            let _ = family.remove_label_values(&values);
            removed.push(values);
        }
    }
    removed
}
