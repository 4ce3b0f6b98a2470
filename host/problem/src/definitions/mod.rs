//! The fixed texts and statuses of all problem types, one file per family.

pub(crate) mod access;
pub(crate) mod conversation;
pub(crate) mod host;
pub(crate) mod model;
pub(crate) mod request;
