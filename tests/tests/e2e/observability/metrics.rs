//! A real Prometheus scrapes hosts through a workload: every metric exists and changes, every panel shows a value, every alert
//! is loaded, and a histogram leads to the trace of a client.

use std::collections::BTreeSet;

use masque_telemetry::metrics::families;
use masque_tests::deploy::{alerts, panel_queries};
use masque_tests::eventually;
use masque_tests::prometheus::{Prometheus, seconds};

use super::installation::Installation;
use super::workload::{TRACE, play};

/// Metrics that exist and stay the same while a host runs, each with the reason.
const CONSTANT: [(&str, &str); 6] = [
    ("masque_build_info", "a host has one version"),
    ("masque_database_pool_connections_limit", "a setting that takes effect at the start"),
    ("masque_instances_limit", "a setting that takes effect at the start"),
    ("masque_log_lines_dropped_total", "the log has to be left unread until its queue of 4 MiB is full"),
    ("masque_runtime_queued_tasks", "it is 0 unless all workers are busy"),
    ("masque_runtime_workers", "one for each processor"),
];

#[tokio::test]
async fn every_metric_changes_every_panel_shows_it_and_a_histogram_leads_to_a_trace() {
    let mut installation = Installation::start().await;
    let prometheus = installation.prometheus().await;
    let start = seconds();
    let before = series(&prometheus).await;

    play(&installation, &prometheus, 0).await;
    play(&installation, &prometheus, 1).await;

    let mut problems = unloaded_alerts(&prometheus).await;
    problems.extend(missing_exemplar(&prometheus, start).await);
    problems.extend(empty_panels(&prometheus, start).await);
    let _second = installation.join(&prometheus).await;
    problems.extend(missing_or_unchanged(&prometheus, &before, start).await);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// The names and labels of all series that Prometheus has now.
async fn series(prometheus: &Prometheus) -> BTreeSet<String> {
    let found = prometheus.query("{job=\"masque\"}").await;
    found.into_iter().map(|series| series["metric"].to_string()).collect()
}

/// Documented metrics that have no series, and those that have the same value all the time since `start`.
async fn missing_or_unchanged(prometheus: &Prometheus, before: &BTreeSet<String>, start: u64) -> Vec<String> {
    let after = series(prometheus).await;
    // From the first scrapes on.
    let all = format!("{}s", seconds() - start + 60);
    let of = |all: &BTreeSet<String>, name: &str| -> Vec<String> {
        let part = format!("\"__name__\":\"{name}\"");
        all.iter().filter(|series| series.contains(&part)).cloned().collect()
    };
    let mut problems = Vec::new();
    for family in families() {
        let is_constant = CONSTANT.iter().any(|(name, _)| *name == family.name);
        let name = match family.kind {
            "histogram" => format!("{}_count", family.name),
            _ => family.name.to_owned(),
        };
        if !prometheus.knows(family.name).await {
            problems.push(format!("{} is not announced", family.name));
        }
        let now = of(&after, &name);
        let ever = prometheus.query(&format!("count_over_time({name}[{all}])")).await;
        if ever.is_empty() {
            problems.push(format!("{name} does not exist"));
        } else if !is_constant {
            // Some series begin to exist with their first event.
            let has_new = now.iter().any(|series| !before.contains(series));
            let changes = prometheus.query(&format!("changes({name}[{all}]) > 0")).await;
            if !has_new && changes.is_empty() {
                problems.push(format!("{name} does not change"));
            }
        }
    }
    for (name, _) in &CONSTANT {
        if !families().any(|family| family.name == *name) {
            problems.push(format!("{name} is listed here, and is no metric"));
        }
    }
    problems
}

/// Panels without a value of the workload.
async fn empty_panels(prometheus: &Prometheus, start: u64) -> Vec<String> {
    let mut problems = Vec::new();
    for query in panel_queries() {
        let expression = query
            .expression
            .replace("$__rate_interval", "1m")
            .replace("$companion", ".*")
            .replace("$plugin", ".*")
            .replace("$instance", ".*");
        assert!(!expression.contains('$'), "a variable without a value: {expression}");
        let series = prometheus.query_since(&expression, start).await;
        let values = series.iter().flat_map(|series| series["values"].as_array().unwrap());
        let mut numbers = values.map(|value| value[1].as_str().unwrap().parse::<f64>().unwrap());
        let may_be_zero = expression.contains("masque_runtime_queued_tasks");
        if !numbers.any(|number| number.is_finite() && (may_be_zero || number != 0.0)) {
            problems.push(format!("{} has no value: {expression}", query.place));
        }
    }
    problems
}

/// Alerts that Prometheus does not evaluate without an error.
async fn unloaded_alerts(prometheus: &Prometheus) -> Vec<String> {
    let rules = eventually("all alerts to be evaluated", || async {
        let rules = prometheus.rules().await;
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    })
    .await;
    let mut problems: Vec<_> = rules
        .iter()
        .filter(|rule| rule["health"] != "ok")
        .map(|rule| format!("{}: {}", rule["name"], rule["lastError"]))
        .collect();
    if rules.len() != alerts().len() {
        problems.push(format!("{} of {} alerts are loaded", rules.len(), alerts().len()));
    }
    problems
}

/// The trace of the client, unless an exemplar names it.
async fn missing_exemplar(prometheus: &Prometheus, start: u64) -> Option<String> {
    let exemplars = prometheus.exemplars_since(start).await;
    let found = exemplars.iter().any(|exemplar| exemplar["labels"]["trace_id"] == TRACE);
    (!found).then(|| format!("no exemplar has the trace {TRACE}: {exemplars:?}"))
}
