//! Alerts, their tests, dashboards and runbooks name metrics and labels that the code has.

use masque_tests::deploy::{alerts, dashboards, files_in, in_repository, panel_queries};
use masque_tests::promql::Expression;

use super::catalogue::{is_metric, problems};

/// Fails with all problems at once.
fn expect_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// The problems of expressions, each with its place.
fn problems_of<'a>(expressions: impl Iterator<Item = (String, &'a str)>) -> Vec<String> {
    expressions
        .flat_map(|(place, expression)| {
            problems(expression).into_iter().map(move |problem| format!("{place}: {problem}"))
        })
        .collect()
}

#[test]
fn every_metric_and_label_of_the_alerts_exists() {
    let alerts = alerts();
    expect_none(&problems_of(alerts.iter().map(|alert| (alert.name.clone(), alert.expression.as_str()))));
}

#[test]
fn every_label_in_the_text_of_an_alert_is_one_of_its_series() {
    for alert in alerts() {
        let expression = Expression::read(&alert.expression);
        for part in alert.rest.split("$labels.").skip(1) {
            let label: String =
                part.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect();
            // An aggregation keeps only what it groups by.
            let is_kept = if ["sum", "max(", "max by"].iter().any(|word| alert.expression.contains(word)) {
                expression.grouping.contains(&label)
            } else {
                label == "instance"
            };
            assert!(is_kept, "{}: its series have no `{label}`", alert.name);
        }
    }
}

#[test]
fn every_series_in_the_tests_of_the_alerts_exists() {
    let mut found = Vec::new();
    for file in files_in("deploy/prometheus/tests", "yaml") {
        let text = std::fs::read_to_string(&file).unwrap();
        let series: Vec<_> =
            text.lines().filter_map(|line| line.trim().strip_prefix("- series: '")).collect();
        assert!(!series.is_empty(), "{} has no series", file.display());
        for series in series {
            let series = series.strip_suffix('\'').unwrap();
            let names = problems(series).into_iter().filter(|problem| !problem.contains("of the value"));
            found.extend(names.map(|problem| format!("{}: {problem}", file.display())));
        }
    }
    expect_none(&found);
}

#[test]
fn every_metric_and_label_of_the_dashboards_exists() {
    let queries = panel_queries();
    expect_none(&problems_of(queries.iter().map(|query| (query.place.clone(), query.expression.as_str()))));
    for query in queries {
        assert!(!query.expression.contains("vector("), "{}: {}", query.place, query.expression);
    }
}

#[test]
fn the_variables_of_a_dashboard_are_labels_that_exist_and_all_its_panels_use_its_data_source() {
    for (file, dashboard) in dashboards() {
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert_eq!(variables[0]["type"], "datasource", "{file}");
        for variable in &variables[1..] {
            let query = variable["query"]["query"].as_str().unwrap();
            let inside = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
            let (metric, label) = inside.and_then(|inside| inside.split_once(", ")).unwrap();
            let series = format!("{metric}{{{label}=\"$any\"}}");
            expect_none(&problems(&series));
            let name = format!("${}", variable["name"].as_str().unwrap());
            assert!(dashboard["panels"].to_string().contains(&name), "{file} does not use {name}");
        }
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{file}: {}", panel["title"]);
            }
        }
    }
}

#[test]
fn every_metric_in_the_runbooks_exists() {
    let mut found = Vec::new();
    let mut files = files_in("docs/runbooks", "md");
    files.push(in_repository("docs/migrating.md"));
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let place = file.file_name().unwrap().to_string_lossy().into_owned();
        let blocks = text.split("```promql\n").skip(1).map(|block| block.split("```").next().unwrap());
        let lines = blocks.flat_map(str::lines).map(|line| (place.clone(), line));
        found.extend(problems_of(lines));
        let prose: String = text.split("```").step_by(2).collect();
        for quoted in prose.split('`').skip(1).step_by(2) {
            let name = quoted.split(['{', '[']).next().unwrap();
            let parts = ["masque_", "http_request", "llm_", "database_query_", "process_"];
            let is_name = name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
            // `masque_` alone is the beginning of names, and a histogram is named by its family.
            if is_name && name != "masque_" && parts.iter().any(|part| name.starts_with(part)) {
                let exists = is_metric(name) || is_metric(&format!("{name}_bucket"));
                found.extend((!exists).then(|| format!("{place}: there is no metric `{name}`")));
            }
        }
    }
    expect_none(&found);
}
