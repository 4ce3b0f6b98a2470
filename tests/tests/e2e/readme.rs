//! The README: its code and its configurations are valid. Its links are tested with those of all documents.

use std::path::{Path, PathBuf};

use masque_tests::{CommandOutput, Setup};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// The fenced code blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let fence = format!("```{language}\n");
    let parts = readme.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_persona_in_the_readme_is_the_example() {
    let example = std::fs::read_to_string(root().join("examples/hello-persona/src/lib.rs")).unwrap();
    let code = blocks("rust").into_iter().next().expect("a block of Rust");
    assert!(example.contains(code.trim_end()), "the README's persona differs from examples/hello-persona");
    let lines = code.lines().filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//")).count();
    assert!(lines < 25, "a persona is short: {lines} lines");
}

#[tokio::test]
async fn every_configuration_in_the_readme_passes_the_check() {
    let plugins = match std::env::var_os("MASQUE_PLUGINS") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("plugins"),
    };
    let configurations = blocks("toml");
    assert!(configurations.len() >= 3, "OpenAI, Ollama, a persona of one's own");
    for toml in configurations {
        let hello = std::fs::read(plugins.join("hello-persona.wasm")).expect("run `cargo xtask build`");
        // The README expects the component at this path.
        let setup = Setup::file(&toml).environment("OPENAI_API_KEY", "sk-example");
        std::fs::create_dir_all(setup.folder().join("target/plugins")).unwrap();
        let setup = setup.beside("target/plugins/hello-persona.wasm", &hello);
        let CommandOutput { status, text } = setup.check().await;
        assert!(status.success(), "{toml}\n{text}");
    }
}

#[tokio::test]
async fn the_persona_of_the_readme_works_next_to_the_default_one() {
    let toml = blocks("toml").into_iter().find(|toml| toml.contains("hello-persona.wasm")).unwrap();
    let plugins = match std::env::var_os("MASQUE_PLUGINS") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("plugins"),
    };
    let hello = std::fs::read(plugins.join("hello-persona.wasm")).expect("run `cargo xtask build`");
    let setup = Setup::file(&toml);
    std::fs::create_dir_all(setup.folder().join("target/plugins")).unwrap();
    let host = setup.beside("target/plugins/hello-persona.wasm", &hello).start().await;

    let companions = host.client().get("/companions").send().await.expect(200);
    let companions = companions["items"].as_array().unwrap().clone();
    let names: Vec<_> = companions.iter().map(|companion| companion["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["elara", "ida"]);
    for name in names {
        let body = serde_json::json!({ "message": "Hello.", "companion": name });
        let reply = host.client().chat(&body).send().await.expect(200);
        assert_eq!(reply["companion"], name);
    }
    let body = serde_json::json!({ "companion": "ida" });
    let conversation = host.client().post("/conversations", &body).send().await.expect(201);
    assert_eq!(conversation["messages"][0]["content"], "Hello, stranger! I am Ida.");
}

#[test]
fn the_section_that_the_offline_model_names_exists() {
    assert!(readme().lines().any(|line| line.trim_start_matches('#').trim() == "Connecting a model"));
}
