//! The reference of the settings, docs/models.md.

use super::*;
use std::collections::BTreeSet;

#[test]
fn the_reference_lists_every_setting() {
    let page = include_str!("../../../../docs/models.md");
    let table = page.split("\n## Settings\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(String::from)
        .collect();
    let description = masque_sdk::describe::<OpenAi>();
    let schema: Value = serde_json::from_str(&description.settings_schema).unwrap();
    let known: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(listed, known);
}
