//! What the end-to-end tests stand on: the real binary as a child process, a model server that plays what a test tells
//! it to, and clients that speak to both over real sockets. The tests themselves are in `tests/e2e`.
//!
//! Everything here panics with what it was waiting for: a test has nothing better to do with an error.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "this crate is only ever part of a test"
)]

mod authority;
mod baseline;
mod bystander;
mod client;
mod component;
mod events;
mod host;
mod identity;
mod log;
mod machine;
mod model;
pub mod python;
mod raw;
mod setup;
mod upstream;
mod wait;

pub use authority::{Authority, Issued, shown_by};
pub use baseline::Baseline;
pub use bystander::Bystander;
pub use client::{Client, Reply, Request};
pub use component::{core_module, cuts, fixture, of_another_version, shipped, slow_to_compile};
pub use events::{Event, Events, Transcript};
pub use host::Host;
pub use identity::{
    IdentityProvider, SECRET, SigningKey, base64url, claims, claims_with, hmac, now, signed_token,
    signing_input, token,
};
pub use machine::{descriptors, full, skipped};
pub use model::{Answer, Gate, MockModel, Seen, Step};
pub use raw::RawConnection;
pub use setup::{Outcome, Setup};
pub use upstream::Upstream;
pub use wait::{PATIENCE, eventually, within};
