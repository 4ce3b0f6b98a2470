//! The log of a Masque host: text or JSON lines on standard error.
//!
//! This crate starts the log and names the targets that several crates log to. What is logged is decided where it
//! happens, with `tracing`.

#![deny(missing_docs)]

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The target of refused credentials, so that an operator can collect or alert on these lines alone.
pub const AUDIT: &str = "masque::audit";

/// How the log is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The form of a line.
    pub format: Format,
    /// A level, or directives of `tracing_subscriber::EnvFilter` such as `info,masque=debug`.
    pub level: String,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people; colored if standard error is a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why the log can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// [`Options::level`] can't be parsed.
    #[error("the log level `{level}` is none")]
    InvalidLevel {
        /// The level as it was given.
        level: String,
        /// The parser's message.
        source: ParseError,
    },
    /// The process has a log already.
    #[error("another log is running")]
    AlreadyStarted(#[source] TryInitError),
}

/// Starts the log of this process.
///
/// # Errors
/// The level can't be parsed, or the process has a log already.
pub fn start(options: &Options) -> Result<(), StartError> {
    let level = &options.level;
    let filter = EnvFilter::try_new(level)
        .map_err(|source| StartError::InvalidLevel { level: level.clone(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match options.format {
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).finish().try_init(),
        // The list of spans has the fields of every enclosing span: the request id is on the request's span, whichever
        // span is innermost.
        Format::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(true)
            .finish()
            .try_init(),
    }
    .map_err(StartError::AlreadyStarted)
}
