//! The SDK outside of this repository: what its package holds, and that the guide's first plugin is built from it and runs.

use std::fs;
use std::path::{Path, PathBuf};

use masque_tests::deploy::{in_repository, linked_files};
use masque_tests::{Setup, full, skipped};
use serde_json::json;
use tokio::process::Command;

const TARGET: &str = "wasm32-wasip2";

/// A folder of this file's own in the target folder, so that nothing waits for another cargo.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("sdk")
}

/// Runs cargo, which may use only what is on the machine already. Returns what it prints.
async fn cargo(folder: &Path, words: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(words).current_dir(folder).env("CARGO_NET_OFFLINE", "true");
    command.env("CARGO_TARGET_DIR", self::folder().join("target")).kill_on_drop(true);
    // Flags of this test's own build, such as those that measure coverage, are not for a component.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("LLVM_PROFILE_FILE");
    let output = command.output().await.unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {words:?} failed:\n{log}");
    String::from_utf8(output.stdout).unwrap()
}

/// The paths of all files in a folder, relative to it.
fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files
}

#[tokio::test]
async fn the_package_holds_all_sources_the_contract_the_guide_and_the_licence() {
    let words = ["package", "--package", "masque-sdk", "--list", "--allow-dirty"];
    let listed = cargo(&in_repository(""), &words).await;
    let listed: Vec<_> = listed.lines().collect();
    let sources = files_below(&in_repository("sdk/src")).into_iter().map(|path| format!("src/{path}"));
    let contract =
        files_below(&in_repository("wit/0.1.0")).into_iter().map(|path| format!("wit/0.1.0/{path}"));
    let texts = ["Cargo.toml", "README.md", "GUIDE.md", "LICENSE"].map(str::to_owned);
    let mut expected: Vec<_> = sources.chain(contract).chain(texts).collect();
    expected.retain(|path| !listed.contains(&path.as_str()));
    assert!(expected.is_empty(), "the package lacks {expected:?}");
}

#[tokio::test]
async fn no_link_of_a_page_in_the_package_leads_nowhere() {
    let words = ["package", "--package", "masque-sdk", "--list", "--allow-dirty"];
    let listed = cargo(&in_repository(""), &words).await;
    for page in listed.lines().filter(|path| path.ends_with(".md")) {
        let text = fs::read_to_string(in_repository("sdk").join(page)).unwrap();
        let missing: Vec<_> = linked_files(&text)
            .into_iter()
            .filter(|file| !listed.lines().any(|path| path == *file))
            .collect();
        assert!(missing.is_empty(), "{page}: {missing:?}");
    }
}

#[test]
fn what_crates_io_asks_for_is_in_the_manifest() {
    let manifest = fs::read_to_string(in_repository("sdk/Cargo.toml")).unwrap();
    for key in ["description", "license", "readme", "keywords", "categories", "version", "rust-version"] {
        let is_key =
            |line: &str| line.starts_with(&format!("{key} = ")) || line.starts_with(&format!("{key}."));
        assert!(manifest.lines().any(is_key), "{key}");
    }
    assert!(!manifest.contains("publish = false"));
}

/// Makes the package and unpacks it. Returns the folder of the crate.
async fn unpacked() -> PathBuf {
    // `--no-verify`: it is built below, for the target that plugins have.
    let words = ["package", "--package", "masque-sdk", "--no-verify", "--allow-dirty"];
    cargo(&in_repository(""), &words).await;
    let name = concat!("masque-sdk-", env!("CARGO_PKG_VERSION"));
    let unpacked = folder().join("unpacked");
    let _ = fs::remove_dir_all(&unpacked); // It may not be there.
    fs::create_dir_all(&unpacked).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--extract").arg("--file").arg(folder().join("target/package").join(format!("{name}.crate")));
    assert!(tar.current_dir(&unpacked).status().await.unwrap().success());
    unpacked.join(name)
}

/// The first fenced block of this language in the guide.
fn first_block(language: &str) -> String {
    let guide = fs::read_to_string(in_repository("docs/plugin-authors.md")).unwrap();
    let block = guide.split(&format!("```{language}\n")).nth(1).unwrap();
    block.split("```").next().unwrap().to_owned()
}

#[tokio::test]
async fn the_first_plugin_of_the_guide_is_built_without_this_repository_and_greets() {
    if !full() {
        return skipped("the_first_plugin_of_the_guide", "it compiles the SDK; set MASQUE_FULL=1");
    }
    let sdk = unpacked().await;
    let elsewhere = tempfile::tempdir().unwrap();
    cargo(elsewhere.path(), &["new", "--quiet", "--vcs", "none", "--lib", "hello"]).await;
    let hello = elsewhere.path().join("hello");
    // Stands for the package on crates.io.
    let patch = format!("\n[patch.crates-io]\nmasque-sdk = {{ path = {:?} }}\n", sdk.display().to_string());
    fs::write(hello.join("Cargo.toml"), first_block("toml") + &patch).unwrap();
    fs::write(hello.join("src/lib.rs"), first_block("rust")).unwrap();
    // The versions that this repository has fetched.
    fs::copy(in_repository("Cargo.lock"), hello.join("Cargo.lock")).unwrap();
    cargo(&hello, &["build", "--release", "--target", TARGET]).await;

    let component = folder().join("target").join(TARGET).join("release/hello.wasm");
    let toml = fs::read_to_string(in_repository("docs/plugin-authors.md")).unwrap();
    let toml = toml.split("```toml\n").skip(1).map(|part| part.split("```").next().unwrap());
    let toml = toml.into_iter().find(|block| block.contains("[plugins.hello]")).unwrap().to_owned();
    let setup = Setup::file(&toml);
    fs::create_dir_all(setup.data().join("plugins")).unwrap();
    fs::copy(component, setup.data().join("plugins/hello.wasm")).unwrap();
    let host = setup.start().await;
    let body = json!({ "companion": "ida", "user": { "name": "Ada" } });
    let conversation = host.client().post("/conversations", &body).send().await.expect(201);
    assert_eq!(conversation["messages"][0]["content"], "Hello, Ada! I am Ida.");
}

#[tokio::test]
async fn cargo_verifies_the_package() {
    if !full() {
        return skipped("cargo_verifies_the_package", "it compiles the SDK; set MASQUE_FULL=1");
    }
    let words = ["package", "--package", "masque-sdk", "--allow-dirty", "--target", TARGET];
    cargo(&in_repository(""), &words).await;
}
