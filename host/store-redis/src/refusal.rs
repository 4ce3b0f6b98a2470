//! Tells what an error of Redis means: whether waiting can help, and what to do if it can't.

use std::error::Error;
use std::io;

use redis::{ErrorKind, RedisError};

use crate::open_error::RedisOpenError;

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// Somebody has to change something.
    Lasting(RedisOpenError),
    /// It may be different in a moment. In words for the operator.
    Transient(String),
}

impl Refusal {
    /// What an error says, that came from the server at `target` or on the way there.
    pub(crate) fn of(error: &RedisError, target: &str) -> Self {
        let target = target.to_owned();
        let text = describe(error);
        let all = error.to_string();
        let lacks_right = all.to_lowercase().contains("no permissions") || all.contains("ACL failure");
        let lasting = match (error.kind(), error.code().unwrap_or_default()) {
            (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS") => {
                RedisOpenError::WrongPassword { target }
            }
            (_, "NOAUTH") => RedisOpenError::NeedsPassword { target },
            (_, "NOPERM") => RedisOpenError::MissingRights { target, reason: text },
            _ if lacks_right => RedisOpenError::MissingRights { target, reason: text },
            (_, "DENIED") => RedisOpenError::Refused { target, reason: text },
            (ErrorKind::RESP3NotSupported, _) | (_, "NOPROTO") => old(target),
            _ if all.contains("unknown command") => old(target),
            (ErrorKind::Parse, _) => RedisOpenError::NotRedis { target, reason: text },
            _ if all.contains("switch database") => RedisOpenError::Refused { target, reason: text },
            _ if is_tls_error(error) => RedisOpenError::Tls { target, reason: text },
            _ => return Self::Transient(text),
        };
        Self::Lasting(lasting)
    }

    /// In words for the operator.
    pub(crate) fn into_reason(self) -> String {
        match self {
            Self::Lasting(error) => error.to_string(),
            Self::Transient(reason) => reason,
        }
    }
}

fn old(target: String) -> RedisOpenError {
    RedisOpenError::OldServer { target, found: "older than 6".into() }
}

/// rustls reports what it refuses as invalid data of the connection.
fn is_tls_error(error: &RedisError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData)
}

/// An error in words for the operator: what the server said, or what went wrong on the way. Neither has a password.
pub(crate) fn describe(error: &RedisError) -> String {
    if error.is_timeout() {
        return "it does not answer in time".into();
    }
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
