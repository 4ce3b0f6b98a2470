//! Checks that `cargo xtask up` and `cargo xtask test` use the same build of the WebAssembly engine and of the host's crates.
//!
//! Cargo compiles a crate once for every set of features. Which features a shared crate gets depends on the packages that a
//! command selects, so a command with another selection can need a second build of the engine, or of the host's crates above
//! the one with another feature. Either takes minutes. The check compares the file names in cargo's messages: they contain a hash of the features and the profile. So it does not
//! depend on what an earlier command left in the target folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// Prefixes of the names of the engine's packages.
const ENGINE: [&str; 2] = ["wasmtime", "cranelift"];
/// The prefix of the names of the host's packages.
const HOST: &str = "masque-";

/// The crates of the engine and of the host that a build uses: the files of each, by package.
pub(crate) type SharedCrates = BTreeMap<String, BTreeSet<String>>;

/// Runs a cargo build and returns the crates of the engine and of the host that it uses. Warnings and errors go to the terminal as usual.
///
/// # Errors
/// The build fails.
pub(crate) fn build(command: &mut Command) -> anyhow::Result<SharedCrates> {
    let mut cargo = command
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start cargo")?;
    let messages = cargo.stdout.take().context("cargo has no output")?;
    let mut crates = SharedCrates::new();
    for line in BufReader::new(messages).lines() {
        if let Some((package, files)) = shared_crate(&line?) {
            crates.entry(package).or_default().extend(files);
        }
    }
    let status = cargo.wait()?;
    if !status.success() {
        bail!("`cargo build` failed ({status})");
    }
    Ok(crates)
}

/// Compares the crates of the host's build with those of the tests' build, which makes test programs in addition.
///
/// # Errors
/// The tests' build does not use a file of the host's build, or the host's build uses no crate of the engine, or none of the
/// host: then the check would prove nothing.
pub(crate) fn check_same(host: &SharedCrates, tests: &SharedCrates) -> anyhow::Result<()> {
    for prefix in [ENGINE[0], HOST] {
        if !host.keys().any(|package| package.starts_with(prefix)) {
            bail!(
                "cargo named no crate {prefix}* in the host's build; adapt the names in xtask/src/engine.rs"
            );
        }
    }
    let differing: Vec<&str> = host
        .iter()
        .filter(|(package, files)| tests.get(*package).is_none_or(|built| !files.is_subset(built)))
        .map(|(package, _)| package.as_str())
        .collect();
    if !differing.is_empty() {
        bail!(
            "the tests need another build of the same crates than the host ({}): some dependency has other features for them. \
             Give the feature to a normal dependency of a workspace member too, as in tests/Cargo.toml",
            differing.join(", ")
        );
    }
    Ok(())
}

/// Returns the package and the files if the message is about a crate of the engine or of the host.
fn shared_crate(message: &str) -> Option<(String, Vec<String>)> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message.get("reason")? != "compiler-artifact" {
        return None;
    }
    // `registry+URL#NAME@VERSION`
    let (_, package) = message.get("package_id")?.as_str()?.rsplit_once('#')?;
    if !ENGINE.iter().chain([&HOST]).any(|prefix| package.starts_with(prefix)) {
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
    fn only_artifacts_of_the_engine_and_of_the_host_count() {
        let cases = [
            (message("wasmtime@48.0.8", "compiler-artifact", "a"), true),
            (message("cranelift-codegen@0.135.8", "compiler-artifact", "a"), true),
            (message("masque-store@0.1.0", "compiler-artifact", "a"), true),
            (message("wasmtime@48.0.8", "build-script-executed", "a"), false),
            (message("tokio@1.0.0", "compiler-artifact", "a"), false),
            ("no JSON".to_owned(), false),
        ];
        for (message, counts) in cases {
            assert_eq!(shared_crate(&message).is_some(), counts, "{message}");
        }
    }

    #[test]
    fn another_file_of_a_package_is_another_build_and_a_further_one_is_not() {
        let crates = |files: &[(&str, &str)]| {
            let mut crates = SharedCrates::new();
            for (package, file) in files {
                let (package, files) = shared_crate(&message(package, "compiler-artifact", file)).unwrap();
                crates.entry(package).or_default().extend(files);
            }
            crates
        };
        let host =
            crates(&[("wasmtime@48.0.8", "libwasmtime-1.rlib"), ("masque-store@0.1.0", "libstore-1.rlib")]);
        let mut tests = host.clone();
        tests.get_mut("masque-store@0.1.0").unwrap().insert("store-test".to_owned());
        check_same(&host, &tests).unwrap();
        for (package, file) in
            [("wasmtime@48.0.8", "libwasmtime-2.rlib"), ("masque-store@0.1.0", "libstore-2.rlib")]
        {
            let mut other = tests.clone();
            other.insert(package.to_owned(), [file.to_owned()].into());
            let error = check_same(&host, &other).unwrap_err();
            assert!(error.to_string().contains(package), "{error}");
        }
        assert!(check_same(&SharedCrates::new(), &tests).is_err());
    }
}
