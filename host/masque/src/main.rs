//! The binary `masque`: reads the command line and the configuration, converts it into the options of the other crates,
//! and starts and stops the host. The behaviour of the parts is in their own crates.

mod args;
mod builtins;
mod cli;
mod commands;
mod compiler;
mod configuration;
mod convert;
mod erasure;
mod error_text;
mod file_size_limit;
mod observed_store;
mod output;
mod serve;
mod shared;
mod socket_client;
mod store;

/// mimalloc is faster than the system's allocator for many small requests. Transparent huge pages are off (`no_thp`): they
/// made no turn faster and took half of an idle host's memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
