//! Finds the import cycles in the edges between files and describes them.

use std::collections::BTreeSet;

use super::file_edges::Edges;
use super::metadata::Package;
use super::names::{Crate, FileId};

/// The strongly connected components with more than one file, each sorted, in a stable order.
pub(crate) fn find(edges: &Edges) -> Vec<BTreeSet<FileId>> {
    let files: BTreeSet<FileId> = edges.keys().flat_map(|(from, to)| [*from, *to]).collect();
    let reach = |start: FileId, forward: bool| {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![start];
        while let Some(file) = waiting.pop() {
            for (from, to) in edges.keys() {
                let (near, far) = if forward { (*from, *to) } else { (*to, *from) };
                if near == file && reached.insert(far) {
                    waiting.push(far);
                }
            }
        }
        reached
    };
    let mut cycles = Vec::new();
    let mut assigned: BTreeSet<FileId> = BTreeSet::new();
    for file in files {
        if assigned.contains(&file) {
            continue;
        }
        // Quadratic, on at most a few hundred files.
        let cycle: BTreeSet<_> = reach(file, true).intersection(&reach(file, false)).copied().collect();
        if cycle.len() > 1 {
            assigned.extend(&cycle);
            cycles.push(cycle);
        }
    }
    cycles
}

/// Describes a cycle: its files, and for each the items that it uses of the others, with the line of the first use.
pub(crate) fn report(package: &Package, krate: &Crate, edges: &Edges, cycle: &BTreeSet<FileId>) -> String {
    let name = |file: FileId| {
        let path = krate.file(file);
        // Files are known by their canonical path.
        let folder = package.folder.canonicalize().unwrap_or_else(|_| package.folder.clone());
        path.strip_prefix(folder).unwrap_or(path).display().to_string()
    };
    let mut sorted: Vec<_> = cycle.iter().map(|file| (name(*file), *file)).collect();
    sorted.sort();
    let mut report = format!(
        "error: {} files of {} ({}) import each other in a cycle\n",
        cycle.len(),
        package.name,
        package.relative_folder
    );
    for (from_name, from) in &sorted {
        report.push_str(&format!("  {from_name}\n"));
        for (to_name, to) in &sorted {
            let Some(items) = edges.get(&(*from, *to)) else { continue };
            let mut items: Vec<_> = items.iter().map(|(item, line)| (*line, item)).collect();
            items.sort();
            let items: Vec<_> = items.iter().map(|(line, item)| format!("{item} (line {line})")).collect();
            report.push_str(&format!("    uses {to_name}: {}\n", items.join(", ")));
        }
    }
    report.push_str("  Move the items that are needed on both sides to a file of their own below both.\n");
    report
}
