//! The store of Masque hosts in a PostgreSQL database, which several hosts share.
//!
//! Each operation is one statement, and those that decide something call a function of the schema (`migrations`), so that
//! each takes one round trip and holds its locks within it. Rust turns requests into arguments and rows into records.
//! Nothing that belongs to a session is used, so a transaction pooler can be in front of the server; only [`migrate`]
//! connects to the server itself.
//!
//! [`PostgresStore::open`] refuses, before it changes anything, a database that it can't work with
//! ([`PostgresOpenError`]). The traits of `masque-store` define what the operations do.
//!
//! The feature `testing` adds the module `testing`, which starts a server for tests.
#![deny(missing_docs)]

mod active_sets;
mod admission;
mod audit;
mod audit_rows;
mod columns;
mod command_line;
mod connecting;
mod conversation_reads;
mod conversations;
mod deletion;
mod ending;
mod erasure_rows;
mod error;
mod export;
mod export_page;
mod export_state;
mod import;
mod import_rows;
mod job_rows;
mod jobs;
mod key_rows;
mod keys;
mod messages;
mod migrations;
mod open_error;
mod options;
mod pooler;
mod replay;
mod retention;
mod revocations;
mod role_timeout;
mod schema;
mod spending;
mod state;
mod state_arguments;
mod statement;
mod store;
mod sweep;
#[cfg(feature = "testing")]
pub mod testing;
mod turn_records;
mod turn_rows;
mod turns;
mod user_data;

pub use command_line::{open_explained_turns, open_key_ring, open_parked_jobs, open_user_records};
pub use import::{ImportError, Imported, import};
pub use migrations::{is_migration_needed, migrate};
pub use open_error::PostgresOpenError;
pub use options::PostgresOptions;
pub use replay::{ReplayError, replay_erasures};
pub use role_timeout::{RoleTimeout, set_role_timeout};
pub use store::{PoolUse, PostgresStore};
