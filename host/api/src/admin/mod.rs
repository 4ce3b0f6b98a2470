//! `/admin`: what operators do while the host runs. Each change is stored together with its audit entry, and is in effect
//! on this host before it is answered.

pub(crate) mod audit;
mod effect;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod revocations;
