//! What only a store in a file on a disk can be asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "all of this crate is a test, its helpers included"
)]

mod batches;
mod beside;
mod crash;
mod file;
mod full_disk;
mod key_ring;
mod parked;
mod raw;
mod swept;
mod sync;
mod unknown_outcome;
