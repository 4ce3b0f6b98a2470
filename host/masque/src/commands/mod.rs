//! The commands beside `serve`. Only `log` and `health` need a running host.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod erase;
pub(crate) mod explain;
mod explanation_text;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod migrate;
mod terminal;
pub(crate) mod users;
