//! `[log]`: what the host writes to its standard error.

use serde::Serialize;

use crate::section::Section;
use crate::value::{self, Expected, InvalidValue};
use crate::wording::nearest;

const DEFAULT_LEVEL: &str = "info";

/// What the host writes to its standard error.
#[derive(Clone, Debug, Serialize)]
pub struct Log {
    /// The format of a line.
    pub format: LogFormat,
    /// A level, or directives of `EnvFilter` of `tracing-subscriber`.
    pub level: String,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object on each line.
    Json,
}

pub(crate) fn read(mut section: Section<'_, '_>) -> Log {
    let expected = Expected { what: "\"text\" or \"json\"", example: "\"text\"" };
    let format = section.read("format", expected, |value| match value::text(value)? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(InvalidValue::Form),
    });
    section.defaults("format", || "text".to_owned());
    let level = section
        .read("level", Expected { what: "a level", example: "\"info\"" }, |value| level(value::text(value)?));
    section.defaults("level", || DEFAULT_LEVEL.to_owned());
    section.finish();
    Log {
        format: format.map_or(LogFormat::Text, |found| found.value),
        level: level.map_or_else(|| DEFAULT_LEVEL.to_owned(), |found| found.value),
    }
}

/// Checks the levels before the filter is parsed: the filter takes a mistyped level for the name of a module and then logs
/// almost nothing.
fn level(text: &str) -> Result<String, InvalidValue> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    for directive in text.split(',') {
        let level = directive.rsplit('=').next().unwrap_or_default().trim();
        if level.is_empty() {
            let what = match directive.trim() {
                "" => "a level is empty".to_owned(),
                directive => format!("`{}` has no level after the `=`", directive.escape_debug()),
            };
            let remedy = "Write for example `level = \"info\"` or `level = \"info,masque=debug\"`.";
            return Err(InvalidValue::Other(what, remedy.to_owned()));
        }
        if !LEVELS.contains(&level) {
            let remedy = match nearest(level, LEVELS) {
                Some(meant) => format!("Did you mean `{meant}`?"),
                None => "Levels are error, warn, info, debug, trace and off, as in `level = \"info,masque=debug\"`."
                    .to_owned(),
            };
            let what = format!("\"{}\" is not a level", level.escape_debug());
            return Err(InvalidValue::Other(what, remedy));
        }
    }
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(InvalidValue::Form),
    }
}
