mod api;
mod builtin;
mod cli;
mod commands;
mod compiler;
mod config;
mod convert;
mod parked_jobs;
mod serve;

use masque_auth as auth;
use masque_auth::limits;
use masque_companions as active;
use masque_problem as problem;
use masque_turns as turn;

/// Frees and allocates faster than the system's allocator where many small requests come and go. Without huge pages, which
/// make no turn faster and hold half of an idle host's memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
