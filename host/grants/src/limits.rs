//! How much one call of a plugin may use, and how much a plugin may store. The runtime and the store enforce it.

use std::time::Duration;

/// The largest component file that is loaded, in bytes. The largest known component has 40 MB (one that holds a Python
/// interpreter).
pub const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// The limits of one call, and of what a plugin stores. The defaults fit a plugin written in Rust; a language with a larger runtime needs more.
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
    /// Bytes in the headers, or in the trailers, of one request or response.
    pub header_bytes: usize,
    /// Bytes that the host holds for the call in requests, responses and field sets, sent or not.
    pub host_memory_bytes: usize,
    /// Outgoing requests in progress at the same time.
    pub requests: usize,
    /// Calls to the companion's models that one call may make.
    pub questions: usize,
    /// Bytes in one item of a reply.
    pub delta_bytes: usize,
    /// Values that one call may write to its state.
    pub state_writes: usize,
    /// Bytes of keys and values that one call may write to its state.
    pub state_write_bytes: usize,
    /// Bytes that the plugin may store for one user, and in the scope `shared` for all users together.
    pub state_bytes: usize,
    /// Lines that one call may log; further lines are dropped and counted. With 0, nothing is logged or counted.
    pub log_lines: usize,
    /// Bytes in all log lines of one call.
    pub log_bytes: usize,
}

/// The default of `wall` for models, and for plugins that ask them: as long as a turn may be at most. A model writes for as
/// long as the turn has, and a slow one on the operator's own machine needs all of it.
const WHOLE_TURN: Duration = Duration::from_secs(60 * 60);

impl Limits {
    /// The limits of a plugin that is a model, or asks one, and whose operator has not set `wall`: only the deadline of the
    /// turn ends its calls.
    #[must_use]
    pub fn for_whole_turn(self) -> Self {
        Self { wall: WHOLE_TURN, ..self }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The deadline of the turn ends the call earlier where that is nearer.
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
            // A call with all of its requests under way takes half of this.
            host_memory_bytes: 16 << 20,
            requests: 8,
            questions: 8,
            delta_bytes: 64 << 10,
            // Each write of a turn is an operation of the store's one writer. A background job may write fewer, since its
            // writes are one transaction.
            state_writes: 500,
            state_write_bytes: 16 << 20,
            state_bytes: 16 << 20,
            log_lines: 200,
            log_bytes: 64 << 10,
        }
    }
}
