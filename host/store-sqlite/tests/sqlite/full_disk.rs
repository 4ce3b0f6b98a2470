//! A full disk: every acknowledged turn is stored, every refused one is not, and the store works when there is space again.
//!
//! The test needs a small file system of its own, so a child process runs in a mount namespace (`unshare`), as root or in a
//! user namespace. Without permission for both, the test prints that it is skipped.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

use super::crash::{acknowledge, child, child_folder, this_binary};

/// Mounts a small file system over the folder, and then runs the child process.
const MOUNT: &str =
    "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$MASQUE_STORE_TEST_FOLDER\" && exec \"$0\" \"$@\"";

/// A command that executes its further arguments in a mount namespace, after `script` has mounted something there. `None`
/// if this machine does not allow that.
pub(super) fn unshared(script: &str, folder: &Path) -> Option<Command> {
    let command = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(arguments).args(["sh", "-c", script]);
        command
    };
    let is_allowed = |arguments: &&[&str]| {
        let probe = command(arguments).arg("true").env("MASQUE_STORE_TEST_FOLDER", folder).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let arguments = [["-m"].as_slice(), &["-r", "-m"]].into_iter().find(is_allowed);
    if arguments.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "the test may not mount a file system");
        println!(
            "skipped: the test may not mount a file system (`unshare -m` and `unshare -r -m` are refused)"
        );
    }
    arguments.map(command)
}

#[test]
fn a_full_disk_loses_no_acknowledged_turn_and_the_store_works_when_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut command) = unshared(MOUNT, folder.path()) else { return };
    command.arg(this_binary());
    let mut child = child(command, "full_disk::fills_its_disk", folder.path());
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    assert!(output.contains("survived"), "{output}");
}

#[test]
#[ignore = "runs in the child process of the previous test"]
fn fills_its_disk() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = child_folder();
        let data = folder.join("data");
        let store: Arc<dyn Store> = SqliteStore::open(&data).await.unwrap();
        let mut kept = vec![exchange(&store, new_conversation(), "Before", "Yes").await.turn];
        let mut refused = Vec::new();
        for round in 0..3 {
            fill(&folder.join("filler"));
            let mut is_last_refused = false;
            for _ in 0..8 {
                let mut attempt = admission(new_conversation(), &"x".repeat(8192));
                attempt.turn = TurnId::new();
                let turn = attempt.turn;
                let result = match store.admit(attempt).await {
                    Ok(admitted) => admitted.durable.wait().await,
                    Err(error) => Err(error),
                };
                is_last_refused = result.is_err();
                match result {
                    // Free pages within the database may still hold some turns.
                    Ok(()) => kept.push(turn),
                    Err(StoreError::Unavailable(_)) => refused.push(turn),
                    Err(other) => panic!("round {round}: {other}"),
                }
            }
            assert!(refused.len() > round, "round {round}: the disk was not full");
            assert_eq!(store.check().await.is_err(), is_last_refused, "round {round}: the last write tells");
            store.turn(&ada(), kept[0]).await.unwrap().expect("reading needs no space");
            std::fs::remove_file(folder.join("filler")).unwrap();
            kept.push(exchange(&store, new_conversation(), "There is room", "Again").await.turn);
            store.check().await.unwrap();
        }
        check(&store, &kept, &refused).await;
        drop(store);
        let store = reopen(&data).await;
        check(&(store as _), &kept, &refused).await;
        acknowledge(&format!("survived: {} kept, {} refused", kept.len(), refused.len()));
    });
}

/// Opens the store again. The writer thread releases the folder's lock when it ends, some time after its store was dropped.
async fn reopen(data: &Path) -> Arc<SqliteStore> {
    loop {
        match SqliteStore::open(data).await {
            Ok(store) => return store,
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
}

async fn check(store: &Arc<dyn Store>, kept: &[TurnId], refused: &[TurnId]) {
    for turn in kept {
        assert!(store.turn(&ada(), *turn).await.unwrap().is_some(), "an acknowledged turn is lost");
    }
    for turn in refused {
        assert_eq!(store.turn(&ada(), *turn).await.unwrap(), None, "a refused turn was kept");
    }
}

/// Writes to `path` until the disk is full.
fn fill(path: &Path) {
    let mut filler = File::create(path).unwrap();
    for size in [65536, 4096, 1] {
        while filler.write_all(&vec![b'x'; size]).is_ok() {}
    }
}
