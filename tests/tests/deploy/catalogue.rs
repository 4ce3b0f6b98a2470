//! The metrics that exist: those that the code declares, and those that the process and Prometheus add.

use masque_telemetry::metrics::{Description, families};
use masque_tests::promql::Expression;

/// What the collector of the process adds, and Prometheus itself.
const BUILT_IN: [&str; 8] = [
    "up",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

/// The labels that Prometheus adds to what it scrapes.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];

/// The labels whose values are closed lists: a help text that names values names all of them.
const CLOSED: [&str; 8] =
    ["outcome", "database", "state", "for", "reason", "direction", "listener", "decision"];

fn family(metric: &str) -> Option<&'static Description> {
    families().find(|family| match family.kind {
        "histogram" => {
            ["_bucket", "_sum", "_count"].iter().any(|part| metric.strip_suffix(part) == Some(family.name))
        }
        _ => family.name == metric,
    })
}

/// Whether a series of this name can exist.
pub(super) fn is_metric(name: &str) -> bool {
    BUILT_IN.contains(&name) || family(name).is_some()
}

fn has_label(metric: &str, label: &str) -> bool {
    TARGET_LABELS.contains(&label)
        || metric.ends_with("_bucket") && label == "le"
        || family(metric).is_some_and(|family| family.labels.contains(&label))
}

/// What is wrong with the names in an expression.
pub(super) fn problems(expression: &str) -> Vec<String> {
    let found = Expression::read(expression);
    let mut problems = Vec::new();
    for selector in &found.selectors {
        let metric = &selector.metric;
        if !is_metric(metric) {
            problems.push(format!("there is no metric `{metric}`"));
            continue;
        }
        for (label, value) in &selector.matchers {
            if !has_label(metric, label) {
                problems.push(format!("`{metric}` has no label `{label}`"));
            }
            problems.extend(unknown_values(metric, label, value));
        }
    }
    for label in &found.grouping {
        if !found.selectors.iter().any(|selector| has_label(&selector.metric, label)) {
            problems.push(format!("no metric of {expression:?} has the label `{label}`"));
        }
    }
    if found.selectors.is_empty() {
        problems.push(format!("{expression:?} names no metric"));
    }
    problems
}

/// Values that the help text of a metric does not name. A variable of a dashboard is any value.
fn unknown_values(metric: &str, label: &str, values: &str) -> Vec<String> {
    let Some(family) = family(metric) else { return Vec::new() };
    if !CLOSED.contains(&label) || !family.help.contains('`') {
        return Vec::new();
    }
    let known: Vec<_> = family.help.split('`').skip(1).step_by(2).collect();
    let unknown = values.split('|').filter(|value| !value.starts_with('$') && !known.contains(value));
    unknown.map(|value| format!("`{metric}` has no `{label}` of the value `{value}`")).collect()
}

#[test]
fn a_misspelt_metric_label_or_value_is_found() {
    for (wrong, word) in [
        ("sum(rate(masque_turn_total[5m]))", "masque_turn_total"),
        ("masque_turn_duration_seconds", "masque_turn_duration_seconds"),
        ("masque_turns_total{compaion=\"elara\"}", "compaion"),
        ("sum by (outcom) (masque_turns_total)", "outcom"),
        ("masque_turns_total{outcome=~\"failed|broken\"}", "broken"),
        ("masque_database_up{database=\"postgres\"}", "postgres"),
        ("process_resident_memory", "process_resident_memory"),
    ] {
        let found = problems(wrong);
        assert!(found.iter().any(|problem| problem.contains(word)), "{wrong}: {found:?}");
    }
    let right = "sum by (le, companion) (rate(masque_turn_duration_seconds_bucket{outcome=\"failed\",job=\"x\"}[5m]))";
    assert_eq!(problems(right), [""; 0]);
}
