//! The store of a Masque host in one SQLite file: `masque.db` in its data folder.
//!
//! One thread owns the only connection that writes (`writer`), and a few threads read beside it (`readers`). A write
//! reads rows, decides in Rust and writes rows, with prepared statements. A folder belongs to one host at a time
//! (`folder`), so opening it can mark all turns that still run as interrupted. Records of turns are in a file of their own,
//! `records.db` (`records`). The command line works beside a running
//! host, through [`open_key_ring`] and [`open_parked_jobs`].
//!
//! The traits of `masque-store` define what the operations do.
#![deny(missing_docs)]

mod admission;
mod admission_state;
mod audit;
mod audit_rows;
mod backup;
mod backup_error;
#[cfg(test)]
mod bounded_work;
#[cfg(test)]
mod clock_steps;
mod columns;
mod command_line;
mod connection;
mod conversation_reads;
mod conversation_rows;
mod conversations;
mod database_copy;
mod database_file;
mod deletion;
mod ending;
mod erasure;
mod erasure_rows;
mod error;
mod export;
mod export_page;
mod export_state;
mod fences;
mod folder;
mod folder_check;
mod job_operations;
mod job_rows;
mod job_selection;
mod jobs;
mod key_rows;
mod keys;
mod leases;
mod messages;
mod migrating;
mod operation;
mod query;
mod readers;
mod records;
mod repetition;
mod replay;
mod restore;
mod resume;
mod retention;
mod revocations;
mod schema;
mod security_version;
mod spending;
mod spending_rows;
mod state;
mod state_rows;
mod state_spaces;
mod store;
mod sweep;
mod threads;
mod tickets;
mod transfer;
mod turn_records;
mod turn_rows;
mod turns;
mod user_data;
mod users;
mod wal;
mod write_health;
mod writer;

pub use backup::{backup, backup_to};
pub use backup_error::BackupError;
pub use command_line::{
    check_data_folder, open_explained_turns, open_key_ring, open_parked_jobs, open_user_records,
};
pub use folder::Folder;
pub use replay::{ReplayError, replay_erasures};
pub use restore::Restore;
pub use store::SqliteStore;
pub use transfer::SqliteRows;
