//! The configuration of a host: defaults, overridden by `masque.toml`, by environment variables, by flags.
//!
//! Everything is parsed and checked here, once; the other crates get a [`Config`] of plain values. Each section has a module
//! of its own (`sections`). All modules add to one report, so that an operator sees all mistakes at once, each with its
//! line. Mistakes that are found only after a plugin is loaded are placed in the file by [`KeyLocations`].

#![deny(missing_docs)]

mod apply_document;
mod config;
mod database_url;
mod defaults;
mod diagnostic;
mod digest;
mod document;
mod environment;
mod file;
mod flags;
mod key_locations;
mod listen;
mod load;
mod otel;
mod part;
mod plugins_folder;
mod production;
mod read;
mod references;
mod report;
mod secret_text;
mod section;
mod section_values;
mod sections;
mod set_document;
mod signing_key;
mod snapshot;
mod source;
mod units;
mod value;
mod wording;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use diagnostic::{Diagnostic, Diagnostics, Location, Position, Severity};
pub use digest::PluginFingerprint;
pub use environment::Environment;
pub use flags::Flags;
pub use key_locations::KeyLocations;
pub use listen::ListenAddress;
pub use masque_grants::Name;
pub use otel::{TraceProtocol, TraceQueue, TraceSampling, Traces};
pub use part::{LoadedPart, StateConfig, TokenIssuers};
pub use sections::active_set::ActiveSetOptions;
pub use sections::admin::Admin;
pub use sections::auth::Auth;
pub use sections::companions::Companion;
pub use sections::cors::Cors;
pub use sections::data::Data;
pub use sections::database::Database;
pub use sections::erasure::Erasure;
pub use sections::issuers::{Issuer, JwkSource};
pub use sections::jobs::Jobs;
pub use sections::limits::{Allowance, Quota};
pub use sections::log::{Log, LogFormat};
pub use sections::plugin_limits::PluginLimits;
pub use sections::plugins::{Plugin, PluginSource};
pub use sections::records::{RecordContent, Records};
pub use sections::redis::{Redis, RedisChoice};
pub use sections::retention::Retention;
pub use sections::sandbox::Sandbox;
pub use sections::server::Server;
pub use sections::signing_keys::{SigningKeys, read_signing_keys};
pub use sections::tls::{PemFile, Tls};
pub use sections::turn::{Drain, Stream, Turn};
pub use set_document::{InvalidDocument, SetDocument, content_digest};
pub use signing_key::SigningKey;
pub use snapshot::FileSnapshot;
pub use source::{ConfigSource, InvalidConfig, LoadedConfig, ReloadedConfig};
pub use wording::nearest;
