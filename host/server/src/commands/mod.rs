//! Commands that work on a data folder without a running host, or beside one.

pub(crate) mod keys;
