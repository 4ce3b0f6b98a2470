//! Redis servers for tests: the one that is installed, or Valkey, each in a folder of its own, on free ports of the loopback
//! address.
//!
//! A shell keeps each server. It waits for the end of its input, which the test process holds open, and then stops the
//! server and removes its folder. So a server goes with its tests, also when these are killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this module is only used by tests: it fails by panicking"
)]

mod aging;
mod cluster;
mod sentinel;
mod server;
mod statistics;
mod tls;
mod valkey;

pub use aging::pass_time;
pub use cluster::TestCluster;
pub use sentinel::TestSentinel;
pub use server::{TestServer, wait_until};
pub use tls::TestTls;
