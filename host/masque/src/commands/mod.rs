//! The commands beside `serve`. None but `log` needs a running host.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod erase;
pub(crate) mod explain;
mod explanation_text;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod migrate;
mod terminal;
