//! The seam between the SDK and whoever hosts the plugin: the contract's imports in a component, an in-memory world of
//! [`testing`](crate::testing) everywhere else.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::{
    history::page,
    host::{log, settings},
    models::ask,
    state::{add, delete, get, list, set},
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::host::{add, ask, delete, get, list, log, page, set, settings};
