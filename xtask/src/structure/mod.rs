//! `cargo xtask lint --structure`: which crate may depend on which, and that no files of a crate import each other in a
//! cycle.
//!
//! The check reads `cargo metadata` and parses the sources; it builds nothing. It knows names, not types: the call of a
//! method and what a macro expands to are no dependencies, and a name that can't be resolved is ignored.

mod allowed;
mod cycles;
mod dependencies;
mod file_edges;
mod load;
mod macro_tokens;
mod metadata;
mod names;
mod resolve;
mod scopes;
mod test_only;
#[cfg(test)]
mod tests;
mod use_paths;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};

use metadata::Package;

/// Checks the workspace in `root`. Fails with everything that is wrong at once.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let packages = metadata::load(root)?;
    let mut violations = dependencies::violations(&packages);
    for package in &packages {
        violations.extend(cycles_of(package)?);
    }
    if violations.is_empty() {
        return Ok(());
    }
    bail!("the structure of the workspace is violated:\n\n{}", violations.join("\n"))
}

/// The import cycles of all targets of a package. A cycle that several targets share is reported once.
fn cycles_of(package: &Package) -> anyhow::Result<BTreeSet<String>> {
    let mut reports = BTreeSet::new();
    for target in &package.targets {
        let krate = load::load(target).with_context(|| format!("package {}", package.name))?;
        let edges = file_edges::collect(&krate);
        reports
            .extend(cycles::find(&edges).iter().map(|cycle| cycles::report(package, &krate, &edges, cycle)));
    }
    Ok(reports)
}
