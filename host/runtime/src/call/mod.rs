//! Runs one call in a store, enforces its two budgets, and names the one that ran out.
//!
//! Dropping the store cancels the call. A call without a stream runs in the task that waits for its answer. A call that streams
//! its reply runs in a task of its own, which is aborted when its reader is dropped. Deadlines are enforced outside wasmtime's
//! event loop, since a timeout inside `run_concurrent` may never be polled.

mod cpu_budget;
mod fault;
mod identity;
mod observer;
mod placement;
mod run;

pub(crate) use self::identity::call_error;
pub(crate) use self::observer::CallObserver;
pub(crate) use self::run::{finish, run, start};
