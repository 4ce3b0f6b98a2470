//! Properties of a store in a file, which the conformance suite can't test: the folder and its lock, crashes, a full or
//! failing disk, and the rows that are stored.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test panics when it fails"
)]

mod backup;
mod batches;
mod command_line;
mod crash;
mod data_folder;
mod erasure;
mod folder_check;
mod full_disk;
mod key_ring;
mod parked_jobs;
mod raw_connection;
mod sweep;
mod sync;
mod turn_records;
mod unknown_outcome;
