//! Finds the components that ship inside the binary. They are built for another target, so cargo can't make them from
//! here: `cargo xtask build` lays them into `plugins` in the target folder first.

#![allow(clippy::print_stdout, reason = "a build script speaks to cargo through its standard output")]

use std::env;
use std::path::{Path, PathBuf};

const COMPONENTS: [&str; 4] = ["card.wasm", "window.wasm", "openai.wasm", "offline.wasm"];

fn main() {
    println!("cargo::rerun-if-env-changed=MASQUE_PLUGINS_DIR");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");

    let folder = folder();
    let files = COMPONENTS.map(|name| folder.join(name));
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
    }
    match files.iter().find(|file| !file.is_file()) {
        None => println!("cargo::rustc-env=MASQUE_PLUGINS={}", folder.display()),
        Some(missing) => println!(
            "cargo::error=the plugins are not built: run `cargo xtask build` ({} does not exist)",
            missing.display()
        ),
    }
}

/// The folder named by `MASQUE_PLUGINS_DIR`, or `plugins` in the first target folder that has one.
fn folder() -> PathBuf {
    if let Some(named) = env::var_os("MASQUE_PLUGINS_DIR") {
        return PathBuf::from(named);
    }
    let workspace = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let default = workspace.join("target/plugins");
    let candidates = [this_target(), env::var_os("CARGO_TARGET_DIR").map(PathBuf::from)];
    candidates
        .into_iter()
        .flatten()
        .map(|target| target.join("plugins"))
        .find(|plugins| plugins.is_dir())
        .unwrap_or(default)
}

/// The target folder of this very build, which `CARGO_TARGET_DIR` does not tell where it is set in a configuration file
/// or relative to the folder that cargo was started in.
fn this_target() -> Option<PathBuf> {
    let out = PathBuf::from(env::var_os("OUT_DIR")?);
    out.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf)
}
