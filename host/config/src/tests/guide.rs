//! The guide for plugin authors: its configurations are valid, and its tables agree with the code.

use std::collections::BTreeSet;

use crate::Flags;

const GUIDE: &str = include_str!("../../../../docs/plugin-authors.md");

/// The fenced blocks of TOML: those of `masque.toml`, and those of the `Cargo.toml` of a plugin.
fn blocks() -> (Vec<&'static str>, Vec<&'static str>) {
    let blocks = GUIDE.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.partition(|block| !block.starts_with("# Cargo.toml\n"))
}

#[test]
fn its_configurations_are_valid() {
    let (configurations, _) = blocks();
    assert!(configurations.len() >= 3);
    for configuration in configurations {
        let folder = super::Folder::new().with("masque.toml", configuration).with("words.txt", "sail");
        // The components that the guide builds.
        let components = ["hello.wasm", "host.wasm", "keeper.wasm", "lately.wasm", "talk.wasm"];
        let folder = components
            .into_iter()
            .fold(folder, |folder, name| folder.with(&format!("masque-data/plugins/{name}"), "\0asm"));
        let loaded = folder.load(&Flags::default(), &[("EXAMPLE_API_KEY", "x")]);
        assert_eq!(super::lines_of(loaded), [""; 0], "{configuration}");
    }
}

#[test]
fn its_manifest_has_the_dependencies_of_the_example() {
    const EXAMPLE: &str = include_str!("../../../../examples/hello-persona/Cargo.toml");
    let parse = |text: &str| text.parse::<toml::Table>().unwrap();
    let names = |table: &toml::Table, section: &str| {
        table[section].as_table().unwrap().keys().cloned().collect::<BTreeSet<_>>()
    };
    let (_, manifests) = blocks();
    assert_eq!(manifests.len(), 1);
    let (own, example) = (parse(manifests[0]), parse(EXAMPLE));
    assert_eq!(names(&own, "dependencies"), names(&example, "dependencies"));
    assert_eq!(own["lib"], example["lib"]);
}

/// The rows of the table under a heading, as lists of cells.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let section = GUIDE.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let table =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    table
        .skip(2)
        .map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

#[test]
fn its_tables_have_every_grant_and_the_defaults_of_the_limits() {
    let granted: BTreeSet<_> =
        rows("Grants").into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let known =
        ["http", "networks", "credentials", "state", "state_shared", "history", "models", "reuse", "scratch"];
    assert_eq!(granted, known.map(str::to_owned).into());

    let limits = masque_grants::Limits::default();
    let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
    let kib = |bytes: usize| format!("{} KiB", bytes >> 10);
    for (limit, default) in [
        ("time from the call to the end of its answer", format!("{} min", limits.wall.as_secs() / 60)),
        ("CPU time", format!("{} s", limits.cpu.as_secs())),
        ("memory", mib(limits.memory_bytes)),
        ("table elements", "100,000".into()),
        ("bytes passed to the host at once", mib(limits.hostcall_bytes)),
        ("one item of a reply", kib(limits.delta_bytes)),
        ("concurrent HTTP requests", limits.requests.to_string()),
        ("nested calls of `models`", limits.questions.to_string()),
        ("headers of a request or response", kib(limits.header_bytes)),
        ("host memory of requests, responses and field sets", mib(limits.host_memory_bytes)),
        ("stored for one user, or in `shared` for all users", mib(limits.state_bytes)),
        ("writes to `state`", format!("{} writes, {}", limits.state_writes, mib(limits.state_write_bytes))),
        ("log", format!("{} lines, {}", limits.log_lines, kib(limits.log_bytes))),
        ("the component's file", mib(masque_grants::MAX_COMPONENT_BYTES)),
    ] {
        let row = rows("Limits").into_iter().find(|row| row[0] == limit);
        let row = row.unwrap_or_else(|| panic!("no row `{limit}`"));
        assert!(row[1].starts_with(&default), "{limit}: {} is not {default}", row[1]);
    }
    assert_eq!(limits.table_elements, 100_000);
}
