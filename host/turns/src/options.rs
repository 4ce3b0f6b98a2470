//! The bounds of turns, as plain values.

use std::time::Duration;

use masque_telemetry::trace::Tracer;

/// What bounds the turns of one host.
#[derive(Clone, Debug)]
pub struct Options {
    /// The longest time for the plugins of one turn.
    pub timeout: Duration,
    /// Turns that run at the same time, over all conversations.
    pub max_concurrent: usize,
    /// Turns of one user that run at the same time, over all hosts; `None` for no bound.
    pub max_concurrent_per_user: Option<usize>,
    /// Turns that may wait for one conversation, over all hosts.
    pub max_waiting: usize,
    /// How long each of them waits.
    pub max_wait: Duration,
    /// How long a turn goes on without a reader.
    pub linger: Duration,
    /// How long a turn with an idempotency key goes on without a reader.
    pub linger_keyed: Duration,
    /// How long the events of a turn can be read after its end.
    pub log_ttl: Duration,
    /// The longest reply in bytes. A reply that reaches it ends there.
    pub max_reply_bytes: usize,
    /// How long the head of a response waits for the model's first content.
    pub stream_hold: Duration,
    /// How often the host tells the store that it and its turns live. That is also how long it takes, without shared memory,
    /// until a cancellation on another host is noticed. Below a lease's third, or the leases may end.
    pub heartbeat: Duration,
    /// Begins the trace of each turn.
    pub tracer: Tracer,
}
