//! The guides state the figures of performance.md as its tables have them, also after it was measured again.

use masque_tests::deploy::in_repository;

fn page(name: &str) -> String {
    std::fs::read_to_string(in_repository("docs").join(name)).unwrap()
}

/// A cell of a table, by the first cell of its row, in the section with this title.
fn cell(section: &str, row: &str, column: usize) -> String {
    let page = page("performance.md");
    let (_, rest) = page.split_once(&format!("\n### {section}\n")).unwrap_or_else(|| panic!("no {section}"));
    let rest = rest.split("\n### ").next().unwrap();
    let line = rest.lines().find(|line| line.starts_with(&format!("| {row} |")));
    let line = line.unwrap_or_else(|| panic!("{section} has no row {row}"));
    let cell = line.split('|').nth(column + 1).unwrap();
    // The median stands before the lowest and the highest.
    cell.split('(').next().unwrap().trim().to_owned()
}

/// A number below a million with a comma before the thousands.
fn with_comma(number: &str) -> String {
    match number.len() {
        0..=3 => number.to_owned(),
        length => format!("{},{}", &number[..length - 3], &number[length - 3..]),
    }
}

#[test]
fn the_guides_state_the_measured_figures() {
    let bounded = with_comma(&cell("Throughput under a latency bound", "10 ms", 1));
    let fastest = with_comma(&cell("Throughput under a latency bound", "100 ms", 1));
    let memory = |row, column| cell("Memory per open stream", row, column);
    let (idle, few, many) = (memory("0, after start", 1), memory("999", 2), memory("3000", 2));
    let added = |row| format!("{:.1}", cell("Added latency", row, 3).parse::<f64>().unwrap());
    let cpu = cell("CPU time per turn", "streamed", 1).parse::<f64>().unwrap() / 1000.0;

    let sizing = page("deployment.md");
    for words in [
        format!("| CPU of a streamed turn with 40 tokens | {cpu:.1} ms |"),
        format!("| turns with p99 below 10 ms (SQLite) | {bounded} a second |"),
        format!(
            "{idle} MB after the start, {few} KB for each open stream with 1,000 of them and {many} KB with 3,000"
        ),
    ] {
        assert!(sizing.contains(&words), "deployment.md does not state: {words}");
    }
    let promises = page("production-readiness.md");
    for words in [
        format!("{fastest} a second on two shared cores, {bounded} with p99 below 10 ms"),
        format!("{idle} MB idle; for each open stream {few} KB with 1,000 of them, {many} KB with 3,000"),
        format!(
            "{} ms to the first byte, {} ms in all (p50)",
            added("first byte p50"),
            added("whole turn p50")
        ),
    ] {
        assert!(promises.contains(&words), "production-readiness.md does not state: {words}");
    }
}
