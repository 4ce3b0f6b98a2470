//! A disk that fails during a commit: its operations end with an unknown outcome, neither stored nor refused. `strace` injects
//! the error into `fdatasync`.

use std::io::Read;
use std::process::Command;

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

use super::crash::{acknowledge, child, child_folder, this_binary};

#[test]
#[ignore = "runs in the child process of the next test"]
fn writes_while_the_disk_fails() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = SqliteStore::open(&child_folder().join("data")).await.unwrap();
        let mut unknown = 0;
        for _ in 0..40 {
            let admitted = match store.admit(admission(new_conversation(), "Hello")).await {
                Ok(admitted) => admitted.durable.wait().await,
                Err(error) => Err(error),
            };
            match admitted {
                Ok(()) => {}
                Err(StoreError::OutcomeUnknown(_)) => unknown += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(unknown > 0, "the disk did not fail");
        // The store works when the disk does.
        exchange(&store, new_conversation(), "Hello", "Hi").await;
        acknowledge(&format!("unknown: {unknown}"));
    });
}

#[test]
fn a_commit_that_the_disk_did_not_confirm_has_an_unknown_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls");
    let inject = |when: &str| format!("inject=fdatasync:error=EIO:when={when}");
    let traced = |when: &str| {
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fdatasync", "-e", &inject(when), "-o"]).arg(&log);
        command
    };
    if !traced("1000").arg("true").status().is_ok_and(|status| status.success()) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "`strace` is missing or may not trace");
        println!("skipped: `strace` is missing or may not trace");
        return;
    }
    let mut command = traced("20..22");
    command.arg(this_binary());
    let mut child = child(command, "unknown_outcome::writes_while_the_disk_fails", folder.path());
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    assert!(output.contains("unknown: "), "{output}");
}
