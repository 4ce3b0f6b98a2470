//! What users and operators see when Redis is away, wrong, or not alone theirs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "all of this crate is a test"
)]

mod excess;
mod failover;
mod failures;
mod fixtures;
mod foreign;
mod opening;
mod rights;
mod urls;
