//! End-to-end tests of the real binary with its real components over real sockets. Each file tests one feature. Each test
//! starts its own host, on a port that the system chooses, in a temporary folder.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics when it fails"
)]

mod attacks;
mod backup;
mod cards;
mod clients;
mod command_state;
mod configuration;
mod connection_limits;
mod conversations;
mod crash;
mod credentials;
mod deployment;
mod durability;
mod environments;
mod explain;
mod fallback;
mod first_start;
mod foreign_model;
mod full_disk;
mod health;
mod hot_reload;
mod http2_floods;
mod idempotency;
mod identity;
mod listeners;
mod log_levels;
mod log_output;
mod metrics;
mod model_streams;
mod observability;
mod page_commands;
mod postgres;
mod postgres_active_set;
mod queue;
mod readme;
mod service;
mod settings_trial;
mod several_hosts;
mod shutdown;
mod slow_clients;
mod smuggling;
mod streaming;
mod tls;
mod traces;
mod turns;
mod upstream;
mod user_data;
mod wrong_requests;
