//! The data of a store for one call: everything that the guest can reach, and the counters that limit it.

mod call_log;
mod files;
mod guest_log;
mod host_state;
mod memory_account;
mod state_budget;
mod state_key;
mod store_data;
mod store_limiter;

pub(crate) use self::call_log::{CallLog, LogSource};
pub(crate) use self::files::MeteredFilesystem;
pub(crate) use self::host_state::{HostState, NestedCallBudget};
pub(crate) use self::state_budget::StateBudget;
pub(crate) use self::store_data::Guest;
