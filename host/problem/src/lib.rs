//! The problems that Masque reports to its clients: problem details by RFC 9457.
//!
//! [`Kind`] is the closed list of problem types, each with a stable `type`, a status and a title; `docs/errors.md` is
//! its table. [`Problem`] is one occurrence. All texts are written by the host: what a plugin or an upstream server said
//! goes to the log and never into a problem, because it may hold secrets or mislead the client.

#![deny(missing_docs)]

mod definition;
mod definitions;
mod kind;
mod problem;

pub use kind::Kind;
pub use problem::{MEDIA_TYPE, Problem};
