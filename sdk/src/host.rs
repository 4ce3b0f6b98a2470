//! The imports of the contract: those of the host in a component, those of the in-memory host of
//! [`testing`](crate::testing) elsewhere.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::{
    history::page,
    host::{log, settings},
    models::ask,
    state::{add, delete, get, list, set},
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::host::{add, ask, delete, get, list, log, page, set, settings};
