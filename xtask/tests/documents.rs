//! Links, paths and test names in the documents exist.
//!
//! What the documents say of the configuration, of errors and of plugins is compared with the code by tests of those crates.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "these are tests, which fail by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Top folders of the workspace: a code span that begins with one of them is a path.
const FOLDERS: [&str; 10] =
    ["bench/", "docs/", "examples/", "fuzz/", "host/", "plugins/", "sdk/", "tests/", "wit/", "xtask/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Markdown files of the root, of `docs`, and those next to the code that they describe.
fn documents() -> Vec<PathBuf> {
    let mut documents: Vec<_> = ["wit", "fuzz", "tests/golden"]
        .map(|folder| root().join(folder).join("README.md"))
        .into_iter()
        .chain(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)))
        .collect();
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    documents.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    documents
}

/// The text without fenced code blocks.
fn prose(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push(line);
        }
    }
    lines.join("\n")
}

/// The anchors of a document: its headings as GitHub derives them, and its own `<a id="…">`.
fn anchors(path: &Path) -> BTreeSet<String> {
    let text = prose(path);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    });
    let ids = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next().map(str::to_owned));
    headings.chain(ids).collect()
}

/// The code spans of a text.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        for part in prose(&document).split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            let found = file.exists() && (anchor.is_empty() || anchors(&file).contains(anchor));
            if !found {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn every_path_that_the_architecture_page_names_exists() {
    let text = prose(&root().join("docs/architecture.md"));
    let paths: Vec<_> =
        spans(&text).filter(|span| FOLDERS.iter().any(|folder| span.starts_with(folder))).collect();
    assert!(paths.len() > 50, "the page names paths: {}", paths.len());
    let missing: BTreeSet<_> = paths.into_iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "paths that do not exist: {missing:#?}");
}

#[test]
fn every_test_that_the_architecture_page_names_exists() {
    let text = prose(&root().join("docs/architecture.md"));
    let invariants = text.split("\n## Invariants\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut count = 0;
    let mut missing = Vec::new();
    for row in invariants.lines().filter(|line| line.starts_with("| **")) {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for group in tests.split("; ") {
            let spans: Vec<_> = spans(group).collect();
            let (file, names) = spans.split_last().unwrap();
            let code = fs::read_to_string(root().join(file)).unwrap_or_default();
            assert!(!names.is_empty(), "{group}");
            count += names.len();
            let absent = names.iter().filter(|name| !code.contains(&format!("fn {name}(")));
            missing.extend(absent.map(|name| format!("{name} in {file}")));
        }
    }
    assert!(count > 30, "the page names tests: {count}");
    assert!(missing.is_empty(), "tests that do not exist:\n{}", missing.join("\n"));
}
