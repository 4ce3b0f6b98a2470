//! `deploy/Dockerfile`, what its stages run, and the list of parts that it puts into the image.

use std::collections::BTreeSet;
use std::path::Path;

use masque_tests::deploy::in_repository;
use masque_tests::{full, skipped, unavailable};
use serde_json::Value;
use tokio::process::Command;

use super::programs::{program, run};

fn dockerfile() -> String {
    std::fs::read_to_string(in_repository("deploy/Dockerfile")).unwrap()
}

/// `cargo metadata` of the workspace in this folder.
async fn metadata(folder: &Path) -> Value {
    let mut cargo = Command::new("cargo");
    let words =
        ["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    serde_json::from_str(&run(cargo.args(words).current_dir(folder)).await.expect()).unwrap()
}

/// The list of parts for a processor.
async fn parts(processor: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new/sbom.cdx.json");
    let mut sbom = Command::new(in_repository("deploy/sbom"));
    run(sbom.arg(processor).arg(&file)).await.expect();
    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
}

#[tokio::test]
async fn hadolint_finds_nothing_in_the_dockerfile() {
    let mut hadolint = Command::new(program("hadolint").await);
    run(hadolint.arg("--failure-threshold=style").arg(in_repository("deploy/Dockerfile"))).await.expect();
}

#[tokio::test]
async fn shellcheck_finds_nothing_in_the_scripts_of_the_image_and_of_compose() {
    let mut shellcheck = Command::new(program("shellcheck").await);
    for script in [
        "deploy/up",
        "deploy/image/compile",
        "deploy/image/empty-sources",
        "deploy/compose/postgres/10-masque.sh",
        "tests/tests/deploy/image/build",
        "tests/tests/deploy/image/try",
    ] {
        shellcheck.arg(in_repository(script));
    }
    run(&mut shellcheck).await.expect();
}

#[test]
fn the_binary_is_linked_with_the_c_library_of_the_image_and_compiled_by_the_oldest_supported_rust() {
    let file = dockerfile();
    let bases: Vec<_> = file.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    let (runtime, builders) = bases.split_last().unwrap();
    let release = runtime.strip_prefix("debian:").and_then(|tag| tag.strip_suffix("-slim")).unwrap();
    let manifest = std::fs::read_to_string(in_repository("Cargo.toml")).unwrap();
    let rust =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    for builder in builders {
        let expected = format!("--platform=$BUILDPLATFORM rust:{rust}-slim-{release} AS ");
        assert!(builder.starts_with(&expected), "{builder} is not {expected}");
    }
}

#[tokio::test]
async fn empty_sources_keep_what_decides_which_dependencies_are_compiled() {
    let repository = in_repository(".");
    let copy = tempfile::tempdir().unwrap();
    let script = "git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --no-dereference -t \"$0\" 2>/dev/null || true";
    let mut copied = Command::new("sh");
    run(copied.args(["-c", script]).arg(copy.path()).current_dir(&repository)).await.expect();
    let mut emptied = Command::new(in_repository("deploy/image/empty-sources"));
    run(emptied.current_dir(copy.path())).await.expect();

    let packages = |metadata: &Value| -> BTreeSet<String> {
        let packages = metadata["packages"].as_array().unwrap();
        packages.iter().map(|package| format!("{} {}", package["name"], package["version"])).collect()
    };
    let (before, after) = (metadata(&repository).await, metadata(copy.path()).await);
    assert_eq!(packages(&before), packages(&after));
    let main = std::fs::read_to_string(copy.path().join("host/masque/src/main.rs")).unwrap();
    assert_eq!(main, "fn main() {}\n", "a change of the sources compiles the dependencies again");
    assert!(!copy.path().join("host/masque/src/cli.rs").exists());
    // The command that builds is compiled there: what it includes is kept.
    let mut included = 0;
    let mut left = vec![copy.path().join("xtask/src")];
    while let Some(file) = left.pop() {
        if file.is_dir() {
            left.extend(std::fs::read_dir(file).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let source = std::fs::read_to_string(&file).unwrap();
        for path in source.split("include_str!(\"").skip(1) {
            let path = file.parent().unwrap().join(path.split('"').next().unwrap());
            assert!(path.exists(), "{} includes {}, which is gone", file.display(), path.display());
            included += 1;
        }
    }
    assert!(included > 0, "xtask includes nothing");
    assert!(!copy.path().join("host/masque/build.rs").exists(), "the build script asks for components");
}

#[tokio::test]
async fn empty_sources_refuse_a_repository() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["Cargo.lock", ".git", "precious.rs"] {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    let mut emptied = Command::new(in_repository("deploy/image/empty-sources"));
    let refused = run(emptied.current_dir(folder.path())).await;
    assert!(!refused.succeeded && refused.errors.contains("copy"), "{refused:?}");
    assert!(folder.path().join("precious.rs").exists());
}

#[tokio::test]
async fn an_image_for_another_processor_than_two_is_refused() {
    let mut compile = Command::new(in_repository("deploy/image/compile"));
    let refused = run(compile.arg("riscv64")).await;
    assert!(!refused.succeeded && refused.errors.contains("amd64 and arm64"), "{refused:?}");
}

#[tokio::test]
async fn the_parts_are_those_of_the_host_and_its_components_with_the_digests_of_the_lock_file() {
    let parts = parts("amd64").await;
    assert_eq!(parts["metadata"]["component"]["name"], "masque");
    let components = parts["components"].as_array().unwrap();
    let find = |name: &str| components.iter().find(|part| part["name"] == name);
    for name in ["wasmtime", "hyper", "libsqlite3-sys", "masque-http", "masque-plugin-window", "wit-bindgen"]
    {
        assert!(find(name).is_some(), "{name} is missing");
    }
    for name in ["rcgen", "divan", "masque-tests", "xtask", "hello-persona"] {
        assert!(find(name).is_none(), "{name} is not in the binary");
    }
    let lock = std::fs::read_to_string(in_repository("Cargo.lock")).unwrap();
    for part in components {
        let is_own = part["bom-ref"].as_str().unwrap().starts_with("masque-");
        let digest = part["hashes"][0]["content"].as_str();
        assert!(is_own || digest.is_some_and(|digest| lock.contains(digest)), "{part}");
        assert!(part["licenses"][0]["expression"].is_string(), "{part}");
    }
}

#[tokio::test]
async fn the_parts_refer_to_each_other_and_are_the_same_each_time() {
    for processor in ["amd64", "arm64"] {
        let (first, second) = (parts(processor).await, parts(processor).await);
        assert_eq!(first, second);
        let listed = first["components"].as_array().unwrap().iter().chain([&first["metadata"]["component"]]);
        let listed: BTreeSet<_> = listed.map(|part| part["bom-ref"].as_str().unwrap()).collect();
        let edges = first["dependencies"].as_array().unwrap();
        let from: BTreeSet<_> = edges.iter().map(|edge| edge["ref"].as_str().unwrap()).collect();
        assert_eq!(from, listed);
        for needed in edges.iter().flat_map(|edge| edge["dependsOn"].as_array().unwrap()) {
            assert!(listed.contains(needed.as_str().unwrap()), "{needed} is not listed");
        }
    }
}

/// Takes about a quarter of an hour, most of it for the compiler, and 15 GB meanwhile. Needs root.
#[tokio::test]
async fn the_built_image_serves_a_turn_as_a_user_without_rights_on_a_root_that_is_read_only() {
    const NAME: &str = "the_built_image_serves_a_turn_as_a_user_without_rights_on_a_root_that_is_read_only";
    if !full() {
        return skipped(NAME, "it builds an image; run `cargo xtask test --full`");
    }
    let probe = "buildah --version && debootstrap --version && [ \"$(id -u)\" = 0 ]";
    if !run(Command::new("sh").args(["-c", probe])).await.succeeded {
        return unavailable(NAME, "it needs buildah, debootstrap and root");
    }
    // target/PROFILE/deps/TEST
    let built = std::env::current_exe().unwrap();
    let work = built.ancestors().nth(3).unwrap().join("tmp/image");
    let script = |name: &str| in_repository("tests/tests/deploy/image").join(name);
    let build = run(Command::new(script("build")).arg(in_repository(".")).arg(&work)).await;
    let tried = if build.succeeded { run(Command::new(script("try")).arg(&work)).await } else { build };
    // The bases stay, and images are large.
    for folder in ["storage", "run"] {
        run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(work.join(folder))).await.expect();
    }
    let output = tried.expect();
    assert!(output.contains("the image is as it should be"), "{output}");
}
