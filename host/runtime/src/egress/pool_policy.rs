//! How many connections a plugin has to one origin, and when another one is opened.
//!
//! The threat: one HTTP/2 connection for all. At the server's limit of streams every further request waits behind it; one reader
//! that is slow fills the connection's flow-control window and stops all others; and one plugin's requests delay another's. The
//! policy: each plugin has connections of its own; another one is opened when the others have no free stream; their number, the
//! streams on each, and the requests that wait are bounded; and the window of a connection has room for all of its streams. The
//! accepted consequence: several plugins that use one origin have several connections to it.

/// The version of HTTP that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1: one request at a time.
    Http1,
    /// HTTP/2: a stream for each request.
    Http2,
}

/// The limits of one plugin at one origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolPolicy {
    /// The most HTTP/1.1 connections. Each holds a file descriptor.
    pub(super) http1_connections: usize,
    /// The most HTTP/2 connections.
    pub(super) http2_connections: usize,
    /// The most streams on one of them, also where the server allows more: a lost packet delays them all.
    pub(super) http2_streams: usize,
    /// The most idle HTTP/1.1 connections that are kept after a burst.
    pub(super) idle_connections: usize,
    /// The most requests that wait for a connection or a stream.
    pub(super) waiting: usize,
}

impl PoolPolicy {
    /// With `sandbox.instances` at its default, calls that make one request each reach none of these limits, unless the server allows
    /// fewer than 50 streams.
    pub(super) const DEFAULT: Self = Self {
        http1_connections: 1024,
        http2_connections: 16,
        // RFC 9113, section 6.5.2, recommends that servers allow no fewer.
        http2_streams: 100,
        idle_connections: 64,
        waiting: 1024,
    };

    /// How many connections to open for the requests that wait.
    pub(super) fn connections_to_open(&self, load: &PoolLoad) -> usize {
        let (most, each) = match load.protocol {
            Some(Protocol::Http1) => (self.http1_connections, 1),
            Some(Protocol::Http2) => (self.http2_connections, load.streams.clamp(1, self.http2_streams)),
            // The first connection shows what the server speaks. If it is HTTP/2, it may serve them all.
            None => (1, usize::MAX),
        };
        let wanted = load.waiting.div_ceil(each).saturating_sub(load.opening);
        wanted.min(most.saturating_sub(load.connections.saturating_add(load.opening)))
    }
}

/// What a pool is doing at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PoolLoad {
    /// The protocol of its last connection.
    pub(super) protocol: Option<Protocol>,
    /// The streams that the server allowed on its last connection.
    pub(super) streams: usize,
    /// Open connections.
    pub(super) connections: usize,
    /// Connections that are being opened.
    pub(super) opening: usize,
    /// Requests that wait.
    pub(super) waiting: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_opened_for_those_that_wait_and_no_more_than_allowed() {
        let policy = PoolPolicy {
            http1_connections: 5,
            http2_connections: 3,
            http2_streams: 10,
            idle_connections: 1,
            waiting: 9,
        };
        let http1 = PoolLoad { protocol: Some(Protocol::Http1), ..PoolLoad::default() };
        let http2 = PoolLoad { protocol: Some(Protocol::Http2), streams: 4, ..PoolLoad::default() };
        for (load, expected) in [
            (PoolLoad::default(), 0),
            (PoolLoad { waiting: 1, ..PoolLoad::default() }, 1),
            (PoolLoad { waiting: 50, ..PoolLoad::default() }, 1),
            (PoolLoad { waiting: 50, opening: 1, ..PoolLoad::default() }, 0),
            (PoolLoad { waiting: 3, ..http1 }, 3),
            (PoolLoad { waiting: 3, opening: 2, ..http1 }, 1),
            (PoolLoad { waiting: 3, connections: 4, ..http1 }, 1),
            (PoolLoad { waiting: 3, connections: 5, ..http1 }, 0),
            (PoolLoad { waiting: 4, ..http2 }, 1),
            (PoolLoad { waiting: 5, ..http2 }, 2),
            (PoolLoad { waiting: 5, opening: 1, ..http2 }, 1),
            (PoolLoad { waiting: 50, ..http2 }, 3),
            (PoolLoad { waiting: 1, connections: 3, ..http2 }, 0),
            (PoolLoad { waiting: 11, streams: 1000, ..http2 }, 2),
            (PoolLoad { waiting: 1, streams: 0, ..http2 }, 1),
        ] {
            assert_eq!(policy.connections_to_open(&load), expected, "{load:?}");
        }
    }
}
