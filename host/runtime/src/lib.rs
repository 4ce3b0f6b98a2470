//! Runs companion plugins in sandboxes.
//!
//! A component becomes a [`Package`] when it is loaded, and a [`Plugin`] when it is given a name, settings, grants and limits.
//! Every call of a plugin runs in a fresh instance with two budgets (wall time and CPU time). It reaches the host through the
//! capabilities that its [`Call`] carries, and the network through one gate for outgoing requests. This crate knows no HTTP
//! server and no database.

#![deny(missing_docs)]

mod call;
mod capability;
mod compile;
pub mod contract;
mod counters;
mod cpu_meter;
mod diagnostics;
mod egress;
mod engine;
mod error;
mod exports;
mod file;
mod guest;
mod http_method;
mod instance;
mod json_escapes;
mod load;
mod message_texts;
mod missing_grant;
mod observe;
mod package;
mod plugin;
mod pool;
mod profile;
mod reply;
mod report;
mod sandbox;
mod scratch;
mod secret_matcher;
mod settings_secrets;
mod stacks;
mod text;
mod time_slice;
mod warm;

pub use capability::{Call, History, Models, NestedCall, PluginStateScope, ReuseKey, State, StateEntry};
pub use compile::{Compiler, compile_from_stdin};
pub use contract::PluginKind;
pub use counters::PluginCounters;
pub use error::{CallError, Cause, LoadError, SandboxError};
pub use file::FileFormat;
pub use message_texts::MessageTexts;
pub use missing_grant::MissingGrant;
pub use package::Package;
pub use plugin::Plugin;
pub use reply::Deltas;
pub use report::{CallFacts, CallReport, HostCall, MAX_HOST_CALLS, ReportContent};
pub use sandbox::{Sandbox, SandboxConfig};
pub use secret_matcher::SecretMatcher;
pub use settings_secrets::settings_secrets;
pub use text::sanitize;
