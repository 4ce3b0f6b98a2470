//! What a store holds for one call: the guest's view of the world, and the counters that bound it.

mod call_log;
mod files;
mod guest_log;
mod host_state;
mod store_data;
mod store_limiter;

pub(crate) use self::call_log::{CallLog, LogSource};
pub(crate) use self::files::MeteredFilesystem;
pub(crate) use self::host_state::{HostState, NestedCallBudget};
pub(crate) use self::store_data::Guest;
