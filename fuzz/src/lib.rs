//! The parts of the fuzz targets that call the host.
#![allow(dead_code, unreachable_pub)]

#[path = "../../host/companions/src/schema.rs"]
mod schema;

use std::cell::OnceCell;
use std::path::Path;

use masque_config::{ConfigSource, Environment, Flags};
use masque_runtime::contract::Description;
use serde_json::{Map, Value};
use tempfile::TempDir;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Reads a `masque.toml` like a host that is started in its folder. The text of a diagnostic must have no control
/// characters, which could forge lines or colours in the output.
pub fn configuration(text: &[u8]) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().unwrap()).path();
        std::fs::write(folder.join("masque.toml"), text).unwrap();
        let environment = Environment::from_pairs([("KEY".into(), "secret".into())]);
        let diagnostics = match source(environment, folder).load() {
            Ok(loaded) => loaded.warnings,
            Err(invalid) => {
                assert!(invalid.diagnostics.are_fatal());
                invalid.diagnostics
            }
        };
        for line in diagnostics.to_string().lines() {
            assert!(!line.chars().any(char::is_control), "a diagnostic has a control character: {line:?}");
        }
    });
}

fn source(environment: Environment, folder: &Path) -> ConfigSource {
    ConfigSource { flags: Flags::default(), environment, folder: folder.to_path_buf(), default_card: "{}".into() }
}

/// Checks settings against a plugin's schema. Each diagnostic must have a text.
pub fn settings(schema: &str, settings: Map<String, Value>) {
    let defaults = source(Environment::from_pairs([]), Path::new("/nowhere"));
    let config = defaults.load().unwrap().config;
    let (name, plugin) = config.plugins.iter().next().unwrap();
    let mut plugin = plugin.clone();
    plugin.settings = settings;
    for diagnostic in schema::check(&config, name, &plugin, &Description { settings_schema: schema.into() }) {
        assert!(!diagnostic.to_string().is_empty());
    }
}
