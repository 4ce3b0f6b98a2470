//! The folder `deploy` and the runbooks, without a host: names and labels are those of the code, and every alert is tested and
//! has a runbook.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics when it fails"
)]

mod alerts;
mod catalogue;
mod names;
mod sdk;
