//! Sends traces to a collector with OTLP, over gRPC or HTTP.
//!
//! The threat: a collector that is slow, away or refuses must not slow down turns, fill memory, or fill the log. The policy:
//! spans wait in a bounded queue, which never waits; a thread of its own sends them in batches, each within a time limit; what
//! finds the queue full or can't be sent is dropped and counted, and the log says so once a minute at most. The accepted
//! consequence: spans are lost while the collector is away for longer than its last retry.

mod client;
mod error;
mod export;
mod exporter;
mod files;
mod last_failure;
mod options;

pub use error::OtlpError;
pub use export::OtlpExport;
pub use options::{ClientIdentity, OtlpOptions, Protocol, QueueOptions, SCHEMA_URL};

#[cfg(test)]
mod tests;
