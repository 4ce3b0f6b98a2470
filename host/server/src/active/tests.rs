//! Configurations whose mistakes show only once the components have described themselves.

use std::path::Path;
use std::sync::Arc;

use masque_runtime::Sandbox;

use super::{load, sandbox_config};
use crate::builtin;
use crate::config::{self, Environment, Flags};

/// The problems of a configuration, one line each, without the path of the file's folder.
async fn problems(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masque.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("broken.wasm"), "no component").unwrap();
    let flags = Flags { config: Some(file), ..Flags::default() };
    let config = config::load(&flags, &Environment::default(), Path::new("")).unwrap().config;
    let prefix = format!("{}/", folder.path().display());
    // Compiles in this process: the binary that runs the tests has no command that compiles.
    let sandbox = Sandbox::new(&sandbox_config(&config.sandbox)).unwrap();
    load(&config, &sandbox, builtin::component)
        .await
        .unwrap_err()
        .iter()
        .map(|problem| problem.to_string().replace(&prefix, ""))
        .collect()
}

#[tokio::test]
async fn a_host_without_a_configuration_has_a_companion() {
    let config =
        config::load(&Flags::default(), &Environment::default(), Path::new("/nonexistent")).unwrap().config;
    let sandbox = Sandbox::new(&sandbox_config(&config.sandbox)).unwrap();
    let set = load(&config, &sandbox, builtin::component).await.unwrap();
    let elara = &set.companions["elara"];
    assert_eq!(elara.models[0].name(), "offline");
    assert_eq!(set.generation, 1);
    assert!(elara.persona.package().greets());
}

#[tokio::test]
async fn every_mistake_is_reported_at_once_with_its_line() {
    let found = problems(
        r#"[companions.ida]
persona = "window"
memory = "window"
models = ["offline", "elara"]

[plugins.broken]
source = "broken.wasm"

[plugins.picky]
source = "builtin:window"
settings = { max_turn = 3 }
"#,
    )
    .await;
    let expected = [
        ("masque.toml:7:", "plugin `broken`"),
        ("masque.toml:11:", "Did you mean `max_turns`?"),
        ("masque.toml:2:", "plugin `window` is a memory, and companion `ida` needs a persona here"),
        ("masque.toml:4:", "plugin `elara` is a persona, and companion `ida` needs a model here"),
    ];
    for (line, text) in expected {
        assert!(
            found.iter().any(|problem| problem.starts_with(line) && problem.contains(text)),
            "{line} {text}: {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[tokio::test]
async fn a_file_that_is_no_component_is_refused_with_how_to_build_one() {
    let found = problems("[plugins.notes]\nsource = \"broken.wasm\"\n").await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("wasm32-wasip2"), "{found:#?}");
}

#[tokio::test]
async fn plugins_with_the_same_bytes_are_compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masque.toml");
    std::fs::write(&file, "[plugins.long]\nsource = \"builtin:window\"\nsettings = { max_turns = 9 }\n")
        .unwrap();
    let flags = Flags { config: Some(file), ..Flags::default() };
    let config = config::load(&flags, &Environment::default(), Path::new("")).unwrap().config;
    let sandbox = Sandbox::new(&sandbox_config(&config.sandbox)).unwrap();
    let set = load(&config, &sandbox, builtin::component).await.unwrap();
    assert!(Arc::ptr_eq(set.plugins["long"].package(), set.plugins["window"].package()));
}
