//! Series that begin with the process, so that Prometheus sees their first increase.

use super::parser::parse;
use crate::metrics::turns::{TURN_OUTCOMES, begin_companion};
use crate::metrics::{encode, families, start};

/// The counters whose labels have values of closed lists only.
const FROM_THE_START: [&str; 12] = [
    "masque_authentication_failures_total",
    "masque_compile_cache_total",
    "masque_connections_accepted_total",
    "masque_connections_closed_early_total",
    "masque_leases_lost_total",
    "masque_log_lines_dropped_total",
    "masque_rate_limited_requests_total",
    "masque_records_dropped_total",
    "masque_reloads_total",
    "masque_spans_dropped_total",
    "masque_traces_total",
    "masque_turns_refused_total",
];

fn body() -> String {
    encode(Some("application/openmetrics-text")).body
}

#[test]
fn counters_with_closed_lists_of_labels_have_all_their_series_from_the_start() {
    start();
    let shown = parse(&body());
    for name in FROM_THE_START {
        let family = families().find(|family| family.name == name).unwrap();
        let mut wanted = family.known_series();
        if family.labels.is_empty() {
            wanted.push(Vec::new());
        }
        assert!(!wanted.is_empty(), "{name}");
        for values in wanted {
            let labels: Vec<_> = family.labels.iter().copied().zip(values).collect();
            let found = shown[name.trim_end_matches("_total")].sample(name, &labels);
            assert!(found.is_some(), "{name} has no {labels:?}");
        }
    }
    let page = include_str!("../../../../../docs/metrics.md");
    let (_, described) = page.split_once("### Counters that begin with 0").unwrap();
    for family in families().filter(|family| !family.values.is_empty()) {
        assert!(described.contains(&format!("`{}`", family.name)), "{} is not described", family.name);
        assert!(FROM_THE_START.contains(&family.name), "{} is not listed", family.name);
        assert_eq!(family.values.len(), family.labels.len(), "{}", family.name);
    }
}

#[test]
fn the_known_series_are_the_combinations_of_the_values_of_each_label() {
    let family = families().find(|family| family.name == "masque_connections_closed_early_total").unwrap();
    let series = family.known_series();
    assert_eq!(series.len(), 12);
    assert!(series.contains(&vec!["public", "idle"]) && series.contains(&vec!["socket", "evicted"]));
}

#[test]
fn a_companion_counts_its_turns_from_zero() {
    begin_companion("begun");
    let shown = parse(&body());
    for outcome in TURN_OUTCOMES {
        let labels = [("companion", "begun"), ("outcome", outcome)];
        let sample = shown["masque_turns"].sample("masque_turns_total", &labels).unwrap();
        assert_eq!(sample.value, 0.0, "{outcome}");
    }
}
