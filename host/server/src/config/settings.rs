//! A plugin's settings and a companion's options: TOML of any shape, handed on as JSON. A setting `{ file = "…" }` is
//! read here and becomes its text; what settings a plugin takes is known only to the plugin.

use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Unreadable, read_bounded};
use super::report::Report;
use super::section::Section;
use super::values::{Form, Wrong};

/// A character card with a large book of lore is a few hundred KiB.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

const SETTINGS: Form = Form { what: "a table", example: "{ base_url = \"http://127.0.0.1:11434/v1\" }" };
const OPTIONS: Form = Form { what: "a table", example: "{ temperature = 0.8 }" };

/// Settings; the files they name are relative to `folder`.
pub(super) fn with_files(
    section: &mut Section<'_, '_>,
    key: &'static str,
    folder: &Path,
) -> Map<String, Value> {
    let report = section.report;
    table(section, key, SETTINGS, &Converter { report, folder: Some(folder) })
}

/// Options, in which a table named `file` has no meaning.
pub(super) fn plain(section: &mut Section<'_, '_>, key: &'static str) -> Map<String, Value> {
    let report = section.report;
    table(section, key, OPTIONS, &Converter { report, folder: None })
}

fn table(
    section: &mut Section<'_, '_>,
    key: &'static str,
    form: Form,
    converter: &Converter<'_, '_>,
) -> Map<String, Value> {
    let table = section.read(key, form, |value| value.get_ref().as_table().ok_or(Wrong::Type));
    table.map(|table| converter.table(table.value)).unwrap_or_default()
}

#[derive(Debug)]
struct Converter<'r, 'd> {
    report: &'r Report<'d>,
    folder: Option<&'r Path>,
}

impl Converter<'_, '_> {
    fn table(&self, table: &DeTable<'_>) -> Map<String, Value> {
        table
            .iter()
            .filter_map(|(key, value)| Some((key.get_ref().to_string(), self.value(value)?)))
            .collect()
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Datetime(time) => Some(Value::String(time.to_string())),
            DeValue::Integer(integer) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix());
                self.number(&value.span(), number.ok().map(Into::into))
            }
            DeValue::Float(float) => {
                self.number(&value.span(), float.as_str().parse().ok().and_then(serde_json::Number::from_f64))
            }
            DeValue::Array(items) => {
                Some(Value::Array(items.iter().filter_map(|item| self.value(item)).collect()))
            }
            DeValue::Table(table) => match (self.folder, only_file(table)) {
                (Some(folder), Some(file)) => self.file(folder, file).map(Value::String),
                _ => Some(Value::Object(self.table(table))),
            },
        }
    }

    fn number(&self, span: &Range<usize>, number: Option<serde_json::Number>) -> Option<Value> {
        if number.is_none() {
            let what = "this number can't be handed to a plugin";
            self.report.error_at(span, what, "Numbers are finite, and whole ones fit into 64 bits.");
        }
        number.map(Value::Number)
    }

    fn file(&self, folder: &Path, file: &Spanned<DeValue<'_>>) -> Option<String> {
        let problem = |what: String, remedy: &str| self.report.error_at(&file.span(), what, remedy);
        let Some(name) = file.get_ref().as_str().filter(|name| !name.is_empty()) else {
            problem(
                "`file` must be a path".to_owned(),
                "Write for example `{ file = \"cards/elara.json\" }`.",
            );
            return None;
        };
        let path = folder.join(name);
        self.report.read_file(&path);
        match read_bounded(&path, MAX_FILE_BYTES).map(String::from_utf8) {
            Ok(Ok(text)) => match not_json(&path, &text) {
                None => return Some(text),
                Some(error) => problem(
                    format!("{name} is not JSON: {error}"),
                    "Save it again, or give it another ending.",
                ),
            },
            Ok(Err(_)) => problem(format!("{name} is not UTF-8"), "Save it as UTF-8."),
            Err(Unreadable::Missing) => problem(
                format!("there is no file {name}"),
                "Name a file that exists; a relative path starts at the configuration file's folder.",
            ),
            Err(Unreadable::TooLarge) => {
                problem(
                    format!("{name} is larger than 4 MiB"),
                    "Settings are handed over with every call; make it smaller.",
                );
            }
            Err(Unreadable::Other(error)) => {
                problem(
                    format!("{name} can't be read: {error}"),
                    "Make it a file that the host's user may read.",
                );
            }
        }
        None
    }
}

/// Why a file that is called JSON is none. Its plugin would say so too, but only in the first turn that needs it; and a
/// file that is half written never is.
fn not_json(path: &Path, text: &str) -> Option<serde_json::Error> {
    if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("json")) {
        return None;
    }
    // A byte order mark is no part of JSON, but some editors write one, and plugins are told to pass over it.
    serde_json::from_str::<serde::de::IgnoredAny>(text.trim_start_matches('\u{feff}')).err()
}

/// The value of `file`, where that is all there is.
fn only_file<'t, 'd>(table: &'t DeTable<'d>) -> Option<&'t Spanned<DeValue<'d>>> {
    if table.len() == 1 { table.get("file") } else { None }
}
