//! `[turn]`, `[stream]` and `[drain]`: how long a turn, its stream and a shutdown may take.

use std::time::Duration;

use serde::Serialize;

use crate::section::Section;
use crate::units::{HOUR, KIB, MIB, MILLISECOND, SECOND};

/// One turn.
#[derive(Clone, Debug, Serialize)]
pub struct Turn {
    /// Time from admission to commit.
    pub timeout: Duration,
    /// Turns that run at the same time, over all conversations.
    pub max_concurrent: usize,
    /// Turns that may wait for one conversation.
    pub waiting: usize,
    /// How long each of them waits.
    pub wait: Duration,
    /// How long a turn runs without a reader before it is cancelled.
    pub linger: Duration,
    /// How long a turn with an `Idempotency-Key` runs without a reader.
    pub linger_keyed: Duration,
    /// How long the events of a turn can be read after its end.
    pub log_ttl: Duration,
    /// The longest reply, in bytes.
    pub reply_bytes: usize,
}

/// A streamed reply.
#[derive(Clone, Debug, Serialize)]
pub struct Stream {
    /// How long the head of the response waits for the first content of the model.
    pub hold: Duration,
    /// The interval of comment lines, which keep proxies from closing the connection.
    pub keepalive: Duration,
}

/// A shutdown.
#[derive(Clone, Debug, Serialize)]
pub struct Drain {
    /// How long the host accepts connections after the first signal.
    pub delay: Duration,
    /// How long running turns may take after that.
    pub timeout: Duration,
}

pub(crate) fn read(mut section: Section<'_, '_>) -> Turn {
    let turn = Turn {
        timeout: section.duration("timeout", 120 * SECOND, 100 * MILLISECOND..=HOUR),
        max_concurrent: section.length("max_concurrent", 256, 1..=100_000),
        waiting: section.length("waiting", 4, 0..=1000),
        wait: section.duration("wait", 30 * SECOND, Duration::ZERO..=HOUR),
        linger: section.duration("linger", SECOND, Duration::ZERO..=HOUR),
        linger_keyed: section.duration("linger_keyed", 15 * SECOND, Duration::ZERO..=HOUR),
        log_ttl: section.duration("log_ttl", 60 * SECOND, Duration::ZERO..=HOUR),
        reply_bytes: section.size("reply_bytes", MIB, KIB..=64 * MIB).value,
    };
    section.finish();
    turn
}

pub(crate) fn read_stream(mut section: Section<'_, '_>) -> Stream {
    let stream = Stream {
        hold: section.duration("hold", 10 * SECOND, Duration::ZERO..=60 * SECOND),
        keepalive: section.duration("keepalive", 15 * SECOND, 10 * MILLISECOND..=HOUR),
    };
    section.finish();
    stream
}

pub(crate) fn read_drain(mut section: Section<'_, '_>) -> Drain {
    let drain = Drain {
        delay: section.duration("delay", 5 * SECOND, Duration::ZERO..=HOUR),
        // With the delay and the time for the rest, less than the 30 s after which Kubernetes kills a pod.
        timeout: section.duration("timeout", 15 * SECOND, Duration::ZERO..=HOUR),
    };
    section.finish();
    drain
}
