//! A disk that fails while a transaction is made durable: nobody is told that it happened, or that it did not. The failing
//! `fdatasync` is made by `strace`.

use std::io::Read;
use std::process::Command;

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

use super::crash::{acknowledge, child, childs_folder, this_binary};

#[test]
#[ignore = "the child of the test below"]
fn writes_while_the_disk_fails() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = SqliteStore::open(&childs_folder().join("data")).await.unwrap();
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
        // It works again.
        let mut answered = exchange(&store, new_conversation(), "Hello", "Hi").await;
        answered.tail.clear();
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
        println!("skipped: `strace` is missing or may not trace");
        return;
    }
    let mut command = traced("20..22");
    command.arg(this_binary());
    let mut child = child(command, "unknown_outcome::writes_while_the_disk_fails", folder.path());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("unknown: "), "{said}");
}
