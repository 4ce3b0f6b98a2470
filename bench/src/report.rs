//! Writes the results as tables: on the terminal, as JSON, and with plots between two marks of a document.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::plot::Plot;

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// A table of results.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// What was measured, in a sentence or two.
    pub(crate) about: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    #[serde(default)]
    pub(crate) plots: Vec<Plot>,
    /// The build and the load of the machine. A table may be older than the others of a report.
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

    /// Returns the table as Markdown, without plots.
    pub(crate) fn to_markdown(&self) -> String {
        self.to_markdown_with_plots("")
    }

    /// Returns the table as Markdown with links to the plots in `folder`, or without plots if `folder` is empty.
    fn to_markdown_with_plots(&self, folder: &str) -> String {
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

/// The results of a run.
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
            // The plots are in a folder beside the document, with its name.
            let folder = path.with_extension("");
            fs::create_dir_all(&folder)?;
            for plot in self.tables.iter().flat_map(|table| &table.plots) {
                plot.draw(&folder)?;
            }
            let folder = folder.file_name().context("the document has no name")?.to_string_lossy();
            fs::write(path, replace_between_marks(&text, &self.to_markdown(&folder))?)?;
        }
        Ok(())
    }

    fn to_markdown(&self, folder: &str) -> String {
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
        let tables: Vec<_> = self.tables.iter().map(|table| table.to_markdown_with_plots(folder)).collect();
        format!(
            "Measured on {cores} cores of {processor}, {memory_gib:.0} GiB, Linux {kernel}; load before {load:.2}; \
             fdatasync {fdatasync_us:.0} µs (median), epoch tick {epoch_tick_ms} ms; {host}, wasmtime {wasmtime}, {rustc}; \
             the document was written at {commit}. A figure with two more in brackets is the median of all rounds; the two are \
             the lowest and the highest.\n\n{}",
            tables.join("\n")
        )
    }
}

/// Replaces the part of the text between the marks.
fn replace_between_marks(text: &str, new: &str) -> anyhow::Result<String> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("the document has no {BEGIN}"))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the document has no {END}"))?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", new.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_between_the_marks_is_replaced() {
        let text = format!("one\n{BEGIN}\nold\n{END}\ntwo\n");
        assert_eq!(
            replace_between_marks(&text, "new\n").unwrap(),
            format!("one\n{BEGIN}\n\nnew\n\n{END}\ntwo\n")
        );
        assert!(replace_between_marks("one", "new").is_err());
    }

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new("T", "What.", &["a", "b"]);
        table.row(["1".to_owned(), "2".to_owned()]);
        assert_eq!(table.to_markdown(), "### T\n\nWhat.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n");
    }
}
