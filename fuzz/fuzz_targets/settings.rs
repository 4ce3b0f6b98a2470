//! Fuzzes the settings of a plugin: the host's check against a schema, and the SDK's reading.
//!
//! The input is a schema, a line `---`, and the settings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use masque_sdk::testing;
use serde_json::{Map, Value};

/// A setting of each form.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[allow(dead_code, reason = "only deserialized")]
struct Settings {
    text: Option<String>,
    number: Option<f64>,
    small: Option<u8>,
    list: Option<Vec<i64>>,
    any: Option<Value>,
    choice: Option<Choice>,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[allow(dead_code, reason = "only deserialized")]
enum Choice {
    OneThing { size: u32 },
    Another,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[allow(dead_code, reason = "only deserialized")]
struct Inner {
    #[serde(default)]
    deep: Option<Box<Inner>>,
}

fuzz_target!(|text: &str| {
    let (schema, settings) = text.split_once("\n---\n").unwrap_or(("{}", text));
    testing::set_settings(settings);
    if let Err(failure) = testing::load::<Settings>() {
        assert_eq!(failure.code, "invalid");
    }
    if let Ok(settings) = serde_json::from_str::<Map<String, Value>>(settings) {
        masque_fuzz::settings(schema, settings);
    }
});
