//! The command `masque serve`: the life of a host from the open socket to the closed store.

mod erasures;
mod host;
mod passed_sockets;
mod predecessor;
mod recovery;
mod retention;
mod run;
mod sandbox_slots;
mod service_manager;
mod shared_sets;
mod signals;
mod state_metrics;
mod supervisor;
mod traces;

pub(crate) use passed_sockets::PassedSockets;
pub(crate) use run::{RUNTIME_END, run};
