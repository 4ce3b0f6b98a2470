//! Settings against the JSON Schema that a plugin gives of them.
//!
//! A schema comes from the plugin, so it is held to bounds before it is used: 64 KiB, no reference that leaves it, and
//! patterns that take linear time. Values are never quoted: one may be a secret in the wrong place.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use masque_runtime::contract::Description;
use serde_json::Value;

use crate::config::{Config, Diagnostic, Name, Plugin, nearest};

const LARGEST: usize = 64 << 10;
/// Of one compiled pattern; a bounded repetition of a bounded repetition grows without end otherwise.
const PATTERN_BYTES: usize = 1 << 20;
/// More would bury the first.
const MOST: usize = 20;

/// What the schema has against a plugin's settings.
pub(crate) fn check(
    config: &Config,
    name: &Name,
    plugin: &Plugin,
    description: &Description,
) -> Vec<Diagnostic> {
    let validator = match compile(&description.settings_schema) {
        Ok(validator) => validator,
        Err(reason) => {
            return vec![Diagnostic::error(
                config.locations.plugin(name, "source"),
                format!("plugin `{name}` gives a schema of its settings that can't be used: {reason}"),
                "Report it to the plugin's author.",
            )];
        }
    };
    mistakes(&validator, &Value::Object(plugin.settings.clone()), &description.settings_schema)
        .into_iter()
        .map(|mistake| {
            let place = config.locations.setting(name, &mistake.pointer);
            let what = format!("settings of plugin `{name}`: {}", mistake.what);
            let remedy = match config.locations.has_plugin(name) {
                true => mistake.remedy,
                false => format!("{} Its settings belong in [plugins.{name}.settings].", mistake.remedy),
            };
            Diagnostic::error(place, what, remedy)
        })
        .collect()
}

/// One thing that the schema does not allow.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    /// Into the settings.
    pointer: String,
    what: String,
    remedy: String,
}

fn compile(text: &str) -> Result<Validator, String> {
    if text.len() > LARGEST {
        return Err(format!("it has {} bytes, and {LARGEST} is the most", text.len()));
    }
    let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    if let Some(reference) = leaving(&schema) {
        return Err(format!("it refers to `{reference}`, outside itself"));
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES))
        .build(&schema)
        .map_err(|error| error.to_string())
}

/// The first reference that is not a fragment of the schema itself.
fn leaving(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(members) => members.iter().find_map(|(key, value)| match (key.as_str(), value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) if !target.starts_with('#') => {
                Some(target.as_str())
            }
            _ => leaving(value),
        }),
        Value::Array(items) => items.iter().find_map(leaving),
        _ => None,
    }
}

fn mistakes(validator: &Validator, settings: &Value, schema: &str) -> Vec<Mistake> {
    validator.iter_errors(settings).take(MOST).flat_map(|error| explain(&error, schema)).collect()
}

fn explain(error: &ValidationError<'_>, schema: &str) -> Vec<Mistake> {
    let at = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = known_settings(error, schema);
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            unexpected
                .iter()
                .map(|key| Mistake {
                    pointer: format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                    what: format!("`{key}` is not one of them"),
                    remedy: match nearest(key, known.iter().copied()) {
                        Some(name) => format!("Did you mean `{name}`?"),
                        None if known.is_empty() => "Remove it: the plugin takes no settings.".into(),
                        None => format!("It takes `{}`.", known.join("`, `")),
                    },
                })
                .collect()
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            vec![Mistake {
                pointer: at.to_owned(),
                what: format!("`{key}` is missing{}", within(at)),
                remedy: format!("Set `{key}`."),
            }]
        }
        _ => vec![Mistake {
            pointer: at.to_owned(),
            what: error.masked_with(named(at)).to_string(),
            remedy: "Set it to what the plugin takes.".into(),
        }],
    }
}

fn named(pointer: &str) -> String {
    match pointer.strip_prefix('/') {
        Some(path) => format!("`{}`", path.replace('/', ".")),
        None => "all of it".into(),
    }
}

fn within(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" in {}", named(pointer)) }
}

/// The names beside which the unexpected one stands: the `properties` next to the keyword that refused it.
fn known_settings(error: &ValidationError<'_>, schema: &str) -> Vec<String> {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return Vec::new() };
    let keyword = error.schema_path().as_str();
    let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
    // The path goes through `$ref` as it was followed; only a path that leads through none can be looked up.
    let properties = schema.pointer(&format!("{parent}/properties")).and_then(Value::as_object);
    properties.map(|known| known.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: &Value, settings: &Value) -> Vec<Mistake> {
        let text = schema.to_string();
        mistakes(&compile(&text).unwrap(), settings, &text)
    }

    fn card() -> Value {
        json!({
            "type": "object",
            "properties": { "card": { "type": "string", "minLength": 3 }, "user": { "type": "string" } },
            "required": ["card"],
            "additionalProperties": false,
        })
    }

    #[test]
    fn settings_that_fit_pass() {
        assert_eq!(found(&card(), &json!({ "card": "{}   " })), []);
    }

    #[test]
    fn every_mistake_is_found_and_an_unknown_key_learns_the_nearest() {
        let mistakes = found(&card(), &json!({ "cart": 1, "user": 2 }));
        let mut pointers: Vec<_> = mistakes.iter().map(|mistake| mistake.pointer.as_str()).collect();
        pointers.sort_unstable();
        assert_eq!(pointers, ["", "/cart", "/user"]);
        let cart = mistakes.iter().find(|mistake| mistake.pointer == "/cart").unwrap();
        assert_eq!(cart.remedy, "Did you mean `card`?");
        let missing = mistakes.iter().find(|mistake| mistake.pointer.is_empty()).unwrap();
        assert_eq!(missing.what, "`card` is missing");
    }

    #[test]
    fn a_value_is_never_quoted() {
        let mistakes =
            found(&json!({ "properties": { "model": { "type": "integer" } } }), &json!({ "model": "sk-1" }));
        assert_eq!(mistakes.len(), 1);
        assert!(!mistakes[0].what.contains("sk-1"), "{}", mistakes[0].what);
        assert!(mistakes[0].what.contains("`model`"), "{}", mistakes[0].what);
    }

    #[test]
    fn a_reference_that_leaves_the_schema_is_refused() {
        for target in ["https://example.com/s.json", "file:///etc/passwd", "other.json"] {
            let schema = json!({ "properties": { "a": { "$ref": target } } });
            assert!(compile(&schema.to_string()).is_err(), "{target}");
        }
        let schema =
            json!({ "$defs": { "a": { "type": "string" } }, "properties": { "a": { "$ref": "#/$defs/a" } } });
        assert!(compile(&schema.to_string()).is_ok());
    }

    #[test]
    fn a_schema_or_pattern_that_is_too_large_is_refused() {
        assert!(compile(&json!({ "description": "x".repeat(LARGEST) }).to_string()).is_err());
        let pattern = json!({ "properties": { "a": { "pattern": "((((a{100}){100}){100}){100})" } } });
        assert!(compile(&pattern.to_string()).is_err());
    }

    #[test]
    fn a_pattern_that_would_need_backtracking_is_refused() {
        assert!(compile(&json!({ "properties": { "a": { "pattern": "(a)\\1" } } }).to_string()).is_err());
    }
}
