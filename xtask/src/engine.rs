//! Checks that `cargo xtask up` and `cargo xtask test` use the same build of the WebAssembly engine.
//!
//! Cargo compiles a crate once for every set of features. Which features a shared crate gets depends on the packages that a
//! command selects, so a command with another selection can need a second build of the engine, which takes minutes. The
//! check compares the file names in cargo's messages: they contain a hash of the features and the profile. So it does not
//! depend on what an earlier command left in the target folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// Prefixes of the names of the engine's packages.
const ENGINE: [&str; 2] = ["wasmtime", "cranelift"];

/// The engine's crates that a build uses: the files of each, by package.
pub(crate) type EngineCrates = BTreeMap<String, BTreeSet<String>>;

/// Runs a cargo build and returns the engine's crates that it uses. Warnings and errors go to the terminal as usual.
///
/// # Errors
/// The build fails.
pub(crate) fn build(command: &mut Command) -> anyhow::Result<EngineCrates> {
    let mut cargo = command
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start cargo")?;
    let messages = cargo.stdout.take().context("cargo has no output")?;
    let mut crates = EngineCrates::new();
    for line in BufReader::new(messages).lines() {
        if let Some((package, files)) = engine_crate(&line?) {
            crates.entry(package).or_default().extend(files);
        }
    }
    let status = cargo.wait()?;
    if !status.success() {
        bail!("`cargo build` failed ({status})");
    }
    Ok(crates)
}

/// Compares the engine's crates of the host's build with those of the tests' build.
///
/// # Errors
/// The builds use different files of a package, or the host's build uses none: then the check would prove nothing.
pub(crate) fn check_same(host: &EngineCrates, tests: &EngineCrates) -> anyhow::Result<()> {
    if host.is_empty() {
        bail!(
            "cargo named no crate of the engine in the host's build; adapt the names in xtask/src/engine.rs"
        );
    }
    let differing: Vec<&str> = host
        .iter()
        .filter(|(package, files)| tests.get(*package) != Some(*files))
        .map(|(package, _)| package.as_str())
        .collect();
    if !differing.is_empty() {
        bail!(
            "the tests need another build of the engine than the host ({}): some dependency has other features for them. \
             Give the feature to a normal dependency of a workspace member too, as in tests/Cargo.toml",
            differing.join(", ")
        );
    }
    Ok(())
}

/// Returns the package and the files if the message is about a crate of the engine.
fn engine_crate(message: &str) -> Option<(String, Vec<String>)> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message.get("reason")? != "compiler-artifact" {
        return None;
    }
    // `registry+URL#NAME@VERSION`
    let (_, package) = message.get("package_id")?.as_str()?.rsplit_once('#')?;
    if !ENGINE.iter().any(|prefix| package.starts_with(prefix)) {
        return None;
    }
    let files = message.get("filenames")?.as_array()?;
    Some((package.to_owned(), files.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(package: &str, reason: &str, file: &str) -> String {
        let package = format!("registry+index#{package}");
        serde_json::json!({ "reason": reason, "package_id": package, "filenames": [file] }).to_string()
    }

    #[test]
    fn only_artifacts_of_engine_packages_count() {
        let cases = [
            (message("wasmtime@48.0.8", "compiler-artifact", "a"), true),
            (message("cranelift-codegen@0.135.8", "compiler-artifact", "a"), true),
            (message("wasmtime@48.0.8", "build-script-executed", "a"), false),
            (message("tokio@1.0.0", "compiler-artifact", "a"), false),
            ("no JSON".to_owned(), false),
        ];
        for (message, counts) in cases {
            assert_eq!(engine_crate(&message).is_some(), counts, "{message}");
        }
    }

    #[test]
    fn another_file_of_a_package_is_another_build() {
        let crates = |file: &str| {
            let (package, files) =
                engine_crate(&message("wasmtime@48.0.8", "compiler-artifact", file)).unwrap();
            EngineCrates::from([(package, files.into_iter().collect())])
        };
        check_same(&crates("libwasmtime-1.rlib"), &crates("libwasmtime-1.rlib")).unwrap();
        let error = check_same(&crates("libwasmtime-1.rlib"), &crates("libwasmtime-2.rlib")).unwrap_err();
        assert!(error.to_string().contains("wasmtime@48.0.8"), "{error}");
        assert!(check_same(&EngineCrates::new(), &EngineCrates::new()).is_err());
    }
}
