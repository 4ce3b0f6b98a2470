//! The real binary, its real components, over real sockets. One file for each thing that someone relies on; every test
//! has a host of its own, on a port that the system chose, in a folder that goes with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics when it fails"
)]

mod attacks;
mod connection_limits;
mod conversations;
mod crash;
mod credentials;
mod durability;
mod fallback;
mod first_start;
mod foreign_model;
mod full_disk;
mod hot_load;
mod http2_floods;
mod idempotency;
mod identity;
mod listeners;
mod operator;
mod queue;
mod readme;
mod service;
mod shutdown;
mod slow_clients;
mod smuggling;
mod streaming;
mod tls;
mod turns;
mod upstream;
mod wrong_requests;
