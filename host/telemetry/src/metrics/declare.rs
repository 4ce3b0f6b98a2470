//! Declares metric families: a name, a kind, labels and a help text, registered at first use.
//!
//! Every family is declared once with [`families!`], which makes a static of it and lists its [`Description`]. The tables of
//! `docs/metrics.md` are written from these lists.

use prometheus::core::Collector;
use prometheus::{CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts};

use super::family::Family;

/// What one family is about.
#[derive(Clone, Copy)]
pub struct Description {
    /// The name, with the unit at its end.
    pub name: &'static str,
    /// The kind as Prometheus calls it: `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of the labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it counts or measures, in one sentence.
    pub help: &'static str,
    /// The values of each label, where all are known before anything is counted: these series begin at the start.
    pub values: &'static [&'static [&'static str]],
    pub(crate) family: fn() -> &'static dyn Family,
}

impl Description {
    /// Registers the family, so that it is listed before it has a value, and makes the series whose labels are known.
    pub fn register(&self) {
        (self.family)().register();
        for labels in self.known_series() {
            (self.family)().begin(&labels);
        }
    }

    /// The labels of the series that begin at the start: each combination of the known values.
    pub fn known_series(&self) -> Vec<Vec<&'static str>> {
        if self.values.is_empty() {
            return Vec::new();
        }
        self.values.iter().fold(vec![Vec::new()], |series, values| {
            let with = |value: &&'static str| {
                let value = *value;
                series.iter().map(move |labels: &Vec<_>| labels.iter().copied().chain([value]).collect())
            };
            values.iter().flat_map(with).collect()
        })
    }

    /// The upper bounds of a histogram's buckets; empty for other kinds.
    pub fn buckets(&self) -> &'static [f64] {
        (self.family)().buckets()
    }

    /// Removes every series with these labels, each a name and a value.
    pub(crate) fn remove_series(&self, wanted: &[(&str, &str)]) {
        (self.family)().remove_series(self.labels, wanted);
    }
}

/// Registers a collector. A second one of the same name would be a mistake in this crate: its values are not shown, and the
/// mistake is logged.
fn register<C: Collector + Clone + 'static>(collector: Result<C, prometheus::Error>) -> Option<C> {
    let registered = collector.and_then(|collector| {
        prometheus::register(Box::new(collector.clone()))?;
        Ok(collector)
    });
    registered.inspect_err(|error| tracing::error!(%error, "a metric can't be registered")).ok()
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

/// Declares families. Each line makes a static and an entry of `FAMILIES`. After `of` stand all values of each label; then the
/// series begin at the start, so that Prometheus sees their first increase.
macro_rules! families {
    ($($(#[$meta:meta])* $kind:ident $constant:ident = $name:literal [$($label:literal),*] $(of [$([$($value:literal),*]),*])? $(in $buckets:expr)?, $help:literal;)*) => {
        $($(#[$meta])* #[doc = $help] pub static $constant: families!(@type $kind) =
            families!(@new $kind $name, $help, &[$($label),*] $(, $buckets)?);)*

        /// The families of this module.
        pub(crate) const FAMILIES: &[$crate::metrics::declare::Description] = &[
            $($crate::metrics::declare::Description {
                name: $name,
                kind: families!(@kind $kind),
                labels: &[$($label),*],
                help: $help,
                values: &[$($(&[$($value),*]),*)?],
                family: || &$constant,
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
        $crate::metrics::family::Counter::new(|| $crate::metrics::declare::counter($name, $help, $labels))
    };
    (@new fractional_counter $name:literal, $help:literal, $labels:expr) => {
        $crate::metrics::family::FractionalCounter::new(|| $crate::metrics::declare::fractional_counter($name, $help, $labels))
    };
    (@new gauge $name:literal, $help:literal, $labels:expr) => {
        $crate::metrics::family::Gauge::new(|| $crate::metrics::declare::gauge($name, $help, $labels))
    };
    (@new histogram $name:literal, $help:literal, $labels:expr, $buckets:expr) => {
        $crate::metrics::family::Histogram::new(|| $crate::metrics::declare::histogram($name, $help, $labels, $buckets), $buckets)
    };
}

pub(crate) use families;
