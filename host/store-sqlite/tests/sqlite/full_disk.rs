//! A full disk: nothing is acknowledged that is not kept, and the store goes on when there is room.
//!
//! Needs a small file system of its own, so a child runs in a mount namespace (`unshare`), as root or with user
//! namespaces. Where neither may be had the test says so and proves nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::SqliteStore;

use super::crash::{acknowledge, child, childs_folder, this_binary};

const MOUNT: &str =
    "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$MASQUE_STORE_TEST_FOLDER\" && exec \"$0\" \"$@\"";

fn unshared(arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(arguments).args(["sh", "-c", MOUNT]);
    command
}

#[test]
fn a_full_disk_acknowledges_nothing_and_the_store_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let can = |arguments: &[&str]| {
        let tried = unshared(arguments).arg("true").env("MASQUE_STORE_TEST_FOLDER", folder.path()).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let Some(arguments) = [["-m"].as_slice(), &["-r", "-m"]].into_iter().find(|arguments| can(arguments))
    else {
        println!(
            "skipped: no file system of its own to be had (`unshare -m` and `unshare -r -m` are refused)"
        );
        return;
    };
    let mut command = unshared(arguments);
    command.arg(this_binary());
    let mut child = child(command, "full_disk::fills_its_disk", folder.path());
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("survived"), "{said}");
}

#[test]
#[ignore = "the child of the test above"]
fn fills_its_disk() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let folder = childs_folder();
        let data = folder.join("data");
        let store: Arc<dyn Store> = SqliteStore::open(&data).await.unwrap();
        let mut kept = vec![exchange(&store, new_conversation(), "Before", "Yes").await.turn];
        let mut refused = Vec::new();
        for round in 0..3 {
            fill(&folder.join("filler"));
            for _ in 0..8 {
                let mut attempt = admission(new_conversation(), &"x".repeat(8192));
                attempt.turn = TurnId::new();
                let turn = attempt.turn;
                let result = match store.admit(attempt).await {
                    Ok(admitted) => admitted.durable.wait().await,
                    Err(error) => Err(error),
                };
                match result {
                    // What was left of the last page can hold a little.
                    Ok(()) => kept.push(turn),
                    Err(StoreError::Unavailable(_)) => refused.push(turn),
                    Err(other) => panic!("round {round}: {other}"),
                }
            }
            assert!(refused.len() > round, "round {round}: the disk was not full");
            store.turn(&ada(), kept[0]).await.unwrap().expect("reading needs no room");
            std::fs::remove_file(folder.join("filler")).unwrap();
            kept.push(exchange(&store, new_conversation(), "There is room", "Again").await.turn);
        }
        check(&store, &kept, &refused).await;
        drop(store);
        let store = reopen(&data).await;
        check(&(store as _), &kept, &refused).await;
        acknowledge(&format!("survived: {} kept, {} refused", kept.len(), refused.len()));
    });
}

/// The writing thread releases the folder when it ends, some time after its store was dropped.
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

/// Writes until nothing fits.
fn fill(path: &Path) {
    let mut filler = File::create(path).unwrap();
    for size in [65536, 4096, 1] {
        while filler.write_all(&vec![b'x'; size]).is_ok() {}
    }
}
