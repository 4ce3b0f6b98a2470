//! The folder `deploy`, the workflows and the runbooks: names and labels are those of the code, every alert is tested and has a
//! runbook, what installs and releases a host does, and the SDK builds on its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics when it fails"
)]

mod alerts;
mod arm64;
mod catalogue;
mod compose;
mod figures;
mod helm;
mod image;
mod linux;
mod names;
mod pipeline;
mod programs;
mod release;
mod sdk;
