//! Reads a plugin's settings. An error names the setting that is wrong.

use crate::{Failure, Plugin, Result, host};

/// Makes the plugin from the settings of this call.
///
/// # Errors
/// `invalid`, naming the setting that is wrong or unknown.
pub(crate) fn load<P: Plugin>() -> Result<P> {
    parse(&host::settings())
}

fn parse<P: Plugin>(json: &str) -> Result<P> {
    let mut unknown = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    let mut track = serde_path_to_error::Track::new();
    let plugin = P::deserialize(serde_path_to_error::Deserializer::new(
        serde_ignored::Deserializer::new(&mut deserializer, &mut note),
        &mut track,
    ));
    let plugin = plugin.map_err(|error| match track.path().to_string() {
        path if path == "." => Failure::invalid_setting("", format!("settings: {error}")),
        path => Failure::invalid_setting(&pointer(&path), format!("the setting `{path}`: {error}")),
    })?;
    match unknown.first() {
        None => Ok(plugin),
        Some(path) => Err(Failure::invalid_setting(&pointer(path), unknown_setting::<P>(path))),
    }
}

/// A path such as `mood.words[1]` as a JSON pointer. What is not found there belongs to the nearest setting around it.
fn pointer(path: &str) -> String {
    let steps = path.split(['.', '[', ']']).filter(|step| !step.is_empty());
    steps.map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}

fn unknown_setting<P: Plugin>(path: &str) -> String {
    let schema = schemars::schema_for!(P);
    let known = schema.get("properties").and_then(|properties| properties.as_object());
    let nearest = known
        .into_iter()
        .flat_map(|properties| properties.keys())
        .filter(|name| strsim::damerau_levenshtein(name, path) <= 1 + path.len() / 4)
        .min_by_key(|name| strsim::damerau_levenshtein(name, path));
    match nearest {
        Some(name) => format!("there is no setting `{path}`; did you mean `{name}`?"),
        None => format!("there is no setting `{path}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    struct Elara {
        #[allow(dead_code)]
        greeting: String,
        #[allow(dead_code)]
        #[serde(default)]
        mood: Option<Mood>,
    }

    #[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
    struct Mood {
        #[allow(dead_code)]
        warmth: u8,
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let table = [
            (r#"{"greeting": 5}"#, "the setting `greeting`: invalid type: integer `5`, expected a string"),
            (r#"{"greeting": "hi", "mood": {"warmth": "x"}}"#, "the setting `mood.warmth`"),
            (r#"{}"#, "missing field `greeting`"),
            (
                r#"{"greeting": "hi", "greetings": "hi"}"#,
                "there is no setting `greetings`; did you mean `greeting`?",
            ),
            (r#"{"greeting": "hi", "colour": "red"}"#, "there is no setting `colour`"),
            (r#"{"greeting": "hi", "mood": {"warmth": 1, "x": 1}}"#, "there is no setting `mood.?.x`"),
            ("[]", "settings: invalid"),
        ];
        for (json, wanted) in table {
            let failure = parse::<Elara>(json).unwrap_err();
            assert_eq!(failure.code, "invalid");
            assert!(failure.metadata.iter().any(|property| property.name == "setting"), "{json}");
            assert!(failure.message.contains(wanted), "{json}: {}", failure.message);
        }
        assert!(parse::<Elara>(r#"{"greeting": "hi", "mood": {"warmth": 1}}"#).is_ok());
    }

    #[test]
    fn a_path_is_a_json_pointer() {
        for (path, wanted) in [("greeting", "/greeting"), ("mood.words[1]", "/mood/words/1"), ("", "")] {
            assert_eq!(pointer(path), wanted);
        }
    }
}
