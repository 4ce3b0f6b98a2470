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

/// All Markdown files of the repository.
fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_built = ["target", "node_modules", ".git", ".venv"].contains(&&*name);
            // A link to a file or folder is not followed: what it leads to is found where it is.
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !is_built {
                folders.push(path);
            } else if kind.is_file() && name.ends_with(".md") {
                documents.push(path);
            }
        }
    }
    for name in ["README.md", "CONTRIBUTING.md", "docs/README.md", "docs/runbooks/README.md", "wit/README.md"]
    {
        assert!(documents.contains(&root().join(name)), "{name} is not found");
    }
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
            if target.contains("://") || target.starts_with("mailto:") {
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
fn the_index_names_every_document() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let names = docs.map(|name| name.into_string().unwrap());
    let missing: Vec<_> = names
        .filter(|name| name.ends_with(".md") && name != "README.md" && !index.contains(&format!("]({name})")))
        .collect();
    assert!(missing.is_empty(), "docs/README.md does not name {missing:?}");
}

/// The names of functions in the files of a folder, and the names of files and folders, which are modules.
fn names_of_tests(folder: &Path, names: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let is_code = path.extension().is_some_and(|extension| extension == "rs");
        if kind.is_dir() || is_code {
            names.push_str(&path.file_stem().unwrap().to_string_lossy());
            names.push('\n');
        }
        if kind.is_dir() {
            names_of_tests(&path, names);
        } else if is_code {
            let code = fs::read_to_string(&path).unwrap();
            let lines = code.lines().filter_map(|line| line.split_once("fn ").map(|(_, rest)| rest));
            names.extend(lines.filter_map(|rest| rest.split_once('(')).map(|(name, _)| format!("{name}\n")));
        }
    }
}

#[test]
fn every_test_that_is_the_proof_of_a_promise_exists() {
    let text = prose(&root().join("docs/production-readiness.md"));
    let mut names = String::new();
    names_of_tests(&root().join("tests/tests"), &mut names);
    names_of_tests(&root().join("host"), &mut names);
    let commands = spans(&text).filter_map(|span| span.strip_prefix("cargo xtask test "));
    let filters: Vec<_> = commands.map(|rest| rest.trim_start_matches("--full ")).collect();
    assert!(filters.len() > 20, "the page names tests: {}", filters.len());
    let missing: BTreeSet<_> = filters.into_iter().filter(|filter| !names.contains(*filter)).collect();
    assert!(missing.is_empty(), "no test has these names: {missing:#?}");
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
