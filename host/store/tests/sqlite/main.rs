//! The SQLite room: every sentence of the conformance suite, and what only a file on a disk can be asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "all of this crate is a test, its helpers included"
)]

#[path = "../conformance/mod.rs"]
mod conformance;
mod crash;
mod file;
mod full_disk;
mod key_ring;
mod parked;
mod swept;
mod sync;

use std::sync::Arc;

use masque_store::{SqliteStore, Store};

/// A store in a folder of its own, which goes with it.
struct Room {
    store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
}

async fn open() -> Room {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    Room { store, _folder: folder }
}
