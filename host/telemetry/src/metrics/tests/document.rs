//! The tables of `docs/metrics.md`, which are written from the code: `MASQUE_WRITE_DOCS=1 cargo test -p masque-telemetry`.

use std::fmt::Write as _;
use std::path::Path;

use crate::metrics::buckets::{MEMORY_BYTES, OPERATION_SECONDS, QUOTA_RATIO, REQUEST_SECONDS, SHORT_SECONDS};
use crate::metrics::{Description, encode, http, plugins, process, state, turns};

const BEGIN: &str = "<!-- The tables from here on are written by a test of masque-telemetry. -->\n";
const END: &str = "<!-- End of the tables. -->\n";

/// The names of the lists of buckets.
const BUCKETS: [(&str, &[f64]); 5] = [
    ("request", REQUEST_SECONDS),
    ("operation", OPERATION_SECONDS),
    ("short", SHORT_SECONDS),
    ("memory", MEMORY_BYTES),
    ("quota", QUOTA_RATIO),
];

fn tables() -> String {
    let mut text = String::new();
    for (title, families) in [
        ("Requests and connections", http::FAMILIES),
        ("Turns, tokens and budgets", turns::FAMILIES),
        ("Plugins", plugins::FAMILIES),
        ("Databases, hosts and jobs", state::FAMILIES),
        ("Process", process::FAMILIES),
    ] {
        let _ =
            write!(text, "\n### {title}\n\n| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n");
        for family in families {
            text.push_str(&row(family));
        }
    }
    for (name, kind, help) in of_the_process() {
        let _ = writeln!(text, "| `{name}` | {kind} | – | {help} |");
    }
    text.push_str("\n### Buckets\n\n| list | upper bounds |\n| --- | --- |\n");
    for (name, bounds) in BUCKETS {
        let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
        let _ = writeln!(text, "| {name} | {} |", bounds.join(", "));
    }
    text.push('\n');
    text
}

fn row(family: &Description) -> String {
    let Description { name, kind, labels, help, .. } = family;
    let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
    let labels = if labels.is_empty() { "–".to_owned() } else { labels.join(", ") };
    let buckets = BUCKETS.iter().find(|(_, bounds)| !bounds.is_empty() && *bounds == family.buckets());
    let kind = match buckets {
        Some((list, _)) => format!("{kind} ([{list}](#buckets))"),
        None => (*kind).to_owned(),
    };
    format!("| `{name}` | {kind} | {labels} | {help} |\n")
}

/// The families of the collector of `prometheus`: name, kind and meaning.
fn of_the_process() -> Vec<(String, String, String)> {
    let body = encode(None).body;
    let kind = |name: &str| {
        let line = body.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} ")));
        line.unwrap().to_owned()
    };
    body.lines()
        .filter_map(|line| line.strip_prefix("# HELP process_")?.split_once(' '))
        .map(|(name, help)| (format!("process_{name}"), help.to_owned()))
        .map(|(name, help)| (name.clone(), kind(&name), help))
        .collect()
}

#[test]
fn the_page_lists_every_family_as_the_code_declares_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let tables = tables();
    if std::env::var_os("MASQUE_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{tables}{END}{after}")).unwrap();
        return;
    }
    assert!(
        written == tables,
        "docs/metrics.md differs from the code; write it with MASQUE_WRITE_DOCS=1:\n{tables}"
    );
}
