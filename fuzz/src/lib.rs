//! The host's own sources that read what operators and plugins wrote, without the host around them.
#![allow(dead_code, unused_imports, unreachable_pub)]

#[path = "../../host/server/src/builtin.rs"]
mod builtin;
#[path = "../../host/server/src/config/mod.rs"]
mod config;
#[path = "../../host/server/src/active/schema.rs"]
mod schema;

use std::cell::OnceCell;
use std::path::Path;

use masque_runtime::contract::Description;
use serde_json::{Map, Value};
use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Reads a `masque.toml` as a host would that is started beside it. Every mistake has to be told in words.
pub fn configuration(text: &[u8]) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().unwrap()).path();
        std::fs::write(folder.join("masque.toml"), text).unwrap();
        let environment = config::Environment::from_pairs([("KEY".into(), "secret".into())]);
        let problems = match origin(environment, folder).load() {
            Ok(loaded) => loaded.warnings,
            Err(mistaken) => {
                assert!(mistaken.problems.are_fatal());
                mistaken.problems
            }
        };
        for line in problems.to_string().lines() {
            assert!(!line.chars().any(char::is_control), "a mistake forges a line or a colour: {line:?}");
        }
    });
}

fn origin(environment: config::Environment, folder: &Path) -> config::Origin {
    config::Origin { flags: config::Flags::default(), environment, folder: folder.to_path_buf() }
}

/// Holds settings to the schema that a plugin gave of them.
pub fn settings(schema: &str, settings: Map<String, Value>) {
    let nowhere = origin(config::Environment::from_pairs([]), Path::new("/nowhere"));
    let config = nowhere.load().unwrap().config;
    let (name, plugin) = config.plugins.iter().next().unwrap();
    let mut plugin = plugin.clone();
    plugin.settings = settings;
    for problem in schema::check(&config, name, &plugin, &Description { settings_schema: schema.into() }) {
        assert!(!problem.to_string().is_empty());
    }
}
