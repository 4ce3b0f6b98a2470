//! Metric families: a name, a kind, labels and a help text, registered at first use.
//!
//! Every family is declared once with [`families!`], which makes a static of it and lists its [`Description`]. The page
//! `docs/metrics.md` is written from these lists.

use std::sync::LazyLock;

use prometheus::core::Collector;
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts};

/// What one family is about.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The name, with the unit at its end.
    pub name: &'static str,
    /// The kind as Prometheus calls it: `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of the labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it counts or measures, in one sentence.
    pub help: &'static str,
    /// Registers the family, so that it is listed before it has a value.
    pub register: fn(),
}

/// Registers a collector. A second one of the same name would be a mistake in this crate: its values are not shown, and the
/// mistake is logged.
pub(crate) fn register<C: Collector + Clone + 'static>(collector: Result<C, prometheus::Error>) -> Option<C> {
    let registered = collector.and_then(|collector| {
        prometheus::register(Box::new(collector.clone()))?;
        Ok(collector)
    });
    registered.inspect_err(|error| tracing::error!(%error, "a metric can't be registered")).ok()
}

/// A family of counters of whole things.
pub struct Counter(pub(crate) LazyLock<Option<IntCounterVec>>);

impl Counter {
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

    /// The count so far.
    pub fn value(&self, labels: &[&str]) -> u64 {
        match self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            Some(Ok(counter)) => counter.get(),
            _ => 0,
        }
    }
}

/// A family of counters of seconds or other fractions.
pub struct FractionalCounter(pub(crate) LazyLock<Option<CounterVec>>);

impl FractionalCounter {
    /// Adds an amount that is not negative.
    pub fn add(&self, labels: &[&str], amount: f64) {
        if let Some(Ok(counter)) = self.0.as_ref().map(|family| family.get_metric_with_label_values(labels)) {
            counter.inc_by(amount.max(0.0));
        }
    }
}

/// A family of values that rise and fall.
pub struct Gauge(pub(crate) LazyLock<Option<GaugeVec>>);

impl Gauge {
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
pub struct Histogram(pub(crate) LazyLock<Option<HistogramVec>>);

impl Histogram {
    /// Counts one value.
    pub fn observe(&self, labels: &[&str], value: f64) {
        if let Some(Ok(histogram)) = self.0.as_ref().map(|family| family.get_metric_with_label_values(labels))
        {
            histogram.observe(value);
        }
    }

    /// The distribution with these labels, for many values in a row.
    pub fn with(&self, labels: &[&str]) -> Option<prometheus::Histogram> {
        self.0.as_ref()?.get_metric_with_label_values(labels).ok()
    }
}

pub(crate) fn counter(name: &str, help: &str, labels: &[&str]) -> Option<IntCounterVec> {
    register(IntCounterVec::new(Opts::new(name, help), labels))
}

pub(crate) fn fractional_counter(name: &str, help: &str, labels: &[&str]) -> Option<CounterVec> {
    register(CounterVec::new(Opts::new(name, help), labels))
}

pub(crate) fn gauge(name: &str, help: &str, labels: &[&str]) -> Option<GaugeVec> {
    register(GaugeVec::new(Opts::new(name, help), labels))
}

pub(crate) fn histogram(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Option<HistogramVec> {
    register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
}

/// Declares families. Each line makes a static and an entry of `FAMILIES`.
macro_rules! families {
    ($($(#[$meta:meta])* $kind:ident $constant:ident = $name:literal [$($label:literal),*] $(in $buckets:expr)?, $help:literal;)*) => {
        $($(#[$meta])* #[doc = $help] pub static $constant: families!(@type $kind) =
            families!(@new $kind $name, $help, &[$($label),*] $(, $buckets)?);)*

        /// The families of this module.
        pub(crate) const FAMILIES: &[$crate::metrics::family::Description] = &[
            $($crate::metrics::family::Description {
                name: $name,
                kind: families!(@kind $kind),
                labels: &[$($label),*],
                help: $help,
                register: || { std::sync::LazyLock::force(&$constant.0); },
            },)*
        ];
    };
    (@type counter) => { $crate::metrics::family::Counter };
    (@type fractional_counter) => { $crate::metrics::family::FractionalCounter };
    (@type gauge) => { $crate::metrics::family::Gauge };
    (@type histogram) => { $crate::metrics::family::Histogram };
    (@kind counter) => { "counter" };
    (@kind fractional_counter) => { "counter" };
    (@kind gauge) => { "gauge" };
    (@kind histogram) => { "histogram" };
    (@new counter $name:literal, $help:literal, $labels:expr) => {
        $crate::metrics::family::Counter(std::sync::LazyLock::new(|| $crate::metrics::family::counter($name, $help, $labels)))
    };
    (@new fractional_counter $name:literal, $help:literal, $labels:expr) => {
        $crate::metrics::family::FractionalCounter(std::sync::LazyLock::new(|| $crate::metrics::family::fractional_counter($name, $help, $labels)))
    };
    (@new gauge $name:literal, $help:literal, $labels:expr) => {
        $crate::metrics::family::Gauge(std::sync::LazyLock::new(|| $crate::metrics::family::gauge($name, $help, $labels)))
    };
    (@new histogram $name:literal, $help:literal, $labels:expr, $buckets:expr) => {
        $crate::metrics::family::Histogram(std::sync::LazyLock::new(|| $crate::metrics::family::histogram($name, $help, $labels, $buckets)))
    };
}

pub(crate) use families;
