//! A strict parser of OpenMetrics 1.0: it accepts what the specification's grammar and rules allow and no more, as far as
//! counters, gauges and histograms are concerned.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    pub(super) unit: Option<String>,
    pub(super) help: String,
    pub(super) samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
    pub(super) exemplar: Option<(BTreeMap<String, String>, f64, f64)>,
}

impl Family {
    pub(super) fn sample(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        self.samples.iter().find(|sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|it| it == value))
        })
    }
}

/// Panics at the first violation.
pub(super) fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked, and nothing follows");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        assert!(!line.is_empty() && line != "# EOF" && !line.ends_with(' '), "{line:?}");
        if let Some(descriptor) = line.strip_prefix("# ") {
            let mut words = descriptor.splitn(3, ' ');
            let (what, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            if what == "TYPE" {
                assert!(["counter", "gauge", "histogram"].contains(&rest), "{line}");
                assert!(is_name(name), "{line}");
                let family = Family { kind: rest.to_owned(), ..Family::default() };
                assert!(families.insert(name.to_owned(), family).is_none(), "{name} comes twice");
                current = name.to_owned();
            }
            assert_eq!(name, current, "the descriptors of a family stand together");
            let family = families.get_mut(name).unwrap();
            assert!(family.samples.is_empty(), "descriptors come before samples: {line}");
            match what {
                "TYPE" => {}
                "UNIT" => {
                    assert!(name.ends_with(&format!("_{rest}")), "{line}");
                    assert!(family.unit.replace(rest.to_owned()).is_none(), "{line}");
                }
                "HELP" => {
                    assert!(family.help.is_empty(), "{line}");
                    family.help = unescape(rest);
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let sample = parse_sample(line);
        let family = families.get_mut(&current).expect("a sample belongs to the family before it");
        let suffix =
            sample.name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} in {current}"));
        match (family.kind.as_str(), suffix) {
            ("counter", "_total") => assert!(sample.value >= 0.0 && sample.value.is_finite(), "{line}"),
            ("gauge", "") => {}
            ("histogram", "_bucket") => assert!(sample.labels.contains_key("le"), "{line}"),
            ("histogram", "_sum" | "_count") => assert!(!sample.labels.contains_key("le"), "{line}"),
            _ => panic!("{line} in a {}", family.kind),
        }
        if let Some((labels, value, _)) = &sample.exemplar {
            assert_eq!(suffix, "_bucket", "only buckets have exemplars here: {line}");
            let length: usize =
                labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
            assert!(length <= 128, "{line}");
            assert!(*value <= number(&sample.labels["le"]), "{line}");
        }
        family.samples.push(sample);
    }
    for (name, family) in &families {
        let ids: BTreeSet<_> = family.samples.iter().map(|sample| (&sample.name, &sample.labels)).collect();
        assert_eq!(ids.len(), family.samples.len(), "a series of {name} comes twice");
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

/// The buckets of one series follow one another with rising bounds and counts, and the last one counts all.
fn check_histogram(name: &str, family: &Family) {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let text = labels.remove("le").unwrap();
        assert!(text == "+Inf" || text.contains(['.', 'e']), "le=\"{text}\" is not canonical");
        series.entry(labels).or_default().push((number(&text), sample.value));
    }
    for (labels, buckets) in series {
        assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{name} {buckets:?}");
        let wanted: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let count = family.sample(&format!("{name}_count"), &wanted).expect("a count").value;
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}");
        assert!(family.sample(&format!("{name}_sum"), &wanted).is_some(), "{name}");
    }
}

fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let (labels, rest) = parse_labels(rest);
    let rest = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    let (value, exemplar) = match rest.split_once(" # ") {
        None => (rest, None),
        Some((value, exemplar)) => {
            let (labels, rest) = parse_labels(exemplar);
            let (value_of, at) = rest.strip_prefix(' ').unwrap().split_once(' ').expect("a time");
            (value, Some((labels, number(value_of), number(at))))
        }
    };
    Sample { name: name.to_owned(), labels, value: number(value), exemplar }
}

/// The labels at the beginning of the text, and what follows them.
fn parse_labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (labels, text) };
    loop {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(is_name(name) && !name.contains(':'), "{name:?} in {text}");
        let mut escaped = false;
        let end = after
            .char_indices()
            .find(|(_, c)| {
                let is_end = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                is_end
            })
            .unwrap_or_else(|| panic!("{text}"))
            .0;
        let value = unescape(&after[..end]);
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} comes twice in {text}");
        rest = &after[end + 1..];
        match rest.chars().next() {
            Some(',') => rest = &rest[1..],
            Some('}') => return (labels, &rest[1..]),
            _ => panic!("{text}"),
        }
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => plain.push('\n'),
                Some(escaped @ ('"' | '\\')) => plain.push(escaped),
                other => panic!("\\{other:?} in {text}"),
            },
            '"' => panic!("a quote in {text}"),
            other => plain.push(other),
        }
    }
    plain
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        _ => {
            assert!(text.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c)), "{text}");
            text.parse().unwrap()
        }
    }
}
