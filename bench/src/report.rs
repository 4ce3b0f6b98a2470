//! What was measured, as tables: on the terminal, as JSON, and between two marks of a document, there with pictures.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::plot::Plot;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// One scenario's figures.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// What was done, in a sentence or two.
    pub(crate) about: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    #[serde(default)]
    pub(crate) plots: Vec<Plot>,
    /// Of which build, at which load: a table may be older than the others.
    #[serde(default)]
    pub(crate) measured: String,
}

impl Table {
    pub(crate) fn new(title: &str, about: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Self {
            title: title.to_owned(),
            about: about.to_owned(),
            columns,
            rows: Vec::new(),
            plots: Vec::new(),
            measured: String::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// As Markdown.
    pub(crate) fn show(&self) -> String {
        self.show_with("")
    }

    /// As Markdown with the pictures that are in `folder`, as the text refers to it; nowhere, if that is empty.
    fn show_with(&self, folder: &str) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = self.columns.iter().map(|_| "---".to_owned()).collect::<Vec<_>>();
        let mut text =
            format!("### {}\n\n{}\n\n{}{}", self.title, self.about, line(&self.columns), line(&rule));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        for Plot { name, title, .. } in self.plots.iter().filter(|_| !folder.is_empty()) {
            text.push_str(&format!("\n![{title}]({folder}/{name}.svg)\n"));
        }
        if !self.measured.is_empty() {
            text.extend(["\n", &self.measured, "\n"]);
        }
        text
    }
}

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) quick: bool,
    pub(crate) tables: Vec<Table>,
}

impl Report {
    pub(crate) fn write(&self, out: &Path, docs: Option<&Path>) -> anyhow::Result<()> {
        fs::write(out.join("results.json"), serde_json::to_string_pretty(self)?)?;
        if let Some(path) = docs {
            let text = fs::read_to_string(path).with_context(|| format!("can't read {}", path.display()))?;
            // Beside the document, and named as it is.
            let folder = path.with_extension("");
            fs::create_dir_all(&folder)?;
            for plot in self.tables.iter().flat_map(|table| &table.plots) {
                plot.draw(&folder)?;
            }
            let folder = folder.file_name().context("the document has no name")?.to_string_lossy();
            fs::write(path, between(&text, &self.show(&folder))?)?;
        }
        Ok(())
    }

    fn show(&self, folder: &str) -> String {
        let Machine {
            processor,
            cores,
            memory_gib,
            kernel,
            fdatasync_us,
            epoch_tick_ms,
            commit,
            host,
            rustc,
            wasmtime,
            load,
        } = &self.machine;
        let tables: Vec<_> = self.tables.iter().map(|table| table.show_with(folder)).collect();
        format!(
            "Measured on {cores} cores of {processor}, {memory_gib:.0} GiB, Linux {kernel}; load before {load:.2}; \
             fdatasync {fdatasync_us:.0} µs (median), epoch tick {epoch_tick_ms} ms; {host}, wasmtime {wasmtime}, {rustc}; \
             the document was written at {commit}. A figure with two more in brackets is the median of all rounds; the two are \
             the lowest and the highest.\n\n{}",
            tables.join("\n")
        )
    }
}

/// The text with this in place of what stands between the marks.
fn between(text: &str, new: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("the document has no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the document has no {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", new.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let text = format!("one\n{BEGIN}\nold\n{END}\ntwo\n");
        assert_eq!(between(&text, "new\n").unwrap(), format!("one\n{BEGIN}\n\nnew\n\n{END}\ntwo\n"));
        assert!(between("one", "new").is_err());
    }

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new("T", "What.", &["a", "b"]);
        table.row(["1".to_owned(), "2".to_owned()]);
        assert_eq!(table.show(), "### T\n\nWhat.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    }
}
