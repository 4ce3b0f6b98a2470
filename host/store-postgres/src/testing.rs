//! Servers for tests: PostgreSQL as it is installed, and PgBouncer before it. Each has a folder of its own and a free port of
//! the loopback address.
//!
//! A shell keeps the server. It waits for the end of its input, which the test process holds open, and then stops the server
//! and removes its folder. So a server goes with its tests, also when these are killed.

mod connections;
mod filling;
mod given;
mod pooler;
mod server;

pub use connections::HeldConnections;
pub use filling::{CONVERSATIONS_OF_A_USER, conversation_id, fill_sql};
pub use pooler::{PgBouncer, TestPooler};
pub use server::{TestDatabase, TestServer};
