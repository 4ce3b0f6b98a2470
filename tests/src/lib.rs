//! Support of the end-to-end tests: the real binary as a child process, a model server that is scripted by the test, and
//! clients over real sockets. The tests are in `tests/e2e`.
//!
//! Errors are panics that say what the test waited for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "this crate is only used by tests"
)]

mod authority;
mod background_client;
mod balancer;
mod baseline;
mod client;
mod compiled;
mod component;
pub mod deploy;
mod events;
mod host;
mod identity;
mod link;
mod log;
mod machine;
mod model;
pub mod node;
mod planted;
mod problem;
pub mod prometheus;
pub mod promql;
pub mod python;
mod raw;
mod setup;
mod tap;
mod upstream;
mod wait;

pub use authority::{Authority, Issued, shown_by};
pub use background_client::BackgroundClient;
pub use balancer::Balancer;
pub use baseline::Baseline;
pub use client::{Client, Reply, Request};
pub use component::{
    core_module, fixture, section_offsets, shipped, slow_to_compile, with_parts, with_unsupported_contract,
};
pub use events::{Event, Events, Transcript};
pub use host::Host;
pub use identity::{
    IdentityProvider, SECRET, SigningKey, base64url, claims, claims_with, hmac, now, signed_token,
    signing_input, token,
};
pub use link::{Link, LinkState};
pub use machine::{descriptors, full, skipped, unavailable};
pub use model::{Answer, Gate, MockModel, RecordedRequest, Step};
pub use planted::{Planted, assert_in_none};
pub use raw::RawConnection;
pub use setup::{CommandOutput, Setup, binary};
pub use tap::{Asked, Tap};
pub use upstream::Upstream;
pub use wait::{WAIT_LIMIT, eventually, within};
