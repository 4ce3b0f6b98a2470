//! The check of a data folder agrees with the start of a host, and leaves no trace.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::{SqliteStore, check_data_folder};

use super::crash::{acknowledge, child, child_folder, this_binary};
use super::full_disk::unshared;

/// Every file of a folder with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    all.sort();
    all
}

/// A folder in which a host has run and ended.
async fn used_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    exchange(&(store.clone() as _), new_conversation(), "Hello", "Hi").await;
    store.close().await;
    folder
}

#[tokio::test]
async fn a_folder_that_is_missing_empty_used_or_in_use_passes_without_a_trace() {
    let parent = tempfile::tempdir().unwrap();
    check_data_folder(&parent.path().join("a/b")).await.unwrap();
    check_data_folder(parent.path()).await.unwrap();
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);

    let folder = used_folder().await;
    let before = contents(folder.path());
    check_data_folder(folder.path()).await.unwrap();
    assert_eq!(contents(folder.path()), before);

    let store = SqliteStore::open(folder.path()).await.unwrap();
    let shared: Arc<dyn Store> = store.clone();
    let first = exchange(&shared, new_conversation(), "Hello", "Hi").await;
    check_data_folder(folder.path()).await.unwrap();
    exchange(&shared, Target::Existing(first.conversation), "Again", "Hi").await;
    store.close().await;
    SqliteStore::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn whatever_keeps_a_host_from_starting_fails_the_check() {
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    type Damage<'d> = (&'d str, &'d dyn Fn(&Path));
    let damages: [Damage<'_>; 8] = [
        ("the database is a pipe", &|folder| {
            fs::remove_file(folder.join("masque.db")).unwrap();
            pipe(&folder.join("masque.db"));
        }),
        ("the lock is a pipe", &|folder| {
            fs::remove_file(folder.join("masque.lock")).unwrap();
            pipe(&folder.join("masque.lock"));
        }),
        ("the database is a folder", &|folder| {
            fs::remove_file(folder.join("masque.db")).unwrap();
            fs::create_dir(folder.join("masque.db")).unwrap();
        }),
        ("the lock is a device", &|folder| {
            fs::remove_file(folder.join("masque.lock")).unwrap();
            std::os::unix::fs::symlink("/dev/zero", folder.join("masque.lock")).unwrap();
        }),
        ("the database is a device", &|folder| {
            fs::remove_file(folder.join("masque.db")).unwrap();
            std::os::unix::fs::symlink("/dev/zero", folder.join("masque.db")).unwrap();
        }),
        ("the database is a diary", &|folder| {
            fs::write(folder.join("masque.db"), "this is a diary, ".repeat(500)).unwrap();
        }),
        ("the header is zeroed", &|folder| {
            let mut bytes = fs::read(folder.join("masque.db")).unwrap();
            bytes[..100].fill(0);
            fs::write(folder.join("masque.db"), bytes).unwrap();
        }),
        ("the database is cut in half", &|folder| {
            let bytes = fs::read(folder.join("masque.db")).unwrap();
            fs::write(folder.join("masque.db"), &bytes[..bytes.len() / 2]).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let folder = used_folder().await;
        damage(folder.path());
        let before = contents(folder.path());
        let checked = check_data_folder(folder.path()).await;
        assert_eq!(contents(folder.path()), before, "{name}");
        let opened = SqliteStore::open(folder.path()).await.map(drop);
        match (checked, opened) {
            (Err(checked), Err(opened)) => assert_eq!(checked.to_string(), opened.to_string(), "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("data")] {
        assert!(matches!(check_data_folder(&path).await, Err(OpenError::Io { .. })), "{}", path.display());
    }
}

const MOUNT_READ_ONLY: &str = "mount -t tmpfs -o mode=700 tmpfs \"$MASQUE_STORE_TEST_FOLDER\" && \
     mkdir \"$MASQUE_STORE_TEST_FOLDER/data\" && \
     mount -o remount,ro \"$MASQUE_STORE_TEST_FOLDER\" && exec \"$0\" \"$@\"";

#[test]
fn a_folder_on_a_read_only_mount_fails_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut command) = unshared(MOUNT_READ_ONLY, folder.path()) else { return };
    command.arg(this_binary());
    let mut child = child(command, "folder_check::checks_a_read_only_mount", folder.path());
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    assert!(output.contains("both are refused"), "{output}");
}

#[test]
#[ignore = "runs in the child process of the previous test"]
fn checks_a_read_only_mount() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for path in [child_folder().join("data"), child_folder().join("not/yet")] {
            for refused in [check_data_folder(&path).await, SqliteStore::open(&path).await.map(drop)] {
                match refused {
                    Err(OpenError::Io { source, .. }) => {
                        assert_eq!(source.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{source}");
                    }
                    other => panic!("{}: {other:?}", path.display()),
                }
            }
        }
        acknowledge("both are refused");
    });
}
