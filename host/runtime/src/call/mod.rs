//! Runs one call in a store, enforces its two budgets, and names the one that ran out.
//!
//! Dropping the store cancels the call. A call runs in the task that waits for its answer, or for the next item of its reply, and
//! a guest that computes yields to that task at every tick. Deadlines are enforced outside wasmtime's event loop, since a timeout
//! inside `run_concurrent` may never be polled.

mod cpu_budget;
mod fault;
mod identity;
mod observer;
mod placement;
mod poll_time;
mod run;

pub(crate) use self::identity::call_error;
pub(crate) use self::observer::CallObserver;
pub(crate) use self::run::{make, run};
