//! Configurations whose mistakes show only once the components have been asked.

use std::path::Path;

use super::*;
use crate::config::{Environment, Flags};

/// The problems of a configuration, a line each, without the file's folder.
async fn problems(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masque.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("broken.wasm"), "no component").unwrap();
    let flags = Flags { config: Some(file), ..Flags::default() };
    let config = config::load(&flags, &Environment::default(), Path::new("")).unwrap().config;
    let prefix = format!("{}/", folder.path().display());
    // Compiled in this process: the binary that runs the tests offers no child that compiles.
    let sandbox = Sandbox::new(&convert::runtime::sandbox(&config.sandbox)).unwrap();
    load(&config, &sandbox)
        .await
        .unwrap_err()
        .iter()
        .map(|problem| problem.to_string().replace(&prefix, ""))
        .collect()
}

#[tokio::test]
async fn a_host_with_nothing_configured_has_someone_to_talk_to() {
    let config =
        config::load(&Flags::default(), &Environment::default(), Path::new("/nonexistent")).unwrap().config;
    let sandbox = Sandbox::new(&convert::runtime::sandbox(&config.sandbox)).unwrap();
    let set = load(&config, &sandbox).await.unwrap();
    let elara = &set.companions["elara"];
    assert_eq!(elara.models[0].name(), "offline");
    assert_eq!(set.generation, 1);
    assert!(elara.persona.package().greets());
}

#[tokio::test]
async fn every_mistake_is_reported_at_once_where_it_was_made() {
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
    for (place, text) in expected {
        assert!(
            found.iter().any(|line| line.starts_with(place) && line.contains(text)),
            "{place} {text}: {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[tokio::test]
async fn a_file_that_is_no_component_says_what_to_build() {
    let found = problems("[plugins.notes]\nsource = \"broken.wasm\"\n").await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("wasm32-wasip2"), "{found:#?}");
}

#[tokio::test]
async fn plugins_from_the_same_bytes_are_compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masque.toml");
    std::fs::write(&file, "[plugins.long]\nsource = \"builtin:window\"\nsettings = { max_turns = 9 }\n")
        .unwrap();
    let flags = Flags { config: Some(file), ..Flags::default() };
    let config = config::load(&flags, &Environment::default(), Path::new("")).unwrap().config;
    let sandbox = Sandbox::new(&convert::runtime::sandbox(&config.sandbox)).unwrap();
    let set = load(&config, &sandbox).await.unwrap();
    assert!(Arc::ptr_eq(set.plugins["long"].package(), set.plugins["window"].package()));
}

#[tokio::test]
async fn whoever_holds_a_generation_keeps_it_when_the_next_one_comes() {
    let active = Active::new(nothing());
    let pinned = active.current();
    active.publish(&pinned, nothing(), Vec::new()).unwrap();
    assert_eq!((pinned.generation, active.current().generation), (1, 2));
}

#[tokio::test]
async fn a_set_made_from_another_than_the_current_one_is_not_published() {
    let active = Active::new(nothing());
    let base = active.current();
    active.publish(&base, nothing(), Vec::new()).unwrap();
    assert_eq!(active.publish(&base, nothing(), Vec::new()).err(), Some(Outdated));
    assert_eq!(active.current().generation, 2);
}

fn nothing() -> ActiveSet {
    ActiveSet {
        generation: 1,
        configuration: String::new(),
        companions: BTreeMap::new(),
        names: Arc::default(),
        plugins: BTreeMap::new(),
        redactor: Arc::default(),
    }
}
