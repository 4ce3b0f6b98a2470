//! Why Redis can't be used, where waiting does not help. Each says what to do, and none shows a password.

use std::path::PathBuf;

/// Why Redis can't be used, where waiting does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedisOpenError {
    /// It is no URL of Redis.
    #[error(
        "the URL of Redis can't be used: {reason}; write redis://USER:PASSWORD@HOST:PORT/DB, rediss:// for TLS, \
         redis+sentinel://HOST,HOST/SERVICE or redis+cluster://HOST,HOST"
    )]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The file with the password can't be used.
    #[error("the file {path} with the password of Redis can't be used: {reason}")]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something else than Redis answers there.
    #[error(
        "what answers at {target} is no Redis: {reason}; check the host and port, and write rediss:// if the server \
         expects TLS"
    )]
    NotRedis {
        /// Its host and port.
        target: String,
        /// What it answered.
        reason: String,
    },
    /// The server is too old.
    #[error("the server at {target} is Redis {found}; Redis 6.2 or newer, or Valkey, is needed")]
    OldServer {
        /// Its host and port.
        target: String,
        /// The version.
        found: String,
    },
    /// The server is of another kind than the URL says.
    #[error("the server at {target} {reason}")]
    WrongKind {
        /// Its host and port.
        target: String,
        /// What it is, and what to write.
        reason: String,
    },
    /// The server wants a password, and the URL has none.
    #[error("the server at {target} needs a password; write it into the URL, or name a file that has it")]
    NeedsPassword {
        /// Its host and port.
        target: String,
    },
    /// The server does not let the user in with this password.
    #[error("the server at {target} refuses the user or the password; check both")]
    WrongPassword {
        /// Its host and port.
        target: String,
    },
    /// The user may not do what a host does.
    #[error(
        "the user of Redis at {target} has too few rights: {reason}; docs/redis.md has the line for ACL SETUSER"
    )]
    MissingRights {
        /// Its host and port.
        target: String,
        /// What it may not do.
        reason: String,
    },
    /// TLS failed.
    #[error(
        "no TLS connection to {target}: {reason}; check that the server speaks TLS on this port, and that its certificate is \
         valid for this name and signed by an authority that this machine trusts"
    )]
    Tls {
        /// Its host and port.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// The sentinels do not know the service.
    #[error(
        "the sentinel at {target} knows no service `{service}`; the name is that of `sentinel monitor NAME …`"
    )]
    NoService {
        /// The sentinel's host and port.
        target: String,
        /// The name in the URL.
        service: String,
    },
    /// The server refuses the connection for another reason.
    #[error("the server at {target} refuses the connection: {reason}")]
    Refused {
        /// Its host and port.
        target: String,
        /// What it said.
        reason: String,
    },
}
