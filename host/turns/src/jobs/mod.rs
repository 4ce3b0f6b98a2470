//! Background jobs: memories observe and personas reflect on an exchange once it is stored. At least once, in order for
//! each user and plugin.
//!
//! A turn stores its jobs with its commit, so they are as durable as the exchange. [`JobWorker`] takes them from the
//! store and runs each with the plugin versions that are current when it starts. The state writes of a job are stored
//! together with its completion, so a job that fails half-way leaves no trace.

mod buffered_state;
mod enqueue;
mod observed_run;
mod payload;
mod retry;
mod runner;
mod running;
mod worker;

#[cfg(test)]
mod tests;

pub(crate) use enqueue::jobs_after;
pub(crate) use payload::EndedExchange;
pub use worker::{JobOptions, JobWorker};
