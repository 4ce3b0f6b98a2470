//! Finds the secrets in the settings of a plugin: those of the URLs that it is to ask.

use masque_grants::{Secret, url_secrets};
use serde_json::Value;

/// The secrets in settings, which are JSON text. Texts that are no URL as a whole are not searched.
pub fn settings_secrets(settings: &str) -> Vec<Secret> {
    let mut secrets = Vec::new();
    if let Ok(settings) = serde_json::from_str::<Value>(settings) {
        search(&settings, &mut secrets);
    }
    secrets
}

fn search(value: &Value, secrets: &mut Vec<Secret>) {
    match value {
        Value::String(text) => secrets.extend(url_secrets(text)),
        Value::Array(values) => values.iter().for_each(|value| search(value, secrets)),
        Value::Object(members) => members.values().for_each(|value| search(value, secrets)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_urls_are_found_at_every_depth() {
        let settings = r#"{"base_url": "https:\/\/h\/v1?key=sk-123456789", "more": {"urls": ["https://h?key=sk-987654321"]}}"#;
        let found = settings_secrets(settings);
        assert_eq!(found.iter().map(Secret::reveal).collect::<Vec<_>>(), ["sk-123456789", "sk-987654321"]);
        assert_eq!(settings_secrets(r#"{"base_url": "https://h/v1", "model": "m?x=sk-123456789"}"#), []);
        assert_eq!(settings_secrets("no JSON ://"), []);
    }
}
