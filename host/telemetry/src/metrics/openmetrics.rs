//! Writes OpenMetrics 1.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>) from what `prometheus` has gathered.
//!
//! It differs from the text format: a counter's family is named without `_total`, units are stated, histograms have exemplars,
//! bounds of buckets always have a point or an exponent, and the end is marked.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::declare::Description;
use super::exemplars::{Exemplar, OfBuckets};

/// The units that names end with.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

/// Writes the families that have series, then the descriptions of those that have none yet.
pub(crate) fn encode(gathered: &[MetricFamily], declared: &[&Description]) -> String {
    let mut text = String::new();
    for family in gathered {
        let declared = declared.iter().find(|declared| declared.name == family.name());
        write_family(&mut text, family, declared.copied());
    }
    for declared in declared {
        if !gathered.iter().any(|family| family.name() == declared.name) {
            write_descriptor(&mut text, declared.name, declared.kind, declared.help);
        }
    }
    text.push_str("# EOF\n");
    text
}

/// The name of a family: that of a counter has no `_total`.
fn family_name<'a>(name: &'a str, kind: &str) -> &'a str {
    if kind == "counter" { name.strip_suffix("_total").unwrap_or(name) } else { name }
}

fn write_descriptor(text: &mut String, name: &str, kind: &str, help: &str) {
    let name = family_name(name, kind);
    // Writing to a string can't fail, here and below.
    let _ = writeln!(text, "# TYPE {name} {kind}");
    let is_unit = |unit: &&&str| name.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_'));
    if let Some(unit) = UNITS.iter().find(is_unit) {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    let _ = writeln!(text, "# HELP {name} {}", escaped(help));
}

fn write_family(text: &mut String, family: &MetricFamily, declared: Option<&Description>) {
    let (name, help) = (family.name(), family.help());
    match family.get_field_type() {
        MetricType::COUNTER => {
            write_descriptor(text, name, "counter", help);
            for metric in family.get_metric() {
                let value = metric.get_counter().get_value();
                write_sample(text, family_name(name, "counter"), "_total", metric, value);
            }
        }
        MetricType::GAUGE => {
            write_descriptor(text, name, "gauge", help);
            for metric in family.get_metric() {
                write_sample(text, name, "", metric, metric.get_gauge().get_value());
            }
        }
        MetricType::HISTOGRAM => {
            write_descriptor(text, name, "histogram", help);
            for metric in family.get_metric() {
                write_histogram(text, name, metric, &exemplars(metric, declared));
            }
        }
        // This host declares no others.
        MetricType::SUMMARY | MetricType::UNTYPED => {}
    }
}

fn exemplars(metric: &Metric, declared: Option<&Description>) -> OfBuckets {
    let Some(declared) = declared else { return OfBuckets::new() };
    let value = |label: &&str| {
        metric.get_label().iter().find(|pair| pair.name() == *label).map(|pair| pair.value().to_owned())
    };
    let labels: Vec<String> = declared.labels.iter().filter_map(value).collect();
    (declared.family)().exemplars().map(|exemplars| exemplars.of(&labels)).unwrap_or_default()
}

fn write_histogram(text: &mut String, name: &str, metric: &Metric, exemplars: &OfBuckets) {
    let histogram = metric.get_histogram();
    let finite = histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite());
    let finite = finite.map(|bucket| (bound(bucket.upper_bound()), bucket.cumulative_count()));
    let all = finite.chain([("+Inf".to_owned(), histogram.get_sample_count())]);
    for (index, (bound, count)) in all.enumerate() {
        let _ = write!(text, "{name}_bucket");
        write_labels(text, metric.get_label(), Some(("le", &bound)));
        let _ = write!(text, " {count}");
        if let Some(Some(exemplar)) = exemplars.get(index) {
            write_exemplar(text, exemplar);
        }
        text.push('\n');
    }
    write_sample(text, name, "_sum", metric, histogram.get_sample_sum());
    let _ = write!(text, "{name}_count");
    write_labels(text, metric.get_label(), None);
    let _ = writeln!(text, " {}", histogram.get_sample_count());
}

fn write_exemplar(text: &mut String, exemplar: &Exemplar) {
    let Exemplar { trace_id, value, at } = *exemplar;
    let _ = write!(text, " # {{trace_id=\"{trace_id:032x}\"}} {}", number(value));
    // A clock before 1970 has no time to show, and the time is optional.
    if let Ok(at) = at.duration_since(UNIX_EPOCH) {
        let _ = write!(text, " {}.{:03}", at.as_secs(), at.subsec_millis());
    }
}

fn write_sample(text: &mut String, name: &str, suffix: &str, metric: &Metric, value: f64) {
    let _ = write!(text, "{name}{suffix}");
    write_labels(text, metric.get_label(), None);
    let _ = writeln!(text, " {}", number(value));
}

fn write_labels(text: &mut String, pairs: &[LabelPair], additional: Option<(&str, &str)>) {
    let pairs = pairs.iter().map(|pair| (pair.name(), pair.value())).chain(additional);
    let mut separator = '{';
    for (name, value) in pairs {
        let _ = write!(text, "{separator}{name}=\"{}\"", escaped(value));
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

/// The bound of a bucket in the specification's canonical form, which is that of Go and of the Python client: `0.005`, `1.0`,
/// `5e-05`, `1.048576e+06`.
fn bound(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) || value == 0.0 {
        let plain = value.to_string();
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_other_clients_write_them() {
        for (value, expected) in [
            (0.000_05, "5e-05"),
            (0.000_25, "0.00025"),
            (0.005, "0.005"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (10.0, "10.0"),
            (120.0, "120.0"),
            (65_536.0, "65536.0"),
            (1_048_576.0, "1.048576e+06"),
            (1_000_000.0, "1e+06"),
            (268_435_456.0, "2.68435456e+08"),
        ] {
            assert_eq!(bound(value), expected);
        }
    }

    #[test]
    fn only_counters_lose_the_ending_of_their_name() {
        assert_eq!(family_name("http_requests_total", "counter"), "http_requests");
        assert_eq!(family_name("seats_total", "gauge"), "seats_total");
    }
}
