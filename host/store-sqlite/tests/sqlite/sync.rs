//! Every acknowledgement follows an `fdatasync`, as `strace` shows.

use std::process::Command;

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

use super::crash::{acknowledge, child, child_folder, this_binary};

#[test]
#[ignore = "runs in the child process of the next test"]
fn acknowledges_ten_turns() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store: Arc<dyn Store> = SqliteStore::open(&child_folder()).await.unwrap();
        for _ in 0..10 {
            let started = start(&store, admission(new_conversation(), "Hello")).await;
            acknowledge("acknowledged: admitted");
            kept(store.commit(reply(&started, "Hi")).await);
            acknowledge("acknowledged: committed");
        }
    });
}

#[test]
fn every_acknowledgement_follows_an_fdatasync() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls");
    if !Command::new("strace")
        .args(["-f", "-o"])
        .arg(&log)
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "`strace` is missing or may not trace");
        println!("skipped: `strace` is missing or may not trace");
        return;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-e", "trace=fdatasync,write", "-o"]).arg(&log).arg(this_binary());
    let child = child(command, "sync::acknowledges_ten_turns", folder.path());
    assert!(child.wait_with_output().unwrap().status.success());

    let calls = std::fs::read_to_string(&log).unwrap();
    let (mut synced, mut acknowledged) = (false, 0);
    for call in calls.lines() {
        if call.contains("fdatasync") && call.ends_with("= 0") {
            synced = true;
        } else if call.contains("write(1, \"acknowledged") {
            assert!(synced, "acknowledgement {acknowledged} came before its fdatasync:\n{calls}");
            (synced, acknowledged) = (false, acknowledged + 1);
        }
    }
    assert_eq!(acknowledged, 20);
}
