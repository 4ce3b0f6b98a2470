//! Tells what an error of Redis means: whether waiting can help, and what to do if it can't.

use std::error::Error;
use std::io;
use std::sync::Arc;

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
        let lasting = match (error.kind(), error.code().unwrap_or_default()) {
            (ErrorKind::AuthenticationFailed, _) | (_, "WRONGPASS") => {
                RedisOpenError::WrongPassword { target }
            }
            (_, "NOAUTH") => RedisOpenError::NeedsPassword { target },
            (_, "NOPERM") => RedisOpenError::MissingRights { target, reason: text },
            _ if lacks_right(&all) => RedisOpenError::MissingRights { target, reason: text },
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

/// Whether the user lacks a right. What a script may not do has no code of its own, and other words in each version: Redis
/// 6.2 and 7.0 name the user that executes the script, later ones and Valkey the ACL.
fn lacks_right(text: &str) -> bool {
    ["no permissions", "acl failure", "the user executing the script"]
        .iter()
        .any(|words| text.to_lowercase().contains(words))
}

fn old(target: String) -> RedisOpenError {
    RedisOpenError::OldServer { target, found: "older than 6".into() }
}

/// Whether rustls refuses the connection. Its error is in an error of the connection, which the client of Redis keeps in an
/// `Arc`.
fn is_tls_error(error: &RedisError) -> bool {
    let kept = error.source().and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let connection = kept.and_then(|kept| kept.downcast_ref::<io::Error>());
    let inner = connection.and_then(io::Error::get_ref);
    inner.is_some_and(|inner| inner.is::<rustls::Error>())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_refuses_lasts_and_what_else_fails_on_the_way_does_not() {
        let refused = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let refused = RedisError::from(io::Error::new(io::ErrorKind::InvalidData, refused));
        let refusal = Refusal::of(&refused, "h:1");
        assert!(matches!(refusal, Refusal::Lasting(RedisOpenError::Tls { .. })), "{refusal:?}");
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData]
        {
            let refusal = Refusal::of(&RedisError::from(io::Error::from(kind)), "h:1");
            assert!(matches!(refusal, Refusal::Transient(_)), "{refusal:?}");
        }
    }

    #[test]
    fn a_right_that_a_script_lacks_is_named_by_every_version() {
        for text in [
            // Redis 6.2 and 7.0.
            "The user executing the script can't run this command or subcommand script: c3b2, on @user_script:5.",
            "The user executing the script can't access at least one of the keys mentioned in the command arguments",
            // Redis 7.2 and Valkey.
            "ACL failure in script: User masque has no permissions to run the 'time' command",
        ] {
            assert!(lacks_right(text), "{text}");
        }
        assert!(!lacks_right("OOM command not allowed when used memory > 'maxmemory'."));
    }
}
