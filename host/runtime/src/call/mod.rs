//! Runs one call in a store, holds it to its two budgets, and names the one that ran out.
//!
//! Dropping the store is the cancel. A call that is answered at once is driven by the task that waits for the answer; one that
//! goes on writing its reply is driven by a task of its own, which is aborted when its reader is gone. Deadlines are enforced
//! outside wasmtime's event loop, since a timeout inside `run_concurrent` may never be polled.

mod cpu_budget;
mod fault;
mod identity;
mod placement;
mod run;

pub(crate) use self::identity::call_error;
pub(crate) use self::run::{finish, run, start};
