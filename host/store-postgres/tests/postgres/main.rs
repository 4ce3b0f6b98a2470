//! What the store on PostgreSQL does beyond the conformance suite: databases that are refused, lost connections, several
//! pools on one database, and round trips.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "all of this crate is a test"
)]

mod active_sets;
mod crowded;
mod erasure;
mod import;
mod lock_order;
mod lost_connections;
mod migrations;
mod pgbouncer;
mod proxy;
mod refused;
mod reruns;
mod retention;
mod round_trips;
mod several_hosts;
