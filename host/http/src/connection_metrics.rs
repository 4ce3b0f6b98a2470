//! What metrics count of connections.

use std::error::Error;
use std::io;

use masque_telemetry::metrics::Raised;
use masque_telemetry::metrics::http::{CONNECTIONS, CONNECTIONS_ACCEPTED, CONNECTIONS_CLOSED_EARLY};

use crate::connection_info::ListenerKind;

/// Why the host closes a connection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EarlyClose {
    /// To make room for another.
    Evicted,
    /// The TLS handshake failed, took too long, or was none.
    Handshake,
    /// There was no request, or no further one, for too long.
    Idle,
    /// The client did not read what it was sent, or answered no ping.
    Stalled,
}

impl EarlyClose {
    fn reason(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
        }
    }

    /// Why a connection ended with this error of hyper; `None` if it was not by a time limit of the host.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let (mut found, mut cause) = (None, Some(error));
        while let Some(error) = cause {
            cause = error.source();
            // The limit on writes is an error of the socket. The limit on request heads is one of hyper without a cause, and
            // that of an unanswered ping one with a cause.
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
            {
                return Some(Self::Stalled);
            }
            if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout) {
                found = Some(if cause.is_none() { Self::Idle } else { Self::Stalled });
            }
        }
        found
    }
}

/// One open connection, counted until it is dropped.
pub(crate) struct OpenConnection {
    listener: &'static str,
    _open: Raised,
}

impl OpenConnection {
    /// Counts a connection that was accepted.
    pub(crate) fn accepted(listener: ListenerKind) -> Self {
        let listener = match listener {
            ListenerKind::Public => "public",
            ListenerKind::Admin => "admin",
            ListenerKind::Socket => "socket",
        };
        CONNECTIONS_ACCEPTED.increment(&[listener]);
        Self { listener, _open: CONNECTIONS.raise(&[listener]) }
    }

    /// Counts why the host closes it.
    pub(crate) fn closes_early(&self, why: EarlyClose) {
        CONNECTIONS_CLOSED_EARLY.increment(&[self.listener, why.reason()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_client_is_no_early_close() {
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(EarlyClose::of(&reset), None);
        let unread = io::Error::other(io::Error::from(io::ErrorKind::TimedOut));
        assert_eq!(EarlyClose::of(unread.get_ref().unwrap()), Some(EarlyClose::Stalled));
    }
}
