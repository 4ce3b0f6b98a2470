//! `/users/{id}`: the export and the erasure of everything that is kept of a user.

pub(crate) mod erasure;
pub(crate) mod export;
mod record_view;
mod subject;
mod view;
