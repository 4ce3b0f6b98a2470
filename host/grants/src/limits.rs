//! How much one call of a plugin may use. The runtime enforces it.

use std::time::Duration;

/// The largest component file that is loaded, in bytes. The largest known component has 40 MB (one that holds a Python
/// interpreter).
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// The limits of one call. The defaults fit a plugin written in Rust; a language with a larger runtime needs more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time from the first instruction of instantiation to the last item of the reply.
    pub wall: Duration,
    /// CPU time, including what the host does on the guest's behalf.
    pub cpu: Duration,
    /// Bytes in all linear memories together.
    pub memory_bytes: usize,
    /// Elements in all tables together.
    pub table_elements: usize,
    /// Bytes that the guest may pass to the host in one host call, or in the result of a call.
    pub hostcall_bytes: usize,
    /// Live component-model handles.
    pub handles: usize,
    /// Live resources on the host's side (requests, bodies, fields).
    pub resources: usize,
    /// Bytes in the headers of one request or response.
    pub header_bytes: usize,
    /// Outgoing requests in progress at the same time.
    pub requests: usize,
    /// Calls to the companion's models that one call may make.
    pub questions: usize,
    /// Bytes in one item of a reply.
    pub delta_bytes: usize,
    /// Lines that one call may log; further lines are dropped and counted. With 0, nothing is logged or counted.
    pub log_lines: usize,
    /// Bytes in all log lines of one call.
    pub log_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Enough for a slow model; the deadline of the turn ends it earlier where that is nearer.
            wall: Duration::from_secs(60),
            cpu: Duration::from_secs(2),
            memory_bytes: 64 << 20,
            // Rust components have a few hundred; those made by componentize-py have about 20,000.
            table_elements: 100_000,
            // The largest prompt is a few hundred KiB; lifting it takes a multiple of its bytes.
            hostcall_bytes: 8 << 20,
            handles: 10_000,
            resources: 1_000,
            header_bytes: 64 << 10,
            requests: 8,
            questions: 8,
            delta_bytes: 64 << 10,
            log_lines: 200,
            log_bytes: 64 << 10,
        }
    }
}
