//! The errors of a request, one for each case that a caller treats differently.

use crate::Failure;

/// Why there is no response, or why its body ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is malformed and was not sent.
    #[error("the request cannot be sent: {0}")]
    Invalid(String),
    /// The plugin has no grant for this origin.
    #[error("the host denies the request ({0}); the plugin needs a grant for this origin")]
    Denied(String),
    /// Connecting, or waiting for the first byte, took too long.
    #[error("no answer in time: {0}")]
    Timeout(String),
    /// No byte of the body arrived for longer than the timeout between two bytes.
    #[error("the answer fell silent: {0}")]
    Stalled(String),
    /// The body ended before it was complete.
    #[error("the answer was cut off: {0}")]
    Cut(String),
    /// The server can't be reached, or does not speak HTTP.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The body, or a part of it, is larger than the reader accepts.
    #[error("the answer is too large: {0}")]
    TooLarge(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Invalid(_) => "invalid",
            Error::Denied(_) => "denied",
            Error::Timeout(_) => "timeout",
            Error::Stalled(_) => "stalled",
            Error::Cut(_) => "truncated",
            Error::Unreachable(_) | Error::TooLarge(_) => "unavailable",
        };
        Self::new(code, error.to_string())
    }
}
