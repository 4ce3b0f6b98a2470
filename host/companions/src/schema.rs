//! Checks the settings of a plugin against the JSON Schema in its description.
//!
//! The threat: the schema comes from the plugin. The policy: it has at most 64 KiB, refers to nothing outside itself, and
//! its patterns run in linear time. The consequence: patterns with backreferences or look-around are refused. Values are
//! never quoted in an error, since one may be a secret in the wrong place.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use masque_config::{Config, Diagnostic, Name, Plugin, nearest};
use masque_runtime::contract::Description;
use serde_json::Value;

/// The largest schema.
const MAX_SCHEMA_BYTES: usize = 64 << 10;
/// The largest compiled pattern. Nested bounded repetitions multiply, so a short pattern can compile to gigabytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// How many mistakes of one plugin are reported: more would bury the first.
const MAX_MISTAKES: usize = 20;

/// A problem for each setting that the plugin's schema does not allow, or one if the schema itself can't be used.
pub(crate) fn check(
    config: &Config,
    name: &Name,
    plugin: &Plugin,
    description: &Description,
) -> Vec<Diagnostic> {
    let validator = match compile_schema(&description.settings_schema) {
        Ok(validator) => validator,
        Err(reason) => {
            return vec![Diagnostic::error(
                config.locations.plugin(name, "source"),
                format!("plugin `{name}` gives a schema of its settings that can't be used: {reason}"),
                "Report it to the plugin's author.",
            )];
        }
    };
    find_mistakes(&validator, &Value::Object(plugin.settings.clone()), &description.settings_schema)
        .into_iter()
        .map(|mistake| {
            let location = config.locations.setting(name, &mistake.pointer);
            let what = format!("settings of plugin `{name}`: {}", mistake.what);
            let remedy = match config.locations.has_plugin(name) {
                true => mistake.remedy,
                false => format!("{} Its settings belong in [plugins.{name}.settings].", mistake.remedy),
            };
            Diagnostic::error(location, what, remedy)
        })
        .collect()
}

/// A setting that the schema does not allow.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    /// A JSON pointer into the settings.
    pointer: String,
    what: String,
    remedy: String,
}

fn compile_schema(text: &str) -> Result<Validator, String> {
    if text.len() > MAX_SCHEMA_BYTES {
        return Err(format!("it has {} bytes, and {MAX_SCHEMA_BYTES} is the most", text.len()));
    }
    let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    if let Some(reference) = find_external_reference(&schema) {
        return Err(format!("it refers to `{reference}`, outside itself"));
    }
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .with_pattern_options(
            PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES),
        )
        .build(&schema)
        .map_err(|error| error.to_string())
}

/// The first reference to something outside the schema.
fn find_external_reference(schema: &Value) -> Option<&str> {
    match schema {
        Value::Object(members) => members.iter().find_map(|(key, value)| match (key.as_str(), value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(target)) if !target.starts_with('#') => {
                Some(target.as_str())
            }
            _ => find_external_reference(value),
        }),
        Value::Array(items) => items.iter().find_map(find_external_reference),
        _ => None,
    }
}

fn find_mistakes(validator: &Validator, settings: &Value, schema: &str) -> Vec<Mistake> {
    validator.iter_errors(settings).take(MAX_MISTAKES).flat_map(|error| explain(&error, schema)).collect()
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
        // An object that allows no member is reported as a whole, not by the member.
        ValidationErrorKind::FalseSchema if at.is_empty() => vec![Mistake {
            pointer: String::new(),
            what: "the plugin takes none".into(),
            remedy: "Remove them.".into(),
        }],
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            vec![Mistake {
                pointer: at.to_owned(),
                what: format!("`{key}` is missing{}", parent_suffix(at)),
                remedy: format!("Set `{key}`."),
            }]
        }
        _ => vec![Mistake {
            pointer: at.to_owned(),
            what: error.masked_with(setting_name(at)).to_string(),
            remedy: "Set it to what the plugin takes.".into(),
        }],
    }
}

fn setting_name(pointer: &str) -> String {
    match pointer.strip_prefix('/') {
        Some(path) => format!("`{}`", path.replace('/', ".")),
        None => "all of it".into(),
    }
}

fn parent_suffix(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" in {}", setting_name(pointer)) }
}

/// The names that the schema allows where an unexpected one was found: the `properties` next to the keyword that refused
/// it.
fn known_settings(error: &ValidationError<'_>, schema: &str) -> Vec<String> {
    let Ok(schema) = serde_json::from_str::<Value>(schema) else { return Vec::new() };
    let keyword = error.schema_path().as_str();
    let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
    // The path includes each `$ref` that was followed, so it resolves in the schema only where there is none.
    let properties = schema.pointer(&format!("{parent}/properties")).and_then(Value::as_object);
    properties.map(|known| known.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(schema: &Value, settings: &Value) -> Vec<Mistake> {
        let text = schema.to_string();
        find_mistakes(&compile_schema(&text).unwrap(), settings, &text)
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
    fn every_mistake_is_found_and_an_unknown_key_is_answered_with_the_nearest_one() {
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
    fn a_plugin_without_settings_says_so() {
        let mistakes = found(&json!({ "type": "object", "additionalProperties": false }), &json!({ "a": 1 }));
        let [mistake] = &mistakes[..] else { panic!("{mistakes:?}") };
        assert_eq!((&*mistake.what, &*mistake.remedy), ("the plugin takes none", "Remove them."));
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
            assert!(compile_schema(&schema.to_string()).is_err(), "{target}");
        }
        let schema =
            json!({ "$defs": { "a": { "type": "string" } }, "properties": { "a": { "$ref": "#/$defs/a" } } });
        assert!(compile_schema(&schema.to_string()).is_ok());
    }

    #[test]
    fn a_schema_or_pattern_that_is_too_large_is_refused() {
        assert!(compile_schema(&json!({ "description": "x".repeat(MAX_SCHEMA_BYTES) }).to_string()).is_err());
        let pattern = json!({ "properties": { "a": { "pattern": "((((a{100}){100}){100}){100})" } } });
        assert!(compile_schema(&pattern.to_string()).is_err());
    }

    #[test]
    fn a_pattern_that_would_need_backtracking_is_refused() {
        assert!(
            compile_schema(&json!({ "properties": { "a": { "pattern": "(a)\\1" } } }).to_string()).is_err()
        );
    }
}
