//! What a release offers for arm64, built by a cross compiler.

use masque_tests::deploy::in_repository;
use masque_tests::{full, skipped, unavailable};
use tokio::process::Command;

use super::programs::run;

/// Takes about ten minutes, most of them for the compiler.
#[tokio::test]
async fn a_binary_for_arm64_is_built_and_compiles_its_components_under_qemu() {
    const NAME: &str = "a_binary_for_arm64_is_built_and_compiles_its_components_under_qemu";
    if !full() {
        return skipped(NAME, "it compiles the host for arm64; run `cargo xtask test --full`");
    }
    let probe = "aarch64-linux-gnu-g++ --version && [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]";
    if !run(Command::new("sh").args(["-c", probe])).await.succeeded {
        return unavailable(
            NAME,
            "it needs the cross compiler for arm64, and a kernel that starts programs by QEMU",
        );
    }
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let mut build = Command::new(in_repository(".ci/build-release"));
    run(build.arg("arm64").env("CARGO_TARGET_DIR", target)).await.expect();
    let binary = target.join("aarch64-unknown-linux-gnu/release/masque");
    let mut check = Command::new(in_repository(".ci/check-binary"));
    let checked = run(check.arg(binary)).await.expect();
    assert!(checked.starts_with("The configuration is valid.\n"), "{checked}");
}
