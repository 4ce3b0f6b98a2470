//! Compares the dependencies between the crates of the workspace with the tables in `allowed`.

use std::collections::BTreeSet;

use super::allowed::{Allowed, FOLDERS, HOST, STORE, TEST_STORE};
use super::metadata::Package;

const TABLE: &str = "xtask/src/structure/allowed.rs";

/// Every dependency that no table allows, and every crate that no table knows, as one message each.
pub(crate) fn violations(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(|package| violations_of(package, packages)).collect()
}

fn violations_of(package: &Package, packages: &[Package]) -> Vec<String> {
    let is_host = is_in(&package.relative_folder, "host");
    let row = if is_host {
        HOST.iter().find(|(name, _)| *name == package.name)
    } else {
        let folders = FOLDERS.iter().filter(|(folder, _)| is_in(&package.relative_folder, folder));
        folders.max_by_key(|(folder, _)| folder.len())
    };
    let Some((_, allowed)) = row else {
        let table = if is_host { "HOST" } else { "FOLDERS" };
        return vec![format!(
            "error: no rule says what {} ({}) may depend on\n  \
             Add a row for it to the table {table} in {TABLE}.\n",
            package.name, package.relative_folder
        )];
    };
    let is_host_crate =
        |name: &str| packages.iter().any(|other| other.name == name && is_in(&other.relative_folder, "host"));
    let permits = |name: &str| match allowed {
        Allowed::All => true,
        Allowed::AllOfHost => is_host_crate(name),
        Allowed::Only(names) => names.contains(&name),
    };
    let for_tests = if is_host { reachable(&package.name) } else { BTreeSet::new() };
    let refused = package.dependencies.iter().filter(|name| !permits(name)).map(|name| (name, "dependency"));
    // A crate names itself to switch on one of its own features for its tests.
    let refused_dev = package
        .dev_dependencies
        .iter()
        .filter(|name| **name != package.name && !permits(name) && !for_tests.contains(name.as_str()))
        .map(|name| (name, "dev-dependency"));
    refused
        .chain(refused_dev)
        .map(|(name, kind)| {
            format!(
                "error: {} must not depend on {name} ({kind} in {}/Cargo.toml)\n  \
                 It may use {}. Move the code to the crate that may, or take what is needed as a value or a small \
                 trait; the table is in {TABLE}.\n",
                package.name,
                package.relative_folder,
                describe(allowed)
            )
        })
        .collect()
}

/// What the crate of a row reaches through the crates that it may use, and the store that tests run on.
fn reachable(name: &str) -> BTreeSet<&'static str> {
    let row = |name: &str| match HOST.iter().find(|(row, _)| *row == name) {
        Some((_, Allowed::Only(names))) => *names,
        _ => &[],
    };
    let mut reached = BTreeSet::new();
    let mut waiting = row(name).to_vec();
    while let Some(name) = waiting.pop() {
        if reached.insert(name) {
            waiting.extend(row(name));
            waiting.extend((name == STORE).then_some(TEST_STORE));
        }
    }
    reached
}

fn is_in(relative_folder: &str, folder: &str) -> bool {
    relative_folder.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn describe(allowed: &Allowed) -> String {
    match allowed {
        Allowed::All => "every crate".to_owned(),
        Allowed::AllOfHost => "the crates in host/".to_owned(),
        Allowed::Only([]) => "no other crate of the workspace".to_owned(),
        Allowed::Only(names) => names.join(", "),
    }
}
