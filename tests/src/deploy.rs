//! Reads the folder `deploy`: alerts and dashboards.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// One alert of `rules.yaml`.
#[derive(Debug)]
pub struct Alert {
    pub name: String,
    pub expression: String,
    /// The lines of its labels and annotations.
    pub rest: String,
}

/// One query of a panel.
#[derive(Debug)]
pub struct PanelQuery {
    /// The file of the dashboard, and the title of the panel.
    pub place: String,
    pub expression: String,
}

/// A file or folder of the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// The files in a folder of the repository with this ending, sorted.
pub fn files_in(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(in_repository(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    files.sort();
    assert!(!files.is_empty(), "{folder} has no .{ending}");
    files
}

/// The files that the links of a Markdown page name, relative to the page. Links to other servers and within the page are left
/// out.
pub fn linked_files(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '\n']).next());
    let files = targets.filter(|target| !target.contains(':')).filter_map(|target| target.split('#').next());
    files.filter(|file| !file.is_empty()).collect()
}

/// All alerts, read by the indentation that the file has.
pub fn alerts() -> Vec<Alert> {
    let text = std::fs::read_to_string(in_repository("deploy/prometheus/rules.yaml")).unwrap();
    let parts = text.split("\n      - alert: ").skip(1);
    let alerts: Vec<_> = parts
        .map(|part| {
            let (name, rest) = part.split_once('\n').unwrap();
            let rest = rest.strip_prefix("        expr: |\n").expect("the expression is a block");
            let end = rest.find("\n        ").map_or(0, |_| {
                let lines = rest.split_inclusive('\n');
                lines.take_while(|line| line.starts_with("          ")).map(str::len).sum()
            });
            let (expression, rest) = rest.split_at(end);
            Alert { name: name.to_owned(), expression: expression.to_owned(), rest: rest.to_owned() }
        })
        .collect();
    assert!(alerts.len() > 20, "the alerts are not found");
    alerts
}

/// Each dashboard: the name of its file, and its content.
pub fn dashboards() -> Vec<(String, Value)> {
    let files = files_in("deploy/grafana/dashboards", "json");
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())
    };
    files.into_iter().map(read).collect()
}

/// The queries of all panels.
pub fn panel_queries() -> Vec<PanelQuery> {
    let mut queries = Vec::new();
    for (file, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            let place = format!("{file}: {}", panel["title"].as_str().unwrap());
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap().to_owned();
                queries.push(PanelQuery { place: place.clone(), expression });
            }
        }
    }
    assert!(queries.len() > 50, "the queries are not found");
    queries
}
