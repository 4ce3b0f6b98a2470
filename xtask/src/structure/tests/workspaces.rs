//! The whole check on small workspaces, with faults planted in them.

use std::path::Path;

use tempfile::TempDir;

use super::super::run;
use super::write;

const ROOT: &str =
    "[workspace]\nresolver = \"3\"\nmembers = [\"host/*\", \"sdk\", \"tests\", \"plugins/*\"]\n";

/// A workspace without faults.
fn workspace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("Cargo.toml", ROOT)]);
    for (place, name, dependencies) in [
        ("host/masque", "masque", "masque-api = { path = \"../api\" }"),
        ("host/api", "masque-api", "masque-store = { path = \"../store\" }"),
        ("host/store", "masque-store", ""),
        ("host/store-sqlite", "masque-store-sqlite", "masque-store = { path = \"../store\" }"),
        ("sdk", "masque-sdk", ""),
        ("plugins/card", "masque-plugin-card", "masque-sdk = { path = \"../../sdk\" }"),
        ("tests", "masque-tests", "masque-sdk = { path = \"../sdk\" }"),
    ] {
        write_package(folder.path(), place, name, dependencies);
    }
    folder
}

fn write_package(root: &Path, place: &str, name: &str, dependencies: &str) {
    let manifest =
        format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}\n");
    write(&root.join(place), &[("Cargo.toml", &manifest), ("src/lib.rs", "")]);
}

fn refusal(root: &Path) -> String {
    format!("{:#}", run(root).expect_err("the check found nothing"))
}

#[test]
fn a_workspace_that_follows_the_rules_passes() {
    let workspace = workspace();
    run(workspace.path()).unwrap();
}

#[test]
fn a_planted_dependency_fails() {
    let workspace = workspace();
    let planted = "masque-api = { path = \"../api\" }";
    write_package(workspace.path(), "host/store", "masque-store", planted);
    // Cargo itself refuses cycles of dependencies.
    write_package(workspace.path(), "host/api", "masque-api", "");
    let refusal = refusal(workspace.path());
    assert!(refusal.contains("masque-store must not depend on masque-api"), "{refusal}");
    assert!(refusal.contains("no other crate of the workspace"), "{refusal}");
}

#[test]
fn a_planted_build_dependency_fails() {
    let workspace = workspace();
    let planted = "\n[build-dependencies]\nmasque-store = { path = \"../host/store\" }";
    write_package(workspace.path(), "sdk", "masque-sdk", planted);
    let refusal = refusal(workspace.path());
    assert!(refusal.contains("masque-sdk must not depend on masque-store"), "{refusal}");
}

#[test]
fn tests_may_use_the_sqlite_store_and_code_may_not() {
    let workspace = workspace();
    let sqlite = "masque-store-sqlite = { path = \"../store-sqlite\" }";
    write_package(workspace.path(), "host/api", "masque-api", &format!("\n[dev-dependencies]\n{sqlite}"));
    run(workspace.path()).unwrap();
    write_package(workspace.path(), "host/api", "masque-api", sqlite);
    let refusal = refusal(workspace.path());
    assert!(refusal.contains("masque-api must not depend on masque-store-sqlite"), "{refusal}");
}

#[test]
fn tests_may_not_use_what_the_crate_never_reaches() {
    let workspace = workspace();
    let planted = "\n[dev-dependencies]\nmasque-store-sqlite = { path = \"../store-sqlite\" }";
    write_package(workspace.path(), "host/telemetry", "masque-telemetry", planted);
    let refusal = refusal(workspace.path());
    assert!(refusal.contains("masque-telemetry must not depend on masque-store-sqlite (dev-"), "{refusal}");
}

#[test]
fn tests_may_switch_on_a_feature_of_their_own_crate() {
    let workspace = workspace();
    let own = "\n[dev-dependencies]\nmasque-store = { path = \".\" }";
    write_package(workspace.path(), "host/store", "masque-store", own);
    run(workspace.path()).unwrap();
}

#[test]
fn a_plugin_may_use_the_sdk_alone() {
    let workspace = workspace();
    let planted = "masque-store = { path = \"../../host/store\" }";
    write_package(workspace.path(), "plugins/card", "masque-plugin-card", planted);
    let refusal = refusal(workspace.path());
    assert!(refusal.contains("masque-plugin-card must not depend on masque-store"), "{refusal}");
}

#[test]
fn a_host_crate_without_a_row_fails() {
    let workspace = workspace();
    write_package(workspace.path(), "host/novel", "masque-novel", "");
    let refusal = refusal(workspace.path());
    assert!(refusal.contains("masque-novel (host/novel)") && refusal.contains("Add a row"), "{refusal}");
}

#[test]
fn a_planted_cycle_fails_in_every_kind_of_target() {
    for (root, folder) in [
        ("src/lib.rs", "src"),
        ("src/main.rs", "src"),
        ("src/bin/tool/main.rs", "src/bin/tool"),
        ("tests/suite/main.rs", "tests/suite"),
        ("examples/show/main.rs", "examples/show"),
        ("benches/speed/main.rs", "benches/speed"),
    ] {
        let workspace = workspace();
        let one = format!("tests/{folder}/one.rs");
        let two = format!("tests/{folder}/two.rs");
        write(
            workspace.path(),
            &[
                (&format!("tests/{root}"), "mod one; mod two; fn main() {}"),
                (&one, "// The item of line 2.\nuse crate::two::Two;\npub struct One;"),
                (&two, "pub struct Two(super::one::One);"),
            ],
        );
        let refusal = refusal(workspace.path());
        assert!(refusal.contains("2 files of masque-tests (tests) import each other"), "{root}: {refusal}");
        assert!(refusal.contains(&format!("uses {folder}/two.rs: Two (line 2)")), "{root}: {refusal}");
        assert!(refusal.contains(&format!("uses {folder}/one.rs: One (line 1)")), "{root}: {refusal}");
        assert_eq!(refusal.matches("error:").count(), 1, "{root}: {refusal}");
    }
}

#[test]
fn all_faults_are_told_at_once_and_in_the_same_order() {
    let workspace = workspace();
    let planted = "masque-store = { path = \"../../host/store\" }";
    write_package(workspace.path(), "plugins/card", "masque-plugin-card", planted);
    let cycle =
        [("src/lib.rs", "mod a; pub struct Root(a::A);"), ("src/a.rs", "pub struct A(Box<crate::Root>);")];
    write(&workspace.path().join("sdk"), &cycle);
    write(&workspace.path().join("host/store"), &cycle);
    let refusal = refusal(workspace.path());
    assert_eq!(refusal.matches("error:").count(), 3, "{refusal}");
    assert_eq!(refusal, self::refusal(workspace.path()));
}
