//! How calls, loading and the sandbox's start can fail. A call's error names the plugin, its version, the function, and the
//! limit or grant.

use std::fmt;
use std::time::Duration;

use crate::contract::Failure;
use crate::missing_grant::MissingGrant;

/// A call that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}` {version}, {function}: {cause}{}", Refusals(.denied))]
pub struct CallError {
    /// The plugin's name in the configuration.
    pub plugin: String,
    /// The version in the description of the component.
    pub version: String,
    /// The contract's function: `compose`, `generate`, …
    pub function: &'static str,
    /// Why.
    #[source]
    pub cause: Cause,
    /// The operations that were refused during the call because of a missing grant or a limit; often the reason for `cause`.
    pub denied: Vec<String>,
    /// Those of `denied` that a grant would have allowed.
    pub missing_grants: Vec<MissingGrant>,
    /// The last lines that the plugin wrote to standard error before it trapped, such as the message of a panic. They are not
    /// in the text of the error, since they may repeat what a user wrote.
    pub error_output: Vec<String>,
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The plugin answered with a failure of the contract. Its message is the plugin's own text, for the log alone.
    #[error("failed with `{}`: {}", .0.code, .0.message)]
    Failed(Box<Failure>),
    /// The wall-clock limit of the plugin, or the deadline of the turn, whichever came first.
    #[error("took longer than {} ms (limit `wall` or the turn's deadline)", .0.as_millis())]
    WallTime(Duration),
    /// The limit on CPU time.
    #[error("used more than {} ms of CPU time (limit `cpu`)", .0.as_millis())]
    CpuTime(Duration),
    /// The limit on all linear memories together.
    #[error("wanted more than {limit} bytes of memory (limit `memory`)")]
    Memory {
        /// In bytes.
        limit: usize,
    },
    /// The limit on all tables together.
    #[error("wanted more than {limit} table elements (limit `table_elements`)")]
    Table {
        /// In elements.
        limit: usize,
    },
    /// The limit on the stack of compiled code. The part of a guest's stack that is in its own memory counts as memory.
    #[error("overflowed its stack of {limit} bytes")]
    Stack {
        /// In bytes.
        limit: usize,
    },
    /// Memory that the host holds on the guest's behalf: handles, lifted data, an oversized item of a reply.
    #[error("used too much of the host: {0}")]
    HostResources(String),
    /// The guest trapped: a panic, `unreachable`, an access outside of its memory.
    #[error("trapped: {0}")]
    Trap(String),
    /// Output that breaks the contract.
    #[error("broke the contract: {0}")]
    Contract(String),
    /// The reply ended without `finish` or `failed`.
    #[error("ended its reply without `finish` or `failed`")]
    Truncated,
    /// There was no free instance within the bounded wait.
    #[error("found no free instance within {} ms (setting `sandbox.instances`, of which one plugin has three quarters at most)", .0.as_millis())]
    Busy(Duration),
    /// The component does not export this interface.
    #[error("does not export the interface `{0}`")]
    Unsupported(&'static str),
    /// The engine or the host itself failed.
    #[error("the engine failed: {0}")]
    Engine(String),
}

impl CallError {
    /// The failure code of the contract for this error; a plugin's own failure keeps its own.
    pub fn code(&self) -> &str {
        match &self.cause {
            Cause::Failed(failure) => &failure.code,
            Cause::WallTime(_) | Cause::CpuTime(_) => "timeout",
            Cause::Truncated => "truncated",
            Cause::Busy(_) => "overloaded",
            Cause::Memory { .. }
            | Cause::Table { .. }
            | Cause::Stack { .. }
            | Cause::HostResources(_)
            | Cause::Trap(_)
            | Cause::Contract(_)
            | Cause::Unsupported(_)
            | Cause::Engine(_) => "internal",
        }
    }

    /// The cause, and the plugin's last words if there are any. They may repeat what a user wrote, and hold secrets of other
    /// plugins: for the log, after both are taken out.
    pub fn cause_and_last_words(&self) -> String {
        match self.error_output.as_slice() {
            [] => self.cause.to_string(),
            lines => format!("{}; its last words: {}", self.cause, lines.join(" ")),
        }
    }

    /// The text of the error with other words for its cause.
    pub fn text_with_cause(&self, cause: &str) -> String {
        let Self { plugin, version, function, denied, .. } = self;
        format!("plugin `{plugin}` {version}, {function}: {cause}{}", Refusals(denied))
    }

    /// How long to wait before trying again, if the plugin answered that.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.cause {
            Cause::Failed(failure) => failure.retry_after_ms.map(Duration::from_millis),
            _ => None,
        }
    }
}

/// Written after the cause, since a refusal often led to it.
struct Refusals<'a>(&'a [String]);

impl fmt::Display for Refusals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            refused => write!(f, " (refused during the call: {})", refused.join("; ")),
        }
    }
}

/// The sandbox could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The engine refused its configuration or the machine could not give what it needs.
    #[error("the WebAssembly engine could not start: {0}")]
    Engine(String),
    /// The thread that ends runaway calls could not start.
    #[error("the epoch thread could not start: {0}")]
    Ticker(#[source] std::io::Error),
    /// TLS for outgoing requests could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(String),
}

/// A component that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No WebAssembly.
    #[error("this is not a WebAssembly file")]
    NotWasm,
    /// A core module.
    #[error("this is a core WebAssembly module, not a component")]
    CoreModule,
    /// Larger than a component may be.
    #[error("the component has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        limit: usize,
    },
    /// The process that compiles could not be started. The component was not looked at.
    #[error("the compiler could not be started: {0}")]
    NoCompiler(#[source] std::io::Error),
    /// The compiler refused it.
    #[error("the component does not compile: {0}")]
    Compile(String),
    /// It imports an interface that the host does not offer.
    #[error("the component imports `{0}`, which the host does not offer")]
    Import(String),
    /// It does not link: an interface has another type or version than the host's.
    #[error("the component does not link: {0}")]
    Link(String),
    /// It exports no plugin, or more than one.
    #[error("{0}")]
    Exports(String),
    /// `describe` failed. The component has no name and version yet; the loader knows its file.
    #[error("`describe` failed: it {}{}", .0.cause, Refusals(&.0.denied))]
    Describe(#[source] Box<CallError>),
    /// `describe` answered what the contract does not allow.
    #[error("`describe` answered with a wrong {field}: {reason}")]
    Description {
        /// The field of the description.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}
