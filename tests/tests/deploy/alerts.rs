//! Every alert is tested, firing and not firing, and has a runbook.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use masque_tests::deploy::{alerts, files_in, in_repository};
use masque_tests::eventually;
use masque_tests::prometheus::Prometheus;

/// Runs `promtool`, which must succeed.
fn promtool(words: &[&str]) {
    let output = Command::new("promtool")
        .args(words)
        .current_dir(in_repository("deploy/prometheus"))
        .stdin(Stdio::null())
        .output()
        .expect("promtool is installed by `cargo xtask test`");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

#[test]
fn the_example_of_prometheus_and_all_rules_are_valid() {
    promtool(&["check", "config", "prometheus.yaml"]);
}

#[test]
fn the_lines_for_a_host_with_tls_are_valid_too() {
    let text = std::fs::read_to_string(in_repository("deploy/prometheus/prometheus.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.crt");
    std::fs::write(&authority, "").unwrap();
    let marked = "    # scheme: https\n    # tls_config:\n    #   { ca_file: /etc/prometheus/masque-ca.crt,";
    assert!(text.contains(marked), "{text}");
    let unmarked = format!("    scheme: https\n    tls_config:\n      {{ ca_file: {},", authority.display());
    let file = folder.path().join("prometheus.yaml");
    std::fs::write(&file, text.replace(marked, &unmarked)).unwrap();
    std::fs::copy(in_repository("deploy/prometheus/rules.yaml"), folder.path().join("rules.yaml")).unwrap();
    promtool(&["check", "config", file.to_str().unwrap()]);
}

#[tokio::test]
async fn prometheus_loads_every_alert_and_says_that_it_scrapes_no_host() {
    let prometheus = Prometheus::start(&[]).await;
    let rules = eventually("all alerts to be evaluated", || async {
        let rules = prometheus.rules().await;
        rules.iter().all(|rule| rule["health"] == "ok").then_some(rules)
    })
    .await;
    // Groups come in the order of their names.
    let mut loaded: Vec<_> = rules.iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect();
    let mut written: Vec<_> = alerts().into_iter().map(|alert| alert.name).collect();
    loaded.sort();
    written.sort();
    assert_eq!(loaded, written);
    prometheus.until("ALERTS{alertname=\"TargetMissing\",alertstate=\"pending\"}").await;
}

#[test]
fn the_tests_of_the_alerts_pass() {
    let files = files_in("deploy/prometheus/tests", "yaml");
    let files = files.iter().map(|file| file.to_str().unwrap());
    promtool(&["test", "rules"].into_iter().chain(files).collect::<Vec<_>>());
}

#[test]
fn every_alert_is_tested_firing_and_not_firing() {
    let files = files_in("deploy/prometheus/tests", "yaml");
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let checks: Vec<_> = text.split("alertname: ").skip(1).collect();
    for alert in alerts() {
        let of_alert: Vec<_> =
            checks.iter().filter_map(|check| check.strip_prefix(&format!("{}\n", alert.name))).collect();
        // Rules of one alert differ in a label.
        let differing = |key: &str| {
            let line = alert.rest.lines().find_map(|line| line.trim().strip_prefix(key))?;
            Some(format!("{key}{line}"))
        };
        let labels = [differing("severity: "), differing("window: ")];
        let fires = |check: &&&str| {
            check.trim_start().starts_with("exp_alerts:")
                && labels.iter().flatten().all(|label| {
                    let (name, value) = label.split_once(": ").unwrap();
                    check.contains(label.as_str()) || check.contains(&format!("{name}: \"{value}\""))
                })
        };
        assert!(of_alert.iter().any(|check| fires(&check)), "{} {labels:?} is not tested firing", alert.name);
        assert!(
            of_alert.iter().any(|check| !fires(&check)),
            "{} {labels:?} is not tested silent",
            alert.name
        );
    }
}

#[test]
fn every_alert_has_a_severity_texts_and_a_runbook() {
    for alert in alerts() {
        let has = |key: &str| alert.rest.lines().any(|line| line.trim().starts_with(key));
        assert!(has("severity: critical") || has("severity: warning"), "{}", alert.name);
        assert!(has("summary: ") && has("description: "), "{}", alert.name);
        let runbook = format!("docs/runbooks/{}.md", alert.name);
        assert!(has(&format!("runbook_url: {runbook}")), "{}", alert.name);
        let text = std::fs::read_to_string(in_repository(&runbook)).expect(&runbook);
        for part in ["**What users notice.**", "## First checks", "## Causes"] {
            assert!(text.contains(part), "{runbook} has no {part:?}");
        }
    }
}

#[test]
fn every_runbook_is_that_of_an_alert_and_in_the_index() {
    let names: BTreeSet<_> = alerts().into_iter().map(|alert| alert.name).collect();
    let index = std::fs::read_to_string(in_repository("docs/runbooks/README.md")).unwrap();
    for file in files_in("docs/runbooks", "md") {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if name != "README" {
            assert!(names.contains(&name), "there is no alert {name}");
            assert!(index.contains(&format!("[{name}]({name}.md)")), "{name} is not in the index");
        }
    }
}
