//! Runs companion plugins in sandboxes.
//!
//! A component becomes a [`Package`] when it is loaded, and a [`Plugin`] when it is given a name, settings, [`Grants`] and
//! [`Limits`]. Every call of a plugin runs in a fresh instance with two budgets, and reaches the world through what its
//! [`Call`] lends and through one gate for outgoing requests. This crate knows no HTTP server and no database.

#![deny(missing_docs)]

mod capability;
mod compile;
pub mod contract;
mod deltas;
mod drive;
mod egress;
mod engine;
mod error;
mod file;
mod guest;
mod limits;
mod meter;
mod package;
mod plugin;
mod reuse;
mod scratch;

use masque_grants as grants;

pub use capability::{Asked, Call, History, Models, Scope, State, StateEntry, Whose};
pub use compile::{Compiler, compile_from_stdin};
pub use deltas::Deltas;
pub use engine::{Sandbox, SandboxConfig};
pub use error::{CallError, Cause, LoadError, SandboxError};
pub use file::{Form, LARGEST_COMPONENT};
pub use guest::clean;
pub use masque_grants::{
    Credential, GrantError, Grants, HttpGrant, IpNet, Limits, Origin, Reuse, Secret, is_name,
};
pub use package::{Kind, Package};
pub use plugin::Plugin;
