//! Series that come and go, and values that are read when metrics are.

use super::parser::parse;
use crate::metrics::{encode, on_scrape, plugins, state};
use crate::trace::TraceContext;

fn body() -> String {
    encode(Some("application/openmetrics-text")).body
}

#[test]
fn a_version_that_is_forgotten_leaves_no_series_and_others_stay() {
    let touch = |plugin: &str, version: &str| {
        plugins::CALLS.increment(&[plugin, version, "recall", "ok"]);
        plugins::CALL_DURATION.observe_traced(
            &[plugin, version, "recall"],
            0.2,
            TraceContext::root().with_sampled(true),
        );
        plugins::CALL_MEMORY.observe(&[plugin, version], 1e6);
    };
    touch("forgotten", "2.0.0");
    touch("remembered", "1.0.0");
    let series = || body().lines().filter(|line| line.contains("forgotten")).count();
    let at_start = series();
    for round in 0..100 {
        let version = format!("1.0.{round}");
        touch("forgotten", &version);
        assert!(series() > at_start);
        plugins::forget("forgotten", &version);
        assert_eq!(series(), at_start);
    }
    plugins::forget("forgotten", "2.0.0");
    plugins::forget("forgotten", "never loaded");
    let left = body();
    assert!(!left.contains("forgotten") && left.contains("remembered"));
    // What begins anew has no exemplar of before.
    plugins::CALL_DURATION.observe(&["forgotten", "2.0.0", "recall"], 0.2);
    let calls = &parse(&body())["masque_plugin_call_duration_seconds"];
    assert!(
        calls.samples.iter().filter(|it| it.labels["plugin"] == "forgotten").all(|it| it.exemplar.is_none())
    );
}

#[test]
fn a_value_that_is_read_is_current_at_every_scrape() {
    let reads = std::sync::atomic::AtomicU64::new(0);
    on_scrape(move || {
        state::POOL.set(&["scraped", "used"], reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    });
    let read = || {
        let pool = &parse(&body())["masque_database_pool_connections"];
        pool.sample("masque_database_pool_connections", &[("database", "scraped")]).unwrap().value
    };
    let first = read();
    assert!(read() > first);
}

#[test]
fn a_dropped_line_of_the_log_is_counted() {
    use crate::line_queue::{LineQueue, Priority};
    let dropped = || {
        let families = parse(&body());
        families["masque_log_lines_dropped"].samples.iter().map(|sample| sample.value).sum::<f64>()
    };
    let before = dropped();
    LineQueue::new(0).push(Priority::Normal, b"lost");
    assert!(dropped() > before);
}
