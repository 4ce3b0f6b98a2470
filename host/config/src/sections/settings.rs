//! The settings of a plugin and the options of a companion: TOML of any shape, converted to JSON. A setting
//! `{ file = "…" }` becomes the text of that file, or a data URL if it is an image or an archive. Which settings a plugin
//! takes is known only to the plugin.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::setting_file::{FileContent, content};
use crate::file::{ReadError, read_bounded};
use crate::report::Report;
use crate::section::Section;
use crate::value::{Expected, InvalidValue};

/// A character card with a large lorebook is a few hundred KiB.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

const SETTINGS: Expected =
    Expected { what: "a table", example: "{ base_url = \"http://127.0.0.1:11434/v1\" }" };
const OPTIONS: Expected = Expected { what: "a table", example: "{ temperature = 0.8 }" };

/// Settings as they were read.
#[derive(Debug, Default)]
pub(crate) struct ParsedSettings {
    pub(crate) values: Map<String, Value>,
    /// The files that they name, by the JSON pointer of the setting.
    pub(crate) files: BTreeMap<String, PathBuf>,
}

/// Reads settings; the files they name are relative to `folder`.
pub(crate) fn read_settings(
    section: &mut Section<'_, '_>,
    key: &'static str,
    folder: &Path,
) -> ParsedSettings {
    let report = section.report;
    let mut converter = Converter { report, folder: Some(folder), files: BTreeMap::new() };
    let values = table(section, key, SETTINGS, &mut converter);
    ParsedSettings { values, files: converter.files }
}

/// Reads options, in which `{ file = "…" }` has no special meaning.
pub(crate) fn read_options(section: &mut Section<'_, '_>, key: &'static str) -> Map<String, Value> {
    let report = section.report;
    table(section, key, OPTIONS, &mut Converter { report, folder: None, files: BTreeMap::new() })
}

fn table(
    section: &mut Section<'_, '_>,
    key: &'static str,
    expected: Expected,
    converter: &mut Converter<'_, '_>,
) -> Map<String, Value> {
    let table = section.read(key, expected, |value| value.as_table().ok_or(InvalidValue::Type));
    table.map(|table| converter.table("", table.value)).unwrap_or_default()
}

#[derive(Debug)]
struct Converter<'r, 'd> {
    report: &'r Report<'d>,
    folder: Option<&'r Path>,
    files: BTreeMap<String, PathBuf>,
}

impl Converter<'_, '_> {
    fn table(&mut self, pointer: &str, table: &DeTable<'_>) -> Map<String, Value> {
        table
            .iter()
            .filter_map(|(key, value)| {
                let key = key.get_ref();
                let pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                Some((key.to_string(), self.value(&pointer, value)?))
            })
            .collect()
    }

    /// The value of the setting at the JSON pointer.
    fn value(&mut self, pointer: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
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
                let items = items.iter().enumerate();
                let values =
                    items.filter_map(|(index, item)| self.value(&format!("{pointer}/{index}"), item));
                Some(Value::Array(values.collect()))
            }
            DeValue::Table(table) => match (self.folder, only_file(table)) {
                (Some(folder), Some(file)) => {
                    let name = file.get_ref().as_str().unwrap_or_default();
                    self.files.insert(pointer.to_owned(), PathBuf::from(name));
                    self.file(folder, file).map(Value::String)
                }
                _ => Some(Value::Object(self.table(pointer, table))),
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
        let refuse = |what: String, remedy: &str| self.report.error_at(&file.span(), what, remedy);
        let Some(name) = file.get_ref().as_str().filter(|name| !name.is_empty()) else {
            refuse(
                "`file` must be a path".to_owned(),
                "Write for example `{ file = \"cards/elara.json\" }`.",
            );
            return None;
        };
        let path = folder.join(name);
        self.report.record_file(&path);
        self.report.warn_of_writers(Path::new(name), &path);
        match read_bounded(&path, MAX_FILE_BYTES).map(content) {
            Ok(FileContent::Text(text)) => match json_error(&path, &text) {
                None => return Some(text),
                Some(error) => refuse(
                    format!("{name} is not JSON: {error}"),
                    "Save it again, or give it another ending.",
                ),
            },
            Ok(FileContent::DataUrl(url)) => return Some(url),
            Ok(FileContent::Unknown) => refuse(
                format!("{name} is not UTF-8, and no PNG, JPEG, WebP or ZIP file"),
                "Save a text as UTF-8. If it is an image, it is damaged or of another type.",
            ),
            Err(ReadError::Missing) => refuse(
                format!("there is no file {name}"),
                "Name a file that exists; a relative path starts at the configuration file's folder.",
            ),
            Err(ReadError::TooLarge) => {
                refuse(
                    format!("{name} is too large: {}the limit is {MAX_FILE_BYTES} (4 MiB)", size(&path)),
                    "Settings are handed over with every call; make it smaller. Of a card in a PNG, shrink the image or export the JSON.",
                );
            }
            Err(ReadError::Other(error)) => {
                refuse(
                    format!("{name} can't be read: {error}"),
                    "Make it a file that the host's user may read.",
                );
            }
        }
        None
    }
}

/// The size of a file, as the beginning of a sentence. Empty if it can't be asked for.
fn size(path: &Path) -> String {
    path.metadata().map(|metadata| format!("it has {} bytes, and ", metadata.len())).unwrap_or_default()
}

/// The error in a file whose name ends in `.json`. The plugin would find it only in the first turn that needs the setting.
/// This also refuses a JSON file that is still being written.
fn json_error(path: &Path, text: &str) -> Option<serde_json::Error> {
    if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("json")) {
        return None;
    }
    // A byte order mark is not allowed in JSON, but some editors write one, and plugins skip it.
    serde_json::from_str::<serde::de::IgnoredAny>(text.trim_start_matches('\u{feff}')).err()
}

/// The value of `file` if the table has no other key.
fn only_file<'t, 'd>(table: &'t DeTable<'d>) -> Option<&'t Spanned<DeValue<'d>>> {
    if table.len() == 1 { table.get("file") } else { None }
}
