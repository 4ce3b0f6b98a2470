//! Checks that the WebAssembly engine is compiled once for `cargo xtask up` and `cargo xtask test` together.
//!
//! Cargo compiles a crate again for every set of features. Which features a shared crate gets depends on the packages
//! that a command selects, so a command with another selection can compile the engine a second time, which takes
//! minutes. The check reads cargo's JSON messages, which say of each artifact whether it was up to date ("fresh").

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// Prefixes of the names of the engine's crates.
const ENGINE: [&str; 2] = ["wasmtime", "cranelift"];

/// Runs a cargo build and fails if it compiles a crate of the engine. Warnings and errors go to the terminal as usual.
///
/// # Errors
/// The build fails, or it compiled the engine. The error names the crates.
pub(crate) fn build_without_engine(build: &mut Command) -> anyhow::Result<()> {
    let mut cargo = build
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start cargo")?;
    let messages = cargo.stdout.take().context("cargo has no output")?;
    let mut compiled = Vec::new();
    for line in BufReader::new(messages).lines() {
        compiled.extend(compiled_engine_crate(&line?));
    }
    let status = cargo.wait()?;
    if !status.success() {
        bail!("`cargo build` failed ({status})");
    }
    if !compiled.is_empty() {
        compiled.sort();
        compiled.dedup();
        bail!(
            "the tests compiled the engine again after the host was built ({}): a dependency has other features for the \
             tests. Give the feature to a normal dependency of a workspace member too",
            compiled.join(", ")
        );
    }
    Ok(())
}

/// Returns the crate's name if the message says that cargo compiled a crate of the engine.
fn compiled_engine_crate(message: &str) -> Option<String> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message.get("reason")? != "compiler-artifact" || message.get("fresh")? != false {
        return None;
    }
    let name = message.get("target")?.get("name")?.as_str()?;
    // Target names of libraries have `_` for `-`; a build script is `build-script-build`.
    let package = message.get("package_id")?.as_str()?;
    let is_engine =
        ENGINE.iter().any(|prefix| name.starts_with(prefix) || package.contains(&format!("#{prefix}")));
    is_engine.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_crate_that_was_compiled_counts() {
        let message = |name: &str, package: &str, reason: &str, fresh: bool| {
            serde_json::json!({
                "reason": reason, "package_id": package, "target": { "name": name }, "fresh": fresh,
            })
            .to_string()
        };
        let wasmtime = "registry+index#wasmtime@48.0.8";
        let cases = [
            (message("wasmtime", wasmtime, "compiler-artifact", false), Some("wasmtime")),
            (message("wasmtime", wasmtime, "compiler-artifact", true), None),
            (message("wasmtime", wasmtime, "build-script-executed", false), None),
            (
                message(
                    "cranelift_codegen",
                    "registry+index#cranelift-codegen@0.135.8",
                    "compiler-artifact",
                    false,
                ),
                Some("cranelift_codegen"),
            ),
            (message("tokio", "registry+index#tokio@1.0.0", "compiler-artifact", false), None),
            ("no JSON".to_owned(), None),
        ];
        for (message, expected) in cases {
            assert_eq!(compiled_engine_crate(&message).as_deref(), expected, "{message}");
        }
    }
}
