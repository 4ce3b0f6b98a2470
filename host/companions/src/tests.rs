//! Configurations whose mistakes show only once the components have described themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use masque_config::{Config, ConfigSource, Environment, Flags};
use masque_grants::Builtin;
use masque_runtime::{Sandbox, SandboxConfig};

use super::{load, sandbox_config};

/// The bytes of a built-in component, as `cargo xtask build` has built it.
fn component(builtin: Builtin) -> &'static [u8] {
    let plugins = std::env::var_os("MASQUE_PLUGINS").map_or_else(|| target().join("plugins"), PathBuf::from);
    let file = plugins.join(format!("{}.wasm", builtin.name()));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).leak()
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from)
}

/// Compiles in this process, since the binary that runs the tests has no command that compiles, and keeps the components for
/// other tests.
fn sandbox(config: &Config) -> Arc<Sandbox> {
    let cache = Some(target().join("tmp/compiled"));
    Sandbox::new(&SandboxConfig { cache, ..sandbox_config(&config.sandbox) }).unwrap()
}

/// The configuration of a host that is started in `folder`, or with the file `config`.
fn load_config(config: Option<PathBuf>, folder: &Path) -> Config {
    let source = ConfigSource {
        flags: Flags { config, ..Flags::default() },
        environment: Environment::default(),
        folder: folder.to_path_buf(),
        default_card: include_str!("../../../plugins/card/cards/elara.json").into(),
    };
    source.load().unwrap().config
}

/// The problems of a configuration, one line each, without the path of the file's folder.
async fn problems(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masque.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("broken.wasm"), "no component").unwrap();
    let config = load_config(Some(file), Path::new(""));
    let prefix = format!("{}/", folder.path().display());
    let sandbox = sandbox(&config);
    load(&config, &sandbox, component)
        .await
        .unwrap_err()
        .iter()
        .map(|problem| problem.to_string().replace(&prefix, ""))
        .collect()
}

#[tokio::test]
async fn a_host_without_a_configuration_has_a_companion() {
    let config = load_config(None, Path::new("/nonexistent"));
    let sandbox = sandbox(&config);
    let set = load(&config, &sandbox, component).await.unwrap();
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
    assert_problems(&found, &expected);
}

/// Asserts that there is one problem for each line and text, and no other.
fn assert_problems(found: &[String], expected: &[(&str, &str)]) {
    for (line, text) in expected {
        assert!(
            found.iter().any(|problem| problem.starts_with(line) && problem.contains(text)),
            "{line} {text}: {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[tokio::test]
async fn a_setting_that_its_plugin_can_not_use_is_refused_with_file_and_reason() {
    let found = problems(
        r#"[plugins.ida]
source = "builtin:card"
settings = { card = { file = "broken.wasm" } }

[plugins.long]
source = "builtin:window"
settings = { max_turns = 5_000_000_000 }
"#,
    )
    .await;
    let expected = [
        (
            "masque.toml:3:",
            "the setting `card` of plugin `ida` (broken.wasm) can't be used: the card is not JSON",
        ),
        ("masque.toml:7:", "the setting `max_turns` of plugin `long` can't be used"),
    ];
    assert_problems(&found, &expected);
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
    let config = load_config(Some(file), Path::new(""));
    let sandbox = Sandbox::new(&sandbox_config(&config.sandbox)).unwrap();
    let set = load(&config, &sandbox, component).await.unwrap();
    assert!(Arc::ptr_eq(set.plugins["long"].package(), set.plugins["window"].package()));
}
